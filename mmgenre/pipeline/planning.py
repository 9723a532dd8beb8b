"""An experiment -> its steps: which artefacts its cells need, which of these they share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from mmgenre.disk.bundle import bundle_fingerprint
from mmgenre.disk.store import fingerprint_of
from mmgenre.errors import BundleError, RecipeError, StoreError
from mmgenre.items.manifest import MODALITIES, Manifest, Modality, short_name
from mmgenre.learning.processes import by_main
from mmgenre.pipeline import lineage
from mmgenre.pipeline.align import JOINT, align
from mmgenre.pipeline.experiment import Cell, Experiment
from mmgenre.pipeline.features import embed_items, train
from mmgenre.pipeline.recipe import Recipe
from mmgenre.pipeline.run import Run, read_dataset, with_splits
from mmgenre.pipeline.scoring import ROW_SCORES, score_row
from mmgenre.progress import Progress, silent
from mmgenre.reading.extraction import extract_inputs, inputs_provenance

Stage = Literal["read", "train", "embed", "align", "score"]


@dataclass
class Step:
    """One artefact to be made, once for all cells that need it."""

    stage: Stage
    what: str  # "audio", "audio+image", "CNN_AUDIO"
    fingerprint: str
    path: Path
    needs: tuple[str, ...]  # fingerprints of other steps
    run: Run
    work: Callable[[Progress], object]
    is_done: Callable[[], bool]
    cells: list[tuple[str, int]] = field(default_factory=list)  # (cell, seed) that need it


@dataclass(frozen=True)
class PlannedCell:
    """A cell at one seed: its run, whose artefacts lie among the shared ones, and its scores."""

    cell: Cell
    seed: int
    run: Run
    folder: Path  # of the row's scores
    step: str  # fingerprint of the step that makes them


@dataclass(frozen=True)
class Plan:
    """All steps, each after those it needs, and the cells they lead to."""

    experiment: Experiment
    dataset: str
    pool: Path
    steps: Mapping[str, Step]
    cells: tuple[PlannedCell, ...]


def plan_experiment(
    experiment: Experiment, dataset: str, pool: Path, *, progress: Progress = silent
) -> Plan:
    """Lays out the steps of all cells; nothing is made yet but a built-in catalogue.

    Args:
        experiment: the table.
        dataset: "synthetic", or a manifest's path.
        pool: folder of the artefacts that experiments share.
        progress: told when a catalogue is made.

    Raises:
        RecipeError: a row reads a modality that no item of the dataset has.
        ManifestError, LabelError, SplitError: the manifest cannot be used.
    """
    planner = _Planner(experiment, dataset, pool, progress)
    cells = [planner.add(cell, s) for s in experiment.table.seeds for cell in experiment.cells]
    return Plan(experiment, dataset, pool, planner.steps, tuple(cells))


class _Planner:
    """Remembers datasets by seed, manifests by split, media by settings, steps by fingerprint."""

    def __init__(
        self, experiment: Experiment, dataset: str, pool: Path, progress: Progress
    ) -> None:
        self.experiment, self.dataset, self.pool = experiment, dataset, pool
        self.progress = progress
        self.steps: dict[str, Step] = {}
        self._datasets: dict[int, Manifest] = {}
        self._manifests: dict[tuple[Any, ...], Manifest] = {}
        self._inputs: dict[tuple[Any, ...], str] = {}

    def add(self, cell: Cell, seed: int) -> PlannedCell:
        """Adds the steps of a cell."""
        recipe = self.experiment.recipe(cell, seed)
        manifest = self._manifest(recipe)
        placed: dict[str, Path] = {}
        run = Run(self.pool, self.dataset, manifest, recipe, placed)
        joined: tuple[str, ...] = ()
        if any(name.startswith(JOINT) for name in cell.inputs):
            joined = recipe.joint.modalities or cell.modalities
        if len(joined) == 1:
            raise RecipeError(
                f"row {cell.name!r}: a joint space of {joined[0]} alone; name two modalities or "
                "more in joint.modalities"
            )
        outside = [n for n in cell.inputs if n.startswith(JOINT) and n[len(JOINT) :] not in joined]
        if outside:
            raise RecipeError(
                f"row {cell.name!r}: reads {', '.join(outside)}, but its joint space is of "
                f"{', '.join(joined)} (joint.modalities)"
            )
        where = (cell.name, seed)
        wanted = [m for m in MODALITIES if m in cell.modalities or m in joined]
        lacking = [m for m in wanted if not manifest.ids(having=[m])]
        if lacking:
            raise RecipeError(
                f"row {cell.name!r}: reads {', '.join(lacking)}, which no item of "
                f"{self.dataset} has"
            )
        embeddings = {str(m): self._embeddings(run, placed, m, where) for m in wanted}
        parents = {f"{name}": embeddings[name] for name in cell.modalities}
        needs = [*parents.values()]
        if joined:
            joint = self._joint(run, placed, joined, embeddings, where)
            parents["joint"] = joint
            needs.append(joint)
        provenance = lineage.of_row(run, cell.inputs, cell.scores, parents)
        fingerprint = provenance.fingerprint
        folder = self.pool / "rows" / fingerprint
        scores = folder / ROW_SCORES
        self._step(
            "score",
            cell.name,
            fingerprint,
            folder,
            needs,
            run,
            lambda _: score_row(run, cell, joined, folder, provenance),
            partial(_has, scores, "scores", fingerprint),
            where,
        )
        return PlannedCell(cell, seed, run, folder, fingerprint)

    def _manifest(self, recipe: Recipe) -> Manifest:
        seed = recipe.seed
        if seed not in self._datasets:
            read = partial(read_dataset, self.dataset, seed, progress=self.progress)
            self._datasets[seed] = by_main(read, read)
        key = (seed, recipe.ratios, recipe.split.leakage)
        if key not in self._manifests:
            self._manifests[key] = with_splits(self._datasets[seed], recipe)
        return self._manifests[key]

    def _embeddings(
        self, run: Run, placed: dict[str, Path], m: Modality, where: tuple[str, int]
    ) -> str:
        """Steps from a modality's media to its embeddings; returns the fingerprint of these."""
        config = lineage.encoder_config(run.recipe, m).input
        key = (run.recipe.seed, m, config)
        if key not in self._inputs:  # the media of all items are looked at: once is enough
            provenance = inputs_provenance(run.manifest, m, config)
            self._inputs[key] = provenance.fingerprint
        inputs = self._inputs[key]
        encoder = lineage.of_encoder(run, m, inputs).fingerprint
        embedded = lineage.of_embeddings(run, m, inputs, encoder).fingerprint
        store = placed[f"inputs/{m}.h5"] = self.pool / "inputs" / f"{m}-{inputs}.h5"
        folder = placed[f"encoders/{m}"] = self.pool / "encoders" / f"{m}-{encoder}"
        vectors = placed[f"embeddings/{m}"] = self.pool / "embeddings" / f"{m}-{embedded}.h5"

        def read(progress: Progress) -> None:
            make = partial(extract_inputs, run.manifest, m, config, store, progress=progress)
            by_main(make, lambda: store)

        def learn(progress: Progress) -> None:
            train(run, m, progress=progress)

        def embed(progress: Progress) -> None:
            by_main(lambda: embed_items(run, m, progress=progress), lambda: vectors)

        self._step("read", m, inputs, store, [], run, read, partial(_has, store, m, inputs), where)
        self._step(
            "train", m, encoder, folder, [inputs], run, learn,
            partial(_is_bundle, folder, encoder), where,
        )  # fmt: skip
        self._step(
            "embed", m, embedded, vectors, [encoder], run, embed,
            partial(_has, vectors, m, embedded), where,
        )  # fmt: skip
        return embedded

    def _joint(
        self,
        run: Run,
        placed: dict[str, Path],
        joined: tuple[str, ...],
        embeddings: Mapping[str, str],
        where: tuple[str, int],
    ) -> str:
        parents = {name: embeddings[name] for name in joined}
        fingerprint = lineage.of_joint(run, run.recipe, parents).fingerprint
        placed["joint"] = self.pool / "joint" / fingerprint
        vectors = run.joint_vectors(joined)
        self._step(
            "align",
            "+".join(short_name(name) for name in joined),
            fingerprint,
            placed["joint"],
            list(parents.values()),
            run,
            lambda progress: align(run, run.recipe, joined, progress=progress),
            lambda: all(_has(vectors, name, fingerprint) for name in joined),
            where,
        )
        return fingerprint

    def _step(
        self,
        stage: Stage,
        what: str,
        fingerprint: str,
        path: Path,
        needs: list[str],
        run: Run,
        work: Callable[[Progress], object],
        is_done: Callable[[], bool],
        where: tuple[str, int],
    ) -> None:
        if fingerprint not in self.steps:
            self.steps[fingerprint] = Step(
                stage, what, fingerprint, path, tuple(needs), run, work, is_done
            )
        self.steps[fingerprint].cells.append(where)


def _has(store: Path, group: str, fingerprint: str) -> bool:
    """Whether a store is there; a damaged one is not."""
    try:
        return fingerprint_of(store, group) == fingerprint
    except StoreError:
        return False


def _is_bundle(folder: Path, fingerprint: str) -> bool:
    """Whether a model is there; a damaged one is not."""
    try:
        return bundle_fingerprint(folder) == fingerprint
    except BundleError:
        return False
