"""The work of the step `fuse`: trains heads, scores the test items, writes the folder.

n test items, R rows, K seeds, L labels.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from mmgenre.disk.files import swap, temporary_name, write_json
from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import write_store
from mmgenre.errors import MmgenreError
from mmgenre.fusion.head import FusionModel, predict, train_fusion
from mmgenre.fusion.table import FeatureTable
from mmgenre.items.manifest import SPLITS
from mmgenre.learning.encoder import load_task_head
from mmgenre.learning.processes import is_main
from mmgenre.learning.targets import make_target
from mmgenre.measuring import metrics
from mmgenre.measuring.results import Curve
from mmgenre.pipeline import scores as of
from mmgenre.pipeline.align import feature_table
from mmgenre.pipeline.recipe import Recipe
from mmgenre.pipeline.run import Run
from mmgenre.progress import Progress


class _Made(NamedTuple):
    """What the folder holds; `given` as in `scores.Scores`."""

    ids: tuple[str, ...]
    scores: NDArray[np.float32]  # (n, R, K, L)
    given: NDArray[np.uint8]  # (n, inputs)
    thresholds: list[list[float | None]]  # R x K
    curves: list[Curve | None]  # R, of the first seed
    model: FusionModel | None  # of the last row, first seed


def make_fusion(
    run: Run,
    recipe: Recipe,
    folder: Path,
    heads: of.Heads,
    provenance: Provenance,
    progress: Progress,
) -> None:
    """Trains the heads (several processes do it together); writes the folder beside, then swaps."""
    if heads.encoder is not None:
        made = _score_by_encoder(run, recipe, heads, *heads.encoder)
    else:
        made = _score_by_heads(run, recipe, heads, progress)
    if not is_main():
        return
    n, n_rows, n_seeds, n_labels = made.scores.shape
    about: dict[str, Any] = {
        "provenance": provenance.as_dict(),
        "head": recipe.fusion.head,
        "exclusive": recipe.exclusive,
        "labels": list(run.labels(recipe).names),
        "seeds": [recipe.seed + k for k in range(n_seeds)],
        "inputs": heads.inputs,
        "rows": [
            {"name": row.name, "inputs": list(row.inputs), "thresholds": t, "curve": curve}
            for row, t, curve in zip(heads.rows, made.thresholds, made.curves, strict=True)
        ],
        "joint": None,
        "hidden": bool(recipe.fusion.missing_share),
    }
    if heads.joint is not None:
        about["joint"] = json.loads((heads.joint / "curve.json").read_text(encoding="utf-8"))
    temporary = temporary_name(folder)
    try:
        scores = made.scores.reshape(n, n_rows * n_seeds, n_labels)
        write_store(temporary / of.SCORES, of.SCORES_OF, [(made.ids, scores)], provenance)
        write_store(temporary / of.SCORES, "inputs", [(made.ids, made.given)], provenance)
        if made.model is not None:
            made.model.save(temporary / of.MODEL, provenance)
        write_json(temporary / of.ABOUT, about)
        swap(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _score_by_heads(run: Run, recipe: Recipe, heads: of.Heads, progress: Progress) -> _Made:
    """A head for each row and seed; thresholds come from validation.

    Raises:
        MmgenreError: a split has no item with any of a row's inputs.
    """
    labels, exclusive = run.labels(recipe), recipe.exclusive
    y = {split: run.truth(run.manifest.ids(split), recipe) for split in SPLITS}
    target = make_target(recipe.fusion_target, len(labels), exclusive=exclusive)
    target.fit(y["train"])
    places = {name: heads.places[name] for name in heads.inputs}
    tables = {split: feature_table(places, run.manifest.ids(split)) for split in SPLITS}
    there = _presence(tables["test"])
    tables["test"] = tables["test"].hide(recipe.fusion.missing_share, recipe.seed)
    left = _presence(tables["test"])

    def train(row: of.RowInputs, seed: int) -> tuple[FusionModel, Curve, NDArray[np.float32]]:
        own = {split: table.only(row.inputs) for split, table in tables.items()}
        having = {s: np.asarray(_presence(own[s]).any(axis=1)) for s in ("train", "val")}
        empty = [split for split, items in having.items() if not items.any()]
        if empty:
            raise MmgenreError(
                f"row {row.name}: no {' and no '.join(empty)} item has {' or '.join(row.inputs)}; "
                "leave it out with --modalities, or draw other splits with --set seed=N"
            )
        fit, val = (own[s].select(having[s]) for s in ("train", "val"))
        truth = {s: y[s][having[s]] for s in ("train", "val")}
        goals = {s: target.targets(truth[s]) for s in truth}
        head, log = train_fusion(
            fit, val, target, goals, recipe.fusion, exclusive=exclusive, seed=seed
        )
        threshold = None
        if not exclusive:
            threshold = metrics.best_threshold(truth["val"], predict(head, target, val))
        model = FusionModel(head, target, recipe.fusion.head, labels, threshold)
        return model, log.curve(), predict(head, target, own["test"]).astype(np.float32)

    trained = []
    for number, row in enumerate(heads.rows):
        progress("fusion heads", number, len(heads.rows))
        trained.append([train(row, recipe.seed + k) for k in range(heads.seeds)])
    progress("fusion heads", len(heads.rows), len(heads.rows))
    return _Made(
        tables["test"].ids,
        np.stack([np.stack([s for _, _, s in seeds], axis=1) for seeds in trained], axis=1),
        np.where(left, of.PRESENT, np.where(there, of.HIDDEN, of.ABSENT)).astype(np.uint8),
        [[model.threshold for model, _, _ in seeds] for seeds in trained],
        [seeds[0][1] for seeds in trained],
        trained[-1][0][0],
    )


def _presence(table: FeatureTable) -> NDArray[np.bool_]:
    """Which inputs each item has, (n, inputs)."""
    return np.stack([table.present[name] for name in table.x], axis=1)


def _score_by_encoder(
    run: Run, recipe: Recipe, heads: of.Heads, modality: str, folder: Path
) -> _Made:
    """An encoder's own scores of the test items that it has embedded; threshold by validation."""
    [row] = heads.rows
    [name] = row.inputs
    head = load_task_head(folder, modality)
    found: dict[str, tuple[tuple[str, ...], NDArray[np.float64]]] = {}
    for split in ("val", "test"):
        table = feature_table({name: heads.places[name]}, run.manifest.ids(cast(Any, split)))
        table = table.select(table.present[name])
        if not len(table):
            raise MmgenreError(f"{run.dataset}: no {split} item has usable {modality}")
        found[split] = table.ids, head.scores(table.x[name])
    threshold = None
    if not recipe.exclusive:
        ids, scores = found["val"]
        threshold = metrics.best_threshold(run.truth(ids, recipe), scores)
    ids, scores = found["test"]
    given = np.full((len(ids), 1), of.PRESENT, np.uint8)
    return _Made(ids, scores.astype(np.float32)[:, None, None], given, [[threshold]], [None], None)
