"""Pairs of a truth and a score in the order of the scores, some at a time.

Figures that pool all labels of all items rank as many scores as items times labels: 50 million of
200 000 items. They are sorted in parts, none of which needs much memory. n items, L labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

AT_ONCE = 1 << 22  # pairs
SAMPLE = 1 << 16  # scores by which parts are cut


class Part(NamedTuple):
    """Some pairs, in the order of items and labels."""

    y: NDArray[np.bool_]  # (m,)
    scores: NDArray[np.float64]  # (m,)
    items: NDArray[np.intp]  # (m,), of which item each is


def row_blocks(n: int, width: int, at_once: int | None = None) -> Iterator[slice]:
    """Blocks of n rows of so many numbers."""
    step = max(1, (at_once or AT_ONCE) // max(1, width))
    for start in range(0, n, step):
        yield slice(start, min(start + step, n))


def parts(
    y: NDArray[np.bool_], scores: NDArray[np.floating], at_once: int | None = None
) -> Iterator[Part]:
    """All pairs of y and scores (n, L), those with the highest scores first.

    Equal scores are in one part, which else has some `at_once` pairs (None: `AT_ONCE`).
    """
    at_once, (n, width) = at_once or AT_ONCE, scores.shape
    blocks = list(row_blocks(n, width, at_once))
    cuts = np.zeros(0)
    if len(blocks) > 1:
        sample = scores[np.linspace(0, n - 1, max(2, SAMPLE // width)).astype(np.intp)]
        shares = np.linspace(0, 1, 2 * len(blocks) + 1)[1:-1]  # twice as many: samples are rough
        cuts = np.unique(np.quantile(sample, shares))
    bounds = [np.inf, *cuts[::-1].tolist(), -np.inf]
    for high, low in pairwise(bounds):
        found: list[Part] = []
        for own in blocks:
            some = np.asarray(scores[own], np.float64)
            here = (some > low) & (some <= high)
            items = own.start + np.flatnonzero(here) // width
            found.append(Part(y[own][here], some[here], items))
        whole = Part(*(np.concatenate(column) for column in zip(*found, strict=True)))
        if len(whole.y):
            yield whole
