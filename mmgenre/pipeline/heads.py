"""The work of the step `fuse`: trains heads, scores the test items, writes the folder.

n test items, R rows, K seeds, L labels.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmgenre.disk.bundle import bundle_file
from mmgenre.disk.files import swap, temporary_name
from mmgenre.disk.locks import claimed
from mmgenre.disk.provenance import Provenance
from mmgenre.disk.records import write_record
from mmgenre.disk.scratch import scratch
from mmgenre.disk.store import Block, write_store
from mmgenre.errors import MmgenreError
from mmgenre.frozen.licences import of_models
from mmgenre.fusion.experts import FOLDS
from mmgenre.fusion.head import FusionModel, predicted, train_fusion
from mmgenre.fusion.stored import slices
from mmgenre.fusion.table import IN_MEMORY_BYTES, FeatureTable
from mmgenre.fusion.trust import TRUST, fit_trust
from mmgenre.fusion.whole import MODEL, carry
from mmgenre.items.item import SPLITS, Split
from mmgenre.items.modalities import JOINT
from mmgenre.learning.encoder import load_task_head
from mmgenre.learning.processes import is_main
from mmgenre.learning.targets import Target, make_target
from mmgenre.learning.tracking import unseen
from mmgenre.measuring import metrics
from mmgenre.measuring.curves import Curve
from mmgenre.pipeline import scores as of
from mmgenre.pipeline.align import feature_table
from mmgenre.pipeline.learn import models_of
from mmgenre.pipeline.recipe import Recipe
from mmgenre.pipeline.run import Run
from mmgenre.pipeline.solved import solve_heads, untrained_of
from mmgenre.pipeline.tables import SCORED, Made, Scored, check_row, tables_of
from mmgenre.pipeline.unlabelled import write_predictions
from mmgenre.pipeline.words import with_words
from mmgenre.progress import Progress

BLOCK_BYTES = 1 << 24  # of the scores that are written at once


def make_fusion(
    run: Run,
    recipe: Recipe,
    folder: Path,
    heads: of.Heads,
    provenance: Provenance,
    progress: Progress,
) -> None:
    """Trains the heads (several processes do it together); writes the folder beside, then swaps."""
    read = replace(heads, rows=tuple(row for row in heads.rows if not row.words))
    if heads.encoder is not None:
        made = _score_by_encoder(run, recipe, heads, *heads.encoder)
    elif recipe.fusion.solver == "lbfgs":
        if not is_main():
            return
        made = solve_heads(run, recipe, read, progress)
    else:
        made = _score_by_heads(run, recipe, read, progress)
    if not is_main():
        return
    made = with_words(run, recipe, heads, made)
    n_seeds = made.scored["test"].scores.shape[2]
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
        "solver": recipe.fusion.solver,
        "n_parameters": made.model and made.model.n_parameters,
        "hidden": bool(recipe.fusion.missing_share),
    }
    if heads.joint is not None:
        about["joint"] = bundle_file(heads.joint, "curve.json")
    for row, choice in zip(about["rows"], made.choices or (), strict=False):
        if choice is not None:
            row["choice"] = choice
    views = [heads.views[name].encoder for name in heads.inputs if name in heads.views]
    if frozen := of_models(models_of(views)):
        about["frozen"] = frozen
    temporary = temporary_name(folder)
    with claimed(folder):
        try:
            path = temporary / of.SCORES
            for split, scored in made.scored.items():
                write_store(path, of.SCORES_OF[split], _score_blocks(scored), provenance)
                write_store(path, of.INPUTS_OF[split], [(scored.ids, scored.given)], provenance)
            if made.model is not None:
                made.model.save(temporary / MODEL, provenance, frozen)
                if run.pool is None:  # cells of experiments are measured and do not predict
                    _carry_parts(heads, made.model.widths, temporary / MODEL, provenance)
                if made.trust is not None:
                    made.trust.save(temporary / MODEL / TRUST, provenance)
                write_predictions(
                    temporary / of.PREDICTIONS, run, made.model, heads.places, made.trust
                )
            write_record(temporary / of.ABOUT, about)
            swap(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _score_blocks(scored: Scored) -> Iterator[Block]:
    """Ids and scores of some items at a time, (m, R * K, L)."""
    n, n_rows, n_seeds, n_labels = scored.scores.shape
    scores = scored.scores.reshape(n, n_rows * n_seeds, n_labels)
    for own in slices(n, max(1, BLOCK_BYTES // (4 * n_rows * n_seeds * n_labels))):
        yield scored.ids[own], scores[own]


def _carry_parts(
    heads: of.Heads, inputs: Collection[str], model: Path, provenance: Provenance
) -> None:
    """Puts the encoders and the joint space of a model's inputs into its folder."""
    names = {name.removeprefix(JOINT) for name in inputs}
    encoders = {name: view.encoder for name, view in heads.views.items() if name in names}
    joint = heads.joint if any(name.startswith(JOINT) for name in inputs) else None
    carry(model, encoders, joint, provenance.parents)


def _score_by_heads(run: Run, recipe: Recipe, heads: of.Heads, progress: Progress) -> Made:
    """A head for each row and seed; thresholds come from validation.

    Raises:
        MmgenreError: a split has no item with any of a row's inputs.
    """
    labels, exclusive = run.labels(recipe), recipe.exclusive
    y = {split: run.truth(run.manifest.ids(split), recipe) for split in SPLITS}
    target = make_target(recipe.fusion_target, len(labels), exclusive=exclusive)
    target.fit(y["train"])
    tables, given = tables_of(run, recipe, heads, IN_MEMORY_BYTES)
    scores: dict[of.On, Any] = {
        split: scratch(
            (len(tables[split]), len(heads.rows), heads.seeds, len(labels)), np.float32, run.folder
        )
        for split in SCORED
    }

    def train(r: int, k: int) -> tuple[FusionModel, Curve]:
        row, seed = heads.rows[r], recipe.seed + k
        own = {split: table.only(row.inputs) for split, table in tables.items()}
        having = check_row(row, own)
        seen: tuple[Split, Split] = ("train", "val")
        fit, val = (_some(own[s], having[s]) for s in seen)
        goals: dict[str, Any] = {
            s: partial(_goals, target, y[s], np.flatnonzero(having[s]))
            if table.is_stored
            else target.targets(y[s][having[s]])
            for s, table in zip(seen, (fit, val), strict=True)
        }
        head, log = train_fusion(
            fit, val, target, goals, recipe.fusion, exclusive=exclusive, seed=seed,
            progress=unseen(progress, f"{row.name}, seed {seed}"),
        )  # fmt: skip
        threshold = None
        if not exclusive:
            held: Any = scratch((len(val), len(labels)), np.float64, run.folder)
            _fill(held, predicted(head, target, val))
            threshold = metrics.best_threshold(y["val"][having["val"]], held)
        for s in SCORED:
            _fill(scores[s][:, r, k], predicted(head, target, own[s]))
        return FusionModel(head, target, recipe.fusion.head, labels, threshold), log.curve()

    trained = []
    for number in range(len(heads.rows)):
        progress("fusion heads", number, len(heads.rows))
        trained.append([train(number, k) for k in range(heads.seeds)])
    progress("fusion heads", len(heads.rows), len(heads.rows))
    scored = {s: Scored(tables[s].ids, scores[s], given[s]) for s in SCORED}
    model, trust = trained[-1][0][0], None
    if is_main() and run.pool is None:  # cells of experiments are measured and do not predict
        folds = run.folds(FOLDS, "val").of
        of_items = np.array([folds[item_id] for item_id in run.manifest.ids("val")])
        rows = (tables["train"], y["train"]), (tables["val"], y["val"])
        trust = fit_trust(model, *rows[0], *rows[1], of_items, untrained_of(run, heads))
    return Made(
        scored,
        [[model.threshold for model, _ in seeds] for seeds in trained],
        [seeds[0][1] for seeds in trained],
        model,
        trust=trust,
    )


def _some(table: FeatureTable, having: NDArray[np.bool_]) -> FeatureTable:
    """Some of the items; no copy if they are all."""
    return table if having.all() else table.select(having)


def _goals(
    target: Target, y: NDArray[np.bool_], kept: NDArray[np.intp], rows: NDArray[np.intp]
) -> NDArray[np.float32]:
    """What heads learn of some of the kept items; of a million at once it would be a GB."""
    return target.targets(y[kept[rows]])


def _fill(out: NDArray[Any], blocks: Iterable[NDArray[Any]]) -> None:
    """Puts blocks of rows after each other."""
    start = 0
    for block in blocks:
        out[start : start + len(block)] = block
        start += len(block)


def _score_by_encoder(
    run: Run, recipe: Recipe, heads: of.Heads, modality: str, folder: Path
) -> Made:
    """An encoder's own scores of the items that it has embedded; threshold by validation."""
    [row] = heads.rows
    [name] = row.inputs
    head = load_task_head(folder, modality)
    scored: dict[of.On, Scored] = {}
    for split in SCORED:
        table = feature_table({name: heads.places[name]}, run.manifest.ids(split))
        table = table.select(table.present[name])
        if not len(table):
            raise MmgenreError(f"{run.dataset}: no {split} item has usable {modality}")
        scores = head.scores(table.x[name]).astype(np.float32)[:, None, None]
        scored[split] = Scored(table.ids, scores, np.full((len(table), 1), of.PRESENT, np.uint8))
    threshold = None
    if not recipe.exclusive:
        val = scored["val"]
        found = head.scores(feature_table({name: heads.places[name]}, val.ids).x[name])
        threshold = metrics.best_threshold(run.truth(val.ids, recipe), found)
    return Made(scored, [[threshold]], [None], None)
