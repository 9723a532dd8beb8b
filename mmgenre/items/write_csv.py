"""The columns of a manifest -> the content of its CSV file."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from functools import cache, partial
from operator import itemgetter
from pathlib import Path

from mmgenre.disk.files import without_links
from mmgenre.errors import ManifestError
from mmgenre.items.cells import each, faults_in, faulty_ids
from mmgenre.items.columns import Columns, column_names, inline_text
from mmgenre.items.headers import near_misses
from mmgenre.items.item import LIST_SEPARATOR
from mmgenre.items.modalities import MODALITIES


def to_csv(columns: Columns, path: Path) -> bytes:
    """The content of the CSV file `path`."""
    ids, folder = columns.ids, without_links(path.parent)
    header = [*column_names(), *sorted(columns.extra)]
    faults = faulty_ids(ids)
    for name in columns.extra.keys() & set(column_names()):
        given = [row for row, cell in enumerate(columns.extra[name]) if cell is not None]
        faults += [(row, f"extra column {name!r} is one of ours") for row in given]
    faults += [(0, fault) for fault in near_misses(header, column_names())]
    faults += faults_in(columns.labels, partial(_entry_faults, "labels"))
    table: dict[str, Sequence[str | None]] = {**columns.extra, "id": ids, "split": columns.splits}
    table |= {"artist": columns.artists, "album": columns.albums}
    table["labels"] = each(columns.labels, LIST_SEPARATOR.join)

    @cache
    def prefix(parent: Path) -> str:
        # Resolved, since `..` behind a link (runs/ on another disk) leads elsewhere; the file's
        # own name stays, whatever it links to.
        relative = Path(os.path.relpath(without_links(parent), folder)).as_posix()
        return "" if relative == "." else f"{relative}/"

    for info in MODALITIES.values():
        files = [""] * len(ids)
        texts = list(columns.texts.get(info.name, files))
        for row, has_files in enumerate(columns.files.get(info.name, ())):
            if has_files:
                media = columns.media(info.name, row)
                names = tuple(prefix(f.parent) + f.name for f in media if isinstance(f, Path))
                faults += [(row, fault) for fault in _entry_faults(info.files_column, names)]
                files[row], texts[row] = LIST_SEPARATOR.join(names), inline_text(media)
        table[info.files_column] = files
        if info.text_column:
            table[info.text_column] = texts
    if faults:
        by_row = sorted(faults, key=itemgetter(0))
        raise ManifestError(str(path), [f"id {ids[row]!r}: {fault}" for row, fault in by_row])
    for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL):
        with io.StringIO() as file:
            writer = csv.writer(file, lineterminator="\n", quoting=quoting)
            writer.writerow(header)
            writer.writerows(zip(*(table[name] for name in header), strict=True))
            text = file.getvalue()
        if "\r" not in text:  # csv writes it unquoted, and reads it as the end of the row
            break
    return text.encode()


def folders_of(columns: Columns) -> tuple[Path, ...]:
    """Few folders that hold all files of items that were made in Python."""
    files = (f for column in columns.files.values() for media in column for f in media)
    folders = {without_links(parent) for parent in {f.parent for f in files if isinstance(f, Path)}}
    groups: dict[tuple[str, ...], list[Path]] = {}
    for folder in folders:
        groups.setdefault(folder.parts[:2], []).append(folder)
    return tuple(Path(os.path.commonpath(group)) for group in groups.values())


def _entry_faults(column: str, entries: Sequence[str]) -> list[str]:
    """Faults of the entries of a list that would be read otherwise than they were written."""
    return [
        f"{column}: {entry!r} cannot stand in a list: it is empty, holds "
        f"{LIST_SEPARATOR!r}, or begins or ends with a space"
        for entry in entries
        if not entry or LIST_SEPARATOR in entry or entry != entry.strip()
    ]
