"""Which covers a network takes for alike, and whether they share their genre."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mmgenre.items.labels import ancestors

QUERIES_AT_ONCE = 256  # times 30,000 covers: 30 MB of cosines


def nearest(
    vectors: NDArray[np.floating], queries: NDArray[np.integer], k: int
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The k nearest other rows of each query by cosine, nearest first, ties in order of the rows.

    A row of zeros has cosine 0 with every other.

    Args:
        vectors: (n, width).
        queries: rows, (m,).
        k: how many, from 1 to n - 1.

    Returns:
        Rows (m, k) and their cosines (m, k).

    Raises:
        ValueError: k out of range.
    """
    if not 1 <= k < len(vectors):
        raise ValueError(f"k {k}: must be from 1 to {len(vectors) - 1}, the other rows")
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.maximum(norms, np.finfo(np.float32).tiny)
    rows, cosines = [], []
    for start in range(0, len(queries), QUERIES_AT_ONCE):
        some = queries[start : start + QUERIES_AT_ONCE]
        similar = (unit[some] @ unit.T).astype(np.float64)
        similar[np.arange(len(some)), some] = -np.inf  # never itself
        order = np.argsort(-similar, axis=1, kind="stable")[:, :k]
        rows.append(order)
        cosines.append(np.take_along_axis(similar, order, axis=1))
    if not rows:
        return np.zeros((0, k), np.intp), np.zeros((0, k))
    return np.concatenate(rows), np.concatenate(cosines)


def broadest(labels: Sequence[str]) -> str:
    """The broadest genre of the first label.

    >>> broadest(["Jazz/Swing", "Blues"])
    'Jazz'
    """
    return ancestors(labels[0])[0]


def shared_genre(
    labels: Sequence[Sequence[str]], queries: NDArray[np.integer], rows: NDArray[np.integer]
) -> tuple[NDArray[np.bool_], float]:
    """Which neighbours have their query's broadest genre, (m, k), and the share by chance.

    By chance: the mean over the queries of the share of all other items that have it.

    Args:
        labels: of each item, (n,).
        queries: items, (m,).
        rows: the neighbours of each, (m, k).

    Raises:
        ValueError: no queries.
    """
    if not len(queries):
        raise ValueError("no queries: give one or more")
    has = [{ancestors(name)[0] for name in names} for names in labels]
    wanted = [broadest(labels[q]) for q in queries]
    counts = {genre: sum(genre in own for own in has) for genre in set(wanted)}
    shared = [[genre in has[row] for row in near] for genre, near in zip(wanted, rows, strict=True)]
    chance = np.mean([(counts[genre] - 1) / (len(labels) - 1) for genre in wanted])
    return np.array(shared, dtype=bool), float(chance)
