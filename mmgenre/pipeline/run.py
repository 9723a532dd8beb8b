"""A run: one folder with a manifest, a recipe, and the artefacts made from them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from mmgenre.datasets.synthetic import built_in_catalogue
from mmgenre.disk.files import write_json
from mmgenre.disk.store import group_names
from mmgenre.errors import LabelError, ManifestError, MmgenreError, SplitError
from mmgenre.items.labels import LabelSpace
from mmgenre.items.manifest import SPLITS, Manifest, Modality, short_name
from mmgenre.items.splits import find_leaks, make_splits
from mmgenre.pipeline.recipe import Recipe, load_recipe, merge, parse_setting, validate
from mmgenre.progress import Progress, silent

DEFAULT_RUN = Path("runs/default")
SYNTHETIC = "synthetic"


@dataclass(frozen=True)
class Run:
    """Where everything of a run lies, and what it is made from.

    `placed`: artefacts that lie elsewhere than in the folder, by their usual name in it: the cells
    of an experiment share theirs.
    """

    folder: Path
    dataset: str  # "synthetic", or the manifest's path
    manifest: Manifest
    recipe: Recipe
    placed: Mapping[str, Path] = field(default_factory=dict)

    def _at(self, name: str) -> Path:
        return self.placed.get(name, self.folder / name)

    def inputs(self, modality: Modality) -> Path:
        """Store of what was read from media."""
        return self._at(f"inputs/{modality}.h5")

    def encoder(self, modality: Modality) -> Path:
        """Folder of a trained encoder."""
        return self._at(f"encoders/{modality}")

    def embeddings(self, name: str) -> Path:
        """Store of an input's vectors, in the group of that name: learned here, or given."""
        if name in self.given:
            return self.features
        return self.placed.get(f"embeddings/{name}", self.folder / "embeddings.h5")

    @property
    def features(self) -> Path:
        """Store of vectors that were given, not learned here; a group an input."""
        return self.folder / "features.h5"

    @cached_property
    def given(self) -> tuple[str, ...]:
        """Names of the inputs whose vectors were given."""
        return group_names(self.features)

    def joint_model(self, names: Sequence[str]) -> Path:
        """Folder of the joint space of some inputs."""
        return self._at("joint") / "+".join(short_name(name) for name in names)

    def joint_vectors(self, names: Sequence[str]) -> Path:
        """Store of the vectors of that joint space, a group an input."""
        return self.joint_model(names).with_suffix(".h5")

    @property
    def fusions(self) -> Path:
        """Folder of the fusions, one folder each."""
        return self.folder / "fusion"

    @property
    def metrics(self) -> Path:
        """Everything measured, as JSON."""
        return self.folder / "metrics.json"

    def labels(self, recipe: Recipe | None = None) -> LabelSpace:
        """The genres of the task: all that the manifest names."""
        exclusive = (recipe or self.recipe).exclusive
        return LabelSpace.of([item.labels for item in self.manifest], exclusive=exclusive)

    @property
    def task_digest(self) -> str:
        """Hash of ids, splits and labels: what every trained artefact depends on."""
        rows = [(item.id, item.split, item.labels) for item in self.manifest]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]


def prepare_run(
    folder: Path,
    *,
    manifest: Path | None = None,
    recipe: str | None = None,
    settings: Sequence[str] = (),
    progress: Progress = silent,
) -> Run:
    """Settles what a run is made from, and writes that into its folder.

    What is not given comes from the run, if there is one, and settings change what it has; a new
    run without a manifest takes the built-in catalogue and the recipe `quick`, one with a manifest
    the recipe `default`.

    Raises:
        ManifestError, LabelError, SplitError: the manifest cannot be used.
        RecipeError: the recipe cannot be followed.
    """
    state = folder / "run.json"
    before = _read_state(state) if state.is_file() else None
    # Absolute: the run is gone on with from other folders, too.
    dataset = str(manifest.resolve()) if manifest else before["dataset"] if before else SYNTHETIC
    if recipe is None and before is not None and dataset == before["dataset"]:
        values = before["recipe"]
        for setting in settings:
            values = merge(values, parse_setting(setting))
        resolved = validate(values, where=str(state))
    else:
        name = recipe or ("quick" if dataset == SYNTHETIC else "default")
        resolved = load_recipe(name, settings)
    ready = with_splits(read_dataset(dataset, resolved.seed, progress=progress), resolved)
    folder.mkdir(parents=True, exist_ok=True)
    ready.write(folder / "manifest.csv")
    settled = {"dataset": dataset, "recipe": resolved.model_dump(mode="json")}
    if settled != before:  # shards of one run begin at the same time
        write_json(state, settled)
    return Run(folder, dataset, ready, resolved)


def read_dataset(dataset: str, seed: int, *, progress: Progress = silent) -> Manifest:
    """The manifest of a dataset: a CSV, or the built-in catalogue of a seed."""
    if dataset != SYNTHETIC:
        return Manifest.read(dataset)
    return Manifest.read(
        built_in_catalogue(seed=seed, progress=lambda k, n: progress("making the catalogue", k, n))
    )


def open_run(folder: Path) -> Run:
    """Opens a run that exists.

    Raises:
        MmgenreError: there is none.
    """
    state = folder / "run.json"
    if not state.is_file():
        raise MmgenreError(
            f"{folder}: no run here; make one: mmgenre extract-features --run {folder}"
        )
    content = _read_state(state)
    recipe = validate(content["recipe"], where=str(state))
    return Run(folder, content["dataset"], Manifest.read(folder / "manifest.csv"), recipe)


def _read_state(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {name: content[name] for name in ("dataset", "recipe")}
    except (ValueError, LookupError, TypeError) as error:
        raise MmgenreError(
            f"{path}: damaged ({type(error).__name__}: {error}); delete it and give manifest, "
            "recipe and settings again: what is made is kept where it fits"
        ) from None


def with_splits(manifest: Manifest, recipe: Recipe) -> Manifest:
    """The manifest with every item in a split: its own splits, or drawn ones.

    Raises:
        LabelError: items without labels.
        ManifestError: only some items have a split.
        SplitError: the splits leak and the recipe does not allow it, one of them has no item, or
            none can be drawn.
    """
    unlabelled = [item.id for item in manifest if not item.labels]
    if unlabelled:
        raise LabelError(
            f"{manifest.where}: {len(unlabelled)} of {len(manifest)} items have no labels (first: "
            f"{unlabelled[0]!r}); training needs them. To name genres of unlabelled items: "
            "mmgenre predict RUN --manifest FILE"
        )
    open_ids = [item.id for item in manifest if item.split is None]
    if len(open_ids) == len(manifest):
        return manifest.with_splits(make_splits(manifest, recipe.ratios, recipe.seed))
    if open_ids:
        raise ManifestError(
            manifest.where,
            [
                f"{len(open_ids)} of {len(manifest)} items have no split (first: {open_ids[0]!r}); "
                "give all of them one, or none"
            ],
        )
    empty = [split for split in SPLITS if not manifest.ids(split)]
    if empty:
        raise SplitError(
            f"{manifest.where}: no item is in {' or '.join(empty)}; a run trains on train, stops "
            "by val and measures on test. Empty the column split to have all three drawn"
        )
    leaks = find_leaks(manifest)
    if leaks and recipe.split.leakage == "refuse":
        shown = "\n".join(f"  {leak}" for leak in leaks[:10])
        raise SplitError(
            f"{manifest.where}: its splits leak in {len(leaks)} place(s), so its figures would "
            f"flatter:\n{shown}\nEmpty the column split to have new ones drawn, or accept it "
            "with --set split.leakage=report"
        )
    return manifest
