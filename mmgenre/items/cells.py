"""Cells of a manifest's CSV: distinct ones are parsed and checked once each.

A fault is looked for row by row only where a check of a whole column has failed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

from mmgenre.items.item import LONGEST_ID, TRACK_SEPARATOR

Faults = list[tuple[int, str]]  # (row, what is wrong with it)
Cell = TypeVar("Cell", bound=Hashable)
Parsed = TypeVar("Parsed")


def each(cells: Sequence[Cell], parse: Callable[[Cell], Parsed]) -> list[Parsed]:
    """Parses each distinct cell once."""
    parsed = {cell: parse(cell) for cell in set(cells)}
    return [parsed[cell] for cell in cells]


def faults_in(cells: Sequence[Cell], check: Callable[[Cell], Sequence[str]]) -> Faults:
    """Checks each distinct cell once; goes through the rows only if one has faults."""
    wrong = {cell: faults for cell in set(cells) if (faults := check(cell))}
    rows = enumerate(cells) if wrong else ()
    return [(row, fault) for row, cell in rows for fault in wrong.get(cell, ())]


def faulty_ids(ids: list[str]) -> Faults:
    """Ids that a store, or a person who reads them, would take for others."""
    # The store's fixed-width ids would lose trailing NULs; other control characters mislead.
    is_sound = re.compile(rf"(?!\s)[^\x00-\x1f{TRACK_SEPARATOR}]+(?<!\s)").fullmatch
    rule = "'#', spaces around it, line breaks and control characters are not allowed"
    wrong = ((row, i) for row, i in enumerate(ids) if not is_sound(i))
    faults = [(row, f"id {i[:100]!r}: {rule}" if i else "empty id") for row, i in wrong]
    # In a store every id takes as much room as the longest.
    too_long = "id {!r}...: {:,} characters; {:,} at most".format
    long_ids = ((row, i) for row, i in enumerate(ids) if len(i) > LONGEST_ID)
    return faults + [(row, too_long(i[:40], len(i), LONGEST_ID)) for row, i in long_ids]
