"""A published dataset -> a manifest, and a feature store of the vectors published with it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from pkgutil import resolve_name
from typing import Any
from unicodedata import normalize

from mmgenre.datasets.cover_table import Field
from mmgenre.datasets.features import write_features
from mmgenre.datasets.layouts import LAYOUTS
from mmgenre.datasets.sources import Published, check_folder, found_note, refuse
from mmgenre.disk.store import group_names
from mmgenre.errors import ManifestError
from mmgenre.items.labels import ancestors, closure
from mmgenre.items.manifest import Item, Manifest
from mmgenre.items.modalities import SUFFIXES, Modality
from mmgenre.progress import Progress, silent

FEATURES = "features.h5"  # beside the manifest


@dataclass(frozen=True)
class Built:
    """What was written: the manifest, and a feature store if vectors were published."""

    manifest: Path
    store: Path | None
    info: dict[str, int | dict[str, int]]
    features: dict[str, int]  # rows of each group
    notes: tuple[str, ...]  # what the dataset or the user's folders lack

    def summary(self) -> list[str]:
        """Lines for a person: counts of items, splits, modalities and vectors, then the notes."""
        shown = []
        for name, value in self.info.items():
            if isinstance(value, int):
                shown.append(f"{name} {value}")
            elif name == "labels":  # all 250 genres would hide the rest
                shown.append(f"{name} {len(value)}")
            else:
                shown.append(f"{name} " + ", ".join(f"{n} {key}" for key, n in value.items()))
        lines = [f"{self.manifest}: {'; '.join(shown)}"]
        if self.store is not None:
            rows = ", ".join(f"{n} {name}" for name, n in self.features.items())
            lines.append(f"{self.store}: {rows}")
        return [*lines, *(f"note: {note}" for note in self.notes)]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        store = None if self.store is None else str(self.store)
        return {**vars(self), "manifest": str(self.manifest), "store": store}


def build_manifest(
    layout: str,
    folder: Path,
    out: Path,
    *,
    audio: Path | None = None,
    images: Path | None = None,
    dataset: str | None = None,
    columns: Mapping[Field, str] | None = None,
    only_with: Sequence[Modality] = (),
    min_share: float | None = None,
    progress: Progress = silent,
) -> Built:
    """Reads a dataset and writes its manifest, with the media that the user has.

    `folder` has the published files; for cls and csv it can be the file itself. Published vectors
    go into `features.h5` beside the CSV `out`. Audio files are named by track id, images by item
    id; for csv, as the table names them. `dataset` (tartarus only) says which of several in the
    folder, `columns` (csv only) the column of each field. Items that
    lack a modality of `only_with` are left out, then genres that a smaller share than `min_share`
    of the other items has. That media may lie in these folders is remembered on this machine.

    A ManifestError if the layout is none of `LAYOUTS` or does not have an option that is given; or
    lists every fault of the files and, for missing files, where to get them and where to put them.
    A StoreError if a published vector is not finite.
    """
    if layout not in LAYOUTS:
        refuse(folder, [f"unknown layout {layout!r}; layouts are {', '.join(LAYOUTS)}"])
    chosen = LAYOUTS[layout]
    if images is not None and chosen.has_covers:
        raise ManifestError(layout, [f"images {images}: the covers are in {folder} itself"])
    given = {"dataset": dataset, "columns": columns, "images": images, "progress": progress}
    for name in ("dataset", "columns"):
        if given[name] is not None and name not in chosen.options:
            having = ", ".join(n for n in LAYOUTS if name in LAYOUTS[n].options)
            fault = f"{name} {given[name]!r}: only the layout {having} has this option"
            raise ManifestError(layout, [fault])
    read = resolve_name(f"mmgenre.datasets.{chosen.reader}")
    published: Published = read(folder, **{name: given[name] for name in chosen.options})
    covers = None if "images" in chosen.options else images  # else the reader has used them
    published = attach_media(published, audio=audio, images=covers)
    if only_with:
        published = keep_having(published, only_with)
    if min_share is not None:
        published = keep_frequent(published, min_share)
    named = (folder if folder.is_dir() else folder.parent, audio, images)
    items, where = Manifest(published.items, where=str(out)).columns, str(out)
    roots = tuple(place for place in named if place is not None)
    manifest = Manifest(replace(items, roots=roots), where=where)
    store = out.parent / FEATURES if published.features else None
    if store is not None:
        others = sorted(set(group_names(store)) - published.features.keys())
        if others:
            fault = f"has groups of another dataset: {', '.join(others)}; write to another folder"
            raise ManifestError(str(store), [fault])
        write_features(published.features, store)
    manifest.write(out)
    rows = {name: sum(len(p.ids) for p in parts) for name, parts in published.features.items()}
    return Built(out, store, manifest.info(), rows, published.notes)


def keep_having(published: Published, modalities: Sequence[Modality]) -> Published:
    """The items with all of these modalities; the others are counted in the notes."""
    kept = tuple(item for item in published.items if all(m in item.media for m in modalities))
    return _only(published, kept, f"without {' and '.join(modalities)}")


def keep_frequent(published: Published, min_share: float) -> Published:
    """The items with those of their genres that at least `min_share` (0 to 1) of all items have.

    An item of `Jazz/Vocal Jazz` counts for both; where only Jazz is frequent, Jazz is its genre.
    Genres are counted over all splits: the set of genres defines the task and is not learnt.
    The notes count the genres and the items that are left out because no genre is left.
    """
    if not 0 < min_share < 1:
        raise ManifestError(published.where, [f"share {min_share}: must be between 0 and 1"])
    counts = Counter(name for item in published.items for name in closure(item.labels))
    least = min_share * len(published.items)
    frequent = frozenset(name for name, n in counts.items() if n >= least)
    items = (replace(item, labels=_frequent_labels(item, frequent)) for item in published.items)
    kept = tuple(item for item in items if item.labels)
    published = _only(published, kept, f"of no genre that {min_share:.2%} of them have")
    note = f"{len(frequent)} of {len(counts)} genres are kept: those of {least:.6g} items or more"
    rare = [(n, name) for name, n in counts.items() if name not in frequent]
    if rare:
        note += f"; the most frequent of the others is {max(rare)[1]!r} with {max(rare)[0]}"
    return replace(published, notes=(*published.notes, note))


def _frequent_labels(item: Item, frequent: frozenset[str]) -> tuple[str, ...]:
    """Each label cut to the frequent part of its path, without labels that are above another."""
    cut = [[name for name in ancestors(label) if name in frequent] for label in item.labels]
    labels = dict.fromkeys(names[-1] for names in cut if names)
    above = {name for label in labels for name in ancestors(label)[:-1]}
    return tuple(label for label in labels if label not in above)


def _only(published: Published, kept: tuple[Item, ...], what: str) -> Published:
    """The items that are kept; a ManifestError if there are none."""
    n, ids = len(published.items), {item.id for item in kept}
    if not kept:
        refuse(published.where, [f"all {n} items are {what}: nothing is left for a manifest"])
    left_out = [item.id for item in published.items if item.id not in ids]
    notes = found_note(left_out, f"of {n} items are left out, {what}")
    return replace(published, items=kept, notes=(*published.notes, *notes))


def attach_media(
    published: Published, *, audio: Path | None = None, images: Path | None = None
) -> Published:
    """The same items with the files that two folders, and their subfolders, have for them.

    A file belongs to the id in its name before the first dot: an audio file to a track
    (`TRYDUXK12903CE0C37.mp3`), a cover to an item (`B0018ZB6ZO.jpg`). The notes count the ids
    without a file.
    """
    if audio is not None:
        published = _attach(published, "audio", "track", audio)
    return published if images is None else _attach(published, "image", "cover", images)


def _attach(published: Published, modality: Modality, what: str, folder: Path) -> Published:
    check_folder(folder)
    files: dict[str, Path] = {}
    faults: list[str] = []
    others: Counter[str] = Counter()
    for path in sorted(folder.rglob("[!.]*")):
        if not path.is_file():
            continue
        if path.suffix.lower() in SUFFIXES[modality]:
            name = normalize("NFC", path.name.split(".")[0])
            if name in files:
                faults.append(f"two files for {name!r}: {files[name]} and {path}; keep one")
            files[name] = path
        else:
            others[path.suffix.lower() or "no suffix"] += 1
    refuse(folder, faults)
    names = published.tracks if modality == "audio" else {}
    items = []
    wanted: list[str] = []
    for item in published.items:
        own = names.get(item.id, (item.id,))
        own = tuple(normalize("NFC", name) for name in own)
        wanted += own
        found = tuple(files[name] for name in own if name in files)
        items.append(replace(item, media={**item.media, modality: found}) if found else item)
    missing = [name for name in wanted if name not in files]
    if len(missing) == len(wanted):
        here = f"the first of {len(files)} is {min(files)!r}" if files else "there are none"
        fault = (
            f"none of {len(wanted)} {what}s has a file here; files must be named by id and suffix "
            f"(first id: {wanted[0]!r}); files here: {here}"
        )
        if others:
            allowed = ", ".join(sorted(SUFFIXES[modality]))
            fault += f"; others: {_counts(others)}; suffixes of a {what} are {allowed}"
        raise ManifestError(str(folder), [fault])
    without = sum(modality not in item.media for item in items)
    advice = f"; {without} of {len(items)} items are without {modality}"
    notes = found_note(missing, f"of {len(wanted)} {what}s have no file in {folder}", advice)
    surplus = len(files.keys() - set(wanted))
    if surplus or others:
        notes.append(
            f"{folder}: {surplus} file(s) with ids that are not in the dataset, and "
            f"{others.total()} without the suffix of a {what}, are left out"
            + (f": {_counts(others)}" if others else "")
        )
    return replace(published, items=tuple(items), notes=(*published.notes, *notes))


def _counts(suffixes: Counter[str]) -> str:
    return ", ".join(f"{n} {suffix}" for suffix, n in suffixes.most_common())
