"""Augmentation of covers: random crops, mirroring, rotation, scale and colours."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mmgenre.image.crops import Flags, Images, cut
from mmgenre.image.settings import ImageConfig

Floats = NDArray[np.float64]
Numbers = NDArray[np.number]

# The smallest and largest width / height of a random window. Szegedy et al. 2015, sec. 6.
ASPECTS = (3 / 4, 4 / 3)
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601: weights of red, green and blue in the brightness


def random_crops(images: Images, config: ImageConfig, rng: np.random.Generator) -> Images:
    """One random view of each square, of `crop_px`; what the settings leave out draws nothing."""
    (n, stored), side = images.shape[:2], config.crop_px
    if config.min_scale is None:
        sizes = np.full((2, n), float(side))
        corners: Numbers = np.full((2, n), (stored - side) // 2)
        if config.random_crop:
            corners = rng.integers(stored - side + 1, size=(2, n))
    else:
        sizes = random_sizes(rng, n, stored, config.min_scale)
        corners = rng.uniform(0, stored - sizes) if config.random_crop else (stored - sizes) / 2
    flipped = np.less(rng.random(n), 0.5) if config.random_flip else np.zeros(n, dtype=np.bool_)
    if config.min_scale is None and not config.rotation_deg:
        crops = cut(images, corners.astype(np.intp), flipped, side)
    else:
        most = config.rotation_deg
        turned_deg = np.asarray(rng.uniform(-most, most, n) if most else np.zeros(n))
        crops = warp(images, corners, sizes, turned_deg, flipped, side)
    if not config.colour_jitter:
        return crops
    least, most = 1 - config.colour_jitter, 1 + config.colour_jitter
    return jitter_colours(crops, rng.uniform(least, most, (3, n)))


def random_sizes(rng: np.random.Generator, n: int, stored: int, least: float) -> Floats:
    """Heights and widths of windows, (2, n) px, with least..1 of the area of a stored square.

    log(width / height) is uniform; windows are clipped at the edges of the square.
    """
    area = rng.uniform(least, 1, n) * stored**2
    aspect = np.exp(rng.uniform(np.log(ASPECTS[0]), np.log(ASPECTS[1]), n))
    return np.minimum(np.sqrt([area / aspect, area * aspect]), stored)


def warp(
    images: Images, corners: Numbers, sizes: Numbers, turned_deg: Floats, mirrored: Flags, side: int
) -> Images:
    """Windows, scaled to `side` by bilinear interpolation and rotated about their middles.

    `corners`: row and column where each begins, `sizes`: its height and width, (2, n) px; the
    others are (n,). Outside, the square is continued by its mirror image: black corners would
    reveal the angle.
    """
    stored = images.shape[1]
    # In grid_sample's coordinates, -1 to 1 over the square, half a window is size / stored.
    middle = (2 * corners + sizes) / stored - 1
    height, width = sizes / stored
    width = np.where(mirrored, -width, width)
    cos, sin = np.cos(np.deg2rad(turned_deg)), np.sin(np.deg2rad(turned_deg))
    x = np.stack([width * cos, -height * sin, middle[1]], axis=1)
    y = np.stack([width * sin, height * cos, middle[0]], axis=1)
    theta = torch.from_numpy(np.stack([x, y], axis=1)).float()  # (n, 2, 3)
    grid = functional.affine_grid(theta, [len(images), 3, side, side], align_corners=False)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    warped = functional.grid_sample(
        pixels, grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )
    return _as_bytes(warped.permute(0, 2, 3, 1))


def jitter_colours(images: Images, factors: Floats) -> Images:
    """Multiplies brightness, contrast and saturation, in this order, by `factors`, (3, n)."""
    brightness, contrast, saturation = torch.from_numpy(factors).float()[:, :, None, None, None]
    luma = torch.tensor(LUMA)
    colours = (torch.from_numpy(images).float() * brightness).clamp(0, 255)
    grey = (colours @ luma).mean(dim=(1, 2))[:, None, None, None]
    colours = (grey + contrast * (colours - grey)).clamp(0, 255)
    grey = (colours @ luma)[..., None]
    return _as_bytes((grey + saturation * (colours - grey)).clamp(0, 255))


def _as_bytes(pixels: Tensor) -> Images:
    return pixels.round().to(torch.uint8).contiguous().numpy()
