"""Covers seen otherwise: cut out, mirrored, turned, enlarged, in other colours."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

# The least and the greatest width / height of a random window. Szegedy et al. 2015, sec. 6.
ASPECTS = (3 / 4, 4 / 3)
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601: what red, green and blue add to the brightness


def middle_crops(images: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """The middle of squares (n, stored, stored, 3), (n, side, side, 3)."""
    n, stored = images.shape[:2]
    return cut(images, np.full((2, n), (stored - side) // 2), np.zeros(n, dtype=np.bool_), side)


def random_crops(
    images: NDArray[np.uint8],
    side: int,
    rng: np.random.Generator,
    *,
    anywhere: bool,
    mirrored: bool,
    rotation_deg: float,
    min_scale: float | None,
) -> NDArray[np.uint8]:
    """One random view of each square, (n, side, side, 3).

    Args:
        images: (n, stored, stored, 3).
        side: of the views.
        rng: where they are drawn.
        anywhere: not only about the middle.
        mirrored: half of them.
        rotation_deg: turned by at most this, either way.
        min_scale: the least share of the square's area, scaled to `side`; None: as stored.
    """
    n, stored = images.shape[:2]
    if min_scale is None:
        sizes = np.full((2, n), float(side))
        corners: NDArray[np.number] = np.full((2, n), (stored - side) // 2)
        if anywhere:
            corners = rng.integers(stored - side + 1, size=(2, n))
    else:
        sizes = random_sizes(rng, n, stored, min_scale)
        corners = (stored - sizes) / 2
        if anywhere:
            corners = rng.uniform(0, stored - sizes)
    flipped = np.zeros(n, dtype=np.bool_)
    if mirrored:
        flipped = np.less(rng.random(n), 0.5)
    if min_scale is None and not rotation_deg:
        return cut(images, corners.astype(np.intp), flipped, side)
    turned_deg: NDArray[np.float64] = np.zeros(n)
    if rotation_deg:
        turned_deg[:] = rng.uniform(-rotation_deg, rotation_deg, n)
    return warp(images, corners, sizes, turned_deg, flipped, side)


def cut(
    images: NDArray[np.uint8], corners: NDArray[np.intp], mirrored: NDArray[np.bool_], side: int
) -> NDArray[np.uint8]:
    """Squares out of squares, (n, side, side, 3), pixel by pixel.

    Args:
        images: (n, stored, stored, 3).
        corners: row and column of the first pixel, (2, n).
        mirrored: left and right exchanged, (n,).
        side: of the squares.
    """
    crops = [
        image[top : top + side, left : left + side][:, :: -1 if flip else 1]
        for image, top, left, flip in zip(images, *corners, mirrored, strict=True)
    ]
    return np.stack(crops)


def random_sizes(
    rng: np.random.Generator, n: int, stored: int, least: float
) -> NDArray[np.float64]:
    """Heights and widths of windows, (2, n) px, that hold least..1 of a stored square's area.

    log(width / height) is uniform; what would reach over the edge ends there.
    """
    area = rng.uniform(least, 1, n) * stored**2
    aspect = np.exp(rng.uniform(np.log(ASPECTS[0]), np.log(ASPECTS[1]), n))
    return np.minimum(np.sqrt([area / aspect, area * aspect]), stored)


def warp(
    images: NDArray[np.uint8],
    corners: NDArray[np.number],
    sizes: NDArray[np.number],
    turned_deg: NDArray[np.float64],
    mirrored: NDArray[np.bool_],
    side: int,
) -> NDArray[np.uint8]:
    """Turned windows of squares, scaled to (n, side, side, 3) by bilinear interpolation.

    What lies outside the square is its mirror image: black corners would tell the angle.

    Args:
        images: (n, stored, stored, 3).
        corners: row and column where each window begins, (2, n) px.
        sizes: height and width of each window, (2, n) px.
        turned_deg: about its own middle, (n,).
        mirrored: left and right exchanged, (n,).
        side: of what comes out.
    """
    stored = images.shape[1]
    # Both sides reach from -1 to 1 here, so a window has half its share of the square as scale.
    middle = (2 * corners + sizes) / stored - 1
    height, width = sizes / stored
    width = np.where(mirrored, -width, width)
    cos, sin = np.cos(np.deg2rad(turned_deg)), np.sin(np.deg2rad(turned_deg))
    x = np.stack([width * cos, -height * sin, middle[1]], axis=1)
    y = np.stack([width * sin, height * cos, middle[0]], axis=1)
    theta = torch.from_numpy(np.stack([x, y], axis=1)).float()  # (n, 2, 3)
    grid = functional.affine_grid(theta, [len(images), 3, side, side], align_corners=False)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    seen = functional.grid_sample(
        pixels, grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )
    return _as_bytes(seen.permute(0, 2, 3, 1))


def jitter_colours(images: NDArray[np.uint8], factors: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Other brightness, contrast and saturation, in this order; 1 changes nothing.

    Args:
        images: (n, side, side, 3).
        factors: of brightness, contrast and saturation, (3, n).
    """
    brightness, contrast, saturation = torch.from_numpy(factors).float()[:, :, None, None, None]
    luma = torch.tensor(LUMA)
    seen = (torch.from_numpy(images).float() * brightness).clamp(0, 255)
    grey = (seen @ luma).mean(dim=(1, 2))[:, None, None, None]
    seen = (grey + contrast * (seen - grey)).clamp(0, 255)
    grey = (seen @ luma)[..., None]
    return _as_bytes((grey + saturation * (seen - grey)).clamp(0, 255))


def _as_bytes(pixels: Tensor) -> NDArray[np.uint8]:
    return pixels.round().to(torch.uint8).contiguous().numpy()
