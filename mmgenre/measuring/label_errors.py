"""Confident learning: which given labels are likely wrong, from scores of models without them.

Northcutt, Jiang, Chuang 2021, Confident Learning: Estimating Uncertainty in Dataset Labels, J. of
Artificial Intelligence Research 70. Overlapping labels are a problem of two classes each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Suspicion:
    """An item whose label is likely wrong.

    `wrong`: columns of given labels that look wrong, `lacking`: of labels that seem to lack.
    `margin`: how far the best label that is not given is above those that are; the list's order.
    """

    row: int
    wrong: tuple[int, ...]
    lacking: tuple[int, ...]
    margin: float


def suspicions(y: Bools, p: Floats, *, exclusive: bool) -> list[Suspicion]:
    """Items whose labels are likely wrong, the likeliest first.

    Args:
        y: given labels, (n, L).
        p: probabilities of labels, (n, L), each item's by a model that has not seen it; rows of NaN
            are left out.
        exclusive: whether an item has one label.

    >>> y = np.eye(2, dtype=bool)[[0, 0, 0, 1, 1, 1]]
    >>> p = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.1, 0.9], [0.3, 0.7]])
    >>> [(found.row, found.wrong, found.lacking) for found in suspicions(y, p, exclusive=True)]
    [(2, (0,), (1,))]
    """
    known = np.flatnonzero(np.isfinite(p).all(axis=1))
    found = (_of_exclusive if exclusive else _of_overlapping)(y[known], p[known])
    placed = [Suspicion(int(known[s.row]), s.wrong, s.lacking, s.margin) for s in found]
    return sorted(placed, key=lambda s: (-s.margin, s.row))


def _of_exclusive(y: Bools, p: Floats) -> list[Suspicion]:
    """t_j = mean of p_j over the items of label j; a confident other label with p_j >= t_j."""
    n_of = y.sum(axis=0)
    t = np.where(n_of > 0, (p * y).sum(axis=0) / np.maximum(n_of, 1), np.inf)
    given = y.argmax(axis=1)
    confident = np.where(p >= t, p, -np.inf)
    best = confident.argmax(axis=1)
    rows = np.arange(len(y))
    wrong = (confident[rows, best] > -np.inf) & (best != given) & y.any(axis=1)
    return [
        Suspicion(int(i), (int(given[i]),), (int(best[i]),), float(p[i, best[i]] - p[i, given[i]]))
        for i in np.flatnonzero(wrong)
    ]


def _of_overlapping(y: Bools, p: Floats) -> list[Suspicion]:
    """Label by label: t1 = mean of p where given, t0 = mean of 1 - p where not.

    In the order of lift = logit p - logit(share of items): the highest of a label that is not given
    less the mean of those that are. On three real sets with planted errors that finds more than the
    margins of probabilities do (docs/measured.md).
    """
    n1, n0 = y.sum(axis=0), (~y).sum(axis=0)
    t1 = np.where(n1 > 0, (p * y).sum(axis=0) / np.maximum(n1, 1), np.inf)
    t0 = np.where(n0 > 0, ((1 - p) * ~y).sum(axis=0) / np.maximum(n0, 1), np.inf)
    wrong = y & (1 - p >= t0) & (p < t1)
    lacking = ~y & (p >= t1) & (1 - p < t0)
    share = np.clip(y.mean(axis=0), 0.5 / len(y), 1 - 0.5 / len(y))
    lift = _logit(np.clip(p, 1e-9, 1 - 1e-9)) - _logit(share)
    given = np.where(y, lift, 0.0).sum(axis=1) / np.maximum(y.sum(axis=1), 1)
    # One with every label lacks none.
    margin = np.where(y, -np.inf, lift).max(axis=1, initial=-np.inf) - given
    suspected = (wrong | lacking).any(axis=1) & (margin > 0) & y.any(axis=1)
    return [
        Suspicion(
            int(i),
            tuple(np.flatnonzero(wrong[i]).tolist()),
            tuple(np.flatnonzero(lacking[i]).tolist()),
            float(margin[i]),
        )
        for i in np.flatnonzero(suspected)
    ]


def _logit(p: Floats) -> Floats:
    return np.asarray(np.log(p) - np.log1p(-p))
