"""A table of covers and their genres, whatever its columns are called, as a manifest."""

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args
from unicodedata import normalize

from mmgenre.datasets import sources
from mmgenre.datasets.folders import find_images
from mmgenre.datasets.sources import Published, Row, refuse
from mmgenre.disk.files import as_on_disk
from mmgenre.items.headers import twin_of
from mmgenre.items.manifest import Item, column_names
from mmgenre.items.notes import NO_ARTISTS_NOTE

Field = Literal["image", "labels", "id", "artist", "album", "split"]
FIELDS: tuple[Field, ...] = get_args(Field)
# Names by which a column is recognised; upper case, spaces, `_` and `-` do not matter.
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


def parse_columns(text: str) -> dict[Field, str]:
    """`image=filename,labels=genre` -> the column of each field; an empty name means no column."""
    columns: dict[Field, str] = {}
    for pair in text.split(","):
        name, equals, column = (part.strip() for part in pair.partition("="))
        field = next((field for field in FIELDS if field == name), None)
        if not equals or field is None or field in columns:
            raise ValueError(
                f"columns {text!r}: {pair.strip()!r}; expected FIELD=COLUMN, each field at most "
                "once, joined by commas, for example image=filename,labels=genre; fields are "
                f"{', '.join(FIELDS)}"
            )
        columns[field] = column
    return columns


def read_cover_table(
    source: Path, *, columns: Mapping[Field, str] | None = None, images: Path | None = None
) -> Published:
    """Reads a CSV with one row per cover: its file, its genres joined by `;` or `|`, and more.

    `source` is the file (commas, tabs or semicolons between the cells), or a folder with one CSV.
    Columns that are not given are found by their usual names. Paths in the table are relative to
    the folder `images`, the folder of the table if None; a file name, with or without suffix, is
    searched in all its subfolders.

    A ManifestError if a column is missing or ambiguous (the header is shown), a row has no id or a
    repeated one, a file name fits several files, or no cover exists.
    """
    path = _table_in(source)
    lines = sources.read_lines(path)[:1]
    headers = {d: [c.strip() for c in next(csv.reader(lines, delimiter=d), [])] for d in DELIMITERS}
    delimiter = max(DELIMITERS, key=lambda d: len(headers[d]))  # makes most cells of the first line
    header = headers[delimiter]
    chosen = _choose(path, header, columns or {})
    rows = sources.read_table(path, tuple(chosen.values()), delimiter=delimiter)
    faults: list[str] = []
    cells = {cell for _, row in rows if (cell := row[chosen["image"]])}
    files = _find(cells, images or path.parent, faults)
    items = _items(rows, chosen, files, faults)
    labelled = tuple(item for item in items if item.labels)
    if not labelled:
        faults.append(f"no row has a genre in column {chosen['labels']!r}")
    refuse(path, faults)
    notes = [f"{field} is column {column!r}" for field, column in chosen.items()]
    ours = {column for column in header if twin_of(column, column_names())}
    foreign = sorted(ours - set(chosen.values()))
    if foreign:
        notes.append(f"columns left out, because a manifest's differ: {', '.join(foreign)}")
    bare = [item.id for item in items if not item.labels]
    if bare:
        notes.append(f"{len(bare)} rows have no genre: left out (first: {bare[0]})")
    addresses = set(filter(ADDRESS.match, cells))
    if addresses:
        notes.append(f"{len(addresses)} covers are addresses, kept in column image_url: fetch them")
    absent = sorted(cells - files.keys() - addresses)
    notes += sources.found_note(absent, f"of {len(cells)} covers have no file")
    without = sum("image" not in item.media for item in labelled)
    if without:
        notes.append(f"{without} of {len(labelled)} items are without image")
    genres = {name for _, row in rows for name in _genres(row[chosen["labels"]])}
    commas = sorted(name for name in genres if "," in name)
    notes += sources.found_note(commas, "genre(s) contain a comma, which does not separate genres")
    notes += [*sources.renamed_note(genres), *sources.split_note(labelled)]
    if not any(item.artist or item.album for item in labelled):
        notes.append(NO_ARTISTS_NOTE)
    return Published(str(path), labelled, tuple(notes))


def _table_in(source: Path) -> Path:
    if source.is_file():
        return source
    tables = sorted(path for suffix in ("csv", "tsv") for path in source.glob(f"*.{suffix}"))
    names = ", ".join(path.name for path in tables) or "none"
    fault = f"expected one CSV in the folder, got {names}; give the file"
    if not source.is_dir():
        fault = "no such file or folder"
    refuse(source, [fault] if len(tables) != 1 else [])
    return tables[0]


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
            continue  # the user says that there is none
        elif len(usual) == 1:
            chosen[field] = usual[0]
        elif usual:
            several = " or ".join(usual)
            faults.append(f"{field}: could be column {several}; give --columns {field}=COLUMN")
        elif needed:
            faults.append(f"no column for {field}; give --columns {field}=COLUMN")
    refuse(path, [*faults, f"the header is {', '.join(header)}"] if faults else [])
    return chosen


def _slashes(cell: str) -> str:
    """A path with forward slashes, also from a table made on Windows."""
    return cell.replace("\\", "/")


def _find(cells: set[str], root: Path, faults: list[str]) -> dict[str, Path]:
    """The files that cells name: by path below `root`, else by name or stem in any folder."""
    paths = {cell: as_on_disk(root / _slashes(cell)) for cell in cells if not ADDRESS.match(cell)}
    found = {cell: path for cell, path in paths.items() if path.is_file()}
    if len(found) == len(paths):
        return found
    places: dict[str, list[Path]] = {}
    for path in find_images(root)[0]:
        for name in {normalize("NFC", path.name), normalize("NFC", path.stem)}:
            places.setdefault(name, []).append(path)
    for cell in sorted(paths.keys() - found.keys()):
        same = places.get(normalize("NFC", _slashes(cell)), [])
        if len(same) > 1:
            several = f"{len(same)} files, for example {same[0]} and {same[1]}"
            faults.append(f"{cell!r} fits {several}; give paths")
        if same:
            found[cell] = same[0]
    if not found:
        where = f"{root} (first: {min(paths)!r}); give their folder with --images FOLDER"
        faults.append(f"none of {len(paths)} covers is in {where}")
    return found


def _genres(cell: str) -> list[str]:
    """`Rock; Pop|Rock` -> Rock, Pop, Rock."""
    return [name for part in LABEL_SEPARATORS.split(cell) if (name := part.strip())]


def _items(
    rows: Sequence[Row], chosen: Mapping[Field, str], files: Mapping[str, Path], faults: list[str]
) -> list[Item]:
    """One item per row, also where it has no genre."""
    first: dict[str, int] = {}
    items = []
    for line, row in rows:
        image, labels, item_id, artist, album, split_name = (
            row[chosen[field]] if field in chosen else "" for field in FIELDS
        )
        if "id" not in chosen:
            item_id = sources.id_of_path(_slashes(image))
        split = sources.SPLIT_NAMES.get(split_name.lower())
        if not item_id:
            faults.append(f"line {line}: no {'id' if 'id' in chosen else 'image'}")
        elif first.setdefault(item_id, line) != line:
            already = f"{item_id!r} is already in line {first[item_id]}"
            faults.append(f"line {line}: {already}; merge these rows, with genres joined by ';'")
        if split_name and split is None:
            allowed = ", ".join(sources.SPLIT_NAMES)
            faults.append(f"line {line}: split {split_name!r}: allowed are {allowed}, or none")
        if labels.startswith("["):
            faults.append(f"line {line}: labels {labels!r}: write Rock;Pop")
        others = (column for column in row if column and column not in chosen.values())
        extra = {c: row[c] for c in others if not twin_of(c, column_names())}
        if ADDRESS.match(image):
            extra["image_url"] = image
        names = tuple(dict.fromkeys(map(sources.flat_label, _genres(labels))))
        media = {"image": (files[image],)} if image in files else {}
        items.append(Item(item_id, artist, album, split, names, media, extra))
    return items
