"""Covers without pretrained weights: colours, layout and gradients as blocks of descriptors.

`KernelEncoder` standardises them on the training rows and embeds them; nothing else is learned.
Which blocks help was measured by artist-grouped cross-validation (docs/measured.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from itertools import pairwise, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmgenre.disk.store import FeatureStore
from mmgenre.image.settings import ImageConfig
from mmgenre.learning.descriptors import DescriptorSource

Image = NDArray[Any]  # (side, side) or (side, side, channels)
Vector = NDArray[Any]
SIDE = 128  # px; every cover is averaged to it first, so that the stored size hardly matters
HALVINGS = (128, 64, 32)  # px; sides of the scales at which gradients are taken
CELLS, ANGLES = 8, 9  # of the histograms of oriented gradients
STRIPE_LAGS = (1, 2, 4, 6, 8, 12, 16, 24)  # px of 128; lines of text repeat at some of them
# Linear sRGB to XYZ / white point D65 (IEC 61966-2-1).
TO_XYZ = np.array(
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]], np.float32
)


def blocks(square: NDArray[np.uint8]) -> dict[str, Vector]:
    """Blocks of descriptors of an RGB square (size, size, 3), whatever its size.

    >>> black = np.zeros((64, 64, 3), np.uint8)
    >>> {name: len(block) for name, block in blocks(black).items()}
    ... # doctest: +NORMALIZE_WHITESPACE
    {'covariance': 116, 'gradients': 576, 'contrast': 90, 'stripes': 26, 'colours': 128,
     'spectrum': 36, 'rings': 32}
    """
    rgb = resample(square.astype(np.float32), SIDE) / 255
    lab = to_lab(rgb)
    return {
        "covariance": covariance(lab),
        "gradients": oriented_gradients(lab),
        "contrast": contrast_histograms(lab[..., 0]),
        "stripes": stripes(lab[..., 0]),
        "colours": colour_histogram(resample(rgb, SIDE // 2)),
        "spectrum": spectrum(lab),
        "rings": rings(lab),
    }


def covariance(lab: Image) -> Vector:
    """How colour, chroma, gradients and place vary together over the pixels, and their means.

    The logarithm of the covariance matrix makes its distances Euclidean: Tuzel et al. 2006,
    Arsigny et al. 2006. Gradients are taken at three scales.
    """
    colours: list[Image] = [lab[..., 0] / 20, lab[..., 1] / 15, lab[..., 2] / 15]
    gradients = []
    for side in HALVINGS:
        for slope in _slopes(resample(lab[..., 0], side)):
            gradients.append(
                np.log1p(np.abs(slope)).repeat(SIDE // side, 0).repeat(SIDE // side, 1)
            )
    chroma: Image = _length(lab[..., 1], lab[..., 2])
    edges: Image = _length(_edges(lab[..., 1]), _edges(lab[..., 2]))
    place = [plane / 37 for plane in np.indices(chroma.shape, float)]  # unit variance, about
    place.append(_from_border() / 18)
    colours += [np.asarray(np.sqrt(chroma) / 2), np.asarray(np.log1p(edges))]
    maps = np.stack([*colours, *gradients, *place], dtype=np.float32)
    pixels = maps.reshape(len(maps), -1)
    # A constant cover has zero variances: 0.02 keeps their logarithms finite.
    means = pixels.mean(axis=1)
    centred = pixels - means[:, None]
    together = (centred @ centred.T / SIDE**2).astype(np.float64)
    variances, axes = np.linalg.eigh(together + 0.02 * np.eye(len(maps)))
    logarithm = (axes * np.log(variances)) @ axes.T
    return np.concatenate([logarithm[np.triu_indices(len(maps))], means[: -len(place)]])


def oriented_gradients(lab: Image) -> Vector:
    """Shapes: histograms of unsigned gradient angles in 8 x 8 cells, (8 * 8 * 9,).

    After Dalal and Triggs 2005: each pixel gives the gradient of its strongest channel, shared by
    the two nearest angles. A cell is divided by its own norm, flat ones stay near 0.
    """
    slopes = np.stack([_slopes(lab[..., c]) for c in range(3)])  # (channel, y or x, side, side)
    strongest = _length(slopes[:, 0], slopes[:, 1]).argmax(axis=0)[None]
    dy, dx = (np.take_along_axis(slopes[:, k], strongest, axis=0)[0] for k in (0, 1))
    angle = (np.arctan2(dy, dx) / math.pi % 1) * ANGLES
    low = np.floor(angle).astype(np.intp)
    share = angle - low
    rows, columns = np.indices(dy.shape) * CELLS // SIDE
    cell = (rows * CELLS + columns) * ANGLES
    size = _length(dy, dx)
    where = np.concatenate([cell + low % ANGLES, cell + (low + 1) % ANGLES], axis=None)
    weights = np.concatenate([size * (1 - share), size * share], axis=None)
    cells: Image = np.bincount(where, weights, CELLS * CELLS * ANGLES)
    cells = cells.reshape(-1, ANGLES) / (SIDE / CELLS) ** 2
    norms = np.linalg.norm(cells, axis=1, keepdims=True)
    return np.asarray(np.sqrt(cells / (norms + 1)).ravel())


def contrast_histograms(lightness: Image) -> Vector:
    """How strongly neighbours differ (photo, drawing, flat print): at the borders, in the middle.

    Histograms of log2 of the differences down and across, 9 bins each; square roots of shares.
    """
    q = SIDE // 8
    parts = [lightness[:q], lightness[-q:], lightness[:, :q], lightness[:, -q:]]
    middle = lightness[SIDE // 4 : -SIDE // 4, SIDE // 4 : -SIDE // 4]
    histograms = []
    for part in (*parts, middle):
        for difference in (np.diff(part, axis=0), np.diff(part, axis=1)):
            level = np.log2(np.abs(difference).ravel() * 2.56 + 1) / 8
            histograms.append(soft_histogram([level], [9]))
    return np.asarray(np.sqrt(np.concatenate(histograms)))


def stripes(lightness: Image) -> Vector:
    """Where fine detail lies, row by row and column by column: text stands in lines."""
    found: list[Vector] = []
    across = np.abs(np.diff(lightness, axis=1)).mean(axis=1)
    down = np.abs(np.diff(lightness, axis=0)).mean(axis=0)
    for detail in (across, down):
        profile = detail / (detail.mean() + 0.3)
        wave = profile - profile.mean()
        scale = len(wave) * (wave.var() + 0.05)
        found.append(np.quantile(profile, [0.05, 0.25, 0.5, 0.75, 0.95]))
        found.append(np.array([wave[lag:] @ wave[:-lag] / scale for lag in STRIPE_LAGS]))
    return np.concatenate(found)


def colour_histogram(rgb: Image) -> Vector:
    """Joint histogram of hue (8), saturation (4) and value (4); square roots of shares."""
    hue, saturation, value = to_hsv(rgb)
    joint = soft_histogram([hue.ravel(), saturation.ravel(), value.ravel()], [8, 4, 4], cyclic=1)
    return np.sqrt(joint)


def spectrum(lab: Image) -> Vector:
    """Log power of L, a and b in 12 rings of spatial frequency: how coarse, how fine."""
    window = np.outer(np.hanning(SIDE), np.hanning(SIDE)).astype(np.float32)
    waves = np.fft.rfft2((lab - lab.mean(axis=(0, 1))).transpose(2, 0, 1) * window)
    power = np.abs(waves) ** 2 / (SIDE**2 * (window**2).mean())
    ring, count = _frequency_rings()
    means = [np.bincount(ring, p.ravel(), 13)[:12] / count for p in power]
    return np.log(np.concatenate(means) + 0.3)


def rings(lab: Image) -> Vector:
    """Border against middle: colours, their spread, chroma and edges in four nested frames."""
    maps = np.stack(
        [*np.moveaxis(lab, 2, 0), _length(lab[..., 1], lab[..., 2]), _edges(lab[..., 0])]
    )
    pixels, frames = maps.reshape(5, -1), _frames()
    means = frames @ pixels.T  # (frame, map)
    centred = pixels[:3] - means[:, :3, None]
    spread = np.sqrt(np.einsum("fp,fmp->fm", frames, centred**2))
    return np.concatenate([means[:, :4], np.log1p(means[:, 4:]), spread], axis=1).ravel()


def soft_histogram(values: Sequence[Vector], bins: Sequence[int], *, cyclic: int = 0) -> Vector:
    """Joint histogram of values in 0..1, each shared by its nearest bins; sums to 1.

    The first `cyclic` of the values go round: 1 is 0.

    >>> soft_histogram([np.array([0.0, 0.5])], [2]).tolist()
    [0.75, 0.25]
    """
    sides = []  # per value: ((bin below, its share), (bin above, its share))
    for k, (value, n) in enumerate(zip(values, bins, strict=True)):
        place = value * n if k < cyclic else np.clip(value * n - 0.5, 0, n - 1)
        low = np.floor(place).astype(np.intp)
        share = place - low
        high = (low + 1) % n if k < cyclic else np.minimum(low + 1, n - 1)
        sides.append(((low % n, 1 - share), (high, share)))
    total = np.zeros(math.prod(bins))
    for corner in product(*sides):
        where, weight = corner[0]
        for (place, share), n in zip(corner[1:], bins[1:], strict=True):
            where, weight = where * n + place, weight * share
        total += np.bincount(where, weight, len(total))
    return total / len(values[0])


def resample(image: Image, side: int) -> Image:
    """Averages a square over equal areas, whatever its size; a smaller one is enlarged.

    >>> resample(np.arange(16.0).reshape(4, 4), 2).tolist()
    [[2.5, 4.5], [10.5, 12.5]]
    """
    size = len(image)
    if size == side:
        return image
    weights = _overlaps(size, side).astype(image.dtype)
    rows = (weights @ image.reshape(size, -1)).reshape(side, size, -1)
    return np.asarray(weights @ rows).reshape(side, side, *image.shape[2:])


def to_lab(rgb: Image) -> Image:
    """RGB (sRGB) in 0..1 -> CIELAB: lightness 0..100, green to red, blue to yellow.

    >>> to_lab(np.array([[[1.0, 0.0, 0.0]]])).round().tolist()
    [[[53.0, 80.0, 67.0]]]
    """
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = linear @ (TO_XYZ / TO_XYZ.sum(axis=1, keepdims=True)).T
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    planes = np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)])
    return np.moveaxis(planes, 0, -1)  # a view: each channel stays contiguous, for speed


def to_hsv(rgb: Image) -> tuple[Image, Image, Image]:
    """RGB in 0..1 -> hue (red is 0; grey, too), saturation and value in 0..1."""
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    value = rgb.max(axis=-1)
    span = value - rgb.min(axis=-1)
    part = np.where(span > 0, span, 1)
    hue = np.where(
        value == red,
        (green - blue) / part % 6,
        np.where(value == green, (blue - red) / part + 2, (red - green) / part + 4),
    )
    return hue / 6, span / np.where(value > 0, value, 1), value


def _slopes(image: Image) -> tuple[Image, Image]:
    """Central differences down and across."""
    dy, dx = np.gradient(image)
    return np.asarray(dy), np.asarray(dx)


def _edges(image: Image) -> Image:
    return _length(*_slopes(image))


def _length(dy: Image, dx: Image) -> Image:
    return np.asarray(np.sqrt(dy * dy + dx * dx))  # several times as fast as np.hypot


@cache
def _overlaps(size: int, side: int) -> Image:
    """Share of each of `size` stored pixels in each of `side` pixels, (side, size)."""
    edges = np.arange(side + 1) * size / side
    low, high = edges[:-1, None], edges[1:, None]
    k = np.arange(size)
    return (np.minimum(high, k + 1) - np.maximum(low, k)).clip(0) * side / size


@cache
def _from_border() -> NDArray[np.intp]:
    """Distance of each pixel from the nearest border, (SIDE, SIDE) px."""
    distance = np.minimum(np.arange(SIDE), np.arange(SIDE)[::-1])
    return np.minimum(distance[:, None], distance)


@cache
def _frames() -> Image:
    """Weights (4, pixels) that average over frames from the border to the middle."""
    edges = (0, 4, 16, 36, SIDE)
    frames = [((_from_border() >= a) & (_from_border() < b)).ravel() for a, b in pairwise(edges)]
    return np.stack([frame / frame.sum() for frame in frames]).astype(np.float32)


@cache
def _frequency_rings() -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Ring of each frequency of `rfft2`, 12 outside of all; frequencies per ring."""
    radius = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)).ravel()
    edges = np.geomspace(1.5 / SIDE, 0.5, 13)
    ring = np.searchsorted(edges, radius) - 1
    ring[(ring < 0) | (ring > 11)] = 12
    return ring, np.bincount(ring, minlength=13)[:12]


def described(square: NDArray[np.uint8]) -> NDArray[np.float32]:
    """All blocks one after the other, (1004,)."""
    return np.concatenate([*blocks(square).values()], dtype=np.float32)


WIDTHS = tuple(len(block) for block in blocks(np.zeros((8, 8, 3), np.uint8)).values())


def source_of(config: ImageConfig, store: FeatureStore) -> DescriptorSource:
    """The descriptors of covers, whatever the settings."""
    del config
    return DescriptorSource(store, described)
