"""A human annotator beside the models: F1 by genre, and whether both find the same genres hard.

Oramas 2018, sec. 6.3, table 3.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy.stats import pearsonr

from mmgenre.errors import MmgenreError
from mmgenre.explain.results import Comparison

GENRE = "genre"
FEWEST_GENRES = 3  # two points always lie on a line


def read_human(
    path: Path, genres: Sequence[str], rows: Sequence[str]
) -> dict[str, dict[str, float]]:
    """An annotator's F1 from a CSV in UTF-8: {row: {genre: F1}}, of a fusion's genres and rows.

    The CSV has a column `genre`, and one column for each row of the fusion that the annotator did,
    named like the row (`A`, `I`, `A+I`); an empty cell is a genre that was not measured. Raises
    MmgenreError if the file cannot be used, with every fault, and the known genres and rows.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = [[cell.strip() for cell in line] for line in csv.reader(file)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise MmgenreError(f"{path}: not a readable CSV in UTF-8 ({error})") from None
    names = lines[0] if lines else []
    if GENRE not in names or len(set(names)) != len(names) or len(names) < 2:
        raise MmgenreError(
            f"{path}: columns {names}: must be {GENRE!r} and, each once, names of rows "
            f"({', '.join(rows)})"
        )
    found: dict[str, dict[str, float]] = {name: {} for name in names if name != GENRE}
    faults = [f"unknown row {name!r}" for name in found if name not in rows]
    seen: set[str] = set()
    for number, line in enumerate(lines[1:], 2):
        if not any(line):
            continue
        if len(line) != len(names):
            faults.append(f"line {number}: {len(line)} cells, not {len(names)}")
            continue
        cells = dict(zip(names, line, strict=True))
        genre = cells.pop(GENRE)
        if genre not in genres:
            faults.append(f"line {number}: unknown genre {genre!r}")
        elif genre in seen:
            faults.append(f"line {number}: genre {genre!r} again")
        seen.add(genre)
        for row, cell in cells.items():
            try:
                value = float(cell or 0)
            except ValueError:
                value = -1.0
            if not 0 <= value <= 1:
                faults.append(f"line {number}, {row}: {cell!r} is not an F1 from 0 to 1")
            elif cell:
                found[row][genre] = value
    if faults:
        raise MmgenreError(
            f"{path}: {'; '.join(faults)}. Known genres: {', '.join(genres)}. "
            f"Known rows: {', '.join(rows)}"
        )
    return found


def compare(human: Mapping[str, float], model: Mapping[str, float | None]) -> Comparison:
    """F1 of the genres that both have, by name, and Pearson's correlation, or why there is none."""
    shared = {genre: f1 for genre in sorted(human) if (f1 := model.get(genre)) is not None}
    a, b = [human[genre] for genre in shared], list(shared.values())
    undefined = ""
    if len(shared) < FEWEST_GENRES:
        undefined = f"n = {len(shared)}: fewer than {FEWEST_GENRES} always lie on a line"
    elif np.ptp(a) == 0 or np.ptp(b) == 0:
        undefined = f"the {'first' if np.ptp(a) == 0 else 'second'} has the same value everywhere"
    return {
        "genres": list(shared),
        "human": a,
        "model": b,
        "left_out": [genre for genre in sorted(human) if genre not in shared],
        "pearson": None if undefined else float(pearsonr(a, b).statistic),
        "undefined": undefined,
    }
