"""What the readers of published layouts share: their result, their tables, their label names."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mmgenre.datasets.features import Features
from mmgenre.errors import ManifestError
from mmgenre.items.labels import SEPARATOR
from mmgenre.items.manifest import Item, Split

DEPTH = 3  # the archives unpack into folders of their own, as ismir-data/splits
INSTEAD_OF_SEPARATOR = "|"
# What others call the splits, in folders and in columns.
SPLIT_NAMES: Mapping[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True)
class Published:
    """A dataset as its authors published it.

    `tracks` maps an item to the names of its audio files, for items that are not tracks
    themselves; `features` are published vectors, a group a name; `notes` say what is not there.
    """

    where: str
    items: tuple[Item, ...]
    notes: tuple[str, ...] = ()
    tracks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    features: Mapping[str, tuple[Features, ...]] = field(default_factory=dict)


def files_below(folder: Path) -> Iterator[Path]:
    """The files of a folder and of the folders in it, `DEPTH` levels down, by name.

    Raises:
        ManifestError: there is no such folder.
    """
    if not folder.is_dir():
        raise ManifestError(str(folder), ["no such folder"])
    for depth in range(DEPTH):
        yield from sorted(p for p in folder.glob("/".join(["*"] * (depth + 1))) if p.is_file())


def find_files(folder: Path, names: Iterable[str]) -> dict[str, Path]:
    """Those of the named files that are there: name -> path.

    Raises:
        ManifestError: there is no such folder, or a name stands in it twice.
    """
    wanted = frozenset(names)
    found: dict[str, list[Path]] = {}
    for path in files_below(folder):
        if path.name in wanted:
            found.setdefault(path.name, []).append(path)
    twice = [
        f"{name!r} is there {len(paths)} times ({', '.join(map(str, paths))}); keep one"
        for name, paths in found.items()
        if len(paths) > 1
    ]
    if twice:
        raise ManifestError(str(folder), twice)
    return {name: paths[0] for name, paths in found.items()}


def read_table(
    path: Path, required: Sequence[str], *, delimiter: str
) -> list[tuple[int, dict[str, str]]]:
    """Rows of a table with a header, each with the line where it begins; cells are stripped.

    Tab-separated tables know no quotes, comma-separated ones do.

    Raises:
        ManifestError: not UTF-8, a required column is missing or stands twice, or a row has more
            or fewer cells than the header; lists every fault with its line.
    """
    quoting: Literal[0, 3] = csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
    lines = read_lines(path)
    reader = csv.reader(
        (f"{text}\n" for text in lines), delimiter=delimiter, quoting=quoting, strict=True
    )
    rows: list[tuple[int, dict[str, str]]] = []
    faults: list[str] = []
    line = 1
    try:
        header = [name.strip() for name in next(reader, [])]
        for name in required:
            if header.count(name) != 1:
                times = "no" if name not in header else f"{header.count(name)} times a"
                faults.append(f"line 1: {times} column {name!r}; the header reads {header}")
        line = reader.line_num + 1
        for cells in reader if not faults else ():
            if len(cells) != len(header) and any(cells):
                faults.append(f"line {line}: {len(cells)} cells, but the header has {len(header)}")
            elif any(cells):
                values = dict(zip(header, (cell.strip() for cell in cells), strict=True))
                rows.append((line, values))
            line = reader.line_num + 1
    except csv.Error as error:
        faults.append(f"line {line}: {error}")
    if not faults and not rows:
        faults.append("no rows below the header")
    if faults:
        raise ManifestError(str(path), faults)
    return rows


def read_lines(path: Path) -> list[str]:
    """Lines of a UTF-8 file, without their ends.

    Raises:
        ManifestError: it is not UTF-8.
    """
    try:
        # Not splitlines: it would also split at characters that stand inside titles.
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ManifestError(str(path), [f"not UTF-8: {error}"]) from None
    return text.removesuffix("\n").split("\n") if text else []


def read_ids(path: Path) -> tuple[str, ...]:
    """One id a line; of a line with tabs, its first cell.

    Raises:
        ManifestError: an empty line or an id that stands twice; lists all.
    """
    ids = [line.split("\t")[0].strip() for line in read_lines(path)]
    first: dict[str, int] = {}
    faults: list[str] = []
    for line, item_id in enumerate(ids, start=1):
        if not item_id:
            faults.append(f"line {line}: no id")
        elif item_id in first:
            faults.append(f"line {line}: id {item_id!r} stands in line {first[item_id]} already")
        first.setdefault(item_id, line)
    if faults:
        raise ManifestError(str(path), faults)
    return tuple(ids)


def id_of_path(path: str) -> str:
    """A relative path as an item's id: `#`, which separates tracks, is encoded as in an address.

    >>> id_of_path("Rock/#1 at 100%.jpg")
    'Rock/%231 at 100%25.jpg'
    """
    return path.replace("%", "%25").replace("#", "%23")  # of two paths never the same id


def flat_label(name: str) -> str:
    """A published genre as a label without a taxonomy: our `/` would add a genre above it.

    >>> flat_label(" Pop/Rock ")
    'Pop|Rock'
    """
    return name.strip().replace(SEPARATOR, INSTEAD_OF_SEPARATOR)


def renamed_note(names: Iterable[str]) -> list[str]:
    """Says which published genre names `flat_label` writes otherwise; nothing if none."""
    changed = sorted({name.strip() for name in names if SEPARATOR in name})
    if not changed:
        return []
    return [
        f"{len(changed)} genre name(s) hold {SEPARATOR!r}, which means a taxonomy here, and are "
        f"written with {INSTEAD_OF_SEPARATOR!r}: {', '.join(changed)}"
    ]


def split_note(items: Sequence[Item]) -> list[str]:
    """Says what follows where only some items have a split; nothing if all or none have one."""
    without = [item.id for item in items if item.split is None]
    if not without or len(without) == len(items):
        return []
    return [
        f"{len(without)} of {len(items)} items are in no published split (first: {without[0]!r}); "
        "a run wants a split for all or for none: delete these rows, or empty the column split"
    ]
