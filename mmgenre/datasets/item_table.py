"""A table of items with their media and genres, whatever its columns are called, as a manifest."""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from unicodedata import normalize

from mmgenre.datasets import sources
from mmgenre.datasets.folders import find_media
from mmgenre.datasets.sources import Published, Row, refuse
from mmgenre.datasets.table_columns import FIELDS, Field, choose
from mmgenre.disk.files import as_on_disk
from mmgenre.items.columns import column_names
from mmgenre.items.headers import twin_of
from mmgenre.items.item import LIST_SEPARATOR, Item, Media
from mmgenre.items.notes import NO_ARTISTS_NOTE

DELIMITERS = (",", "\t", ";")
LABEL_SEPARATORS = re.compile(r"[;|]")
ADDRESS = re.compile(r"https?://", re.IGNORECASE)
NOUNS: Mapping[Field, str] = {"audio": "track", "image": "cover", "text_file": "text"}


@dataclass
class Named:
    """The cells of a column of files, and the files that they name."""

    what: Field
    cells: set[str]
    files: dict[str, Path] = field(default_factory=dict)

    @property
    def addresses(self) -> set[str]:
        return set(filter(ADDRESS.match, self.cells))

    def notes(self) -> list[str]:
        """What could not be found."""
        noun, absent = NOUNS[self.what], sorted(self.cells - self.files.keys() - self.addresses)
        found = sources.found_note(absent, f"of {len(self.cells)} {noun}s have no file")
        if self.addresses:
            column = f"{self.what}_url"
            n = f"{len(self.addresses)} {noun}s are addresses"
            found.append(f"{n}, kept in column {column}: fetch them")
        return found


def read_item_table(
    source: Path,
    *,
    columns: Mapping[Field, str] | None = None,
    audio: Path | None = None,
    images: Path | None = None,
) -> Published:
    """Reads a CSV with one row per item: its media, its genres joined by `;` or `|`, and more.

    `source` is the file (commas, tabs or semicolons between the cells), or a folder with one CSV.
    Columns that are not given are found by their usual names. Paths in the table are relative to
    the folders `audio` and `images`, the folder of the table if None; a file name, with or without
    suffix, is searched in all its subfolders. Several tracks or texts of an item are joined by `;`.
    Items without a genre are kept: nothing learns from them.

    A ManifestError if a column is missing or ambiguous (the header is shown), a row has no id or a
    repeated one, a file name fits several files, or no file of a column exists.
    """
    path = _table_in(source)
    lines = sources.read_lines(path)[:1]
    headers = {d: [c.strip() for c in next(csv.reader(lines, delimiter=d), [])] for d in DELIMITERS}
    delimiter = max(DELIMITERS, key=lambda d: len(headers[d]))  # makes most cells of the first line
    header = headers[delimiter]
    rows = sources.read_table(path, (), delimiter=delimiter) if any(header) else []

    def cells_of(column: str) -> list[str]:
        return [cell for _, row in rows if (cell := row.get(column, ""))]

    chosen = choose(path, header, columns or {}, cells_of)
    faults: list[str] = []
    roots: dict[Field, Path | None] = {"audio": audio, "image": images, "text_file": None}
    named = {
        f: Named(f, {part for cell in cells_of(chosen[f]) for part in _parts(f, cell)})
        for f in roots
        if f in chosen
    }
    for f, found in named.items():
        found.files = _find(found, roots[f] or path.parent, faults)
    items = tuple(_items(rows, chosen, named, faults))
    bare = [item.id for item in items if not item.labels]
    if "labels" in chosen and len(bare) == len(items):
        faults.append(f"no row has a genre in column {chosen['labels']!r}")
    refuse(path, faults)
    notes = [f"{name} is column {column!r}" for name, column in chosen.items()]
    ours = {column for column in header if twin_of(column, column_names())}
    foreign = sorted(ours - set(chosen.values()))
    if foreign:
        notes.append(f"columns left out, because a manifest's differ: {', '.join(foreign)}")
    notes += sources.found_note(bare, "rows have no genre: they are kept")
    notes += [note for found in named.values() for note in found.notes()]
    for modality in [f for f in ("audio", "image") if f in chosen]:
        without = sum(modality not in item.media for item in items)
        notes += [f"{without} of {len(items)} items are without {modality}"] if without else []
    cells = cells_of(chosen["labels"]) if "labels" in chosen else []
    genres = {name for cell in cells for name in _genres(cell)}
    commas = sorted(name for name in genres if "," in name)
    notes += sources.found_note(commas, "genre(s) contain a comma, which does not separate genres")
    notes += [*sources.renamed_note(genres), *sources.split_note(items)]
    if not any(item.artist or item.album for item in items):
        notes.append(NO_ARTISTS_NOTE)
    return Published(str(path), items, tuple(notes))


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


def _parts(of: Field, cell: str) -> list[str]:
    """The files that a cell names: one cover, or several tracks or texts."""
    if of == "image":
        return [cell] if cell else []
    return [part for name in cell.split(LIST_SEPARATOR) if (part := name.strip())]


def _slashes(cell: str) -> str:
    """A path with forward slashes, also from a table made on Windows."""
    return cell.replace("\\", "/")


def _find(named: Named, root: Path, faults: list[str]) -> dict[str, Path]:
    """The files that cells name: by path below `root`, else by name or stem in any folder."""
    wanted = named.cells - named.addresses
    paths = {cell: as_on_disk(root / _slashes(cell)) for cell in wanted}
    found = {cell: path for cell, path in paths.items() if path.is_file()}
    if len(found) == len(paths):
        return found
    places: dict[str, list[Path]] = {}
    medium = "text" if named.what == "text_file" else named.what
    for path in find_media(root, (medium,)).files:
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
        option = {"audio": "; give their folder with --audio FOLDER"}
        option |= {"image": "; give their folder with --images FOLDER"}
        where = f"{root} (first: {min(paths)!r}){option.get(named.what, '')}"
        faults.append(f"none of {len(paths)} {NOUNS[named.what]}s is in {where}")
    return found


def _genres(cell: str) -> list[str]:
    """`Rock; Pop|Rock` -> Rock, Pop, Rock."""
    return [name for part in LABEL_SEPARATORS.split(cell) if (name := part.strip())]


def _items(
    rows: Sequence[Row],
    chosen: Mapping[Field, str],
    named: Mapping[Field, Named],
    faults: list[str],
) -> list[Item]:
    """One item per row."""
    first: dict[str, int] = {}
    items = []
    files_of_id = next((f for f in FIELDS if f in NOUNS and f in chosen), None)
    for line, row in rows:
        own = {f: row[column] for f, column in chosen.items()}
        item_id = own.get("id", "")
        if "id" not in chosen and files_of_id is not None:
            item_id = sources.id_of_path(_slashes(own[files_of_id]).replace(LIST_SEPARATOR, ","))
        split_name, labels = own.get("split", ""), own.get("labels", "")
        split = sources.SPLIT_NAMES.get(split_name.lower())
        if not item_id:
            what = "id" if "id" in chosen else files_of_id or "column for id; give --columns id="
            faults.append(f"line {line}: no {what}")
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
        media: dict[str, Media] = {}
        for f, files in named.items():
            modality = "text" if f == "text_file" else f
            parts = _parts(f, own[f])
            there = tuple(dict.fromkeys(files.files[p] for p in parts if p in files.files))
            media |= {modality: there} if there else {}
            if any(part in files.addresses for part in parts):
                extra[f"{f}_url"] = own[f]
        if own.get("text"):
            media["text"] = (*media.get("text", ()), own["text"])
        names = tuple(dict.fromkeys(map(sources.flat_label, _genres(labels))))
        artist, album = own.get("artist", ""), own.get("album", "")
        items.append(Item(item_id, artist, album, split, names, media, extra))
    return items
