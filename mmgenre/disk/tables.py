"""Tables that people read, such as those of files that could not be used."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from mmgenre.disk.locks import replacing_alone


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Path | None:
    """Writes a CSV, whole or not at all; a file that already has this content stays as it is.

    None, and nothing is written, if there are no rows and no earlier table. Characters that are not
    in UTF-8, as in names of files, are written as escapes.
    """
    found = list(rows)
    if not found and not path.is_file():
        return None
    with io.StringIO() as text:
        csv.writer(text, lineterminator="\n").writerows([header, *found])
        content = text.getvalue().encode("utf-8", errors="backslashreplace")
    if not (path.is_file() and path.read_bytes() == content):
        with replacing_alone(path) as temporary:
            temporary.write_bytes(content)
    return path


def spreadsheet_cell(value: object) -> object:
    """A text that spreadsheet programs would run as a formula gets an apostrophe before it."""
    is_formula = isinstance(value, str) and value.lstrip().startswith(("=", "+", "-", "@"))
    return f"'{value}" if is_formula else value
