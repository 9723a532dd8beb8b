"""Which items have similar vectors: nearest neighbours, and maps of all items in two dimensions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.manifold import TSNE

from mmgenre.errors import MmgenreError
from mmgenre.explain.results import PointMap
from mmgenre.items.item import Item
from mmgenre.items.labels import ancestors

QUERIES_AT_ONCE = 256  # times 30,000 covers: 30 MB of cosines
PERPLEXITY = 30.0
FEWEST_POINTS = 5  # of a map; neighbours among fewer can be read from a table
MOST_POINTS = 1500  # of a map; a random sample where there are more


def unit_length(vectors: NDArray[np.floating]) -> NDArray[np.floating]:
    """Rows (n, width) scaled to length 1; rows of zeros stay zero."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, np.finfo(np.float32).tiny))


def nearest(
    vectors: NDArray[np.floating], queries: NDArray[np.integer], k: int
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The k nearest other rows of each query by cosine, (m, k), and these cosines, (m, k).

    Nearest first, ties in order of the rows, (n, width). A row of zeros has cosine 0 with all.
    Raises ValueError unless k is from 1 to n - 1.
    """
    if not 1 <= k < len(vectors):
        raise ValueError(f"k {k}: must be from 1 to {len(vectors) - 1}, the other rows")
    unit = unit_length(vectors)
    rows, cosines = np.zeros((len(queries), k), np.intp), np.zeros((len(queries), k))
    for start in range(0, len(queries), QUERIES_AT_ONCE):
        part = slice(start, start + QUERIES_AT_ONCE)
        cosine = (unit[queries[part]] @ unit.T).astype(np.float64)
        np.put_along_axis(cosine, queries[part, None], -np.inf, axis=1)  # never the query itself
        rows[part] = np.argsort(-cosine, axis=1, kind="stable")[:, :k]
        cosines[part] = np.take_along_axis(cosine, rows[part], axis=1)
    return rows, cosines


def title_of(item: Item) -> str:
    """Artist, album and the manifest's `title` of an item, as far as they are known; else its id.

    >>> title_of(Item("a1", artist="Mingus", album="Ah Um")), title_of(Item("a1"))
    ('Mingus – Ah Um', 'a1')
    """
    names = (item.artist, item.album, item.extra.get("title", ""))
    return " – ".join(dict.fromkeys(filter(None, names))) or item.id


def broadest(labels: Sequence[str]) -> str:
    """The broadest genre of the first label."""
    return ancestors(labels[0])[0]


def shared_genre(
    labels: Sequence[Sequence[str]], queries: NDArray[np.integer], rows: NDArray[np.integer]
) -> tuple[NDArray[np.bool_], float]:
    """Which neighbours `rows` have their query's broadest genre, (m, k), and the share by chance.

    By chance: the mean over the queries of the share of all other items that have the genre.
    Raises ValueError without queries.
    """
    if not len(queries):
        raise ValueError("no queries: give one or more")
    has = [{ancestors(name)[0] for name in names} for names in labels]
    genres = [broadest(labels[q]) for q in queries]
    counts = {genre: sum(genre in own for own in has) for genre in set(genres)}
    shared = [[genre in has[row] for row in near] for genre, near in zip(genres, rows, strict=True)]
    chance = np.mean([(counts[genre] - 1) / (len(labels) - 1) for genre in genres])
    return np.array(shared, dtype=bool), float(chance)


def point_map(
    name: str,
    detail: str,
    vectors: NDArray[np.floating],
    items: Sequence[Item],
    *,
    seed: int,
) -> PointMap:
    """A map of items by their vectors, (n, width); of a random sample beyond `MOST_POINTS`.

    By t-SNE (van der Maaten and Hinton 2008), as Oramas 2018 shows factors. The map keeps near
    neighbours near; its axes, directions and large distances have no meaning. Each coordinate is
    within [-1, 1]; the same seed gives the same points. Raises MmgenreError for fewer than five
    vectors, or fewer than three different ones.
    """
    n_items, sample = len(items), np.arange(len(items))
    if n_items > MOST_POINTS:
        sample = np.sort(np.random.default_rng(seed).permutation(n_items)[:MOST_POINTS])
    x = np.asarray(vectors[sample], np.float64)
    n, n_distinct = len(x), len(np.unique(np.round(vectors[sample], 6), axis=0))
    if n < FEWEST_POINTS or n_distinct < 3:
        needed = f"a map needs {FEWEST_POINTS}, and 3 different"
        raise MmgenreError(f"{name}: {n} vectors, {n_distinct} of them different: {needed}")
    perplexity = min(PERPLEXITY, (n - 1) / 3)  # 30 for 91 points or more
    # One thread, since the order in which several threads add up differs from run to run.
    tsne = TSNE(perplexity=perplexity, init="pca", random_state=seed, n_jobs=1)
    points = np.asarray(tsne.fit_transform(x), np.float64)
    points -= (points.max(axis=0) + points.min(axis=0)) / 2
    points /= np.abs(points).max()
    return {
        "name": name,
        "detail": detail,
        "width": vectors.shape[1],
        "n_items": n_items,
        "n_distinct": n_distinct,
        "perplexity": perplexity,
        "wanted_perplexity": PERPLEXITY,
        "seed": seed,
        "points": [
            {
                "id": items[k].id,
                "title": title_of(items[k]),
                "x": round(x, 4),
                "y": round(y, 4),
                "genre": broadest(items[k].labels),
            }
            for k, (x, y) in zip(sample.tolist(), points.tolist(), strict=True)
        ],
    }
