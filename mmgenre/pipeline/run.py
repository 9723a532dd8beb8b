"""A run: one folder with a manifest, a recipe, and the artefacts made from them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmgenre.disk.allowed import allowed
from mmgenre.disk.provenance import sha256_file
from mmgenre.disk.records import EditedError, read_record, write_record
from mmgenre.disk.store import FeatureStore, group_names
from mmgenre.errors import (
    MmgenreError,
    Refusal,
)
from mmgenre.items.item import Split
from mmgenre.items.labels import LabelSpace
from mmgenre.items.manifest import Manifest
from mmgenre.items.modalities import MODALITIES
from mmgenre.items.splits import make_folds
from mmgenre.pipeline.named import addresses_in, all_in, files_in, refuse_unnamed
from mmgenre.pipeline.recipe import (
    Recipe,
    View,
    validate,
)
from mmgenre.reading.media import Media

DEFAULT_RUN = Path("runs/default")
SYNTHETIC = "synthetic"
MANIFEST = "manifest.csv"
FORMAT = 3  # of run.json and of everything beside it
STATE = "run.json"
EDITED = "edited or damaged since the run wrote it (its sha256 is not that in run.json)"


REFUSED = "refused.csv"  # every row of media that could not be used


@dataclass(frozen=True)
class Folds:
    """A division of training items, no artist in two: id -> fold, 0 to count - 1."""

    of: Mapping[str, int]

    @cached_property
    def count(self) -> int:
        return max(self.of.values()) + 1

    def without(self, fold: int) -> list[str]:
        """The items of all other folds."""
        return [item_id for item_id, own in self.of.items() if own != fold]

    def only(self, fold: int) -> list[str]:
        """The items of a fold."""
        return [item_id for item_id, own in self.of.items() if own == fold]

    @cached_property
    def digest(self) -> str:
        """Hash of the division."""
        text = "\n".join(f"{item_id}\t{fold}" for item_id, fold in self.of.items())
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Run:
    """Where everything of a run lies, and what it is made from."""

    folder: Path
    dataset: str  # "synthetic", or the manifest's path
    manifest: Manifest
    recipe: Recipe
    pool: Path | None = None  # of artefacts that an experiment's cells share; None: its own run
    media: dict[str, Media] = field(default_factory=dict)  # by modality, once they were looked at
    names: frozenset[str] = frozenset()  # what the user has named; see `pipeline.named`
    decided: tuple[str, ...] = ()  # what its recipe left to the data, in sentences
    spaces: dict[bool, LabelSpace] = field(default_factory=dict)  # by whether an item has one label
    unlearned: dict[bool, frozenset[str]] = field(default_factory=dict)  # likewise
    divided: dict[tuple[int, Split], Folds] = field(default_factory=dict)
    whole: Run | None = None  # the run of which this one has a part of the items
    inputs_from: Run | None = None  # with the same items in other splits; None: its own
    earlier: dict[str, Run | None] = field(
        default_factory=dict
    )  # parts, by their manifest's digest
    twins: dict[str, Any] = field(default_factory=dict)  # as `pipeline.twins` has just found them
    retrain: bool = False  # whether encoders that have not learned on all items are stale

    def __repr__(self) -> str:
        """`Run('runs/mine', 160 items of music.csv)`."""
        about = f"{len(self.manifest):,} items of {self.dataset}"
        return f"{type(self).__name__}({str(self.folder)!r}, {about})"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from mmgenre.report.notebook import run_html  # matplotlib: not where nothing is shown

        return run_html(self.folder)

    def inputs(self, name: str) -> Path:
        """Store of what was read from media, in the group of the modality's name."""
        return self.folder / f"inputs/{name}.h5"

    def record(self, modality: str) -> Path:
        """Store of what is known of the files of a modality."""
        of = ""
        if self.pool is not None:  # of experiments on several datasets
            of = f"-{hashlib.sha256(self.manifest.where.encode()).hexdigest()[:16]}"
        return self.folder / f"inputs/{modality}{of}.media.h5"

    def encoder(self, name: str) -> Path:
        """Folder of a view's trained encoder."""
        return self.folder / f"encoders/{name}"

    def embeddings(self, name: str) -> Path:
        """Store of an input's vectors, in the group of that name: learned here, or given."""
        return self.features if name in self.given else self.folder / "embeddings.h5"

    @property
    def features(self) -> Path:
        """Store of vectors that were given, not learned here; one group per input."""
        return self.folder / "features.h5"

    @cached_property
    def given(self) -> tuple[str, ...]:
        """Names of the inputs whose vectors were given."""
        return group_names(self.features)

    def given_vectors(self) -> dict[str, dict[str, int]]:
        """Given input -> n_items of the run that have a vector, n_unknown ids that are no item."""
        found = {}
        for name in self.given:
            with FeatureStore(self.features, name) as store:
                n_items = sum(item_id in self.manifest for item_id in store.ids)
                found[name] = {"n_items": n_items, "n_unknown": len(store) - n_items}
        return found

    @property
    def fusions(self) -> Path:
        """Folder of the fusions, one folder each."""
        return self.folder / "fusion"

    @property
    def metrics(self) -> Path:
        """Everything measured, as JSON."""
        return self.folder / "metrics.json"

    def place(self, stage: str, name: str, fingerprint: str) -> Path:
        """Where an artefact that several cells of an experiment share lies."""
        assert self.pool is not None
        return self.pool / stage / f"{name}-{fingerprint}"

    def views(self, modality: str) -> tuple[View, ...]:
        """The encoders that embed a modality; none if its vectors were given."""
        return () if modality in self.given else self.recipe.views(modality)

    def labels(self, recipe: Recipe | None = None) -> LabelSpace:
        """The genres of the task: all that training items have."""
        return self.space(exclusive=(recipe or self.recipe).exclusive)

    def space(self, *, exclusive: bool) -> LabelSpace:
        """The genres of training items: the broadest of each if exclusive, else all."""
        if exclusive not in self.spaces:
            labels = self.manifest.labels("train")
            self.spaces[exclusive] = LabelSpace.of(labels, exclusive=exclusive)
        return self.spaces[exclusive]

    def outside(self, *, exclusive: bool) -> frozenset[str]:
        """Genres of validation or test that no training item has: nothing learns or scores them."""
        if exclusive not in self.unlearned:
            labelled = filter(None, self.manifest.labels())
            everything = LabelSpace.of(labelled, exclusive=exclusive)
            learned = self.space(exclusive=exclusive).names
            self.unlearned[exclusive] = frozenset(everything.names) - frozenset(learned)
        return self.unlearned[exclusive]

    def truth(
        self, ids: Sequence[str], recipe: Recipe | None = None, space: LabelSpace | None = None
    ) -> NDArray[np.bool_]:
        """Labels of items in the recipe's task, or in a space, (n, n_labels).

        An item of validation or test may have none, as genres outside are left out.
        """
        space = space or self.labels(recipe)
        outside = self.outside(exclusive=space.exclusive)
        return space.encode([self.manifest[i].labels for i in ids], outside=outside)

    def genres_of(self, recipe: Recipe) -> dict[str, str]:
        """What a fingerprint says of the genres beside the labels; {} if all of them are learned.

        Only where there are genres outside do models of earlier versions, which have these, differ.
        """
        return {"genres": "of train"} if self.outside(exclusive=recipe.exclusive) else {}

    def folds(self, n: int, split: Split = "train") -> Folds:
        """The items of a split divided into n folds, drawn from the recipe's seed."""
        if (n, split) not in self.divided:
            ids = self.manifest.ids(split)
            self.divided[n, split] = Folds(make_folds(self.manifest, ids, n, self.recipe.seed))
        return self.divided[n, split]

    @cached_property
    def unlabelled(self) -> tuple[str, ...]:
        """The items without a genre, which are in no split."""
        c = self.manifest.columns
        return tuple(i for i, labels in zip(c.ids, c.labels, strict=True) if not labels)

    @cached_property
    def refused(self) -> tuple[Refusal, ...]:
        """Everything that the input stores left out, sorted."""
        views = [view for modality in MODALITIES for view in self.recipe.views(modality)]
        stores = {(self.inputs(view.input_name), view.modality) for view in views}
        stores |= {(self.embeddings(view.name), view.name) for view in views}
        return refused_in((path, group) for path, group in stores if group in group_names(path))


def refused_in(stores: Iterable[tuple[Path, str]]) -> tuple[Refusal, ...]:
    """Everything that stores left out, each in the group of its modality; sorted."""
    found: set[Refusal] = set()
    for path, modality in stores:
        with FeatureStore(path, modality) as store:
            found |= set(store.refused)
    return tuple(sorted(found))


def check_files(run: Run, modality: str) -> None:
    """RecipeError if files would be opened that only the run itself names."""
    named, where = files_in(run.recipe, modality), str(run.folder / STATE)
    refuse_unnamed(run.recipe, named, run.names, where, "would open")


def check_address(run: Run, modality: str) -> None:
    """RecipeError if texts would be sent to an address that only the run itself names."""
    named, where = addresses_in(run.recipe, modality), str(run.folder / STATE)
    refuse_unnamed(run.recipe, named, run.names, where, "would send every text to")


def keep_recipe(run: Run) -> None:
    """Makes a run's recipe the one that its folder states."""
    state = run.folder / STATE
    content = read_record(state)
    write_record(state, content | {"recipe": run.recipe.model_dump(mode="json")})


def digest_of(path: Path) -> str | None:
    """sha256 of a file; None if there is none."""
    return sha256_file(path) if path.is_file() else None


def open_run(folder: Path, *, is_checked: bool = False) -> Run:
    """Opens a run; MmgenreError if there is none, or run.json is damaged or of another version.

    `is_checked`: by another process, for the same user; everything that it names is then allowed.
    """
    state = folder / STATE
    if not state.is_file():
        raise MmgenreError(
            f"{folder}: no run here; make one: mmgenre extract-features --run {folder}"
        )
    content = read_state(state)
    if content["format"] < FORMAT:
        raise MmgenreError(
            f"{folder}: made by an older version of mmgenre. Run mmgenre extract-features --run "
            f"{folder}: it uses manifest, recipe and inputs/ again, makes encoders, embeddings and "
            "fusions again, and deletes nothing"
        )
    names, own = allowed(folder), folder / MANIFEST
    recipe = validate(content["recipe"], where=str(state), names=None if is_checked else names)
    made_from = content["made_from"] or {}
    if digest_of(own) != made_from.get("own", digest_of(own)):
        raise MmgenreError(
            f"{own}: {EDITED}; to set it aside and have it written again: mmgenre extract-features "
            f"--run {folder}. Make changes in {content['dataset']}"
        )
    manifest, decided = Manifest.read(own), tuple(content["decided"])
    if is_checked:
        names = all_in(recipe)
        manifest = Manifest(replace(manifest.columns, roots=None), where=manifest.where)
    found = folder, content["dataset"], manifest, recipe
    return Run(*found, names=names, decided=decided)


def read_state(path: Path) -> dict[str, Any]:
    """What run.json says, of any format until today's; MmgenreError if it is damaged or newer."""
    try:
        content = read_record(path)
        found = {"dataset": str(content["dataset"]), "recipe": dict(content["recipe"])}
        version = int(content.get("format", 1))
        notes = [str(note) for note in content.get("decided", [])]
        made_from = dict(content["made_from"]) if content.get("made_from") else None
    except EditedError as error:
        raise MmgenreError(
            f"{path}: {error}; if you have edited it on purpose, remove its member "
            f'"sha256" (settings are better changed with --set); else delete it and give '
            "manifest, recipe and settings again: artefacts that fit are kept"
        ) from None
    except (ValueError, LookupError, TypeError) as error:
        raise MmgenreError(
            f"{path}: damaged ({type(error).__name__}: {error}); delete it and give manifest, "
            "recipe and settings again: artefacts that fit are kept"
        ) from None
    if version > FORMAT:
        raise MmgenreError(
            f"{path}: made by a newer version of mmgenre (format {version}; this one reads "
            f"{FORMAT}); install that version, or use another run folder"
        )
    return {"format": version, **found, "made_from": made_from, "decided": notes}
