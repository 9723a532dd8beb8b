"""Many dimensions in two: t-SNE (van der Maaten and Hinton 2008), as Oramas 2018 shows factors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.manifold import TSNE

PERPLEXITY = 30.0
FEWEST = 5  # points; with fewer, who is near whom can be told from a table


def clipped_perplexity(n: int) -> float:
    """The perplexity for n points: a third of the others at most, 30 for 91 points or more.

    >>> clipped_perplexity(1000), clipped_perplexity(31)
    (30.0, 10.0)
    """
    return min(PERPLEXITY, (n - 1) / 3)


def two_dimensions(vectors: NDArray[np.floating], *, seed: int) -> NDArray[np.float64]:
    """Rows (n, width) as points (n, 2), each within [-1, 1]; the same seed gives the same points.

    The map keeps who is near whom; its axes, its directions and its wide distances mean nothing.

    Raises:
        ValueError: fewer than five rows, or fewer than three different ones.
    """
    n, n_distinct = len(vectors), distinct(vectors)
    if n < FEWEST or n_distinct < 3:
        raise ValueError(
            f"{n} vectors, {n_distinct} of them different: a map needs {FEWEST}, and 3 different"
        )
    # One thread: threads add in another order each time. PCA's start needs no luck.
    tsne = TSNE(perplexity=clipped_perplexity(n), init="pca", random_state=seed, n_jobs=1)
    points = np.asarray(tsne.fit_transform(np.asarray(vectors, np.float64)), np.float64)
    middle = (points.max(axis=0) + points.min(axis=0)) / 2
    return np.asarray((points - middle) / np.abs(points - middle).max())


def distinct(vectors: NDArray[np.floating]) -> int:
    """How many rows differ, to six decimals."""
    return len(np.unique(np.round(vectors, 6), axis=0))
