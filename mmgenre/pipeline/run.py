"""A run: one folder with a manifest, a recipe, and the artefacts made from them."""

from __future__ import annotations

import hashlib
import shlex
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmgenre.datasets.sources import found_note
from mmgenre.datasets.synthetic import built_in_catalogue
from mmgenre.disk.allowed import allow, allow_media, allowed, allowed_media, as_named
from mmgenre.disk.files import set_damaged_aside, without_links
from mmgenre.disk.locks import tidy
from mmgenre.disk.provenance import sha256_file
from mmgenre.disk.records import EditedError, read_record, write_record
from mmgenre.disk.store import FeatureStore, group_names
from mmgenre.errors import (
    DamageWarning,
    LabelError,
    ManifestError,
    MmgenreError,
    Refusal,
    SplitError,
)
from mmgenre.items.labels import LabelSpace
from mmgenre.items.manifest import SPLITS, Manifest, Split
from mmgenre.items.modalities import MODALITIES
from mmgenre.items.splits import find_leaks, make_folds, make_splits
from mmgenre.pipeline.earlier import keep_items
from mmgenre.pipeline.named import addresses_in, all_in, files_in, refuse_unnamed, texts_in
from mmgenre.pipeline.older import set_aside, translated
from mmgenre.pipeline.recipe import (
    AUTO,
    Recipe,
    View,
    decided,
    load_recipe,
    merge,
    models_in,
    parse_setting,
    read_values,
    validate,
)
from mmgenre.progress import Progress, silent
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
    earlier: dict[str, Run | None] = field(
        default_factory=dict
    )  # parts, by their manifest's digest
    twins: dict[str, Any] = field(default_factory=dict)  # as `pipeline.twins` has just found them
    retrain: bool = False  # whether encoders that have not learned on all items are stale

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


def prepare_run(
    folder: Path,
    *,
    manifest: Path | None = None,
    media_roots: Sequence[Path] = (),
    recipe: str | None = None,
    settings: Sequence[str] = (),
    progress: Progress = silent,
) -> Run:
    """Settles what a run is made from, and writes that into its folder.

    What is not given comes from the run, if there is one, and settings change what it has; a new
    run without a manifest takes the built-in catalogue and the recipe `quick`, one with a manifest
    the recipe `default`. Where neither the manifest's file nor what decides its splits has changed,
    the run's own copy is read and nothing is written. ManifestError, LabelError or SplitError if
    the manifest cannot be used, RecipeError if the recipe cannot be followed.

    What the user names here is remembered on this machine, with the folders of media; of what only
    the run names, nothing is opened (MmgenreError, RecipeError).
    """
    state = folder / STATE
    before = _read_state(state) if state.is_file() else None
    is_older = before is not None and before["format"] < FORMAT
    # Absolute: a run is continued from other folders, too.
    dataset = (
        str(without_links(manifest)) if manifest else before["dataset"] if before else SYNTHETIC
    )
    given = merge({}, *map(parse_setting, settings))
    names = allowed(folder) | as_named(texts_in(given))
    if manifest is not None or dataset == SYNTHETIC:
        names |= {dataset}
    is_named = dataset in names  # else nothing is read of it, as if it had gone

    def read_source(file: Path | None, roots: Sequence[Path] = media_roots) -> Manifest:
        if file is None:
            raise MmgenreError(
                f"{state}: its manifest {dataset} is needed, which the run names and you did not. "
                f"If it is yours, add: --manifest {shlex.quote(dataset)}"
            )
        return Manifest.read(file, media_roots=roots)

    read: Manifest | None = None
    notes: list[str] = []
    if recipe is None and before is not None and dataset == before["dataset"]:
        values = translated(before["recipe"]) if is_older else before["recipe"]
        notes = list(before["decided"])
        wanted = merge(values, given)
        file = dataset_file(dataset, wanted["seed"], progress) if is_named else None
        left = given.get("labels", {}).get("task"), given.get("image", {}).get("encoders")
        if AUTO in left or any(models_in(given).values()):
            read = read_source(file)
        resolved = validate(decided(wanted, read, notes), where=str(state), names=names)
    else:
        name = recipe or ("quick" if dataset == SYNTHETIC else "default")
        seed = merge(read_values(name), given).get("seed", 0)
        seed = seed if isinstance(seed, int) else 0
        file = dataset_file(dataset, seed, progress) if is_named else None
        read = read_source(file)
        resolved = load_recipe(name, settings, read, notes)
        names |= all_in(resolved)
    plain = resolved.model_dump(mode="json")
    own = folder / MANIFEST
    tidy(own)
    made_from = {
        "splits": {"seed": plain["seed"], "task": plain["labels"]["task"], **plain["split"]},
        "folder": str(without_links(folder)),  # to which the paths of its manifest are relative
        "source": file and _digest(file),
        "own": _digest(own),
    }
    then: dict[str, Any] = (before and before["made_from"]) or {}
    # A run outlives the file that it was made from: a source that is gone has not changed.
    kept = {**made_from, "source": made_from["source"] or then.get("source")}
    is_edited = made_from["own"] not in (None, then.get("own")) and not is_older
    if is_edited and made_from["source"] is None:
        raise MmgenreError(
            f"{own}: {EDITED}, and {dataset}, from which it would be written again, is not there; "
            "put one of them back"
        )
    is_own = made_from["own"] is not None and then == kept
    is_moved = not is_own and made_from["source"] is None and _is_moved(then, kept)
    # Format 2 did not note what a run was made from; its own copy has the splits that it learned.
    is_own |= is_older and file is None and not given and not then and own.is_file()
    roots = [*media_roots, *([file.parent] if file else [])]
    roots += allowed_media(manifest) if manifest else ()
    if is_own or is_moved:
        ready = Manifest.read(own, media_roots=roots)
        made_from = kept
    else:
        earlier = Manifest.read(own) if then and then["own"] == made_from["own"] else None
        # Of another dataset, or by other settings, splits are drawn from nothing.
        continues = then and before and dataset == before["dataset"]
        continues = continues and then["splits"] == made_from["splits"]
        known = earlier.splits if earlier is not None and continues else None
        ready = with_splits(read or read_source(file, roots), resolved, notes, known)
        if earlier is not None and earlier.task_digest != ready.task_digest:
            keep_items(folder, earlier)
    if is_moved:
        columns = replace(ready.columns, folder=Path(then["folder"]))
        ready = Manifest(columns, where=ready.where)
    if is_older:
        set_aside(folder)
    if is_own:
        if manifest is not None or media_roots:
            allow_media(own, ready.columns.roots or ())
    else:
        folder.mkdir(parents=True, exist_ok=True)
        # After a kill it may be new, and run.json not yet.
        if is_edited and own.read_bytes() != ready.as_csv(own):
            aside = set_damaged_aside(own)
            text = (
                f"{own}: {EDITED}; kept as {aside.name}, and written again from {file}: make "
                "changes there"
            )
            warnings.warn(text, DamageWarning, stacklevel=2)
        ready.write(own)
        made_from["own"] = _digest(own)
    settled = {"format": FORMAT, "dataset": dataset, "recipe": plain, "made_from": made_from}
    settled["decided"] = notes
    if settled != before:  # shards of one run begin at the same time
        write_record(state, settled)
    names &= all_in(resolved) | {dataset}
    if names != allowed(folder):
        allow(folder, names)
    return Run(folder, dataset, ready, resolved, names=names, decided=tuple(notes))


def _is_moved(then: Mapping[str, Any] | None, now: Mapping[str, Any]) -> bool:
    """Whether a run differs from what it was made from in nothing but its place."""
    if then is None or not isinstance(then.get("folder"), str):
        return False
    return {**then, "folder": now["folder"]} == now


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


def _digest(path: Path) -> str | None:
    return sha256_file(path) if path.is_file() else None


def dataset_file(dataset: str, seed: int, progress: Progress) -> Path:
    """The manifest's file of a dataset: a CSV, or that of the built-in catalogue of a seed."""
    own = dataset == SYNTHETIC
    return built_in_catalogue(seed=seed, progress=progress) if own else Path(dataset)


def open_run(folder: Path, *, is_checked: bool = False) -> Run:
    """Opens a run; MmgenreError if there is none, or run.json is damaged or of another version.

    `is_checked`: by another process, for the same user; everything that it names is then allowed.
    """
    state = folder / STATE
    if not state.is_file():
        raise MmgenreError(
            f"{folder}: no run here; make one: mmgenre extract-features --run {folder}"
        )
    content = _read_state(state)
    if content["format"] < FORMAT:
        raise MmgenreError(
            f"{folder}: made by an older version of mmgenre. Run mmgenre extract-features --run "
            f"{folder}: it uses manifest, recipe and inputs/ again, makes encoders, embeddings and "
            "fusions again, and deletes nothing"
        )
    names, own = allowed(folder), folder / MANIFEST
    recipe = validate(content["recipe"], where=str(state), names=None if is_checked else names)
    made_from = content["made_from"] or {}
    if _digest(own) != made_from.get("own", _digest(own)):
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


def _read_state(path: Path) -> dict[str, Any]:
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


def with_splits(
    manifest: Manifest,
    recipe: Recipe,
    notes: list[str] | None = None,
    known: Mapping[str, Split | None] | None = None,
) -> Manifest:
    """The manifest with every item that has a genre in a split: its own splits, or drawn ones.

    Items without a genre are in none: nothing learns from them. Of the others without a split,
    those that the run has had before stay in their `known` one, and those that were added get the
    split of their artist, or one that is drawn. `notes` gets a sentence on artists that are in two
    of its own splits under two spellings, which may be one artist or not.

    Raises:
        LabelError: no item has a label.
        ManifestError: only some have a split.
        SplitError: the splits leak and the recipe does not allow it, one has no item, or none can
            be drawn.
    """
    c = manifest.columns
    if not all(c.labels):
        labelled = [item_id for item_id, own in zip(c.ids, c.labels, strict=True) if own]
        if not labelled:
            raise LabelError(
                f"{manifest.where}: none of {len(manifest)} items has a label, and training needs "
                "them. To name genres by a model that is there: mmgenre predict RUN --manifest FILE"
            )
        placed = [i for i, own, s in zip(c.ids, c.labels, c.splits, strict=True) if s and not own]
        if placed and notes is not None:
            what = "item(s) without a genre are in a split of the manifest: they are in none here"
            notes += [note for note in found_note(placed, what) if note not in notes]
        done = with_splits(manifest.only(labelled), recipe, notes, known)
        return manifest.with_splits({**dict.fromkeys(c.ids), **done.splits})
    open_ids = [i for i, split in manifest.splits.items() if split is None]
    kept = {i: s for i in open_ids if (s := (known or {}).get(i)) is not None}
    given = {i: split for i, split in manifest.splits.items() if split is not None}
    if open_ids and known and (kept or given):
        own = make_splits(manifest, recipe.ratios, recipe.seed, {**kept, **given})
        manifest, open_ids = manifest.with_splits(own), []
    if open_ids and len(open_ids) == len(manifest):
        return manifest.with_splits(make_splits(manifest, recipe.ratios, recipe.seed))
    if open_ids:
        fault = f"{len(open_ids)} of {len(manifest)} items have no split (first: {open_ids[0]!r})"
        raise ManifestError(manifest.where, [f"{fault}; give all of them one, or none"])
    if empty := [split for split in SPLITS if not manifest.ids(split)]:
        raise SplitError(
            f"{manifest.where}: no item is in {' or '.join(empty)}; a run trains on train, stops "
            "by val and measures on test. Empty the column split to have all three drawn"
        )
    found = find_leaks(manifest)
    if doubtful := [leak for leak in found if not leak.is_certain]:
        note = (
            f"{len(doubtful)} artist(s) or album(s) seem to be in two splits under two spellings "
            f"(first: {doubtful[0].value}); mmgenre manifest check lists them"
        )
        if notes is not None and note not in notes:
            notes.append(note)
    leaks = [leak for leak in found if leak.is_certain]
    if recipe.split.leakage == "refuse" and leaks:
        shown = "\n".join(f"  {leak}" for leak in leaks[:10])
        raise SplitError(
            f"{manifest.where}: its splits leak in {len(leaks)} place(s), so its figures would "
            f"flatter:\n{shown}\nEmpty the column split to have new ones drawn, or accept it "
            "with --set split.leakage=report"
        )
    return manifest
