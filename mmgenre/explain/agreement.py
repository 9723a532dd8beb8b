"""A human annotator beside the models: F1 by genre, and whether both find the same genres hard.

Oramas 2018, sec. 6.3, table 3.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mmgenre.errors import MmgenreError

GENRE = "genre"
FEWEST = 3  # two points always lie on a line


def read_human(
    path: Path, genres: Sequence[str], rows: Sequence[str]
) -> dict[str, dict[str, float]]:
    """An annotator's F1 from a CSV: {row: {genre: F1}}.

    The CSV has a column `genre` and one for each row of the fusion that the annotator did, named
    as the row (`A`, `I`, `A+I`); an empty cell is a genre that was not measured.

    Args:
        path: the file, UTF-8.
        genres: those of the fusion.
        rows: names of the fusion's rows.

    Raises:
        MmgenreError: not such a file; lists every fault, and what is known.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise MmgenreError(f"{path}: no readable CSV in UTF-8 ({error})") from None
    header, lines = (table[0], table[1:]) if table else ([], [])
    names = [name.strip() for name in header]
    if GENRE not in names or len(set(names)) != len(names) or len(names) < 2:
        raise MmgenreError(
            f"{path}: columns {names}: must be {GENRE!r} and, each once, names of rows "
            f"({', '.join(rows)})"
        )
    faults = [f"unknown row {n!r}" for n in names if n != GENRE and n not in rows]
    found: dict[str, dict[str, float]] = {n: {} for n in names if n != GENRE}
    seen: set[str] = set()
    for number, line in enumerate(lines, 2):
        if not any(cell.strip() for cell in line):
            continue
        if len(line) != len(names):
            faults.append(f"line {number}: {len(line)} cells, not {len(names)}")
            continue
        cells = {n: cell.strip() for n, cell in zip(names, line, strict=True)}
        genre = cells.pop(GENRE)
        if genre not in genres:
            faults.append(f"line {number}: unknown genre {genre!r}")
        elif genre in seen:
            faults.append(f"line {number}: genre {genre!r} again")
        seen.add(genre)
        for row, cell in cells.items():
            value = _f1(cell)
            if cell and value is None:
                faults.append(f"line {number}, {row}: {cell!r} is no F1 from 0 to 1")
            elif value is not None:
                found[row][genre] = value
    if faults:
        raise MmgenreError(
            f"{path}: {'; '.join(faults)}. Known genres: {', '.join(genres)}. "
            f"Known rows: {', '.join(rows)}"
        )
    return found


def pearson(a: Sequence[float], b: Sequence[float]) -> tuple[float | None, str]:
    """(Pearson's correlation, ""), or (None, why there is none).

    r = sum (a - mean a)(b - mean b) / sqrt(sum (a - mean a)^2 sum (b - mean b)^2).

    >>> pearson([0, 1, 2], [1, 1, 1])
    (None, 'the second has the same value everywhere')
    """
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"{x.shape} and {y.shape} values: one of each for every genre")
    if len(x) < FEWEST:
        return None, f"n = {len(x)}: fewer than {FEWEST} always lie on a line"
    for name, values in (("first", x), ("second", y)):
        if np.ptp(values) == 0:
            return None, f"the {name} has the same value everywhere"
    dx, dy = x - x.mean(), y - y.mean()
    return float((dx @ dy) / math.sqrt((dx @ dx) * (dy @ dy))), ""


def both(
    human: Mapping[str, float], model: Mapping[str, float | None]
) -> tuple[list[str], list[float], list[float], list[str]]:
    """(genres that both have, human F1, model F1, genres that only the human has), by name."""
    shared = {g: m for g in sorted(human) if (m := model.get(g)) is not None}
    return (
        list(shared),
        [human[g] for g in shared],
        list(shared.values()),
        [g for g in sorted(human) if g not in shared],
    )


def _f1(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None
