"""Vectors that stay in their stores, for tables that would not fit into memory.

They are read by rows, or by blocks of rows in order. Training reads them in an order that is
shuffled in windows (`windowed_order`), so that a disk reads one part of a file at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mmgenre.disk.store import FeatureStore

BLOCK_ROWS = 4096  # read at once: of three inputs of 2048 numbers 100 MB
# Rows that are shuffled with each other: consecutive ones in a block, some blocks in a window.
SHUFFLED_BLOCK, SHUFFLED_BLOCKS = 1024, 64


def lengths(x: NDArray[np.float32]) -> NDArray[np.float64]:
    """L2 norms of rows (n, width), and 1 for a row of zeros; squares of float32 may overflow."""
    found = np.sqrt(np.einsum("nw,nw->n", x, x, dtype=np.float64))
    return np.where(found > 0, found, 1.0)


def slices(n: int, size: int = BLOCK_ROWS) -> Iterator[slice]:
    """Blocks of n rows in order."""
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))


@dataclass(frozen=True)
class Column:
    """The vectors of n items by one input, in a store."""

    store: FeatureStore
    rows: NDArray[np.intp]  # (n,), where each lies; -1: absent
    norms: NDArray[np.float64]  # (n,), as `lengths`
    is_unit: bool = False  # whether they are divided by these

    @classmethod
    def of(cls, store: FeatureStore, ids: Sequence[str]) -> Column:
        """Looks up the ids; reads every vector once, as one of zeros is absent."""
        rows = store.positions(ids)
        norms = np.ones(len(rows))
        for own in slices(len(rows)):
            here = own.start + np.flatnonzero(rows[own] >= 0)
            x = np.asarray(store.rows_at(rows[here]), np.float32)
            norms[here] = lengths(x)
            rows[here[~x.any(axis=1)]] = -1
        return cls(store, rows, norms)

    @property
    def width(self) -> int:
        return int(self.store.row_shape[0] or 0)

    @property
    def present(self) -> NDArray[np.bool_]:
        """(n,)."""
        return self.rows >= 0

    def read(self, at: NDArray[np.intp] | slice) -> NDArray[np.float32]:
        """The vectors of some items, (m, width); of absent ones zeros."""
        rows = self.rows[at]
        here = rows >= 0
        x = np.zeros((len(rows), self.width), np.float32)
        if here.all():
            x[:] = self.store.rows_at(rows)
        else:
            x[here] = self.store.rows_at(rows[here])
        if self.is_unit:
            x = np.asarray(x / self.norms[at][:, None], np.float32)
        return x

    def select(self, at: NDArray[np.intp]) -> Column:
        """Some of the items."""
        return replace(self, rows=self.rows[at], norms=self.norms[at])

    def keeping(self, kept: NDArray[np.bool_]) -> Column:
        """The same with absent vectors where `kept` (n,) is false."""
        return replace(self, rows=np.where(kept, self.rows, -1))


class Stored(Mapping[str, NDArray[np.float32]]):
    """Columns by input; to look one up reads all of it, which few items allow."""

    def __init__(self, columns: Mapping[str, Column]) -> None:
        self.columns = dict(columns)

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        return self.columns[name].read(slice(None))

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)

    def map(self, change: Callable[[str, Column], Column]) -> Stored:
        """Changed columns."""
        return Stored({name: change(name, column) for name, column in self.columns.items()})


def windowed_order(
    n: int,
    rng: np.random.Generator,
    *,
    block: int = SHUFFLED_BLOCK,
    blocks: int = SHUFFLED_BLOCKS,
) -> NDArray[np.intp]:
    """The rows 0 to n - 1, shuffled in windows.

    Blocks of consecutive rows are shuffled, then the rows of every `blocks` of them. So two rows
    that are far apart may be in one batch, and most pairs of rows never are in one pass. Of a
    single block it is `rng.permutation(n)`.

    >>> windowed_order(6, np.random.default_rng(1), block=2, blocks=2).tolist()
    [3, 0, 2, 1, 5, 4]
    """
    starts = block * rng.permutation(-(-n // block))
    parts = [np.arange(start, min(start + block, n)) for start in starts.tolist()]
    windows = [np.concatenate(parts[k : k + blocks]) for k in range(0, len(parts), blocks)]
    return np.concatenate([rng.permutation(window) for window in windows] or [np.arange(0)])
