"""A metric of your own, from the stored scores of a run: nothing is trained for it.

    python docs/examples/own_metric.py

makes a run on 96 albums, reads what its heads gave to the validation items, and prints the mean
reciprocal rank of the first right genre for each row, with a 95 % interval over artists.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmgenre import Manifest, extract_features, fuse
from mmgenre.datasets.synthetic import built_in_catalogue
from mmgenre.items.labels import closure
from mmgenre.measuring.differences import groups_of
from mmgenre.measuring.jackknife import blocks_of, interval, jackknife, mean
from mmgenre.pipeline.scores import read_scores

RUN, MODALITIES = Path("runs/own-metric"), ("audio", "text")


def reciprocal_ranks(truth: NDArray[np.bool_], scores: NDArray[np.float32]) -> NDArray[np.float64]:
    """1 / rank of the first right genre of each item, (n,); of scores that are equal, the last.

    >>> truth, scores = np.array([[True, False, True]]), np.array([[0.2, 0.9, 0.5]], np.float32)
    >>> reciprocal_ranks(truth, scores)
    array([0.5])
    """
    best = np.where(truth, scores, -np.inf).max(axis=1, keepdims=True)
    return np.asarray(1 / np.maximum((scores >= best).sum(axis=1), 1))


def main() -> None:
    settings = {"audio": {"encoders": ["statistics"]}, "text": {"encoders": ["linear"]}}
    catalogue = built_in_catalogue(n_albums=96)
    extract_features(catalogue, run=RUN, modalities=MODALITIES, recipe="quick", settings=settings)
    result = fuse(MODALITIES, run=RUN)
    scores = read_scores(RUN / "fusion" / result["name"], on="val")
    items = Manifest.read(RUN / "manifest.csv", media_roots=[catalogue.parent])
    named = [closure(items[i].labels) for i in scores.ids]  # `Jazz/Bebop` is also `Jazz`
    truth = np.array([[label in own for label in result["labels"]] for own in named])
    blocks = blocks_of(groups_of(scores.ids, [items[i].artist for i in scores.ids]))

    for r, row in enumerate(scores.about["rows"]):
        ranks = reciprocal_ranks(truth, scores.values[:, r, 0])  # of the first seed
        found = jackknife(mean(ranks, blocks), blocks)
        low, high = interval(found, blocks.n_groups) or (0.0, 1.0)
        print(f"{row['name']}: {found.value:.3f} [{low:.3f}, {high:.3f}]")


if __name__ == "__main__":
    main()
