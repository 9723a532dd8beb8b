"""A table of covers and their genres, as anyone may have it, as a manifest."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

from mmgenre.datasets.layout import (
    SPLIT_NAMES,
    Published,
    flat_label,
    id_of_path,
    read_lines,
    read_table,
    renamed_note,
    split_note,
)
from mmgenre.datasets.media import find_images
from mmgenre.errors import ManifestError
from mmgenre.items.manifest import COLUMNS, Item

Field = Literal["image", "labels", "id", "artist", "album", "split"]
FIELDS: tuple[Field, ...] = get_args(Field)
# Names under which a column is found without being told; case, spaces, `_` and `-` do not matter.
KNOWN_NAMES: Mapping[Field, str] = {
    "image": "image imagepath imagefile imagename img path file filepath filename cover coverpath",
    "labels": "labels label genres genre class category",
    "id": "id itemid albumid releaseid",
    "artist": "artist artistname",
    "album": "album albumname albumtitle",
    "split": "split set subset",
}
DELIMITERS = (",", "\t", ";")
LABEL_SEPARATORS = re.compile(r"[;|]")
ADDRESS = re.compile(r"https?://", re.IGNORECASE)

Row = tuple[int, dict[str, str]]  # the line where it begins, its cells by column


def parse_columns(text: str) -> dict[Field, str]:
    """`image=filename,labels=genre` -> which column holds what; an empty name: none does.

    Raises:
        ValueError: not such pairs, or a field that is unknown or named twice.
    """
    columns: dict[Field, str] = {}
    for pair in text.split(","):
        name, equals, column = (part.strip() for part in pair.partition("="))
        field = next((field for field in FIELDS if field == name), None)
        if not equals or field is None or field in columns:
            raise ValueError(
                f"columns {text!r}: {pair.strip()!r}; wants FIELD=COLUMN, each field at most once, "
                f"joined by commas, as image=filename,labels=genre; fields are {', '.join(FIELDS)}"
            )
        columns[field] = column
    return columns


def read_cover_table(
    source: Path, *, columns: Mapping[Field, str] | None = None, images: Path | None = None
) -> Published:
    """Reads a CSV with a row a cover: its file, its genres joined by `;` or `|`, and more.

    Args:
        source: the file (commas, tabs or semicolons between the cells), or a folder with one CSV.
        columns: the column of each field; those not given are found by their usual names.
        images: folder of the covers, the table's own if None; a path in the table starts there,
            and a file name, with its suffix or without, is looked for in all folders below it.

    Raises:
        ManifestError: a column is not there or not clear (the header is shown), a row has no id or
            one that was there before, a file name fits several files, or no cover is there at all.
    """
    path = _table_in(source)
    delimiter, header = _header(path)
    chosen = _choose(path, header, columns or {})
    rows = read_table(path, tuple(chosen.values()), delimiter=delimiter)
    faults: list[str] = []
    cells = {cell for _, row in rows if (cell := row[chosen["image"]])}
    files = _find(cells, images or path.parent, faults)
    items = _items(rows, chosen, files, faults)
    labelled = tuple(item for item in items if item.labels)
    if not labelled:
        faults.append(f"no row has a genre in column {chosen['labels']!r}")
    if faults:
        raise ManifestError(str(path), faults)
    notes = [f"{field} is column {column!r}" for field, column in chosen.items()]
    foreign = sorted(set(header) & set(COLUMNS) - set(chosen.values()))
    if foreign:
        notes.append(f"columns left out, as a manifest's are others: {', '.join(foreign)}")
    if len(labelled) < len(items):
        first = next(item.id for item in items if not item.labels)
        notes.append(f"{len(items) - len(labelled)} rows have no genre: left out (first: {first})")
    notes += _cover_notes(labelled, cells, files)
    notes += _genre_notes({name for _, row in rows for name in _genres(row[chosen["labels"]])})
    notes += split_note(labelled)
    if not any(item.artist or item.album for item in labelled):
        notes.append("no artists or albums: no check sees whether the splits share them")
    return Published(str(path), labelled, tuple(notes))


def _table_in(source: Path) -> Path:
    if source.is_file():
        return source
    if not source.is_dir():
        raise ManifestError(str(source), ["no such file or folder"])
    tables = sorted(path for suffix in ("csv", "tsv") for path in source.glob(f"*.{suffix}"))
    if len(tables) != 1:
        names = ", ".join(path.name for path in tables) or "none"
        fault = f"wants one CSV in the folder, got {names}; name the file"
        raise ManifestError(str(source), [fault])
    return tables[0]


def _header(path: Path) -> tuple[str, list[str]]:
    """The delimiter that cuts the first line into most cells, and these."""
    lines = read_lines(path)[:1]
    headers = {d: [c.strip() for c in next(csv.reader(lines, delimiter=d), [])] for d in DELIMITERS}
    delimiter = max(DELIMITERS, key=lambda d: len(headers[d]))
    return delimiter, headers[delimiter]


def _choose(path: Path, header: Sequence[str], given: Mapping[Field, str]) -> dict[Field, str]:
    """The column of each field that has one."""
    faults = [f"column {c!r} twice" for c in sorted({c for c in header if header.count(c) > 1})]
    chosen: dict[Field, str] = {}
    for field in FIELDS:
        known = KNOWN_NAMES[field].split()
        usual = [column for column in header if re.sub(r"[ _-]", "", column.lower()) in known]
        needed = field in ("image", "labels")
        if given.get(field):
            chosen[field] = given[field]
            if given[field] not in header:
                faults.append(f"{field}: no column {given[field]!r}")
        elif field in given and not needed:
            continue  # told that there is none
        elif len(usual) == 1:
            chosen[field] = usual[0]
        elif usual:
            faults.append(
                f"{field}: could be column {' or '.join(usual)}; say --columns {field}=COLUMN"
            )
        elif needed:
            faults.append(f"no column for {field}; say --columns {field}=COLUMN")
    if faults:
        raise ManifestError(str(path), [*faults, f"the header reads {', '.join(header)}"])
    return chosen


def _slashes(cell: str) -> str:
    """A path as it is written here, wherever the table was made."""
    return cell.replace("\\", "/")


def _find(cells: set[str], root: Path, faults: list[str]) -> dict[str, Path]:
    """The files that cells name: by path below `root`, else by name or stem in any folder."""
    paths = {cell: root / _slashes(cell) for cell in cells if not ADDRESS.match(cell)}
    found = {cell: path for cell, path in paths.items() if path.is_file()}
    if len(found) == len(paths):
        return found
    places: dict[str, list[Path]] = {}
    for path in find_images(root).images:
        for name in {path.name, path.stem}:
            places.setdefault(name, []).append(path)
    for cell in sorted(paths.keys() - found.keys()):
        same = [] if "/" in _slashes(cell) else places.get(cell, [])
        if len(same) > 1:
            faults.append(f"{cell!r} fits {len(same)} files, as {same[0]}, {same[1]}; give paths")
        if same:
            found[cell] = same[0]
    if not found:
        faults.append(
            f"none of {len(paths)} covers is in {root} (first: {min(paths)!r}); where they are, "
            "say --images FOLDER"
        )
    return found


def _genres(cell: str) -> list[str]:
    """`Rock; Pop|Rock` -> Rock, Pop, Rock."""
    return [name for part in LABEL_SEPARATORS.split(cell) if (name := part.strip())]


def _items(
    rows: Sequence[Row],
    chosen: Mapping[Field, str],
    files: Mapping[str, Path],
    faults: list[str],
) -> list[Item]:
    """An item a row, also where it has no genre."""
    lines: dict[str, int] = {}
    items = []
    for line, row in rows:
        cells = {field: row[chosen[field]] if field in chosen else "" for field in FIELDS}
        image = cells["image"]
        item_id = cells["id"] if "id" in chosen else id_of_path(_slashes(image))
        split = SPLIT_NAMES.get(cells["split"].lower())
        if not item_id:
            faults.append(f"line {line}: no {'id' if 'id' in chosen else 'image'}")
        elif item_id in lines:
            faults.append(
                f"line {line}: {item_id!r} stands in line {lines[item_id]} already; make one row "
                "of them, its genres joined by ';'"
            )
        if cells["split"] and split is None:
            allowed = ", ".join(SPLIT_NAMES)
            faults.append(f"line {line}: split {cells['split']!r}: allowed are {allowed}, or none")
        if cells["labels"].startswith("["):
            faults.append(f"line {line}: labels {cells['labels']!r}: write Rock;Pop")
        lines.setdefault(item_id, line)
        extra = {c: row[c] for c in row if c and c not in (*COLUMNS, *chosen.values())}
        if ADDRESS.match(image):
            extra["image_url"] = image
        items.append(
            Item(
                item_id,
                artist=cells["artist"],
                album=cells["album"],
                split=split,
                labels=tuple(dict.fromkeys(map(flat_label, _genres(cells["labels"])))),
                media={"image": (files[image],)} if image in files else {},
                extra=extra,
            )
        )
    return items


def _cover_notes(items: Sequence[Item], cells: set[str], files: Mapping[str, Path]) -> list[str]:
    addresses = [cell for cell in cells if ADDRESS.match(cell)]
    absent = sorted(cells - files.keys() - set(addresses))
    notes = []
    if addresses:
        notes.append(f"{len(addresses)} covers are addresses, kept in column image_url: fetch them")
    if absent:
        notes.append(f"{len(absent)} of {len(cells)} covers have no file (first: {absent[0]!r})")
    without = sum("image" not in item.media for item in items)
    if without:
        notes.append(f"{without} of {len(items)} items are without image")
    return notes


def _genre_notes(genres: set[str]) -> list[str]:
    commas = sorted(name for name in genres if "," in name)
    if not commas:
        return renamed_note(genres)
    note = f"{len(commas)} genre(s) hold a comma, which separates none (first: {commas[0]!r})"
    return [note, *renamed_note(genres)]
