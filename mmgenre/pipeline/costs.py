"""What the steps of a plan will cost: counted work, corrected by the times of steps made here."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import cast

from mmgenre.disk.files import append_line
from mmgenre.items.manifest import Modality, Split
from mmgenre.measuring.results import PlannedStep, PlanResult
from mmgenre.pipeline import lineage
from mmgenre.pipeline.planning import Plan, Step
from mmgenre.reading.cost import forward_macs

LOG = "log.jsonl"
# Per core of a present-day CPU, far below its peak: small batches, views, normalisation.
FLOPS_A_CORE = 1e10
# Decoding and transforming one track, text or cover on one core; FACTS of the project's trials.
READ_S: Mapping[Modality, float] = {"audio": 0.2, "text": 0.001, "image": 0.02}
EMBEDDING = 2048


def nominal_s(step: Step) -> float:
    """Seconds that a step would take at the rates above; training at most, to its last epoch."""
    run, recipe = step.run, step.run.recipe
    flops_s = FLOPS_A_CORE * (os.cpu_count() or 1)
    if step.stage in ("read", "train", "embed"):
        modality = cast(Modality, step.what)
        config = lineage.encoder_config(recipe, modality)
        if step.stage == "read":
            return _n_rows(step, modality) * READ_S[modality] / (os.cpu_count() or 1)
        flops = 2 * forward_macs(config)
        if step.stage == "embed":
            views = recipe.audio.patches if modality == "audio" else 1
            return _n_rows(step, modality) * views * flops / flops_s
        # Backward costs two forward passes; validation one more.
        examples = 3 * _n_rows(step, modality, "train") + _n_rows(step, modality, "val")
        return examples * config.training.max_epochs * flops / flops_s
    n_train = len(run.manifest.ids("train"))
    if step.stage == "align":
        weights = recipe.joint.dim * (EMBEDDING + recipe.joint.dim) * len(step.needs)
        return 2 * 3 * 2 * weights * n_train * recipe.joint.training.max_epochs / flops_s
    weights = EMBEDDING * len(step.needs) * len(run.labels())
    return 1 + 2 * 3 * weights * n_train * recipe.fusion.training.max_epochs / flops_s


def _n_rows(step: Step, modality: Modality, split: Split | None = None) -> int:
    """Tracks, texts or covers of the items in a split."""
    manifest = step.run.manifest
    ids = manifest.ids(split, having=[modality])
    return sum(len(manifest[i].tracks) for i in ids) if modality == "audio" else len(ids)


def note_time(pool: Path, step: Step, seconds: float) -> None:
    """Keeps what a step took, for later estimates."""
    line = {
        "fingerprint": step.fingerprint,
        "stage": step.stage,
        "what": step.what,
        "seconds": round(seconds, 3),
        "nominal_s": round(nominal_s(step), 6),
    }
    append_line(pool / LOG, json.dumps(line))


def describe_plan(plan: Plan) -> PlanResult:
    """Every step: whether it is done, what it needs, who uses it, what it took or will take."""
    log = _read_log(plan.pool / LOG)
    took = {line["fingerprint"]: cast(float, line["seconds"]) for line in log}
    steps: list[PlannedStep] = []
    for step in plan.steps.values():
        done = step.is_done()
        steps.append(
            {
                "stage": step.stage,
                "what": step.what,
                "fingerprint": step.fingerprint,
                "path": str(step.path),
                "needs": list(step.needs),
                "cells": [f"{name}, seed {seed}" for name, seed in step.cells],
                "done": done,
                "took_s": took.get(step.fingerprint) if done else None,
                "estimate_s": None if done else nominal_s(step) * _correction(log, step),
            }
        )
    return {
        "name": plan.experiment.name,
        "title": plan.experiment.table.title,
        "dataset": plan.dataset,
        "n_cells": len(plan.cells),
        "steps": steps,
        "corrected_by": len(log),
    }


def _correction(log: Sequence[Mapping[str, object]], step: Step) -> float:
    """Measured over nominal time of the steps of that kind that were made here; 1 without any."""
    kinds = [
        [line for line in log if line["stage"] == step.stage and line["what"] == step.what],
        [line for line in log if line["stage"] == step.stage],
    ]
    for lines in kinds:
        ratios = [
            cast(float, line["seconds"]) / cast(float, line["nominal_s"])
            for line in lines
            if line["nominal_s"]
        ]
        if ratios:
            return median(ratios)
    return 1.0


def _read_log(path: Path) -> list[dict[str, object]]:
    """The lines of a log; one that a kill cut short says nothing."""
    lines: list[dict[str, object]] = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and {"stage", "what", "seconds", "nominal_s"} <= line.keys():
            lines.append(line)
    return lines
