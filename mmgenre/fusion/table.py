"""Rows of several stores joined by id, with a mask for what an item lacks."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmgenre.disk.store import FeatureStore


@dataclass(frozen=True)
class FeatureTable:
    """n items by named inputs.

    Attributes:
        ids: n item ids.
        x: {input: (n, width)}; rows of absent inputs are zero and must never be read as data.
        present: {input: (n,) bool}.
    """

    ids: tuple[str, ...]
    x: Mapping[str, NDArray[np.float32]]
    present: Mapping[str, NDArray[np.bool_]]

    def __len__(self) -> int:
        """The number of items."""
        return len(self.ids)

    @property
    def widths(self) -> dict[str, int]:
        """{input: width}."""
        return {name: rows.shape[1] for name, rows in self.x.items()}

    def select(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> FeatureTable:
        """Some of the items."""
        positions = np.flatnonzero(rows) if rows.dtype == bool else rows
        return FeatureTable(
            tuple(self.ids[i] for i in positions),
            {name: x[positions] for name, x in self.x.items()},
            {name: p[positions] for name, p in self.present.items()},
        )

    def only(self, names: Sequence[str]) -> FeatureTable:
        """Some of the inputs, in the given order."""
        return FeatureTable(
            self.ids, {n: self.x[n] for n in names}, {n: self.present[n] for n in names}
        )

    def unit(self) -> FeatureTable:
        """The table with L2-normalised vectors; a vector of zeros stays one."""

        def scaled(rows: NDArray[np.float32]) -> NDArray[np.float32]:
            lengths = np.sqrt(np.einsum("nw,nw->n", rows, rows))
            # As torch's normalize has it.
            return np.asarray(rows / np.maximum(lengths, np.float32(1e-12))[:, None])

        return FeatureTable(self.ids, {n: scaled(x) for n, x in self.x.items()}, self.present)

    def hide(self, share: float, seed: int) -> FeatureTable:
        """The table with each modality of each item absent with probability `share`.

        An input and its joint vector go together; what a smaller share hides, a larger one hides,
        too; and what is hidden of one input does not depend on the others.
        """

        def kept(name: str) -> NDArray[np.bool_]:
            plain = name.removeprefix("joint.")
            rng = np.random.default_rng((seed, 0x41D3, zlib.crc32(plain.encode())))
            return rng.random(len(self)) >= share

        present = {name: here & kept(name) for name, here in self.present.items()}
        x = {name: np.where(present[name][:, None], rows, 0) for name, rows in self.x.items()}
        return FeatureTable(self.ids, x, present)


def gather(stores: Mapping[str, FeatureStore], ids: Sequence[str]) -> FeatureTable:
    """Looks every id up in every store; an id that a store lacks is absent there."""
    x, present = {}, {}
    for name, store in stores.items():
        here = np.array([item_id in store for item_id in ids], dtype=bool)
        x[name] = np.zeros((len(ids), *[w or 0 for w in store.row_shape]), np.float32)
        if here.any():
            x[name][here] = store.take([i for i, h in zip(ids, here, strict=True) if h])
        present[name] = here
    return FeatureTable(tuple(ids), x, present)
