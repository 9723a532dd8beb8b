"""Cells of a cover, and the cover without one of them."""

from __future__ import annotations

import numpy as np

from mmgenre.image.pieces import GRID, PIECES
from mmgenre.image.settings import ImageInput


def test_a_cell_is_blurred_and_the_rest_stays() -> None:
    square = np.random.default_rng(0).integers(0, 256, (50, 50, 3), dtype=np.uint8)
    cells = PIECES.of([], [], 1)
    assert len(cells) == GRID**2
    changed = np.zeros((50, 50), int)
    for cell in cells:
        without = PIECES.without(square, ImageInput(), cell)
        place = np.argwhere((without != square).any(axis=2))
        low, high = place.min(axis=0), place.max(axis=0)
        assert (abs(low - np.array(cell) * 50 / GRID) <= 1.5).all()
        assert (high - low <= 9).all()
        inside = without[low[0] : high[0], low[1] : high[1]]
        assert inside.std() < square.std() / 4
        changed += (without != square).any(axis=2)
    assert changed.max() == 1
    assert changed.mean() > 0.95
