"""The user's own audio files and covers, found by the ids that a published dataset gives them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mmgenre.datasets.layout import Published
from mmgenre.errors import ManifestError
from mmgenre.items.manifest import LIST_SEPARATOR, Item, Modality

AUDIO = frozenset({".mp3", ".flac", ".ogg", ".opus", ".wav", ".m4a", ".aac", ".wma", ".aiff"})
IMAGES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
ARCHIVER_LEFTOVER = "__MACOSX"  # a folder of shadows of the files beside it


@dataclass(frozen=True)
class ImageTree:
    """The images of a folder and of all folders in it, by name, and what else lies there."""

    images: tuple[Path, ...]
    notes: tuple[str, ...]


def find_images(folder: Path) -> ImageTree:
    """Looks through a folder, links to folders included; what is no image is counted in the notes.

    Raises:
        ManifestError: there is no such folder, or one in it cannot be read.
    """
    if not folder.is_dir():
        raise ManifestError(str(folder), ["no such folder"])

    def refuse(error: OSError) -> None:
        raise ManifestError(str(folder), [f"{error.filename}: {error.strerror}"]) from None

    images: list[Path] = []
    hidden: list[str] = []
    unwritable: list[str] = []
    again: list[str] = []
    others: Counter[str] = Counter()
    seen: set[Path] = set()
    for place, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        here = Path(place)
        if here.resolve() in seen:  # a link back up would lead round for ever
            again.append(str(here.relative_to(folder)))
            folders.clear()
            continue
        seen.add(here.resolve())
        hidden += [name for name in (*folders, *names) if _is_hidden(name)]
        folders[:] = sorted(name for name in folders if not _is_hidden(name))
        for name in sorted(names):
            path = here / name
            if _is_hidden(name):
                continue
            if path.suffix.lower() not in IMAGES:
                others[path.suffix.lower() or "no suffix"] += 1
            elif _is_writable(str(path.relative_to(folder))):
                images.append(path)
            else:
                unwritable.append(ascii(name))
    notes = []
    if hidden:
        notes.append(f"{len(hidden)} hidden file(s) or folder(s) are left out")
    if others:
        kinds = ", ".join(f"{n} {suffix}" for suffix, n in others.most_common())
        notes.append(f"{others.total()} file(s) that are no images by their suffix: {kinds}")
    if unwritable:
        notes.append(
            f"{len(unwritable)} image(s) are left out, as a manifest cannot hold names with "
            f"{LIST_SEPARATOR!r}, control characters or bytes that are not UTF-8 "
            f"(first: {unwritable[0]}); rename them"
        )
    if again:
        notes.append(f"{len(again)} link(s) to folders read already are left out: {again[0]!r} ...")
    return ImageTree(tuple(sorted(images)), tuple(notes))


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == ARCHIVER_LEFTOVER


def _is_writable(path: str) -> bool:
    """Whether a manifest can name it."""
    return not any(c < " " or c == LIST_SEPARATOR or "\ud800" <= c <= "\udfff" for c in path)


def attach_media(
    published: Published, *, audio: Path | None = None, images: Path | None = None
) -> Published:
    """The same items with the files that two folders, and the folders in them, hold for them.

    A file belongs to the id that stands in its name before the first dot: an audio file to a
    track (`TRYDUXK12903CE0C37.mp3`), a cover to an item (`B0018ZB6ZO.jpg`). What has no file is
    counted in the notes.

    Raises:
        ManifestError: a folder is not there, holds two files of one id, or nothing that fits.
    """
    items, notes = published.items, list(published.notes)
    if audio is not None:
        names = {item.id: published.tracks.get(item.id, (item.id,)) for item in items}
        items, more = _attach(items, "audio", "track", names, audio)
        notes += more
    if images is not None:
        covers = {item.id: (item.id,) for item in items}
        items, more = _attach(items, "image", "cover", covers, images)
        notes += more
    return replace(published, items=items, notes=tuple(notes))


def _attach(
    items: Sequence[Item],
    modality: Modality,
    what: str,
    names: Mapping[str, tuple[str, ...]],
    folder: Path,
) -> tuple[tuple[Item, ...], list[str]]:
    files, others = _by_id(folder, AUDIO if modality == "audio" else IMAGES)
    wanted = [name for item in items for name in names[item.id]]
    missing = [name for name in wanted if name not in files]
    if len(missing) == len(wanted):
        held = f"the first of {len(files)} is {min(files)!r}" if files else "there are none"
        fault = (
            f"no {what} of {len(wanted)} has a file here; files are named by id, as "
            f"{wanted[0]!r} and a suffix; {held}"
        )
        raise ManifestError(str(folder), [fault])
    attached = []
    for item in items:
        found = tuple(files[name] for name in names[item.id] if name in files)
        media = {**item.media, modality: found} if found else item.media
        attached.append(replace(item, media=media))
    notes = []
    if missing:
        without = sum(modality not in item.media for item in attached)
        notes.append(
            f"{len(missing)} of {len(wanted)} {what}s have no file in {folder} (first: "
            f"{missing[0]!r}); {without} of {len(items)} items are without {modality}"
        )
    surplus = len(files) - len(set(wanted) & files.keys())
    if surplus or others:
        notes.append(
            f"{folder}: {surplus} file(s) of ids that the dataset does not name, and {others} "
            f"that are no {what}s by their suffix, are left out"
        )
    return tuple(attached), notes


def _by_id(folder: Path, suffixes: frozenset[str]) -> tuple[dict[str, Path], int]:
    """Files by id, and how many others there are."""
    if not folder.is_dir():
        raise ManifestError(str(folder), ["no such folder"])
    files: dict[str, Path] = {}
    faults: list[str] = []
    others = 0
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.name.startswith("."):
            continue
        if path.suffix.lower() not in suffixes:
            others += 1
            continue
        name = path.name.split(".")[0]
        if name in files:
            faults.append(f"two files for {name!r}: {files[name]} and {path}; keep one")
        files[name] = path
    if faults:
        raise ManifestError(str(folder), faults)
    return files, others
