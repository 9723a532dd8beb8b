"""Rows of several stores joined by id, with a mask for what an item lacks."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmgenre.disk.store import FeatureStore
from mmgenre.items.modalities import JOINT, modality_of


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
        return {name: rows.shape[1] for name, rows in self.x.items()}

    def select(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> FeatureTable:
        """Some of the items."""
        positions = np.flatnonzero(rows) if rows.dtype == bool else rows
        present = {name: here[positions] for name, here in self.present.items()}
        x = {name: vectors[positions] for name, vectors in self.x.items()}
        return FeatureTable(tuple(self.ids[i] for i in positions), x, present)

    def only(self, names: Sequence[str]) -> FeatureTable:
        """Some of the inputs, in the given order."""
        x, present = {n: self.x[n] for n in names}, {n: self.present[n] for n in names}
        return FeatureTable(self.ids, x, present)

    @classmethod
    def both(cls, one: FeatureTable, other: FeatureTable) -> FeatureTable:
        """The items of two tables of the same inputs."""
        x = {n: np.concatenate([rows, other.x[n]]) for n, rows in one.x.items()}
        present = {n: np.concatenate([p, other.present[n]]) for n, p in one.present.items()}
        return cls((*one.ids, *other.ids), x, present)

    def unit(self) -> FeatureTable:
        """The table with L2-normalised vectors; a vector of zeros stays one."""
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

        present = {name: here & kept(name) for name, here in self.present.items()}
        x = {name: np.where(present[name][:, None], rows, 0) for name, rows in self.x.items()}
        return FeatureTable(self.ids, x, present)


def lengths(x: NDArray[np.float32]) -> NDArray[np.float64]:
    """L2 norms of rows (n, width), and 1 for a row of zeros; squares of float32 may overflow."""
    found = np.sqrt(np.einsum("nw,nw->n", x, x, dtype=np.float64))
    return np.where(found > 0, found, 1.0)


def gather(stores: Mapping[str, FeatureStore], ids: Sequence[str]) -> FeatureTable:
    """Looks every id up in every store; an id that a store lacks is absent there.

    So is one whose vector is zero: it has no direction, and says nothing.
    """
    x, present = {}, {}
    for name, store in stores.items():
        here = np.array([item_id in store for item_id in ids], dtype=bool)
        x[name] = np.zeros((len(ids), *[w or 0 for w in store.row_shape]), np.float32)
        if here.any():
            x[name][here] = store.take([i for i, h in zip(ids, here, strict=True) if h])
        present[name] = np.asarray(x[name].any(axis=1))
    return FeatureTable(tuple(ids), x, present)
