"""Augmentation of covers: random crops, mirroring, rotation, scale and colours.

What is random is drawn first, as numbers; pixels are computed from them on whatever device holds
the covers, by element, so that no setting for products of matrices changes them.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mmgenre.image.settings import ImageConfig

Floats = NDArray[np.float64]
Drawn = NDArray[np.float32]  # (n, len(DRAWN))

# Of each view: row and column where its window begins, the window's height and width (all px), the
# angle, 1 if it is mirrored, and the factors of its colours.
DRAWN = (
    "top", "left", "height", "width", "turned_deg", "mirrored", "brightness", "contrast",
    "saturation",
)  # fmt: skip
# The smallest and largest width / height of a random window. Szegedy et al. 2015, sec. 6.
ASPECTS = (3 / 4, 4 / 3)
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601: weights of red, green and blue in the brightness


def draw_views(n: int, stored: int, config: ImageConfig, rng: np.random.Generator) -> Drawn:
    """One random view of each of n squares of `stored` px, (n, len(DRAWN)).

    What the settings leave out draws nothing.
    """
    side = config.crop_px
    if config.min_scale is None:
        sizes = np.full((2, n), float(side))
        corners = np.full((2, n), float((stored - side) // 2))
        if config.random_crop:
            corners = rng.integers(stored - side + 1, size=(2, n)).astype(np.float64)
    else:
        sizes = random_sizes(rng, n, stored, config.min_scale)
        corners = rng.uniform(0, stored - sizes) if config.random_crop else (stored - sizes) / 2
    mirrored = np.less(rng.random(n), 0.5) if config.random_flip else np.zeros(n)
    most = config.rotation_deg
    turned_deg = rng.uniform(-most, most, n) if most else np.zeros(n)
    jitter = config.colour_jitter
    colours = rng.uniform(1 - jitter, 1 + jitter, (3, n)) if jitter else np.ones((3, n))
    return np.stack([*corners, *sizes, turned_deg, mirrored, *colours], axis=1, dtype=np.float32)


def views_of(images: Tensor, drawn: Tensor, config: ImageConfig) -> Tensor:
    """The views of squares of RGB bytes, (n, stored, stored, 3) -> (n, crop_px, crop_px, 3)."""
    side = config.crop_px
    if config.min_scale is None and not config.rotation_deg:
        crops = cut(images, drawn, side)
    else:
        crops = warp(images, drawn, side)
    return jitter_colours(crops, drawn[:, -3:]) if config.colour_jitter else crops


def random_sizes(rng: np.random.Generator, n: int, stored: int, least: float) -> Floats:
    """Heights and widths of windows, (2, n) px, with least..1 of the area of a stored square.

    log(width / height) is uniform; windows are clipped at the edges of the square.
    """
    area = rng.uniform(least, 1, n) * stored**2
    aspect = np.exp(rng.uniform(np.log(ASPECTS[0]), np.log(ASPECTS[1]), n))
    return np.minimum(np.sqrt([area / aspect, area * aspect]), stored)


def cut(images: Tensor, drawn: Tensor, side: int) -> Tensor:
    """Windows of `side` px without interpolation, some mirrored."""
    along = torch.arange(side, device=images.device)
    top, left = drawn[:, :2].long().T[..., None]
    columns = torch.where(drawn[:, 5, None] > 0, along.flip(0), along)
    n = torch.arange(len(images), device=images.device)
    return images[n[:, None, None], (top + along)[:, :, None], (left + columns)[:, None]]


def warp(images: Tensor, drawn: Tensor, side: int) -> Tensor:
    """Windows, scaled to `side` by bilinear interpolation and rotated about their middles.

    Outside, the square is continued by its mirror image: black corners would reveal the angle.
    """
    stored = images.shape[1]
    # In grid_sample's coordinates, -1 to 1 over the square, half a window is size / stored.
    middle = (2 * drawn[:, :2] + drawn[:, 2:4]) / stored - 1
    height, width = (drawn[:, 2:4] / stored).T
    width = torch.where(drawn[:, 5] > 0, -width, width)
    turned = torch.deg2rad(drawn[:, 4])
    cos, sin = torch.cos(turned), torch.sin(turned)
    along = (2 * torch.arange(side, device=images.device) + 1) / side - 1
    across, down = along[None, None, :], along[None, :, None]

    def on_grid(by_across: Tensor, by_down: Tensor, start: Tensor) -> Tensor:  # (n, side, side)
        by_across, by_down, start = (t[:, None, None] for t in (by_across, by_down, start))
        return by_across * across + by_down * down + start

    x = on_grid(width * cos, -height * sin, middle[:, 1])
    y = on_grid(width * sin, height * cos, middle[:, 0])
    pixels = images.permute(0, 3, 1, 2).float()
    warped = functional.grid_sample(
        pixels,
        torch.stack([x, y], dim=-1),
        mode="bilinear",
        padding_mode="reflection",
        align_corners=False,
    )
    return _as_bytes(warped.permute(0, 2, 3, 1))


def jitter_colours(images: Tensor, factors: Tensor) -> Tensor:
    """Multiplies brightness, contrast and saturation, in this order, by `factors`, (n, 3)."""
    brightness, contrast, saturation = factors.T[..., None, None, None]
    colours = (images.float() * brightness).clamp(0, 255)
    grey = _luma(colours).mean(dim=(1, 2, 3), keepdim=True)
    colours = (grey + contrast * (colours - grey)).clamp(0, 255)
    grey = _luma(colours)
    return _as_bytes((grey + saturation * (colours - grey)).clamp(0, 255))


def _luma(colours: Tensor) -> Tensor:
    """Brightness, (n, side, side, 1)."""
    return (colours * torch.tensor(LUMA, device=colours.device)).sum(dim=-1, keepdim=True)


def _as_bytes(pixels: Tensor) -> Tensor:
    return pixels.round().to(torch.uint8).contiguous()
