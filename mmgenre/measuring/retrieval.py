"""How well one modality finds another: the rank of each item's own match among all items.

Of n items with both, each is a query once and its own vector in the other modality the only right
answer, so that chance finds it among the first k in k / n of the queries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmgenre.measuring.metrics import Floats

KS = (1, 5, 10)


def match_ranks(similarity: NDArray[np.floating]) -> Floats:
    """Rank of each query's match, (n,), 1 the best; of equal ones their mean.

    `similarity`: (n queries, n items), the match of query i is item i.
    """
    if similarity.ndim != 2 or len(set(similarity.shape)) != 1 or not len(similarity):
        raise ValueError(f"similarities {similarity.shape}: must be (n, n), n > 0")
    if np.isnan(similarity).any():
        raise ValueError("similarities contain NaN, which has no rank")
    own = np.diag(similarity)[:, None]
    nearer, as_near = (similarity > own).sum(axis=1), (similarity == own).sum(axis=1)
    return np.asarray(nearer + (as_near + 1) / 2)


def recall_at_k(ranks: Floats, k: int) -> float:
    """Share of queries whose match is among the first k."""
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    return float((ranks <= k).mean())


@dataclass(frozen=True)
class Retrieval:
    """Recall at each k with its 95 % interval and by chance, and the median rank, of n queries."""

    n: int
    recall: Mapping[int, float]
    interval: Mapping[int, tuple[float, float]]
    chance: Mapping[int, float]
    median_rank: float
    mean_reciprocal_rank: float


def evaluate_retrieval(
    ranks: Floats,
    groups: Sequence[str],
    *,
    ks: Sequence[int] = KS,
    n_draws: int = 1000,
    seed: int = 0,
) -> Retrieval:
    """Figures of the ranks of n queries among n items.

    `groups`: of each query; the bootstrap draws groups, as `measuring.differences` does, and the
    items to be found stay.
    """
    n = len(ranks)
    if len(groups) != n:
        raise ValueError(f"{len(groups)} groups for {n} ranks")
    names, own = np.unique(np.asarray(groups), return_inverse=True)
    rng, shares = np.random.default_rng((seed, 0x4EC)), np.full(len(names), 1 / len(names))
    weights = rng.multinomial(len(names), shares, size=n_draws).T[own]  # (n, n_draws)
    intervals = {}
    for k in ks:
        drawn = (ranks <= k) @ weights / weights.sum(axis=0)
        low, high = np.quantile(drawn, [0.025, 0.975])
        intervals[k] = float(low), float(high)
    return Retrieval(
        n=n,
        recall={k: recall_at_k(ranks, k) for k in ks},
        interval=intervals,
        chance={k: min(k, n) / n for k in ks},
        median_rank=float(np.median(ranks)),
        mean_reciprocal_rank=float((1 / ranks).mean()),
    )
