"""The nearest of many vectors, exactly: every cosine, by blocks that fit into the caches.

Memory is one number a row, whatever the width. The first search reads rows as the store does, and
compares their checksums; the ones after it take a second for some millions of rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import local

import loky
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mmgenre.disk.store import FeatureStore
from mmgenre.errors import StoreError
from mmgenre.fusion.table import lengths

BLOCK_BYTES = 1 << 22  # of rows that a core multiplies at once
NOWHERE = -np.inf  # the cosine of a vector of zeros, which has no direction


class Gallery:
    """The rows of a store of vectors, searched by their cosine with a query."""

    def __init__(self, store: FeatureStore) -> None:
        """StoreError unless rows are vectors."""
        if store.ragged or len(store.row_shape) != 1:
            raise StoreError(f"{store.path}: /{store.name} has rows {store.row_shape}, no vectors")
        self.store = store
        self.width = int(store.row_shape[0] or 0)
        self._lengths: NDArray[np.float32] | None = None  # (n,), once all rows were read

    def cosines(self, queries: NDArray[np.floating]) -> NDArray[np.float32]:
        """Cosine of each query (m, width) with each row, (m, n); with one of zeros -inf.

        Raises:
            ValueError: queries of another width, of zeros, or not finite.
            StoreError: the store is damaged.
        """
        if queries.ndim != 2 or queries.shape[1] != self.width:
            raise ValueError(f"queries {queries.shape}: must be (m, {self.width})")
        q = queries.astype(np.float32)
        if not np.isfinite(q).all() or not q.any(axis=1).all():
            raise ValueError("a query is a vector of zeros, or holds NaN or infinity")
        q = np.asarray(q / lengths(q)[:, None], np.float32)
        n, known = len(self.store), self._lengths
        norms = np.empty(n, np.float32) if known is None else known
        found = np.empty((len(q), n), np.float32)
        step, own = max(1, BLOCK_BYTES // (4 * self.width)), local()

        def multiply(start: int) -> None:
            if not hasattr(own, "block"):  # one for each thread
                own.block = np.empty((step, self.width), self.store.dtype)
            rows = own.block[: min(step, n - start)]
            self.store.read_rows(start, rows)
            x, here = rows.astype(np.float32, copy=False), slice(start, start + len(rows))
            if known is None:  # squares of float32 may overflow
                norms[here] = np.sqrt(np.einsum("nw,nw->n", x, x, dtype=np.float64))
            found[:, here] = q @ x.T
            with np.errstate(invalid="ignore", divide="ignore"):
                found[:, here] /= norms[here]
            found[:, here][:, norms[here] == 0] = NOWHERE

        with threadpool_limits(1), ThreadPoolExecutor(loky.cpu_count()) as threads:
            for _ in threads.map(multiply, range(0, n, step)):
                pass
        self._lengths = norms
        return found


@dataclass(frozen=True)
class Match:
    """An item, and how near it is: its mean cosine with the query, -1 to 1."""

    id: str
    similarity: float


class Views:
    """The vectors of one modality by one encoder or several, joined by id."""

    def __init__(self, galleries: Sequence[Gallery]) -> None:
        self.galleries = tuple(galleries)
        first, *others = (gallery.store for gallery in self.galleries)
        self._ids: tuple[str, ...] | None = None  # of the items; None: those of the first store
        self._rows: list[NDArray[np.intp] | slice] = [slice(None)] * len(self.galleries)
        self._n = len(first)
        if not all(first.has_same_ids(other) for other in others):
            self._ids = tuple(dict.fromkeys(i for g in self.galleries for i in g.store.ids))
            row = {item_id: k for k, item_id in enumerate(self._ids)}
            self._rows = [np.array([row[i] for i in g.store.ids], int) for g in self.galleries]
            self._n = len(self._ids)

    def nearest(self, query: NDArray[np.floating], top: int) -> list[Match]:
        """The `top` items of highest mean cosine over their views, nearest first.

        Ties are in the order of the rows. Items of which no vector has a direction are left out.
        """
        if top < 1:
            raise ValueError(f"top {top}: at least 1")
        sums, counts = np.zeros(self._n, np.float32), np.zeros(self._n, np.uint8)
        for gallery, rows in zip(self.galleries, self._rows, strict=True):
            cosine = gallery.cosines(query[None])[0]
            here = cosine > NOWHERE
            sums[rows] += np.where(here, cosine, 0)
            counts[rows] += here
        means = np.where(counts > 0, sums / np.maximum(counts, 1), NOWHERE)
        best = [row for row in highest(means, top).tolist() if means[row] > NOWHERE]
        return [Match(i, float(means[k])) for i, k in zip(self._names(best), best, strict=True)]

    def _names(self, rows: Sequence[int]) -> list[str]:
        if self._ids is None:
            return self.galleries[0].store.ids_at(rows)
        return [self._ids[row] for row in rows]


def highest(values: NDArray[np.floating], top: int) -> NDArray[np.intp]:
    """Positions of the `top` highest values, the highest first; ties in order.

    >>> highest(np.array([0.1, 0.3, 0.2, 0.3]), 3)
    array([1, 3, 2])
    """
    top = min(top, len(values))
    if not top:
        return np.empty(0, np.intp)
    least = np.partition(values, len(values) - top)[len(values) - top]
    above, tied = np.flatnonzero(values > least), np.flatnonzero(values == least)
    rows = np.sort(np.concatenate([above, tied[: top - len(above)]]))
    return rows[np.argsort(-values[rows], kind="stable")]


def mean_direction(vectors: Iterable[NDArray[np.floating]]) -> NDArray[np.float32]:
    """The mean of vectors scaled to length 1, (width,).

    Raises:
        ValueError: there is none, or they cancel each other out.
    """
    rows = np.array(list(vectors), np.float32)
    if not len(rows):
        raise ValueError("no vector to take the mean of")
    mean = np.asarray((rows / lengths(rows)[:, None]).mean(axis=0), np.float32)
    if not mean.any():
        raise ValueError("the vectors of the query have no direction in common")
    return mean
