"""Experiments: the artefacts of all cells as one plan, each made once, and the table at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from mmgenre.disk.files import without_links
from mmgenre.errors import RecipeError
from mmgenre.frozen.places import fetch
from mmgenre.frozen.settings import ModelName, names_a_model
from mmgenre.items.manifest import Manifest
from mmgenre.items.modalities import JOINT, MODALITIES, modality_of
from mmgenre.learning.processes import from_main
from mmgenre.learning.tracking import check_tracking
from mmgenre.measuring.table_results import TableResult
from mmgenre.pipeline.artefact import carry_out
from mmgenre.pipeline.as_settings import SettingsLike, as_settings
from mmgenre.pipeline.cell_notes import experiment_notes
from mmgenre.pipeline.cells import Plan, PlannedCell, tabulate
from mmgenre.pipeline.experiment import Cell, Experiment, load_experiment, small_overlay
from mmgenre.pipeline.fuse import plan_fusion
from mmgenre.pipeline.named import all_in
from mmgenre.pipeline.prepare import dataset_file
from mmgenre.pipeline.recipe import Recipe
from mmgenre.pipeline.rows import stores_of
from mmgenre.pipeline.run import SYNTHETIC, Run
from mmgenre.pipeline.scores import RowInputs
from mmgenre.pipeline.split import with_splits
from mmgenre.pipeline.vectors import crossfits_of, vectors_of
from mmgenre.progress import Progress, silent
from mmgenre.reading.media import Media

DEFAULT_RUNS = Path("runs")
POOL = "steps"  # folder of the artefacts that experiments share


def prepare_experiment(
    name: str,
    *,
    dataset: str | None = None,
    media_roots: Sequence[Path] = (),
    overlay: str | None = None,
    runs: Path | str = DEFAULT_RUNS,
    seeds: int | None = None,
    settings: SettingsLike = (),
    track: bool = False,
    progress: Progress = silent,
) -> Plan:
    """Reads an experiment and plans its artefacts; only a built-in catalogue is made.

    `name`, `overlay` and `settings` are those of `load_experiment`; for the built-in catalogue
    `synthetic` is the default overlay. `dataset`: "synthetic", or a manifest, of which media may
    lie in its own folder and in `media_roots`. All experiments share
    the folder `steps` in `runs`. `seeds`: how many of the experiment's seeds; default: all.
    `track`: whether learning curves are also written for TensorBoard, into steps/tensorboard.

    RecipeError if the experiment cannot be followed, no dataset is given, or no item has a modality
    that a row reads; ManifestError, LabelError or SplitError if the manifest cannot be used.
    """
    if track:
        check_tracking()
    if overlay is None and dataset == SYNTHETIC:
        overlay = small_overlay(name)
    experiment = load_experiment(name, overlay=overlay, settings=as_settings(settings))
    if dataset is None:
        card = experiment.table.dataset
        how = f"mmgenre manifest build {card} FOLDER --out {card}.csv, then " if card else ""
        raise RecipeError(
            f"{name}: say what to run it on: {how}--dataset FILE.csv; or --dataset {SYNTHETIC} to "
            "see it whole on the built-in catalogue"
        )
    if dataset != SYNTHETIC:
        dataset = str(without_links(Path(dataset)))
    if seeds is not None:
        table = experiment.table
        if not 1 <= seeds <= len(table.seeds):
            raise RecipeError(f"seeds {seeds}: 1 to {len(table.seeds)} for {name}")
        table = table.model_copy(update={"seeds": table.seeds[:seeds]})
        experiment = replace(experiment, table=table)
    pool = Path(runs) / POOL
    planner = _Planner(experiment, dataset, media_roots, pool, progress)
    cells = [planner.plan(cell, s) for s in experiment.table.seeds for cell in experiment.cells]
    return Plan(experiment, dataset, pool, tuple(cells), track)


@dataclass
class _Planner:
    """Reads each dataset once, draws each split once, and looks at the media of each once."""

    experiment: Experiment
    dataset: str
    media_roots: Sequence[Path]
    pool: Path
    progress: Progress
    read: dict[Path, tuple[Manifest, dict[str, Media]]] = field(default_factory=dict)
    runs: dict[tuple[object, ...], Run] = field(default_factory=dict)

    def plan(self, cell: Cell, seed: int) -> PlannedCell:
        """The artefacts of a cell."""
        recipe = self.experiment.recipe(cell, seed)
        # Experiments have no run that could come from elsewhere: the recipe is the user's.
        run = replace(self._run(recipe), recipe=recipe, names=all_in(recipe))
        joint = [name for name in cell.inputs if name.startswith(JOINT)]
        joined = (recipe.joint.modalities or cell.modalities) if joint else ()
        outside = [name for name in joint if modality_of(name) not in joined]
        wanted = [m for m in MODALITIES if m in cell.modalities or m in joined]
        lacking = [m for m in wanted if not run.manifest.count(having=[m])]
        fault = None
        if len(joined) == 1:
            fault = f"a joint space of {joined[0]} alone; name two or more in joint.modalities"
        elif outside:
            space = f"{', '.join(joined)} (joint.modalities)"
            fault = f"reads {', '.join(outside)}, but its joint space is of {space}"
        elif lacking:
            fault = f"reads {', '.join(lacking)}, which no item of {self.dataset} has"
        if fault is not None:
            raise RecipeError(f"row {cell.name!r}: {fault}")
        for name in (n for m in wanted for n in recipe.of(m).encoders if names_a_model(n)):
            from_main(partial(fetch, ModelName.parse(name)))
        inputs, alone = stores_of(run, cell.inputs), cell.scores == "encoder"
        if alone and len(inputs) > 1:
            raise RecipeError(f"row {cell.name!r}: one encoder scores it; name one: {inputs}")
        rows = [RowInputs(cell.name, inputs)]
        vectors = {name: a for m in wanted for name, a in vectors_of(run, m).items()}
        joins = stores_of(run, joined)
        crossfits = {n: a for m in wanted for n, a in crossfits_of(run, recipe, m).items()}
        how: dict[str, Any] = {"joined": joins, "crossfits": crossfits, "by_encoder": alone}
        scores = plan_fusion(run, recipe, cell.name, rows, vectors, **how)
        return PlannedCell(cell, seed, run, scores)

    def _run(self, recipe: Recipe) -> Run:
        """The run of all cells that have the same items in the same splits."""
        key = (recipe.seed, recipe.labels.task, recipe.ratios, recipe.split.leakage)
        if key not in self.runs:
            file = from_main(lambda: dataset_file(self.dataset, recipe.seed, self.progress))
            if file not in self.read:
                self.read[file] = Manifest.read(file, media_roots=self.media_roots), {}
            manifest, media = self.read[file]  # media do not depend on splits
            manifest = with_splits(manifest, recipe)
            self.runs[key] = Run(self.pool, self.dataset, manifest, recipe, self.pool, media)
        return self.runs[key]


def run_experiment(
    plan: Plan, *, progress: Progress = silent, tell: Callable[[str], object] | None = None
) -> TableResult:
    """Makes what is not there yet, then measures all cells on the same test items.

    An artefact that cannot be made ends only the cells that need it; their rows say why. One that
    another process is making is waited for, and `tell` called with a sentence before.
    """
    wanted = [cell.scores for cell in plan.cells]
    how: dict[str, Any] = {"keep_going": True, "track": plan.track}
    outcome = carry_out(wanted, plan.pool, **how, progress=progress, tell=tell)

    def table() -> TableResult:
        result = tabulate(plan, outcome.failed, outcome.seconds)
        return {**result, "notes": experiment_notes(plan, outcome.failed)}

    return from_main(table)
