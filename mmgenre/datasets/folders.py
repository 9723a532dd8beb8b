"""Covers in a folder a genre, perhaps below folders that name the splits, as a manifest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mmgenre.datasets.layout import SPLIT_NAMES, Published, id_of_path
from mmgenre.datasets.media import IMAGES, find_images
from mmgenre.errors import ManifestError
from mmgenre.items.labels import SEPARATOR
from mmgenre.items.manifest import LIST_SEPARATOR, Item, Split
from mmgenre.items.splits import fold

LAYOUT = "FOLDER/GENRE/*.jpg, or FOLDER/train/GENRE/*.jpg"


def read_folders(folder: Path) -> Published:
    """Reads `FOLDER/GENRE/*.jpg`: an item is a cover, its label the folder where it lies.

    Folders in a genre's folder are its sub-genres: `Rock/Punk/1.jpg` has the label `Rock/Punk`.
    Where every folder at the top is called train, val or test (or valid, validation, dev,
    training, testing), these are the splits and the genres lie in them. An item's id is the path.

    Raises:
        ManifestError: no cover lies in a genre's folder, split names stand beside genres, or a
            genre's name is none that a manifest can hold; lists every fault.
    """
    found = find_images(folder)
    paths = {path: path.relative_to(folder).parts for path in found.images}
    tops = sorted({parts[0] for parts in paths.values() if len(parts) > 1})
    faults, splits = _splits(tops)
    depth = 1 if splits else 0  # where the genre begins
    loose = [path for path, parts in paths.items() if len(parts) < depth + 2]
    items = [
        Item(
            id_of_path("/".join(parts)),
            split=splits.get(parts[0]),
            labels=(SEPARATOR.join(parts[depth:-1]),),
            media={"image": (path,)},
        )
        for path, parts in paths.items()
        if len(parts) >= depth + 2
    ]
    faults += _genre_faults(part for item in items for part in item.labels[0].split(SEPARATOR))
    if not items:
        held = f"{len(loose)} image(s) lie in no folder of a genre" if loose else "no image at all"
        suffixes = ", ".join(sorted(IMAGES))
        faults.append(f"{held}; wants {LAYOUT}, suffixes {suffixes}")
    if faults:
        raise ManifestError(str(folder), faults)
    notes = list(found.notes)
    if loose:
        notes.append(
            f"{len(loose)} image(s) that lie in no folder of a genre are left out "
            f"(first: {loose[0].relative_to(folder).as_posix()!r})"
        )
    notes += _genre_notes({item.labels[0] for item in items}, _empty(folder, tops))
    notes.append("no artists or albums: no check sees whether the splits share them")
    return Published(str(folder), tuple(items), tuple(notes))


def _splits(tops: Sequence[str]) -> tuple[list[str], Mapping[str, Split]]:
    """Faults, and the split of each folder at the top if that is what they name."""
    splits = {top: SPLIT_NAMES[top.lower()] for top in tops if top.lower() in SPLIT_NAMES}
    beside = [top for top in tops if top not in splits]
    if splits and beside:
        return [
            f"folders {', '.join(splits)} name splits, but {', '.join(beside)} beside them do not; "
            f"put every genre into a split, or none: {LAYOUT}"
        ], {}
    faults = []
    for split in dict.fromkeys(splits.values()):
        same = [top for top in splits if splits[top] == split]
        if len(same) > 1:
            faults.append(f"folders {', '.join(same)} all name the split {split}; keep one")
    return faults, splits


def _genre_faults(names: Iterable[str]) -> list[str]:
    return [
        f"folder {name!r}: a genre may not begin or end with a space or hold "
        f"{LIST_SEPARATOR!r}; rename it"
        for name in sorted(set(names))
        if name != name.strip() or LIST_SEPARATOR in name
    ]


def _empty(folder: Path, tops: Sequence[str]) -> list[str]:
    """Folders at the top that hold no image, however deep."""
    names = (path.name for path in folder.iterdir() if path.is_dir())
    return sorted(name for name in names if name not in tops and not name.startswith((".", "__")))


def _genre_notes(labels: set[str], empty: Sequence[str]) -> list[str]:
    notes = []
    if empty:
        notes.append(f"{len(empty)} folder(s) hold no image: {', '.join(empty)}")
    alike: dict[str, list[str]] = {}
    for label in sorted(labels):
        alike.setdefault(fold(label), []).append(label)
    notes += [
        f"genres {' and '.join(same)} differ only in case, accents or spaces; are they one?"
        for same in alike.values()
        if len(same) > 1
    ]
    top = {label.split(SEPARATOR)[0] for label in labels}
    if len(top) == 1:
        (name,) = top
        notes.append(f"every genre lies below {name!r}; if that is none, name its folder instead")
    return notes
