"""A manifest's CSV file -> its columns, or all of its faults, each with its line."""

from __future__ import annotations

import csv
import errno
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from operator import itemgetter, le
from pathlib import Path
from typing import cast

from mmgenre.errors import ManifestError
from mmgenre.items.cells import Faults, each, faults_in, faulty_ids
from mmgenre.items.columns import Columns, column_names, split_list
from mmgenre.items.headers import near_misses
from mmgenre.items.item import LIST_SEPARATOR, SPLITS, Split
from mmgenre.items.labels import path_faults
from mmgenre.items.modalities import MODALITIES

OTHER_SEPARATORS = {"\t": "tabs", ";": "semicolons", "|": "'|'"}
CHUNK_ROWS = 256  # few enough lists at a time that the garbage collector has nothing to do


def read_columns(path: Path) -> Columns:
    """The columns of a file, whose media may lie anywhere yet; ManifestError with all faults."""
    try:
        try:
            return _read(path)
        except (ManifestError, UnicodeDecodeError):
            path.read_bytes().decode("utf-8-sig")  # its error counts from the file's beginning
            raise
    except UnicodeDecodeError as error:
        fault = f"not UTF-8: {error}; save it as UTF-8"
    except OSError as error:
        known = {errno.ENOENT: "no such file", errno.EISDIR: "a folder, not a CSV file"}
        fault = known.get(error.errno or 0, f"cannot be read: {error.strerror}")
    raise ManifestError(str(path), [fault])


def _read(path: Path) -> Columns:
    lines = array("q")  # where each row begins: a quoted text may have many lines
    faults: Faults = []  # by line here
    rows = _rows(path, lines, faults)
    header = next(rows, [])
    if not faults:
        faults += [(1, fault) for fault in _header_faults(header)]
    if faults and ("id" not in header or len(set(header)) < len(header)):  # cells mean nothing
        raise ManifestError(str(path), [f"line {line}: {fault}" for line, fault in faults])
    cells: dict[str, list[str]] = {name: [] for name in header}
    # Artists, splits, labels and the like repeat: equal cells share one string.
    unshared = {"id", *(info.text_column for info in MODALITIES.values())}
    pool: dict[str, str] = {}
    while chunk := list(islice(rows, CHUNK_ROWS)):
        for name, new in zip(header, zip(*chunk, strict=True), strict=True):
            cells[name].extend(new if name in unshared else map(pool.setdefault, new, new))
    malformed = {line for line, _ in faults}

    ids = list(map(str.strip, cells["id"]))
    if not all(map(le, ids, islice(ids, 1, None))):
        order = sorted(range(len(ids)), key=ids.__getitem__)
        ids, lines = [ids[k] for k in order], array("q", (lines[k] for k in order))
        cells = {name: [column[k] for k in order] for name, column in cells.items()}
    columns, found = _parse(ids, cells, path.parent)
    again = "id {!r} stands in line {} already".format
    twice = ((row, i) for row, i in enumerate(ids) if row and i and i == ids[row - 1])
    found += [(row, again(i, lines[bisect_left(ids, i)])) for row, i in twice]
    faults += [(lines[row], fault) for row, fault in found if lines[row] not in malformed]
    if faults or not ids:
        worded = [f"line {line}: {fault}" for line, fault in sorted(faults, key=itemgetter(0))]
        raise ManifestError(str(path), worded or ["no items below the header"])
    return columns


def _header_faults(header: Sequence[str]) -> list[str]:
    """What is wrong with the names of the columns."""
    faults = [f"column {name!r} twice" for name, n in Counter(header).items() if n > 1]
    if "id" not in header:
        known = ", ".join(column_names())
        other = [name for mark, name in OTHER_SEPARATORS.items() if mark in "".join(header)]
        hint = f"; commas separate cells, not {other[0]}" if other and len(header) == 1 else ""
        faults.append(f"no column 'id'; columns are {known}; got {list(header)}{hint}")
    return faults + list(near_misses(header, column_names()))


def _rows(path: Path, lines: array[int], faults: Faults) -> Iterator[list[str]]:
    """The header, then all rows but blank ones; malformed ones are faults, and have empty cells."""
    # Inline reviews pass csv's default limit of 128 KiB a field.
    csv.field_size_limit(max(csv.field_size_limit(), 1 << 24))
    # With newline="" the line ends inside quoted reviews stay as they are.
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        header: list[str] | None = None
        line = 1
        while True:
            try:
                row = next(reader, None)
            except csv.Error as error:  # the reader goes on with the next line
                faults.append((line, str(error)))
                row = []
            if row is None or (header is None and faults):
                return
            if header is None:
                header = row
                yield header
            elif row:
                lines.append(line)
                if len(row) != len(header):
                    found = f"{len(row)} fields, but the header has {len(header)}"
                    faults.append((line, f"{found}; is a comma unquoted?"))
                    row = [""] * len(header)
                yield row
            line = reader.line_num + 1


def _parse(ids: list[str], cells: dict[str, list[str]], folder: Path) -> tuple[Columns, Faults]:
    blank = [""] * len(ids)
    given = {name: cells.pop(name, blank) for name in column_names()}  # the rest is extra
    artists, albums, splits = (list(map(str.strip, given[n])) for n in ("artist", "album", "split"))
    faults = faulty_ids(ids)
    no_split = "split {!r}: must be train, val, test or empty".format
    faults += faults_in(splits, lambda split: [] if split in ("", *SPLITS) else [no_split(split)])
    faults += faults_in(given["labels"], _labels_faults)
    text_columns = {info.text_column for info in MODALITIES.values()}
    for name, column in given.items():
        if name != "id" and name not in text_columns:
            faults += faults_in(column, partial(_nul_faults, name))
    files, texts = {}, {}
    for name, info in MODALITIES.items():
        check = partial(_list_faults, info.files_column, info.medium == "image")
        faults += faults_in(given[info.files_column], check)
        files[name] = list(map(str.strip, given[info.files_column]))
        if info.text_column:
            texts[name] = ["" if cell.isspace() else cell for cell in given[info.text_column]]
    drawn = cast(list[Split | None], [split or None for split in splits])
    labels = each(given["labels"], split_list)
    return Columns(ids, artists, albums, drawn, labels, files, texts, cells, folder), faults


def _labels_faults(cell: str) -> list[str]:
    found = (fault for label in split_list(cell) for fault in path_faults(label))
    return _list_faults("labels", False, cell) + [f"labels: {fault}" for fault in found]


def _list_faults(column: str, is_cover: bool, cell: str) -> list[str]:
    if LIST_SEPARATOR not in cell:
        return []
    parts = split_list(cell)
    faults = [f"{column}: empty entry in {cell!r}"] if "" in parts else []
    if len(set(parts)) < len(parts):
        faults.append(f"{column}: an entry appears twice in {cell!r}")
    if is_cover:
        faults.append(f"{column}: one cover an item, got several")
    return faults


def _nul_faults(column: str, cell: str) -> list[str]:
    return [f"{column}: a NUL character in {cell[:100]!r}"] if "\0" in cell else []
