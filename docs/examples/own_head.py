"""A head of your own: a classifier of scikit-learn on the vectors of a run.

    python docs/examples/own_head.py

embeds 96 albums, joins their vectors by id, fits nearest neighbours and a logistic regression on
the training items, and prints what each reaches on validation items.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from mmgenre import Manifest, extract_features
from mmgenre.datasets.synthetic import built_in_catalogue
from mmgenre.disk.store import FeatureStore
from mmgenre.items.labels import ancestors
from mmgenre.measuring.metrics import macro, roc_auc

RUN = Path("runs/own-head")
VIEWS = ("audio", "text")  # groups of embeddings.h5; `mmgenre store info` lists them


def vectors(ids: tuple[str, ...]) -> NDArray[np.float32]:
    """Vectors of all views beside each other, each view divided by its mean length."""
    parts = []
    for view in VIEWS:
        with FeatureStore(RUN / "embeddings.h5", view) as store:
            x = store.take(ids)
        parts.append(x / np.linalg.norm(x, axis=1).mean())
    return np.concatenate(parts, axis=1)


def main() -> None:
    settings = {"audio": {"encoders": ["statistics"]}, "text": {"encoders": ["linear"]}}
    catalogue = built_in_catalogue(n_albums=96)
    extract_features(catalogue, run=RUN, modalities=VIEWS, recipe="quick", settings=settings)
    items = Manifest.read(RUN / "manifest.csv", media_roots=[catalogue.parent])  # with its splits
    train, val = (items.ids(split, having=VIEWS) for split in ("train", "val"))
    genre = {item.id: ancestors(item.labels[0])[0] for item in items if item.labels}  # the broadest

    x, y = vectors(train), [genre[i] for i in train]
    heads = KNeighborsClassifier(5, metric="cosine"), LogisticRegression(max_iter=1000)
    for head in heads:
        head.fit(x, y)
        truth = np.array([[genre[i] == name for name in head.classes_] for i in val])
        auc = macro(roc_auc(truth, head.predict_proba(vectors(val))))
        print(f"{type(head).__name__}: macro ROC-AUC {auc:.3f} on {len(val)} validation items")


if __name__ == "__main__":
    main()
