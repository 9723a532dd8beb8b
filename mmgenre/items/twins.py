"""Near twins: pairs of things that are alike, as many as hold each group of them together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pair = tuple[int, int]


@dataclass(frozen=True)
class Twins:
    """Near twins among the rows of a store.

    `pairs`: ids of the pairs that hold groups together. `note`: what was left out, and why.
    """

    pairs: Sequence[tuple[str, str]] = ()
    note: str | None = None


class Groups:
    """The numbers from 0 to n - 1, each in a group of its own until it is joined with others.

    >>> groups = Groups(4)
    >>> groups.join(np.array([[0, 1], [1, 3], [0, 3]]))
    [(0, 1), (1, 3)]
    >>> groups.are_apart(np.array([[0, 3], [0, 2]])).tolist()
    [False, True]
    """

    def __init__(self, n: int) -> None:
        self._of = np.arange(n)

    def are_apart(self, pairs: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Whether the ends of each pair, (n, 2), are in two groups."""
        ends = self._of[pairs]
        return np.not_equal(ends[:, 0], ends[:, 1])

    def join(self, pairs: NDArray[np.intp]) -> list[Pair]:
        """Joins the ends of each pair, (n, 2); returns the pairs that were needed for that.

        These are n - 1 for a group of n, however many of its members are alike: of a group that
        lies in two splits, one of them at least does, too.
        """
        needed = []
        for a, b in pairs.tolist():
            one, other = self._of[[a, b]]
            if one != other:
                self._of[self._of == other] = one
                needed.append((a, b))
        return needed
