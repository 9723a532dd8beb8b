"""What a run is made from: recipe and manifest are settled, and written into its folder."""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from mmgenre.datasets.synthetic import built_in_catalogue
from mmgenre.disk.allowed import allow, allow_media, allowed, allowed_media, as_named
from mmgenre.disk.files import set_damaged_aside, without_links
from mmgenre.disk.locks import tidy
from mmgenre.disk.records import write_record
from mmgenre.errors import DamageWarning, MmgenreError
from mmgenre.items.manifest import Manifest
from mmgenre.pipeline.earlier import keep_items
from mmgenre.pipeline.named import all_in, texts_in
from mmgenre.pipeline.older import set_aside, translated
from mmgenre.pipeline.recipe import (
    AUTO,
    Recipe,
    decided,
    load_recipe,
    merge,
    models_in,
    parse_setting,
    read_values,
    validate,
)
from mmgenre.pipeline.run import (
    EDITED,
    FORMAT,
    MANIFEST,
    STATE,
    SYNTHETIC,
    Run,
    digest_of,
    read_state,
)
from mmgenre.pipeline.split import with_splits
from mmgenre.progress import Progress, silent


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
    before = read_state(state) if state.is_file() else None
    # Absolute: a run is continued from other folders, too.
    dataset = (
        str(without_links(manifest)) if manifest else before["dataset"] if before else SYNTHETIC
    )
    given = merge({}, *map(parse_setting, settings))
    names = allowed(folder) | as_named(texts_in(given))
    if manifest is not None or dataset == SYNTHETIC:
        names |= {dataset}
    asked = _Asked(folder, manifest, media_roots, dataset, before, given, names, progress)
    settled = asked.recipe(recipe, settings)
    tidy(asked.own)
    made_from = asked.made_from(settled)
    ready = asked.manifest_of(settled, made_from)
    if asked.is_older:
        set_aside(folder)
    if made_from.is_own:
        if manifest is not None or media_roots:
            allow_media(asked.own, ready.columns.roots or ())
    else:
        asked.write(ready, made_from, settled.file)
        if made_from.is_moved:  # paths through its former folder lead nowhere if that is gone
            ready = asked.own_manifest(settled.file)
    content = {"format": FORMAT, "dataset": dataset, "recipe": settled.plain}
    content |= {"made_from": made_from.now, "decided": settled.notes}
    if content != before:  # shards of one run begin at the same time
        write_record(state, content)
    names = settled.names & (all_in(settled.recipe) | {dataset})
    if names != allowed(folder):
        allow(folder, names)
    return Run(folder, dataset, ready, settled.recipe, names=names, decided=tuple(settled.notes))


@dataclass
class _Settled:
    """The recipe of a run, and what it took to decide it."""

    recipe: Recipe
    notes: list[str]  # what was left to the data, in sentences
    names: frozenset[str]  # what the user has named, the recipe included
    file: Path | None  # of the dataset; None: it may not be read
    read: Manifest | None  # if it had to be

    @cached_property
    def plain(self) -> dict[str, Any]:
        return self.recipe.model_dump(mode="json")


@dataclass
class _MadeFrom:
    """What the manifest of a run is made from, now and as the run has it."""

    now: dict[str, Any]
    then: Mapping[str, Any]
    is_own: bool = False  # the run's own copy is that of the dataset today
    is_moved: bool = False  # it is, and its folder was another one
    is_edited: bool = False


@dataclass(frozen=True)
class _Asked:
    """A run's folder, and what is asked for in it."""

    folder: Path
    manifest: Path | None
    media_roots: Sequence[Path]
    dataset: str
    before: Mapping[str, Any] | None  # what run.json says
    given: dict[str, Any]  # settings
    names: frozenset[str]
    progress: Progress = field(repr=False)

    @property
    def own(self) -> Path:
        return self.folder / MANIFEST

    @property
    def is_older(self) -> bool:
        return self.before is not None and self.before["format"] < FORMAT

    def recipe(self, recipe: str | None, settings: Sequence[str]) -> _Settled:
        """The recipe: that of the run with other settings, or another one."""
        before, names = self.before, self.names
        read: Manifest | None = None
        if recipe is None and before is not None and self.dataset == before["dataset"]:
            values = translated(before["recipe"]) if self.is_older else before["recipe"]
            notes = list(before["decided"])
            wanted = merge(values, self.given)
            file = self._file(wanted["seed"])
            left = (
                self.given.get("labels", {}).get("task"),
                self.given.get("image", {}).get("encoders"),
            )
            if AUTO in left or any(models_in(self.given).values()):
                read = self._read(file, self.media_roots)
            where = str(self.folder / STATE)
            resolved = validate(decided(wanted, read, notes), where=where, names=names)
            return _Settled(resolved, notes, names, file, read)
        name = recipe or ("quick" if self.dataset == SYNTHETIC else "default")
        seed = merge(read_values(name), self.given).get("seed", 0)
        file, notes = self._file(seed if isinstance(seed, int) else 0), []
        read = self._read(file, self.media_roots)
        resolved = load_recipe(name, settings, read, notes)
        return _Settled(resolved, notes, names | all_in(resolved), file, read)

    def _file(self, seed: int) -> Path | None:
        """The dataset's; None if only the run names it, of which nothing is read."""
        is_named = self.dataset in self.names
        return dataset_file(self.dataset, seed, self.progress) if is_named else None

    def _read(self, file: Path | None, roots: Sequence[Path]) -> Manifest:
        if file is None:
            raise MmgenreError(
                f"{self.folder / STATE}: its manifest {self.dataset} is needed, which the run "
                "names and you did not. If it is yours, add: --manifest "
                f"{shlex.quote(self.dataset)}"
            )
        return Manifest.read(file, media_roots=roots)

    def made_from(self, settled: _Settled) -> _MadeFrom:
        """What the manifest is to be made from, compared with what the run's own was made from."""
        plain, own, file = settled.plain, self.own, settled.file
        now = {
            "splits": {"seed": plain["seed"], "task": plain["labels"]["task"], **plain["split"]},
            # to which the paths of its manifest are relative
            "folder": str(without_links(self.folder)),
            "source": file and digest_of(file),
            "own": digest_of(own),
        }
        found = _MadeFrom(now, (self.before and self.before["made_from"]) or {})
        then = found.then
        found.is_edited = now["own"] not in (None, then.get("own")) and not self.is_older
        if found.is_edited and now["source"] is None:
            raise MmgenreError(
                f"{own}: {EDITED}, and {self.dataset}, from which it would be written again, is "
                "not there; put one of them back"
            )
        # A run outlives the file that it was made from: a source that is gone has not changed.
        kept = {**now, "source": now["source"] or then.get("source")}
        found.is_own = now["own"] is not None and then == kept
        found.is_moved = not found.is_own and now["source"] is None and _is_moved(then, kept)
        # Format 2 did not note what a run was made from; its own copy has the splits it learned.
        is_first = self.is_older and file is None and not self.given and not then
        found.is_own |= is_first and own.is_file()
        if found.is_own or found.is_moved:
            found.now = kept
        return found

    def manifest_of(self, settled: _Settled, made_from: _MadeFrom) -> Manifest:
        """The run's manifest, with splits: its own copy where that is of today, or made anew."""
        now, then, file = made_from.now, made_from.then, settled.file
        if made_from.is_own or made_from.is_moved:
            ready = self.own_manifest(file)
            if made_from.is_moved:
                columns = replace(ready.columns, folder=Path(then["folder"]))
                ready = Manifest(columns, where=ready.where)
            return ready
        earlier = Manifest.read(self.own) if then and then["own"] == now["own"] else None
        # Of another dataset, or by other settings, splits are drawn from nothing.
        continues = then and self.before and self.dataset == self.before["dataset"]
        continues = continues and then["splits"] == now["splits"]
        known = earlier.splits if earlier is not None and continues else None
        read = settled.read or self._read(file, self._roots(file))
        ready = with_splits(read, settled.recipe, settled.notes, known)
        if earlier is not None and earlier.task_digest != ready.task_digest:
            keep_items(self.folder, earlier)
        return ready

    def own_manifest(self, source: Path | None) -> Manifest:
        """The run's own copy of its manifest."""
        return Manifest.read(self.own, media_roots=self._roots(source))

    def _roots(self, source: Path | None) -> list[Path]:
        """Folders that media may lie in."""
        roots = [*self.media_roots, *([source.parent] if source else [])]
        return roots + list(allowed_media(self.manifest) if self.manifest else ())

    def write(self, ready: Manifest, made_from: _MadeFrom, source: Path | None) -> None:
        """Writes the run's own copy of its manifest; one that was edited is set aside."""
        own = self.own
        self.folder.mkdir(parents=True, exist_ok=True)
        # After a kill it may be new, and run.json not yet.
        if made_from.is_edited and own.read_bytes() != ready.as_csv(own):
            aside = set_damaged_aside(own)
            text = (
                f"{own}: {EDITED}; kept as {aside.name}, and written again from {source}: make "
                "changes there"
            )
            warnings.warn(text, DamageWarning, stacklevel=3)
        ready.write(own)
        made_from.now["own"] = digest_of(own)


def _is_moved(then: Mapping[str, Any] | None, now: Mapping[str, Any]) -> bool:
    """Whether a run differs from what it was made from in nothing but its place."""
    if then is None or not isinstance(then.get("folder"), str):
        return False
    return {**then, "folder": now["folder"]} == now


def dataset_file(dataset: str, seed: int, progress: Progress) -> Path:
    """The manifest's file of a dataset: a CSV, or that of the built-in catalogue of a seed."""
    own = dataset == SYNTHETIC
    return built_in_catalogue(seed=seed, progress=progress) if own else Path(dataset)
