"""How unlike an item is what a model learned from, and which training items are nearest.

Vectors of an input are centred and turned to their `DIM` main directions. An item is unlike others
by its distance in these, each divided by its deviation (Mahalanobis), or by what is left outside of
them (Wang et al. 2022, virtual-logit matching), whichever is the more unusual one among validation
items. Nearest neighbours, by angle or distance, told noise and speech from music less often
(docs/measured.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mmgenre.fusion.table import FeatureTable, lengths
from mmgenre.items.modalities import JOINT

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
    usual: Floats  # (2, 2): of both distances the median of validation items, and their spread

    def place(self, x: Floats) -> Floats:
        """Vectors (n, width) -> directions (n, d) of length 1."""
        z: Floats = np.asarray((x - self.mean) @ self.turn / self.deviation, np.float32)
        return np.asarray(z / lengths(z)[:, None], np.float32)

    def distances(self, x: Floats) -> NDArray[np.float64]:
        """Squared distances within the main directions and outside of them, (n, 2)."""
        apart = np.asarray(x - self.mean, np.float64)
        z = apart @ self.turn
        outside = np.square(apart).sum(axis=1) - np.square(z).sum(axis=1)
        return np.stack([np.square(z / self.deviation).sum(axis=1), outside], axis=1)


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
        found = np.full(len(table), -np.inf)
        for name, space in self.spaces.items():
            here = table.present[name]
            if here.any():
                middle, spread = space.usual
                apart = ((space.distances(table.x[name][here]) - middle) / spread).max(axis=1)
                found[here] = np.maximum(found[here], apart)
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


def fit_familiar(
    train: FeatureTable, val: FeatureTable, genres: Sequence[Sequence[str]]
) -> Familiar:
    """Of training items with their genres; validation items say which distances are usual."""
    if len(train) > MOST_ITEMS:
        chosen = np.sort(np.random.default_rng(SEED).choice(len(train), MOST_ITEMS, replace=False))
        train, genres = train.select(chosen), [genres[k] for k in chosen]
    spaces = {}
    for name in train.x:
        new = val.x[name][val.present[name]]
        if not name.startswith(JOINT) and train.present[name].sum() >= LEAST_ITEMS and len(new):
            spaces[name] = _space(train.x[name], train.present[name], new)
    return Familiar(train.ids, tuple(map(tuple, genres)), spaces)


def _space(x: Floats, here: NDArray[np.bool_], new: Floats) -> Space:
    own = x[here].astype(np.float64)
    mean = own.mean(axis=0)
    apart = own - mean
    # Directions of the rows by the smaller of the two products: those of the SVD.
    is_wide = len(own) < apart.shape[1]
    with threadpool_limits(1, "blas"):  # the same numbers on every number of cores
        values, vectors = np.linalg.eigh(apart @ apart.T if is_wide else apart.T @ apart)
        keep = np.argsort(-values)[:DIM]
        keep = keep[values[keep] > LEAST * max(float(values[keep[0]]), 1e-30)]
        turn = vectors[:, keep]
        if is_wide:
            turn = apart.T @ turn / np.sqrt(values[keep])
    deviation = np.sqrt(values[keep] / len(own))
    rows, nothing = np.zeros((len(x), len(keep))), np.array([[0, 0], [1, 1]])
    parts = (np.asarray(part, np.float32) for part in (mean, turn, deviation, rows, nothing))
    space = Space(*parts)
    space.rows[here] = space.place(x[here])
    low, middle, high = np.quantile(space.distances(new), (0.25, 0.5, 0.75), axis=0)
    spread = np.maximum(high - low, 1e-3 * middle + 1e-12)
    return replace(space, usual=np.stack([middle, spread]).astype(np.float32))


def arrays_of(familiar: Familiar) -> dict[str, NDArray[Any]]:
    """What `familiar_of` takes; rows in half precision."""
    found: dict[str, NDArray[Any]] = {}
    for name, space in familiar.spaces.items():
        found |= {f"{name}/{part}": array for part, array in vars(space).items()}
        found[f"{name}/rows"] = space.rows.astype(np.float16)
    return found


def familiar_of(
    ids: Sequence[str], genres: Sequence[Sequence[str]], arrays: Mapping[str, NDArray[Any]]
) -> Familiar:
    """That whose arrays these are."""
    of: dict[str, dict[str, Floats]] = {}
    for key, array in arrays.items():
        name, _, part = key.rpartition("/")
        of.setdefault(name, {})[part] = array.astype(np.float32)
    spaces = {name: Space(**parts) for name, parts in of.items()}
    return Familiar(tuple(ids), tuple(map(tuple, genres)), spaces)
