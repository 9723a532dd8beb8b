"""Fingerprints of covers: what stays when a cover is cropped, framed, made grey or stickered.

A cover is seen whole and, if it has plain borders, without them. A view is the local contrast of
32 x 32 grey values: each minus the mean around it, divided by the deviation around it, so that a
sticker changes its own place only. Two covers are one picture if two of their views correlate once
they are aligned. How well this works is measured in tests/datasets/test_near_twins.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmgenre.disk.store import FeatureStore
from mmgenre.items.twins import Groups, Pair, Twins
from mmgenre.progress import Progress

Floats = NDArray[np.float32]
Views = NDArray[np.float16]  # (n_views, SIDE, SIDE)

SIDE = 32
AROUND = 2.5  # px of SIDE; standard deviation of the neighbourhood
FLAT = 4.0  # grey values; the deviation of a plain area is far below
BORDER_SIDE = 64  # px at which borders are looked for
BORDER_RANGE = 10  # grey values; a row that varies no more is border
LEAST_SHARE = 0.05  # of the side that a view without borders keeps
LEAST_FILLED = 0.3  # of the area: what a cover that is also seen whole has inside its borders
# A pair is looked at if its views, averaged to 16 x 16, correlate by ROUGHLY; it is one picture if
# they correlate by CLOSELY when aligned.
ROUGHLY, CLOSELY = 0.6, 0.85
STEPS = 2  # of alignment
MOST_PX = 4.0  # of SIDE, by which a step may have moved or stretched a view
STIFFNESS = 2.0  # keeps steps small where a view is nearly plain
LEAST_OVERLAP = 0.6
BLOCK, CHUNK = 1024, 256  # views compared with all others at a time; pairs aligned at a time
MOST = 50_000  # covers; the work grows with the square of their number
TOLD_EVERY = 64
PRINTS = "covers 1"  # changed whenever the same cover would give another fingerprint
COMPARING = "comparing covers"


def fingerprints(squares: Sequence[NDArray[np.uint8]]) -> list[Views]:
    """RGB squares of one size, (size, size, 3) -> the views of each, (0 to 2, 32, 32).

    A plain one has none.
    """
    views = [_views(square) for square in squares]
    n_each = [len(own) for own in views]
    values = np.array([np.asarray(view) for own in views for view in own], dtype=np.float32)
    values = values.reshape(-1, SIDE, SIDE)
    blur = _blur()
    spread = values.std(axis=(1, 2))
    values -= blur @ values @ blur.T
    deviation = np.sqrt(blur @ values**2 @ blur.T)
    contrast = (values / (deviation + FLAT)).astype(np.float16)
    cuts = np.cumsum(n_each)[:-1]
    parts = zip(np.split(contrast, cuts), np.split(spread >= FLAT, cuts), strict=True)
    return [own[is_varied] for own, is_varied in parts] if n_each else []


def fingerprint(square: NDArray[np.uint8]) -> Views:
    """That of one square."""
    return fingerprints([square])[0]


def prints_of(squares: Sequence[NDArray[np.uint8]]) -> list[bytes]:
    """The fingerprints as they are stored."""
    return [views.tobytes() for views in fingerprints(squares)]


def _views(square: NDArray[np.uint8]) -> list[Image.Image]:
    """Grey values of the whole and, if it has plain borders, of what they enclose."""
    image = Image.fromarray(square)
    shrink = max(1, len(square) // BORDER_SIDE)
    # The colours first: fewer pixels are left to turn grey.
    small = image.reduce(shrink).convert("L")
    views = [small]
    left, top, right, bottom = inner = _without_borders(np.asarray(small))
    if (right - left) * (bottom - top) < LEAST_FILLED * small.width * small.height:
        # Around a small logo there is nothing to see; within and at its edges, all pixels count.
        stop = min(shrink * right, len(square)), min(shrink * bottom, len(square))
        logo = image.crop((shrink * left, shrink * top, *stop)).convert("L")
        views = [logo.crop(_without_borders(np.asarray(logo)))]
    elif inner != (0, 0, *small.size):
        views.append(small.crop(inner))
    return [view.resize((SIDE, SIDE), Image.Resampling.BILINEAR) for view in views]


def similar(prints: Sequence[Views]) -> list[Pair]:
    """Pairs of the positions of covers that are one picture: those that hold groups together."""
    owner = np.repeat(np.arange(len(prints)), [len(views) for views in prints])
    if not len(owner):
        return []
    views = np.concatenate(prints)
    wide = views.astype(np.float32)
    rows = wide[:, ::2] + wide[:, 1::2]
    rough = _unit(rows[:, :, ::2] + rows[:, :, 1::2])
    groups, found = Groups(len(prints)), []
    for start in range(0, len(views), BLOCK):
        alike = rough[start : start + BLOCK] @ rough[start:].T >= ROUGHLY
        pairs = np.argwhere(np.triu(alike, k=1)) + start
        while len(pairs := pairs[groups.are_apart(owner[pairs])]):
            tried, pairs = pairs[:CHUNK], pairs[CHUNK:]
            one, other = views[tried.T].astype(np.float32)
            found += groups.join(owner[tried[aligned_correlation(one, other) >= CLOSELY]])
    return found


def twins_in(store: FeatureStore, progress: Progress) -> Twins:
    """Near twins among stored covers, if these are at most `MOST`."""
    n = len(store)
    if n > MOST:
        return Twins(note=f"{n:,} covers are too many to be compared, which is done up to {MOST:,}")
    prints: list[Views] = []
    for number, stored in enumerate(store.prints(PRINTS)):
        if number % TOLD_EVERY == 0:
            progress(COMPARING, number, n)
        if stored is None:
            prints.append(fingerprint(store.read(store.ids[number])))
        else:
            prints.append(np.frombuffer(stored, np.float16).reshape(-1, SIDE, SIDE))
    found = [(store.ids[a], store.ids[b]) for a, b in similar(prints)]
    progress(COMPARING, n, n)
    return Twins(found)


def _without_borders(grey: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """The box (left, top, right, bottom) inside plain borders, also of several colours."""
    left, top, right, bottom = 0, 0, grey.shape[1], grey.shape[0]
    while True:
        inside = grey[top:bottom, left:right]
        above, below = _plain_ends(inside, axis=1)
        before, behind = _plain_ends(inside, axis=0)
        kept = inside.shape[0] - above - below, inside.shape[1] - before - behind
        if above + below + before + behind == 0 or min(kept) < LEAST_SHARE * len(grey):
            return left, top, right, bottom
        left, top, right, bottom = left + before, top + above, right - behind, bottom - below


def _plain_ends(grey: NDArray[np.uint8], axis: int) -> tuple[int, int]:
    """How many rows (axis 1) or columns (axis 0) at either end are plain."""
    varied = np.flatnonzero(grey.max(axis) - grey.min(axis) > BORDER_RANGE)
    n = grey.shape[1 - axis]
    return (int(varied[0]), int(n - 1 - varied[-1])) if len(varied) else (0, 0)


@cache
def _blur() -> Floats:
    """A matrix that averages over the neighbourhood, (SIDE, SIDE)."""
    place = np.arange(SIDE)
    weights = np.exp(-(((place[:, None] - place) / AROUND) ** 2) / 2)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


def _unit(views: Floats) -> Floats:
    """Views as vectors of mean 0 and length 1, (n, pixels)."""
    flat = views.reshape(len(views), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    unit: Floats = flat / (np.linalg.norm(flat, axis=1, keepdims=True) + 1e-6)
    return unit


def aligned_correlation(fixed: Floats, moved: Floats) -> Floats:
    """The best correlation of each pair of views, (n, 32, 32), on the way to their alignment, (n,).

    `moved` is shifted and stretched, down and across, by the least squares of its difference from
    `fixed` (Lucas and Kanade 1981; the gradients are those of `fixed`).
    """
    n = len(fixed)
    centre = (SIDE - 1) / 2
    place = ((np.arange(SIDE) - centre) / centre).astype(np.float32)  # from -1 to 1
    down, across = np.gradient(fixed, axis=(1, 2))
    slopes = np.stack([down, down * place[:, None], across, across * place], axis=1)
    slopes = slopes.reshape(n, 4, -1)
    moves = np.zeros((n, 4), np.float32)  # px: shift and stretch down, shift and stretch across
    best = np.full(n, -1, np.float32)
    for step in range(STEPS + 1):
        rows, columns = (
            centre + place * (centre + moves[:, k + 1 : k + 2]) + moves[:, k : k + 1]
            for k in (0, 2)
        )
        there, inside = _sampled(moved, rows, columns)
        best = np.maximum(best, _correlation(fixed, there, inside))
        if step == STEPS:
            break
        difference = ((there - fixed) * inside).reshape(n, -1, 1)
        own = slopes * inside.reshape(n, 1, -1)
        normal = own @ slopes.swapaxes(1, 2) + STIFFNESS * np.eye(4, dtype=np.float32)
        moves -= np.linalg.solve(normal, own @ difference)[..., 0]
        moves = np.clip(moves, -MOST_PX, MOST_PX)
    return best


def _sampled(
    views: Floats, rows: NDArray[np.floating], columns: NDArray[np.floating]
) -> tuple[Floats, Floats]:
    """Views at fractional rows and columns, (n, 32) each, and 1 where these lie inside, else 0."""
    first = np.arange(len(views))[:, None]
    values, masks = views, []
    for places in (rows, columns):
        masks.append((places >= 0) & (places <= SIDE - 1))
        low = np.clip(places, 0, SIDE - 1.001)
        whole = low.astype(np.intp)
        share = (low - whole)[:, :, None].astype(np.float32)
        lower = values[first, whole]
        values = (lower + (values[first, whole + 1] - lower) * share).swapaxes(1, 2)
    return values, (masks[0][:, :, None] & masks[1][:, None]).astype(np.float32)


def _correlation(one: Floats, other: Floats, weights: Floats) -> Floats:
    """Of each pair where the weights are 1, (n,); -1 where that is too little."""
    n_inside = weights.sum(axis=(1, 2), keepdims=True)
    n_inside = np.maximum(n_inside, 1)
    x, y = (
        (part - (part * weights).sum(axis=(1, 2), keepdims=True) / n_inside) * weights
        for part in (one, other)
    )
    xy, xx, yy = ((a * b).sum(axis=(1, 2)) for a, b in ((x, y), (x, x), (y, y)))
    enough = n_inside[:, 0, 0] >= LEAST_OVERLAP * SIDE**2
    return np.where(enough, xy / np.sqrt(xx * yy + 1e-9), -1).astype(np.float32)
