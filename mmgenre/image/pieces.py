"""Squares of a cover, and the cover with one of them blurred."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from mmgenre.learning.kind import Pieces

Row = NDArray[np.uint8]  # a square of RGB, (size, size, 3)
Cell = tuple[int, int]  # row and column
GRID = 6  # squares a side; each begins in the middle of the one before


def _without(cover: Row, reads: Any, cells: Sequence[Cell]) -> Row:
    """The cover in which a square shows only what a blur over its width leaves.

    A square of one colour would have edges that no cover has.
    """
    del reads
    [cell] = cells
    edges = np.linspace(0, len(cover), GRID + 2).round().astype(int)
    place = tuple(slice(edges[k], edges[k + 2]) for k in cell)
    blur = ImageFilter.GaussianBlur(2 * len(cover) / (GRID + 1))
    found = cover.copy()
    found[place] = np.asarray(Image.fromarray(cover).filter(blur))[place]
    return found


PIECES = Pieces(of=lambda *_: list(product(range(GRID), repeat=2)), without=_without)
