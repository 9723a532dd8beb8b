"""Runs an experiment: every step once, whatever fails listed, a table at the end."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import cast, get_args

import numpy as np
from numpy.typing import NDArray

from mmgenre import evaluation, metrics
from mmgenre.errors import MmgenreError, RecipeError, Refusal
from mmgenre.experiment import Cell, TableConfig, load_experiment, small_overlay
from mmgenre.files import discard, locked, write_json
from mmgenre.manifest import Modality
from mmgenre.progress import Progress, silent
from mmgenre.results import StepCount, TableResult, TableRow
from mmgenre.runs import SYNTHETIC
from mmgenre.stages.costs import note_time
from mmgenre.stages.features import check_weights, labels_of
from mmgenre.stages.planning import Plan, PlannedCell, Stage, plan_experiment
from mmgenre.stages.scoring import RowScores, read_row
from mmgenre.store import FeatureStore

DEFAULT_RUNS = Path("runs")
POOL, TABLE = "steps", "table.json"
# What ends a step and not the experiment: our own errors, no memory, no disk, a training that a
# library cannot follow.
FAILURES = (MmgenreError, RuntimeError, ValueError, ArithmeticError, OSError, MemoryError)


def prepare_experiment(
    name: str,
    *,
    dataset: str | None = None,
    overlay: str | None = None,
    runs: Path | str = DEFAULT_RUNS,
    seeds: int | None = None,
    settings: Sequence[str] = (),
    progress: Progress = silent,
) -> Plan:
    """Reads an experiment and plans its steps.

    Args:
        name: of an experiment that comes with mmgenre, or a TOML file.
        dataset: "synthetic", or a manifest.
        overlay: a recipe laid over it; for the built-in catalogue `synthetic` is the default.
        runs: folder whose `steps` all experiments share.
        seeds: how many of the experiment's seeds; default: all.
        settings: `section.key=value`, above everything.
        progress: told when a catalogue is made.

    Raises:
        RecipeError: the experiment cannot be followed, or no dataset is given.
    """
    if overlay is None and dataset == SYNTHETIC:
        overlay = small_overlay(name)
    experiment = load_experiment(name, overlay=overlay, settings=settings)
    if dataset is None:
        made_for = experiment.table.dataset
        how = f"mmgenre manifest build {made_for} FOLDER --out {made_for}.csv, then " * bool(
            made_for
        )
        raise RecipeError(
            f"{name}: say what to run it on: {how}--dataset FILE.csv; or --dataset {SYNTHETIC} to "
            "see it whole on the built-in catalogue"
        )
    if dataset != SYNTHETIC:
        dataset = str(Path(dataset).resolve())
    if seeds is not None:
        chosen = experiment.table.seeds[:seeds]
        if not 1 <= seeds <= len(experiment.table.seeds):
            raise RecipeError(f"seeds {seeds}: 1 to {len(experiment.table.seeds)} for {name}")
        table = experiment.table.model_copy(update={"seeds": chosen})
        experiment = replace(experiment, table=table)
    return plan_experiment(experiment, dataset, Path(runs) / POOL, progress=progress)


def run_experiment(plan: Plan, *, progress: Progress = silent) -> TableResult:
    """Makes what is not there yet, then measures all cells on the same test items.

    A step that fails ends only the cells that need it; their rows say why.
    """
    wanted = [step for step in plan.steps.values() if not step.is_done()]
    for step in wanted:
        if step.stage == "train":  # what cannot be had shows now, not after hours of training
            check_weights(step.run.recipe, cast(Modality, step.what))
    failed: dict[str, str] = {}
    seconds: dict[str, float] = {}
    for number, step in enumerate(wanted):
        progress("steps", number, len(wanted))
        broken = [failed[parent] for parent in step.needs if parent in failed]
        if broken:
            failed[step.fingerprint] = broken[0]
            continue
        try:
            with locked(plan.pool / "locks" / step.fingerprint):
                if step.is_done():  # by another process, while this one waited
                    continue
                discard(step.path)  # it lies at its fingerprint: damaged or unfinished
                started = perf_counter()
                step.work(progress)
                seconds[step.fingerprint] = perf_counter() - started
        except FAILURES as error:
            own = isinstance(error, MmgenreError)
            failed[step.fingerprint] = str(error) if own else f"{type(error).__name__}: {error}"
            continue
        note_time(plan.pool, step, seconds[step.fingerprint])
    progress("steps", len(wanted), len(wanted))
    return _tabulate(plan, failed, seconds)


def _tabulate(plan: Plan, failed: Mapping[str, str], seconds: Mapping[str, float]) -> TableResult:
    experiment = plan.experiment
    table = experiment.table
    by_cell: dict[str, list[dict[str, float | None]]] = {c.name: [] for c in experiment.cells}
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
            figures, without = _measure(cell, rows[cell.cell.name], ids, table)
            by_cell[cell.cell.name].append(figures)
            missing |= without
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
        "seeds": list(table.seeds),
        "n_items": n_items,
        "n_labels": n_labels,
        "left_out": left_out,
        "rows": [_row(cell, by_cell[cell.name], faults[cell.name]) for cell in experiment.cells],
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
) -> tuple[dict[str, float | None], set[str]]:
    """The table's metrics of a row, and the labels that its averages leave out."""
    if not ids:
        return dict.fromkeys(table.metrics), set()
    recipe = planned.run.recipe
    position = {item_id: i for i, item_id in enumerate(row.ids)}
    scores: NDArray[np.float64] = row.scores[[position[i] for i in ids]].astype(np.float64)
    y = labels_of(planned.run, ids, recipe)
    labels = planned.run.labels().names
    threshold = row.threshold
    if table.threshold is not None and not recipe.exclusive:
        threshold = table.threshold
    found = metrics.evaluate(y, scores, labels, exclusive=recipe.exclusive, threshold=threshold)
    kind = "f1" if recipe.exclusive else "auc"
    without = cast(list[str], found[f"left_out_of_{kind}"])
    return {name: _scalar(found.get(name)) for name in table.metrics}, set(without)


def _scalar(value: object) -> float | None:
    return value if isinstance(value, float) else None


def _row(cell: Cell, per_seed: list[dict[str, float | None]], faults: list[str]) -> TableRow:
    return {
        "name": cell.name,
        "inputs": list(cell.inputs),
        "scores": cell.scores,
        "changes": dict(cell.changes),
        "published": dict(cell.published),
        "per_seed": per_seed,
        "summary": evaluation.summarise(per_seed) if per_seed else {},
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


def write_table(result: TableResult, runs: Path | str = DEFAULT_RUNS) -> Path:
    """Writes table.json into the experiment's folder; returns that folder.

    A table made otherwise, on other data or with other settings, is not written over: the folder's
    name then ends in a hash of what was different.
    """

    def how(table: TableResult) -> list[object]:
        return [table["name"], table["dataset"], table["overlay"], table["settings"]]

    where = "synthetic" if result["synthetic"] else Path(result["dataset"]).stem
    folder = Path(runs) / f"{Path(result['name']).name}-{where}"
    there = folder / TABLE
    if there.is_file() and how(json.loads(there.read_text(encoding="utf-8"))) != how(result):
        mark = hashlib.sha256(json.dumps(how(result)).encode()).hexdigest()[:6]
        folder = folder.with_name(f"{folder.name}-{mark}")
    write_json(folder / TABLE, result)
    return folder
