"""`GenreClassifier` beside scikit-learn's logistic regression on 40 to 160 items of real sets.

    python tests/benchmarks/few_artists.py [gtzan_vectors] [web] [allmusic_multi]

Items are those of training artists drawn until there are enough, eight times; figures are of the
validation items. Vectors of audio, or the 64 first directions of tf-idf. Some minutes.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mmgenre import GenreClassifier, Manifest
from mmgenre.items.item import Item
from mmgenre.measuring import metrics

DEV = Path(__file__).parents[3] / "shared/data/dev"
SETS = "gtzan_vectors", "web", "allmusic_multi"
SIZES, DRAWS, DIRECTIONS = (40, 80, 160), 8, 64


def read(name: str) -> tuple[list[Item], NDArray[np.float32]]:
    """Labelled items with a vector, and these."""
    items = [item for item in Manifest.read(DEV / name / "manifest-0.csv") if item.labels]
    if (DEV / name / "vectors.npz").is_file():
        with np.load(DEV / name / "vectors.npz") as file:
            row = {item_id: k for k, item_id in enumerate(file["ids"].tolist())}
            items = [item for item in items if item.id in row]
            return items, file["X_audio"][[row[item.id] for item in items]].astype(np.float32)
    texts = {item.id: item.media["text"][0] for item in items if "text" in item.media}
    items = [item for item in items if item.id in texts]
    words = TfidfVectorizer(sublinear_tf=True, min_df=3)
    directions = make_pipeline(words, TruncatedSVD(DIRECTIONS, random_state=0))
    directions.fit([texts[item.id] for item in items if item.split == "train"])
    return items, directions.transform([texts[item.id] for item in items]).astype(np.float32)


def drawn(artists: Sequence[str], n: int, seed: int) -> list[int]:
    """Rows of artists in a random order, n of them."""
    order = np.random.default_rng(seed).permutation(np.unique(artists))
    return [k for artist in order for k, own in enumerate(artists) if own == artist][:n]


def compare(name: str, n: int) -> NDArray[np.float64]:
    """Macro ROC-AUC of ours and theirs, (DRAWS, 2)."""
    items, x = read(name)
    train, val = ([k for k, i in enumerate(items) if i.split == s] for s in ("train", "val"))
    many = any(len(item.labels) > 1 for item in items)
    found = []
    for seed in range(DRAWS):
        own = [train[k] for k in drawn([items[k].artist or items[k].id for k in train], n, seed)]
        counts = {g: sum(g in items[k].labels for k in own) for k in own for g in items[k].labels}
        genres = sorted(g for g, count in counts.items() if count < n)
        y = np.array([[g in items[k].labels for g in genres] for k in range(len(items))])
        new = [k for k in val if many or y[k].any()]
        goals = y[own].astype(int) if many else y[own].argmax(axis=1)
        regression = LogisticRegression(max_iter=1000)
        plain = make_pipeline(StandardScaler(), OneVsRestClassifier(regression))
        groups = [items[k].artist or items[k].id for k in own]
        ours = GenreClassifier().fit(x[own], goals, groups=groups)
        found.append(
            [
                metrics.macro(metrics.roc_auc(y[new], np.asarray(model.predict_proba(x[new]))))
                for model in (ours, plain.fit(x[own], goals))
            ]
        )
    return np.array(found)


def main() -> None:
    """A table of all sets and sizes."""
    print("| set, items | ours | logistic regression |\n|---|---|---|")
    for name in sys.argv[1:] or SETS:
        for n in SIZES:
            found = compare(name, n)
            cells = (f"{c.mean():.3f} ({c.min():.3f} to {c.max():.3f})" for c in found.T)
            print(f"| {name}, {n} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    warnings.filterwarnings("ignore", category=FutureWarning)
    main()
