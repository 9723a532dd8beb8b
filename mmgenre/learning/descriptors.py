"""Descriptors of media, and directions of their random Fourier features; without torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

SEED = 0x0F5  # of the directions: the same in every run, as they are no part of what is learned
SAMPLE = 2000  # training rows from which columns are standardised, at most


@lru_cache(maxsize=4)
def orthogonal_directions(n_columns: int, n: int) -> NDArray[np.float64]:
    """Directions (n_columns, n): orthogonal within blocks, with lengths as of normal vectors.

    >>> w = orthogonal_directions(8, 4)
    >>> bool(np.allclose(w[:, 0] @ w[:, 1], 0))
    True
    """
    rng = np.random.default_rng(SEED)
    blocks = []
    for _ in range(math.ceil(n / n_columns)):
        with threadpool_limits(1, "blas"):  # the same numbers on every number of cores
            q, _r = np.linalg.qr(rng.standard_normal((n_columns, n_columns)))
        lengths = np.sqrt(rng.chisquare(n_columns, n_columns))
        blocks.append(q * lengths)
    return np.concatenate(blocks, axis=1)[:, :n]


@dataclass(frozen=True)
class DescriptorSource:
    """Descriptors of the rows of a store; all views of a row are the same."""

    store: Any  # FeatureStore
    describe: Any  # (row of the store) -> descriptors (columns,)

    def views(self, ids: Sequence[str], rng: np.random.Generator | None) -> NDArray[np.float32]:
        """Descriptors, (n, 1, columns)."""
        del rng
        with threadpool_limits(1, "blas"):  # the matrices are small
            return np.stack([self.describe(self.store.read(i)) for i in ids])[:, None]

    def sample(self, ids: Sequence[str]) -> NDArray[np.float32]:
        """Descriptors of some of the rows, (n, columns): enough for a mean and a deviation."""
        rng = np.random.default_rng(SEED)
        chosen = np.sort(rng.permutation(len(ids))[:SAMPLE])
        return self.views([ids[k] for k in chosen], None)[:, 0]
