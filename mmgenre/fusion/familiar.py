"""How unlike an item is what a model learned from, and which training items are nearest.

Of views that are made without training, inner products are similarities of media (a kernel's, or
those of words), and an item is unlike others by its small mean similarity to training items, a
density (Parzen 1962). This told noise, speech and gibberish from music and reviews; nearest
neighbours, Mahalanobis' distance and what lies outside of main directions did so less often
(docs/measured.md). Of modalities without such a view, an item is unlike others by the latter two
(Wang et al. 2022), in the `DIM` main directions of a view.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mmgenre.fusion.stored import BLOCK_ROWS
from mmgenre.fusion.table import FeatureTable, lengths
from mmgenre.items.modalities import JOINT, modality_of

Floats = NDArray[np.float32]
DIM = 64
LEAST_ITEMS = 10  # of training with an input, below which nothing is usual there
LEAST = 1e-9  # variance of a direction, by the largest: below, it is rounding
MOST_ITEMS = 20_000  # of training, drawn at random, that a model keeps
SEED = 0


@dataclass(frozen=True)
class Space:
    """An input's main directions, and training items there."""

    mean: Floats  # (width,)
    turn: Floats  # (width, d)
    deviation: Floats  # (d,)
    rows: Floats  # (n, d) of length 1; zeros for items without the input
    usual: Floats  # (2, k): of its distances the median of validation items, and from there to 95 %
    by_density: bool  # or by both distances of directions
    judges: bool  # whether items are judged by it

    def place(self, x: Floats) -> Floats:
        """Vectors (n, width) -> directions (n, d) of length 1."""
        z: Floats = np.asarray((x - self.mean) @ self.turn / self.deviation, np.float32)
        return np.asarray(z / lengths(z)[:, None], np.float32)

    def distances(self, x: Floats) -> NDArray[np.float64]:
        """How far vectors are from those of training, (n, k)."""
        if self.by_density:
            return -(np.asarray(x, np.float64) @ self.mean)[:, None]
        apart = np.asarray(x - self.mean, np.float64)
        z = apart @ self.turn
        outside = np.square(apart).sum(axis=1) - np.square(z).sum(axis=1)
        return np.stack([np.square(z / self.deviation).sum(axis=1), outside], axis=1)

    def used_to(self, x: Floats) -> Space:
        """The space to whose distances those of vectors of new items are usual."""
        found = [self.distances(x[own]) for own in _blocks(np.arange(len(x)))]
        middle, high = np.quantile(np.concatenate(found), (0.5, 0.95), axis=0)
        spread = np.maximum(high - middle, 1e-3 * np.abs(middle) + 1e-12)
        return replace(self, usual=np.stack([middle, spread]).astype(np.float32))


@dataclass(frozen=True)
class Familiar:
    """Training items in the spaces of all inputs."""

    ids: tuple[str, ...]
    genres: tuple[tuple[str, ...], ...]
    spaces: Mapping[str, Space]

    def strangeness(self, table: FeatureTable) -> NDArray[np.float64]:
        """How unusual each item is in its strangest input, (n,); 0 is usual.

        -inf for an item without any input.
        """
        found, start = np.full(len(table), -np.inf), 0
        for part in table.blocks(BLOCK_ROWS):
            own = found[start : start + len(part)]
            for name, space in self.spaces.items():
                here = part.present[name]
                if here.any() and space.judges:
                    middle, spread = space.usual
                    apart = ((space.distances(part.x[name][here]) - middle) / spread).max(axis=1)
                    own[here] = np.maximum(own[here], apart)
            start += len(part)
        return found

    def nearest(self, table: FeatureTable, n: int) -> tuple[NDArray[np.intp], Floats]:
        """Training items (n_items, n), most similar first, and mean cosines over shared inputs."""
        sums = np.zeros((len(table), len(self.ids)), np.float32)
        shared = np.zeros_like(sums)
        for name, space in self.spaces.items():
            here, there = table.present[name], space.rows.any(axis=1)
            sums += np.where(here[:, None], space.place(table.x[name]) @ space.rows.T, 0)
            shared += np.outer(here, there)
        cosines = np.where(shared > 0, sums / np.maximum(shared, 1), -1)
        order = np.argsort(-cosines, axis=1, kind="stable")[:, :n]
        return order, np.take_along_axis(cosines, order, axis=1)


def kept_rows(n: int) -> NDArray[np.intp]:
    """Which of n training items a model keeps, in order: all, or some drawn at random."""
    if n <= MOST_ITEMS:
        return np.arange(n)
    return np.sort(np.random.default_rng(SEED).choice(n, MOST_ITEMS, replace=False))


def fit_familiar(
    train: FeatureTable,
    val: FeatureTable,
    genres: Sequence[Sequence[str]],
    untrained: Collection[str] = (),
) -> Familiar:
    """Of training items with their genres; validation items say which distances are usual.

    `train`: at most those of `kept_rows`. `untrained`: inputs that are made without training.
    """
    dense = {modality_of(name) for name in untrained}
    spaces = {}
    for name in train.x:
        new = val.x[name][val.present[name]]
        if not name.startswith(JOINT) and train.present[name].sum() >= LEAST_ITEMS and len(new):
            by_density = name in untrained
            judges = by_density or modality_of(name) not in dense
            space = _space(train.x[name], train.present[name])
            spaces[name] = replace(space, by_density=by_density, judges=judges).used_to(new)
    return Familiar(train.ids, tuple(map(tuple, genres)), spaces)


def _space(x: Floats, here: NDArray[np.bool_]) -> Space:
    rows = np.flatnonzero(here)
    mean = sum(x[own].sum(axis=0, dtype=np.float64) for own in _blocks(rows)) / len(rows)

    def apart(own: NDArray[np.intp]) -> NDArray[np.float64]:
        return np.asarray(x[own] - mean)

    # Directions of the rows by the smaller of the two products: those of the SVD.
    is_wide = len(rows) < x.shape[1]
    with threadpool_limits(1, "blas"):  # the same numbers on every number of cores
        if is_wide:
            all_rows = apart(rows)
            product = all_rows @ all_rows.T
        else:
            product = np.zeros((x.shape[1], x.shape[1]))
            for some in map(apart, _blocks(rows)):
                product += some.T @ some
        values, vectors = np.linalg.eigh(product)
        keep = np.argsort(-values)[:DIM]
        keep = keep[values[keep] > LEAST * max(float(values[keep[0]]), 1e-30)]
        turn = vectors[:, keep]
        if is_wide:
            turn = all_rows.T @ turn / np.sqrt(values[keep])
    deviation = np.sqrt(values[keep] / len(rows))
    mean, turn, deviation = (np.asarray(part, np.float32) for part in (mean, turn, deviation))
    placed, usual = np.zeros((len(x), len(keep)), np.float32), np.zeros((2, 0), np.float32)
    space = Space(mean, turn, deviation, placed, usual, by_density=False, judges=True)
    for own in _blocks(rows):
        placed[own] = space.place(x[own])
    return space


def _blocks(rows: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Rows, so many at a time that in double precision they take little memory."""
    return np.array_split(rows, -(-len(rows) // BLOCK_ROWS))


def arrays_of(familiar: Familiar) -> dict[str, NDArray[Any]]:
    """What `familiar_of` takes; rows in half precision."""
    found: dict[str, NDArray[Any]] = {}
    for name, space in familiar.spaces.items():
        found |= {f"{name}/{part}": np.asarray(value) for part, value in vars(space).items()}
        found[f"{name}/rows"] = space.rows.astype(np.float16)
    return found


def familiar_of(
    ids: Sequence[str], genres: Sequence[Sequence[str]], arrays: Mapping[str, NDArray[Any]]
) -> Familiar:
    """That whose arrays these are."""
    of: dict[str, dict[str, Any]] = {}
    for key, array in arrays.items():
        name, _, part = key.rpartition("/")
        is_flag = array.dtype == bool
        of.setdefault(name, {})[part] = bool(array) if is_flag else array.astype(np.float32)
    spaces = {name: Space(**parts) for name, parts in of.items()}
    return Familiar(tuple(ids), tuple(map(tuple, genres)), spaces)
