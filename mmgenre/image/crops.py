"""Crops of squares without interpolation; without torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]  # squares of RGB, (n, side, side, 3)
Flags = NDArray[np.bool_]


def middle_crops(images: Images, side: int) -> Images:
    """The middles of larger squares."""
    n, stored = images.shape[:2]
    return cut(images, np.full((2, n), (stored - side) // 2), np.zeros(n, dtype=np.bool_), side)


def cut(images: Images, corners: NDArray[np.intp], mirrored: Flags, side: int) -> Images:
    """Crops without interpolation; `corners`: row and column of their first pixels, (2, n)."""
    crops = [
        image[top : top + side, left : left + side][:, :: -1 if flip else 1]
        for image, top, left, flip in zip(images, *corners, mirrored, strict=True)
    ]
    return np.stack(crops)
