"""The cells of an experiment: their artefacts, what these take, and the table of their scores."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from itertools import compress
from pathlib import Path
from statistics import median
from typing import Any, get_args

import numpy as np

from mmgenre.disk.locks import replacing_alone
from mmgenre.disk.records import read_or_set_aside, sealed
from mmgenre.items.modalities import modality_of
from mmgenre.measuring import evaluation, metrics
from mmgenre.measuring.differences import Scorings, groups_of, table_apart
from mmgenre.measuring.readable import as_json
from mmgenre.measuring.results import Metrics, headline_metric
from mmgenre.measuring.table_results import (
    TABLE_RESULT,
    PlannedStep,
    PlanResult,
    StepCount,
    TableResult,
    TableRow,
)
from mmgenre.pipeline.artefact import Artefact, Stage, in_order
from mmgenre.pipeline.experiment import Cell, Experiment, TableConfig
from mmgenre.pipeline.run import SYNTHETIC, Run, refused_in
from mmgenre.pipeline.scores import Scores, read_scores
from mmgenre.pipeline.times import Took, noted_times

# Tables that differ in one of these are two tables.
MADE_FROM = ("name", "dataset", "overlay", "settings", "seeds", "metrics", "items", "threshold")


@dataclass(frozen=True)
class PlannedCell:
    """A cell at one seed: its run, whose artefacts lie among the shared ones, and its scores."""

    cell: Cell
    seed: int
    run: Run
    scores: Artefact


@dataclass(frozen=True)
class Plan:
    """The cells of an experiment, and the artefacts that they lead to."""

    experiment: Experiment
    dataset: str
    pool: Path
    cells: tuple[PlannedCell, ...]
    track: bool = False  # whether curves are written for TensorBoard

    @cached_property
    def artefacts(self) -> list[Artefact]:
        """Each once, after its parents."""
        return list(in_order(cell.scores for cell in self.cells))

    @cached_property
    def users(self) -> Mapping[str, list[PlannedCell]]:
        """The cells that need an artefact, by its fingerprint."""
        users = defaultdict(list)
        for cell in self.cells:
            for artefact in in_order([cell.scores]):
                users[artefact.fingerprint].append(cell)
        return dict(users)


def describe_plan(plan: Plan) -> PlanResult:
    """Every artefact: whether it is done, what it needs, who uses it, what it took or will take."""
    log = noted_times(plan.pool)
    took = {line["fingerprint"]: line["seconds"] for line in log}
    steps: list[PlannedStep] = [
        {
            "stage": artefact.stage,
            "what": artefact.name,
            "fingerprint": artefact.fingerprint,
            "path": str(artefact.path),
            "needs": [parent.fingerprint for parent in artefact.parents],
            "cells": [f"{u.cell.name}, seed {u.seed}" for u in plan.users[artefact.fingerprint]],
            "seeds": sorted({u.seed for u in plan.users[artefact.fingerprint]}),
            "done": (done := artefact.is_current()),
            "took_s": took.get(artefact.fingerprint) if done else None,
            "estimate_s": None if done else _estimate_s(log, artefact),
        }
        for artefact in plan.artefacts
    ]
    return {
        "name": plan.experiment.name,
        "title": plan.experiment.table.title,
        "dataset": plan.dataset,
        "n_cells": len(plan.cells),
        "steps": steps,
        "n_timed": len(log),
    }


def _estimate_s(log: Sequence[Took], artefact: Artefact) -> float | None:
    """The median of the same stage and subject, else of the same stage; None: unknown."""
    stage = [line for line in log if line["stage"] == artefact.stage]
    same = [line for line in stage if line["what"] == artefact.name] or stage
    return median(line["seconds"] for line in same) if same else None


def tabulate(plan: Plan, failed: Mapping[str, str], seconds: Mapping[str, float]) -> TableResult:
    """Measures every cell that was made on the same test items.

    By fingerprint, `failed` says why a step has no artefact, `seconds` what those made now took.
    """
    experiment, table = plan.experiment, plan.experiment.table
    measured: dict[str, list[tuple[int, Metrics]]] = defaultdict(list)
    faults: dict[str, list[str]] = defaultdict(list)
    for cell in plan.cells:
        if (why := failed.get(cell.scores.fingerprint)) is not None:
            faults[cell.cell.name].append(f"seed {cell.seed}: {why}")
    n_items, n_labels, left_out = [], [], []
    scorings: list[Scorings] = []
    for seed in table.seeds:
        planned = [cell for cell in plan.cells if cell.seed == seed]
        done = [cell for cell in planned if cell.scores.fingerprint not in failed]
        rows = [read_scores(cell.scores.path) for cell in done]
        ids = _measured_items(rows, table.items)
        n_items.append(len(ids))
        run = planned[0].run
        missing = set(run.outside(exclusive=run.recipe.exclusive))
        for cell, row in zip(done, rows, strict=True):
            found = _measure(cell, row, ids, table)
            measured[cell.cell.name].append((seed, found))
            kind = "f1" if cell.run.recipe.exclusive else "auc"
            missing |= set(found.get(f"left_out_of_{kind}", ()))
        left_out.append(sorted(missing))
        n_labels.append(len(run.labels()))
        if ids:
            groups = groups_of(ids, [run.manifest[i].artist for i in ids])
            scores = {c.cell.name: _scores(r, ids) for c, r in zip(done, rows, strict=True)}
            scorings.append(Scorings(run.truth(ids), groups, scores))
    metric = headline_metric(exclusive=plan.cells[0].run.recipe.exclusive)
    intervals, differences = table_apart(scorings, metric)
    read = {
        (artefact.path, modality_of(artefact.name))
        for artefact in plan.artefacts
        if artefact.stage == "read" and artefact.fingerprint not in failed
    }
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
            _row(
                c,
                measured[c.name],
                faults[c.name],
                table.metrics,
                {metric: intervals[c.name]} if c.name in intervals else {},
            )
            for c in experiment.cells
        ],
        "differences": differences,
        "steps": _count_steps(plan, seconds),
        "refused": [vars(refusal) for refusal in refused_in(read)],
    }


def _measured_items(rows: Sequence[Scores], items: str) -> tuple[str, ...]:
    """The test items on which all rows are compared."""
    has = [set(compress(r.ids, r.complete) if items == "complete" else r.ids) for r in rows]
    return tuple(sorted(set.intersection(*has))) if has else ()


def _measure(planned: PlannedCell, row: Scores, ids: Sequence[str], table: TableConfig) -> Metrics:
    """All metrics of a row at one seed; none if there is no item to measure."""
    if not ids:
        return {}
    run, exclusive = planned.run, planned.run.recipe.exclusive
    [described] = row.about["rows"]
    [threshold] = described["thresholds"]
    if table.threshold is not None and not exclusive:
        threshold = table.threshold
    scores = _scores(row, ids)
    y, labels = run.truth(ids), run.labels().names
    return metrics.evaluate(y, scores, labels, exclusive=exclusive, threshold=threshold)


def _scores(row: Scores, ids: Sequence[str]) -> metrics.Floats:
    [described] = row.about["rows"]
    return row.of(described["name"], row.about["seeds"][0], ids).astype(np.float64)


def _row(
    cell: Cell,
    measured: Sequence[tuple[int, Metrics]],
    faults: list[str],
    names: Sequence[str],
    intervals: dict[str, tuple[float, float]],
) -> TableRow:
    per_seed: list[dict[str, float | None]] = [
        {name: v if isinstance(v := found.get(name), float) else None for name in names}
        for _, found in measured
    ]
    return {
        "name": cell.name,
        "inputs": list(cell.inputs),
        "scores": cell.scores,
        "changes": dict(cell.changes),
        "published": dict(cell.published),
        "per_seed": per_seed,
        "summary": evaluation.summarise(per_seed) if per_seed else {},
        "intervals": intervals,
        "reports": [evaluation.seed_report(found, seed=k) for k, found in measured if found],
        "failed": faults,
    }


def _count_steps(plan: Plan, seconds: Mapping[str, float]) -> list[StepCount]:
    steps = {s: [a.fingerprint for a in plan.artefacts if a.stage == s] for s in get_args(Stage)}
    return [
        {
            "stage": stage,
            "distinct": len(own),
            "uses": sum(len(plan.users[step]) for step in own),
            "made": sum(step in seconds for step in own),
            "seconds": round(sum(seconds.get(step, 0) for step in own), 1),
        }
        for stage, own in steps.items()
        if own
    ]


def write_table(result: TableResult, runs: Path | str) -> Path:
    """Writes table.json into the experiment's folder; returns that folder.

    A table made otherwise, on other data, with other settings or seeds, or measured otherwise, is
    not written over: the folder's name then ends in a hash of what was different.
    """

    def how(table: Mapping[str, Any]) -> list[Any]:
        return [table.get(key) for key in MADE_FROM]  # None: by an earlier version

    where = "synthetic" if result["synthetic"] else Path(result["dataset"]).stem
    folder = Path(runs) / f"{Path(result['name']).name}-{where}"
    there = read_or_set_aside(folder / TABLE_RESULT, "another one is written")
    if there is not None and how(there) != how(result):
        mark = hashlib.sha256(json.dumps(how(result)).encode()).hexdigest()[:6]
        folder = folder.with_name(f"{folder.name}-{mark}")
    with replacing_alone(folder / TABLE_RESULT) as temporary:
        temporary.write_text(as_json(sealed(result)), encoding="utf-8")
    return folder
