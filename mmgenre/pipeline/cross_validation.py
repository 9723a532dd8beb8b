"""Every item tested once: as many models as folds, none of which has seen the artists it judges.

Of a small catalogue a test split has so few artists that its figures say little. Here the items
are divided into folds, no artist or album in two; each fold is the test split of one model, the
fold after it is its validation split, and the others it learns from. The table is of all items.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np

from mmgenre.disk.records import read_or_set_aside, write_record
from mmgenre.disk.store import fingerprint_of
from mmgenre.errors import MmgenreError, SplitError
from mmgenre.items.item import Split
from mmgenre.items.labels import LabelSpace
from mmgenre.items.modalities import MODALITIES
from mmgenre.items.splits import make_folds
from mmgenre.learning.processes import from_main
from mmgenre.measuring.differences import groups_of
from mmgenre.measuring.evaluation import Scored
from mmgenre.measuring.results import FusionResult
from mmgenre.pipeline.artefact import Artefact, carry_out
from mmgenre.pipeline.figures import code_of_figures, figures_of
from mmgenre.pipeline.run import Run
from mmgenre.pipeline.scores import Scores, read_scores
from mmgenre.progress import Progress, silent

FOLDS = "folds"  # folder in the run: what the models of folds are made from, and the figures
LEAST = 3  # one fold to test, one to validate, one to learn from


def cross_validate(
    run: Run,
    n: int,
    fusion: Callable[[Run], Artefact],
    *,
    track: bool = False,
    progress: Progress = silent,
) -> FusionResult:
    """Makes a fusion for each of n folds, and measures all items by the one that has not seen them.

    Encoders are trained for each fold; inputs are read once, and are those of the run. What was
    made for a fold is used again. `fusion` plans the fusion of a run; `track` as of `fuse`.

    Raises:
        SplitError: fewer than three folds, or fewer artists than folds.
        MmgenreError: fewer than two genres are in the training items of every fold.
    """
    runs = fold_runs(run, n)
    fusions = [fusion(own) for own in runs]
    carry_out(fusions, run.folder / FOLDS, track=track, progress=progress)
    return from_main(lambda: _measured(run, runs, fusions))


def fold_runs(run: Run, n: int) -> list[Run]:
    """The run n times, each with another fold of its items as the test split."""
    if n < LEAST:
        raise SplitError(f"--cv {n}: at least {LEAST}: folds to test, to validate, to learn from")
    c = run.manifest.columns
    ids = [item_id for item_id, own in zip(c.ids, c.labels, strict=True) if own]
    fold_of = make_folds(run.manifest, ids, n, run.recipe.seed)
    found = max(fold_of.values()) + 1
    if found < n:
        raise SplitError(
            f"--cv {n}: {run.dataset} has {found} group(s) of items that share no artist, album or "
            "text, and each fold needs one; name the artists of items if they are not the same"
        )

    def split(fold: int, tested: int) -> Split:
        return "test" if fold == tested else "val" if fold == (tested + 1) % n else "train"

    own: dict[str, Any] = {"pool": run.folder / FOLDS, "inputs_from": run, "earlier": {}}
    runs = []
    for k in range(n):
        splits = {item_id: split(fold, k) for item_id, fold in fold_of.items()}
        manifest = run.manifest.with_splits({**dict.fromkeys(c.ids), **splits})
        fresh: dict[str, Any] = {"spaces": {}, "unlearned": {}, "divided": {}, "twins": {}}
        runs.append(replace(run, manifest=manifest, **own, **fresh))
    return runs


def kept_results(run: Run) -> list[FusionResult]:
    """The figures of all cross-validations of a run as it is now, sorted by name."""
    found, now = [], _state(run)
    for path in sorted((run.folder / FOLDS).glob("*.json")):
        kept = read_or_set_aside(path, "to have the figures again, repeat --cv")
        if kept is not None and kept.get("state") == now and kept.get("code") == code_of_figures():
            found.append(cast(FusionResult, kept["result"]))
    return found


def _state(run: Run) -> str:
    """Hash of what folds are made from: items, settings, inputs, given vectors."""
    views = [view for modality in MODALITIES for view in run.views(modality)]
    inputs = {(run.inputs(view.input_name), view.modality) for view in views}
    stores = sorted({*inputs, *((run.features, name) for name in run.given)})
    content = [
        run.manifest.task_digest,
        run.recipe.model_dump(mode="json"),
        [[group, fingerprint_of(path, group)] for path, group in stores],
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def _measured(run: Run, runs: Sequence[Run], fusions: Sequence[Artefact]) -> FusionResult:
    name = f"{fusions[0].name}-cv{len(runs)}"
    path = run.folder / FOLDS / f"{name}.json"
    made_from = [fusion.fingerprint for fusion in fusions]
    current = {"state": _state(run), "code": code_of_figures(), "made_from": made_from}
    kept = read_or_set_aside(path, "the figures are computed anew from the scores")
    if kept is None or {key: kept.get(key) for key in current} != current:
        kept = {**current, "result": _figures(name, run, runs, fusions)}
        write_record(path, kept)
    return cast(FusionResult, json.loads(json.dumps(kept["result"])))


def _figures(name: str, run: Run, runs: Sequence[Run], fusions: Sequence[Artefact]) -> FusionResult:
    parts = [read_scores(fusion.path) for fusion in fusions]
    scores, folds = pooled(parts)
    labels = LabelSpace(tuple(scores.about["labels"]), scores.about["exclusive"])
    known = {name for part in parts for name in part.about["labels"]}
    outside = frozenset().union(*(own.outside(exclusive=labels.exclusive) for own in runs))
    outside |= known - set(labels.names)
    y = labels.encode([run.manifest[i].labels for i in scores.ids], outside=outside)
    groups = groups_of(scores.ids, [run.manifest[i].artist for i in scores.ids])
    everything = Scored(y, labels, groups, folds)
    result = figures_of(name, scores, everything, y.sum(axis=0).tolist(), run.folder)
    result["folds"] = {
        "n_items": np.bincount(folds).tolist(),
        "left_out": sorted(outside),
    }
    return result


def pooled(parts: Sequence[Scores]) -> tuple[Scores, np.ndarray[Any, np.dtype[np.intp]]]:
    """The scores of all folds as one, and the fold of each item.

    Of the genres that all folds have learned; each item has the thresholds of its fold.

    Raises:
        MmgenreError: there are fewer than two.
    """
    first = parts[0].about
    names = [n for n in first["labels"] if all(n in part.about["labels"] for part in parts)]
    if len(names) < 2:
        raise MmgenreError(
            f"--cv {len(parts)}: {len(names)} genre(s) are in the training items of every fold, "
            "and a table needs two; give fewer folds, or label more items by several artists"
        )
    columns = [[part.about["labels"].index(name) for name in names] for part in parts]
    sizes = [len(part.ids) for part in parts]

    def of_items(values: Sequence[float | None]) -> Any:
        if values[0] is None:
            return None
        return np.repeat(np.asarray(values, float), sizes)[:, None]

    rows = []
    for k, row in enumerate(first["rows"]):
        by_fold = [part.about["rows"][k]["thresholds"] for part in parts]
        thresholds = [of_items(own) for own in zip(*by_fold, strict=True)]
        rows.append(
            {"name": row["name"], "inputs": row["inputs"], "curve": None}
            | {"thresholds": thresholds}
        )
    about = {**first, "labels": names, "rows": rows, "joint": None}
    values = np.concatenate([p.values[..., own] for p, own in zip(parts, columns, strict=True)])
    ids = tuple(item_id for part in parts for item_id in part.ids)
    given = np.concatenate([part.given for part in parts])
    return Scores(about, ids, values, given), np.repeat(np.arange(len(parts)), sizes)
