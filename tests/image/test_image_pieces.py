"""Cells of a cover, and the cover without one of them."""

from __future__ import annotations

import numpy as np

from mmgenre.image.pieces import GRID, PIECES
from mmgenre.image.settings import ImageInput


def test_a_square_is_blurred_and_the_rest_stays() -> None:
    cover = np.random.default_rng(0).integers(0, 256, (56, 56, 3), dtype=np.uint8)
    cells = PIECES.of([], [], 1)
    assert len(cells) == GRID**2
    times = np.zeros((56, 56), int)
    for cell in cells:
        without = PIECES.without(cover, ImageInput(), (cell,))
        changed = (without != cover).any(axis=2)
        place = np.argwhere(changed)
        (top, left), (bottom, right) = place.min(axis=0), place.max(axis=0) + 1
        assert (top, left) == (8 * cell[0], 8 * cell[1])
        assert (bottom, right) == (top + 16, left + 16)
        assert without[top:bottom, left:right].std() < cover.std() / 4
        times += changed
    assert times[:8, :8].max() == 1  # a corner is in one, the middle in four
    assert times[24:32, 24:32].max() == 4
