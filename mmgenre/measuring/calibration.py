"""Whether probabilities mean what they say. n items, L labels.

Of labels that exclude each other, an item's likeliest genre is judged; of labels that overlap,
every pair of an item and a label.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmgenre.measuring.by_value import AT_ONCE, parts, row_blocks

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
BINS = 15  # of equally many judgements (Nguyen and O'Connor 2015)


class Reliability(NamedTuple):
    """Bins of judgements from the least to the most sure."""

    said: Floats  # (bins,), mean probability
    true: Floats  # (bins,), share that is so
    n: NDArray[np.intp]  # (bins,)


def judgements(y: Bools, p: Floats, *, exclusive: bool) -> tuple[Floats, Bools]:
    """Probabilities and whether what they are of is so: of the likeliest genre, or of all."""
    if not exclusive:
        return p.ravel(), y.ravel()
    best = p.argmax(axis=1)
    rows = np.arange(len(p))
    return p[rows, best], y[rows, best]


def reliability(y: Bools, p: Floats, *, exclusive: bool, bins: int = BINS) -> Reliability:
    """Judgements sorted by probability, in bins of equally many; equal ones share a bin."""
    if not exclusive and p.size > AT_ONCE:
        return _many(y, p, bins)
    said, true = judgements(y, p, exclusive=exclusive)
    order = np.argsort(said, kind="stable")
    said, hits = said[order], true[order].astype(np.float64)
    starts = np.searchsorted(said, said[np.arange(bins) * len(said) // bins], side="left")
    starts = np.unique(starts)
    n = np.diff([*starts, len(said)])
    return Reliability(np.add.reduceat(said, starts) / n, np.add.reduceat(hits, starts) / n, n)


def _many(y: Bools, p: Floats, bins: int) -> Reliability:
    """As `reliability` of more judgements than are sorted at once."""
    places, above, edges = np.arange(bins) * p.size // bins, p.size, list[float]()
    for part in parts(y, p):  # from the highest down
        above -= len(part.scores)
        own = places[(places >= above) & (places < above + len(part.scores))] - above
        edges += np.sort(part.scores)[own].tolist()
    edge = np.unique(edges)
    sums = np.zeros((3, len(edge)))
    for rows in row_blocks(*p.shape):
        said, true = p[rows].ravel(), y[rows].ravel()
        own = np.searchsorted(edge, said, side="right") - 1
        for k, weights in enumerate((said, true, None)):
            sums[k] += np.bincount(own, weights, minlength=len(edge))
    return Reliability(sums[0] / sums[2], sums[1] / sums[2], sums[2].astype(np.intp))


def calibration_error(y: Bools, p: Floats, *, exclusive: bool, bins: int = BINS) -> float:
    """Expected calibration error: mean distance of what is said from what is so (Guo 2017, eq. 3).

    By bins of equally many judgements: of overlapping genres most probabilities are near 0, and
    bins of equal width would judge nothing else.
    """
    found = reliability(y, p, exclusive=exclusive, bins=bins)
    return float((found.n * np.abs(found.said - found.true)).sum() / found.n.sum())


def brier(y: Bools, p: Floats) -> float:
    """Mean over items of the squared distance of probabilities from labels (Brier 1950)."""
    blocks = [np.square(p[own] - y[own]).sum(axis=1) for own in row_blocks(*p.shape)]
    return float(np.concatenate(blocks).mean())


def losses(y: Bools, p: Floats, *, exclusive: bool) -> Floats:
    """Minus the log of the probability of each item's labels as they are, (n,)."""
    p = np.clip(p, 1e-12, 1 - 1e-12)
    if exclusive:
        return np.asarray(-np.log(p).sum(axis=1, where=y))
    return np.asarray(-np.where(y, np.log(p), np.log1p(-p)).sum(axis=1))
