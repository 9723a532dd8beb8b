"""Runs an experiment: every step once, whatever fails listed, a table at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import cast

from mmgenre.disk.files import discard
from mmgenre.disk.locks import locked
from mmgenre.errors import MmgenreError, RecipeError
from mmgenre.items.manifest import Modality
from mmgenre.learning.processes import lead, led
from mmgenre.measuring.results import TableResult
from mmgenre.pipeline.costs import note_time
from mmgenre.pipeline.experiment import load_experiment, small_overlay
from mmgenre.pipeline.features import check_weights
from mmgenre.pipeline.planning import Plan, Step, plan_experiment
from mmgenre.pipeline.run import SYNTHETIC
from mmgenre.pipeline.tabulating import tabulate
from mmgenre.progress import Progress, silent

DEFAULT_RUNS = Path("runs")
POOL = "steps"
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


def run_experiment(
    plan: Plan, *, progress: Progress = silent, tell: Callable[[str], object] | None = None
) -> TableResult:
    """Makes what is not there yet, then measures all cells on the same test items.

    A step that fails ends only the cells that need it; their rows say why. A step that another
    process is making is waited for.

    Args:
        plan: the steps and cells.
        progress: told what moves.
        tell: told in a sentence whom it waits for.
    """
    return led(
        lambda: _run(plan, progress, tell), lambda name: plan.steps[name].work(silent), FAILURES
    )


def _run(plan: Plan, progress: Progress, tell: Callable[[str], object] | None) -> TableResult:
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
            lock = plan.pool / "locks" / step.fingerprint
            with locked(lock, waiting=partial(_tell_whom, tell, step)):
                if step.is_done():  # by another process, while this one waited
                    continue
                discard(step.path)  # it lies at its fingerprint: damaged or unfinished
                started = perf_counter()
                lead(step.fingerprint, partial(step.work, progress))
                seconds[step.fingerprint] = perf_counter() - started
        except FAILURES as error:
            own = isinstance(error, MmgenreError)
            failed[step.fingerprint] = str(error) if own else f"{type(error).__name__}: {error}"
            continue
        note_time(plan.pool, step, seconds[step.fingerprint])
    progress("steps", len(wanted), len(wanted))
    return tabulate(plan, failed, seconds)


def _tell_whom(tell: Callable[[str], object] | None, step: Step, who: str) -> None:
    if tell is not None:
        tell(f"{step.stage} {step.what}: waiting for {who}")
