"""What two heads name first for the same items (Oramas 2018, sec. 6.4: LOGISTIC and COSINE)."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from mmgenre.explain.description import Guess


def first_ids(ids: Collection[str], n: int) -> list[str]:
    """The first n ids in their order as text: a rule that nobody can choose by.

    >>> first_ids({"b", "a", "c"}, 2)
    ['a', 'b']
    """
    return sorted(ids)[:n]


def best_guesses(
    scores: NDArray[np.floating], truth: NDArray[np.bool_], names: Sequence[str], k: int = 3
) -> list[Guess]:
    """The k best-scored genres of one item, best first, ties in the order of the names.

    Args:
        scores: (n_labels,).
        truth: which of them the item has, (n_labels,).
        names: of the genres.
        k: how many.
    """
    return [
        {"genre": names[j], "score": float(scores[j]), "right": bool(truth[j])}
        for j in np.argsort(-scores, kind="stable")[:k]
    ]
