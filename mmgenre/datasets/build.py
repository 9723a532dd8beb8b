"""A published dataset -> a manifest, and a feature store of the vectors published with it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from pkgutil import resolve_name
from typing import Any
from unicodedata import normalize

from mmgenre.datasets.features import write_features
from mmgenre.datasets.layouts import LAYOUTS, By
from mmgenre.datasets.selection import (
    keep_frequent,
    keep_having,
    keep_known,
    mapped,
    read_map,
    sampled,
)
from mmgenre.datasets.sources import Published, check_folder, found_note, refuse
from mmgenre.datasets.table_columns import Field
from mmgenre.disk.store import group_names
from mmgenre.disk.tables import write_table
from mmgenre.errors import ManifestError
from mmgenre.items.manifest import Manifest
from mmgenre.items.modalities import SUFFIXES, Modality
from mmgenre.items.notes import unlabelled_notes
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
    faults: dict[str, int] = field(default_factory=dict)  # reason -> how many files
    refused: Path | None = None  # the table of these files, with the fault of each

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
        if self.faults:
            counts = ", ".join(f"{n} {reason}" for reason, n in self.faults.items())
            lines.append(f"{sum(self.faults.values())} file(s) with faults: {counts}")
            lines.append(f"each with its fault: {self.refused}")
        return [*lines, *(f"note: {note}" for note in self.notes)]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        paths = {"manifest": self.manifest, "store": self.store, "refused": self.refused}
        named = {name: None if path is None else str(path) for name, path in paths.items()}
        return {**vars(self), **named}


def build_manifest(
    layout: str,
    folder: Path,
    out: Path,
    *,
    audio: Path | None = None,
    images: Path | None = None,
    dataset: str | None = None,
    columns: Mapping[Field, str] | None = None,
    by: By | None = None,
    separators: str | None = None,
    subset: str | None = None,
    labels: str | None = None,
    split: str | None = None,
    only_with: Sequence[Modality] = (),
    min_share: float | None = None,
    min_items: int | None = None,
    genre_map: Path | None = None,
    sample: int | None = None,
    by_artist: bool = False,
    seed: int = 0,
    progress: Progress = silent,
) -> Built:
    """Reads a dataset and writes its manifest, with the media that the user has.

    `folder` has the published files; for cls and csv it can be the file itself. Published vectors
    go into `features.h5` beside the CSV `out`. Audio files are named by track id, images by item
    id; for csv, as the table names them. `dataset` (tartarus only) says which of several in the
    folder, `columns` (csv only) the column of each field, `by` and `separators` (library only) what
    an item is and what separates the genres of a tag; `subset`, `labels` and `split` are those of
    the readers of published datasets. That media may lie in these folders is
    remembered on this machine.

    Then, in this order: genres are renamed by the table `genre_map` (`read_map`); items that lack a
    modality of `only_with` are left out; genres that a smaller share than `min_share` of the other
    items has, with items of no other genre; genres of fewer than `min_items` items, whose items
    stay. Of what is left `sample` items are drawn, whole artists if `by_artist`.

    A ManifestError if the layout is none of `LAYOUTS` or does not have an option that is given; or
    lists every fault of the files and, for missing files, where to get them and where to put them.
    A StoreError if a published vector is not finite. Of a library, no file ends the building: those
    with faults are listed in a table beside the manifest.
    """
    if layout not in LAYOUTS:
        refuse(folder, [f"unknown layout {layout!r}; layouts are {', '.join(LAYOUTS)}"])
    if by_artist and sample is None:
        refuse(folder, ["by artist: is of a sample; give its number of items"])
    chosen = LAYOUTS[layout]
    if images is not None and chosen.has_covers:
        raise ManifestError(layout, [f"images {images}: the covers are in {folder} itself"])
    wanted = {"dataset": dataset, "columns": columns, "by": by, "separators": separators}
    wanted |= {"subset": subset, "labels": labels, "split": split}
    for name, value in wanted.items():
        if value is not None and name not in chosen.options:
            having = ", ".join(n for n in LAYOUTS if name in LAYOUTS[n].options)
            fault = f"{name} {value!r}: only the layout {having} has this option"
            raise ManifestError(layout, [fault])
    renamed = read_map(genre_map) if genre_map is not None else None
    covers = out.parent / f"{out.stem}-covers"
    given: dict[str, Any] = {"audio": audio, "images": images, "covers": covers}
    given["progress"] = progress
    given |= {name: value for name, value in wanted.items() if value is not None}
    read = resolve_name(f"mmgenre.datasets.{chosen.reader}")
    options = {name: given[name] for name in chosen.options if name in given}
    published: Published = read(folder, **options)
    # Else the reader has used them.
    tracks = None if any("audio" in item.media for item in published.items) else audio
    own = None if "images" in chosen.options else images
    published = attach_media(published, audio=tracks, images=own)
    if renamed is not None:
        published = mapped(published, renamed)
    if only_with:
        published = keep_having(published, only_with)
    if min_share is not None:
        published = keep_frequent(published, min_share)
    if min_items is not None:
        published = keep_known(published, min_items)
    if sample is not None:
        published = sampled(published, sample, by_artist=by_artist, seed=seed)
    named = (folder if folder.is_dir() else folder.parent, audio, images)
    roots = [place for place in named if place is not None] + [covers] * covers.is_dir()
    return _write(published, out, roots)


def _write(published: Published, out: Path, roots: Sequence[Path]) -> Built:
    items = Manifest(published.items, where=str(out)).columns
    manifest = Manifest(replace(items, roots=tuple(roots)), where=str(out))
    store = out.parent / FEATURES if published.features else None
    if store is not None:
        others = sorted(set(group_names(store)) - published.features.keys())
        if others:
            fault = f"has groups of another dataset: {', '.join(others)}; write to another folder"
            raise ManifestError(str(store), [fault])
        write_features(published.features, store)
    manifest.write(out)
    rows = {name: sum(len(p.ids) for p in parts) for name, parts in published.features.items()}
    rows_of_faults = ((fault.path, fault.reason, fault.detail) for fault in published.faults)
    table = out.with_name(f"{out.stem}-refused.csv")
    refused = write_table(table, ("path", "fault", "detail"), rows_of_faults)
    reasons = dict(Counter(fault.reason for fault in published.faults).most_common())
    notes = (*unlabelled_notes(manifest), *published.notes)
    return Built(out, store, manifest.info(), rows, notes, reasons, refused)


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
