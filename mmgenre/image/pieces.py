"""Cells of a cover, and the cover with one of them blurred."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from mmgenre.learning.kind import Pieces

Row = NDArray[np.uint8]  # a square of RGB, (size, size, 3)
Cell = tuple[int, int]  # row and column
GRID = 6  # cells a side


def _without(square: Row, reads: Any, cell: Cell) -> Row:
    """The cover in which a cell shows only what a blur over its width leaves.

    A cell of one colour would have edges that no cover has.
    """
    del reads
    edges = np.linspace(0, len(square), GRID + 1).round().astype(int)
    place = tuple(slice(edges[k], edges[k + 1]) for k in cell)
    blur = ImageFilter.GaussianBlur(len(square) / GRID)
    found = square.copy()
    found[place] = np.asarray(Image.fromarray(square).filter(blur))[place]
    return found


PIECES = Pieces(of=lambda *_: list(product(range(GRID), repeat=2)), without=_without)
