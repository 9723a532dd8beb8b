"""Rows of several stores joined by id, with a mask for what an item lacks.

The vectors of a table are in memory, or stay in their stores (`stored.py`): then `blocks` and
`take` read what is asked for, and `x[name]` all vectors of an input.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mmgenre.disk.store import FeatureStore
from mmgenre.fusion.stored import BLOCK_ROWS, Column, Stored, slices, windowed_order
from mmgenre.fusion.stored import lengths as lengths
from mmgenre.items.modalities import JOINT, modality_of

IN_MEMORY_BYTES = 1 << 28  # of the vectors of a table that is held in memory where others need not


@dataclass(frozen=True)
class FeatureTable:
    """n items by named inputs; rows of absent inputs are zero and must never be read as data."""

    ids: tuple[str, ...]
    x: Mapping[str, NDArray[np.float32]]  # {input: (n, width)}
    present: Mapping[str, NDArray[np.bool_]]  # {input: (n,)}

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def widths(self) -> dict[str, int]:
        if isinstance(self.x, Stored):
            return {name: column.width for name, column in self.x.columns.items()}
        return {name: rows.shape[1] for name, rows in self.x.items()}

    @property
    def is_stored(self) -> bool:
        """Whether the vectors stay in their stores."""
        return isinstance(self.x, Stored)

    def take(self, name: str, rows: NDArray[np.intp] | slice) -> NDArray[np.float32]:
        """Vectors of some items by one input, (m, width)."""
        return self.x.columns[name].read(rows) if isinstance(self.x, Stored) else self.x[name][rows]

    def blocks(self, size: int | None = None) -> Iterator[FeatureTable]:
        """The items in order, by tables in memory; None: a single one, if all are there."""
        if size is None:
            size = BLOCK_ROWS if self.is_stored else max(1, len(self))
        for own in slices(len(self), size):
            x = {name: self.take(name, own) for name in self.x}
            present = {name: here[own] for name, here in self.present.items()}
            yield FeatureTable(self.ids[own], x, present)

    def order(self, rng: np.random.Generator) -> NDArray[np.intp]:
        """The rows in an order for one pass of training; in windows if they stay in stores."""
        return windowed_order(len(self), rng) if self.is_stored else rng.permutation(len(self))

    def select(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> FeatureTable:
        """Some of the items."""
        positions = np.flatnonzero(rows) if rows.dtype == bool else rows.astype(np.intp, copy=False)
        present = {name: here[positions] for name, here in self.present.items()}
        ids = tuple(self.ids[i] for i in positions)
        if isinstance(self.x, Stored):
            return FeatureTable(ids, self.x.map(lambda _, own: own.select(positions)), present)
        x = {name: vectors[positions] for name, vectors in self.x.items()}
        return FeatureTable(ids, x, present)

    def only(self, names: Sequence[str]) -> FeatureTable:
        """Some of the inputs, in the given order."""
        present = {n: self.present[n] for n in names}
        if isinstance(self.x, Stored):
            return FeatureTable(self.ids, Stored({n: self.x.columns[n] for n in names}), present)
        return FeatureTable(self.ids, {n: self.x[n] for n in names}, present)

    def keeping(self, present: Mapping[str, NDArray[np.bool_]]) -> FeatureTable:
        """The items as if they had no other inputs than these, (n,) of each."""
        if isinstance(self.x, Stored):
            stored = self.x.map(lambda name, own: own.keeping(present[name]))
            return FeatureTable(self.ids, stored, present)
        x = {name: np.where(present[name][:, None], rows, 0) for name, rows in self.x.items()}
        return FeatureTable(self.ids, x, present)

    @classmethod
    def both(cls, one: FeatureTable, other: FeatureTable) -> FeatureTable:
        """The items of two tables of the same inputs."""
        x = {n: np.concatenate([rows, other.x[n]]) for n, rows in one.x.items()}
        present = {n: np.concatenate([p, other.present[n]]) for n, p in one.present.items()}
        return cls((*one.ids, *other.ids), x, present)

    def unit(self) -> FeatureTable:
        """The table with L2-normalised vectors; a vector of zeros stays one."""
        if isinstance(self.x, Stored):
            stored = self.x.map(lambda _, own: replace(own, is_unit=True))
            return FeatureTable(self.ids, stored, self.present)
        x = {n: np.asarray(x / lengths(x)[:, None], np.float32) for n, x in self.x.items()}
        return FeatureTable(self.ids, x, self.present)

    def hide(
        self, share: float, seed: int, fixed: Mapping[str, NDArray[np.bool_]] | None = None
    ) -> FeatureTable:
        """The table with each modality of each item absent with probability `share`.

        An input and its joint vector go together; what a smaller share hides, a larger one hides,
        too; and what is hidden of one input does not depend on the others. With `fixed`, modality
        -> which items lack it, (n,), only that is hidden.
        """

        def kept(name: str) -> NDArray[np.bool_]:
            if fixed:
                return ~fixed.get(modality_of(name), np.zeros(len(self), dtype=bool))
            plain = name.removeprefix(JOINT)
            rng = np.random.default_rng((seed, 0x41D3, zlib.crc32(plain.encode())))
            return rng.random(len(self)) >= share

        return self.keeping({name: here & kept(name) for name, here in self.present.items()})


def gather(
    stores: Mapping[str, FeatureStore], ids: Sequence[str], most_bytes: int | None = None
) -> FeatureTable:
    """Looks every id up in every store; an id that a store lacks is absent there.

    So is one whose vector is zero: it has no direction, and says nothing. Vectors of more than
    `most_bytes` stay in the stores, which must stay open; None: never.
    """
    width = sum(int(store.row_shape[0] or 0) for store in stores.values())
    if most_bytes is not None and 4 * width * len(ids) > most_bytes:
        columns = {name: Column.of(store, ids) for name, store in stores.items()}
        own = {name: column.present for name, column in columns.items()}
        return FeatureTable(tuple(ids), Stored(columns), own)
    x, present = {}, {}
    for name, store in stores.items():
        here = np.array([item_id in store for item_id in ids], dtype=bool)
        x[name] = np.zeros((len(ids), *[w or 0 for w in store.row_shape]), np.float32)
        if here.any():
            x[name][here] = store.take([i for i, h in zip(ids, here, strict=True) if h])
        present[name] = np.asarray(x[name].any(axis=1))
    return FeatureTable(tuple(ids), x, present)
