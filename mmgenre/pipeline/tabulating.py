"""The scores of an experiment's cells -> its table, with what was shared and what refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from mmgenre.disk.files import replacing
from mmgenre.disk.store import FeatureStore
from mmgenre.errors import Refusal
from mmgenre.measuring import evaluation, metrics
from mmgenre.measuring.results import (
    TABLE_RESULT,
    Metrics,
    StepCount,
    TableResult,
    TableRow,
    as_json,
)
from mmgenre.pipeline.experiment import Cell, TableConfig
from mmgenre.pipeline.features import labels_of
from mmgenre.pipeline.planning import Plan, PlannedCell, Stage
from mmgenre.pipeline.run import SYNTHETIC
from mmgenre.pipeline.scoring import RowScores, read_row

# Tables that differ in one of these are two tables.
MADE_FROM = ("name", "dataset", "overlay", "settings", "seeds", "metrics", "items", "threshold")


def tabulate(plan: Plan, failed: Mapping[str, str], seconds: Mapping[str, float]) -> TableResult:
    """Measures every cell that was made on the same test items.

    Args:
        plan: the experiment's steps, run.
        failed: why a step has no artefact, by fingerprint.
        seconds: what the steps made now took, by fingerprint.
    """
    experiment = plan.experiment
    table = experiment.table
    measured: dict[str, list[tuple[int, Metrics]]] = {c.name: [] for c in experiment.cells}
    faults: dict[str, list[str]] = {c.name: [] for c in experiment.cells}
    n_items, n_labels, left_out = [], [], []
    for seed in table.seeds:
        planned = [cell for cell in plan.cells if cell.seed == seed]
        for cell in planned:
            if cell.step in failed:
                faults[cell.cell.name].append(f"seed {seed}: {failed[cell.step]}")
        done = [cell for cell in planned if cell.step not in failed]
        rows = {cell.cell.name: read_row(cell.folder) for cell in done}
        ids = _measured_items(rows, table.items)
        n_items.append(len(ids))
        missing: set[str] = set()
        for cell in done:
            found = _measure(cell, rows[cell.cell.name], ids, table)
            measured[cell.cell.name].append((seed, found))
            kind = "f1" if cell.run.recipe.exclusive else "auc"
            missing |= set(found.get(f"left_out_of_{kind}", ()))
        left_out.append(sorted(missing))
        n_labels.append(len(planned[0].run.labels()))
    return {
        "name": experiment.name,
        "title": table.title,
        "note": table.note,
        "made_by": f"mmgenre {version('mmgenre')}",
        "dataset": plan.dataset,
        "synthetic": plan.dataset == SYNTHETIC,
        "overlay": experiment.overlay,
        "settings": list(experiment.settings),
        "metrics": list(table.metrics),
        "items": table.items,
        "threshold": table.threshold,
        "seeds": list(table.seeds),
        "n_items": n_items,
        "n_labels": n_labels,
        "left_out": left_out,
        "rows": [
            _row(cell, measured[cell.name], faults[cell.name], table.metrics)
            for cell in experiment.cells
        ],
        "steps": _count_steps(plan, seconds),
        "refused": [vars(refusal) for refusal in refused_by(plan, failed)],
    }


def _measured_items(rows: Mapping[str, RowScores], items: str) -> tuple[str, ...]:
    """The test items on which all rows are compared."""
    common: set[str] | None = None
    for row in rows.values():
        has = row.complete if items == "complete" else np.ones(len(row.ids), dtype=bool)
        own = {item_id for item_id, here in zip(row.ids, has, strict=True) if here}
        common = own if common is None else common & own
    return tuple(sorted(common or ()))


def _measure(
    planned: PlannedCell, row: RowScores, ids: Sequence[str], table: TableConfig
) -> Metrics:
    """All metrics of a row at one seed; none if there is no item to measure."""
    if not ids:
        return {}
    recipe = planned.run.recipe
    position = {item_id: i for i, item_id in enumerate(row.ids)}
    scores: NDArray[np.float64] = row.scores[[position[i] for i in ids]].astype(np.float64)
    y = labels_of(planned.run, ids, recipe)
    labels = planned.run.labels().names
    threshold = row.threshold
    if table.threshold is not None and not recipe.exclusive:
        threshold = table.threshold
    return metrics.evaluate(y, scores, labels, exclusive=recipe.exclusive, threshold=threshold)


def _scalar(value: object) -> float | None:
    return value if isinstance(value, float) else None


def _row(
    cell: Cell,
    measured: Sequence[tuple[int, Metrics]],
    faults: list[str],
    names: Sequence[str],
) -> TableRow:
    per_seed = [{name: _scalar(found.get(name)) for name in names} for _, found in measured]
    return {
        "name": cell.name,
        "inputs": list(cell.inputs),
        "scores": cell.scores,
        "changes": dict(cell.changes),
        "published": dict(cell.published),
        "per_seed": per_seed,
        "summary": evaluation.summarise(per_seed) if per_seed else {},
        "reports": [evaluation.seed_report(found, seed=k) for k, found in measured if found],
        "failed": faults,
    }


def _count_steps(plan: Plan, seconds: Mapping[str, float]) -> list[StepCount]:
    counts: list[StepCount] = []
    for stage in get_args(Stage):
        steps = [step for step in plan.steps.values() if step.stage == stage]
        if steps:
            took = [seconds[s.fingerprint] for s in steps if s.fingerprint in seconds]
            counts.append(
                {
                    "stage": stage,
                    "distinct": len(steps),
                    "uses": sum(len(step.cells) for step in steps),
                    "made": len(took),
                    "seconds": round(sum(took), 1),
                }
            )
    return counts


def refused_by(plan: Plan, failed: Mapping[str, str]) -> tuple[Refusal, ...]:
    """Everything that the input stores of a plan left out."""
    found: set[Refusal] = set()
    for step in plan.steps.values():
        if step.stage == "read" and step.fingerprint not in failed:
            with FeatureStore(step.path, step.what) as store:
                found |= set(store.refused)
    return tuple(sorted(found))


def write_table(result: TableResult, runs: Path | str) -> Path:
    """Writes table.json into the experiment's folder; returns that folder.

    A table made otherwise, on other data, with other settings or seeds, or measured otherwise, is
    not written over: the folder's name then ends in a hash of what was different.
    """

    def how(table: Mapping[str, Any]) -> list[Any]:
        return [table.get(key) for key in MADE_FROM]  # None: by an earlier version

    where = "synthetic" if result["synthetic"] else Path(result["dataset"]).stem
    folder = Path(runs) / f"{Path(result['name']).name}-{where}"
    there = folder / TABLE_RESULT
    if there.is_file() and how(json.loads(there.read_text(encoding="utf-8"))) != how(result):
        mark = hashlib.sha256(json.dumps(how(result)).encode()).hexdigest()[:6]
        folder = folder.with_name(f"{folder.name}-{mark}")
    with replacing(folder / TABLE_RESULT) as temporary:
        temporary.write_text(as_json(result), encoding="utf-8")
    return folder
