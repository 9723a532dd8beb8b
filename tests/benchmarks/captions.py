"""The text encoder on real texts, against scikit-learn's tf-idf and one-vs-rest logistic regression.

    python tests/benchmarks/captions.py

2348 captions, 50 genres, several an item (../shared/data/captions); random 70/15/15, three seeds.
Both sides see the same words (METHOD sec. 3) and are fitted on the training split; ours stops
early by the validation split. Measured on the test split.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier

from mmgenre import Manifest, extract_features, fuse, metrics
from mmgenre.labels import LabelSpace
from mmgenre.manifest import SPLITS, Split

CAPTIONS = Path(__file__).parents[3] / "shared/data/captions/items.csv"
SHARES = (0.70, 0.15, 0.15)


def random_splits(manifest: Manifest, seed: int) -> Manifest:
    """Items at random into the splits: the captions name no artists."""
    ids = np.random.default_rng(seed).permutation(manifest.ids())
    ends = np.round(np.cumsum(SHARES) * len(ids)).astype(int)
    splits: dict[str, Split] = {
        item_id: SPLITS[int(np.searchsorted(ends, position, side="right"))]
        for position, item_id in enumerate(ids.tolist())
    }
    return manifest.with_splits(splits)


def peer(manifest: Manifest) -> tuple[float, float]:
    """Macro ROC-AUC and macro AP of one-vs-rest logistic regression, C = 1."""
    texts = {item.id: str(item.media["text"][0]) for item in manifest}
    space = LabelSpace.of([item.labels for item in manifest], exclusive=False)
    y = {s: space.encode([manifest[i].labels for i in manifest.ids(s)]) for s in SPLITS}
    words = TfidfVectorizer(sublinear_tf=True, max_df=0.5, max_features=10_000)
    x_train = words.fit_transform([texts[i] for i in manifest.ids("train")])
    x_test = words.transform([texts[i] for i in manifest.ids("test")])
    model = OneVsRestClassifier(LogisticRegression(C=1.0, max_iter=1000)).fit(x_train, y["train"])
    scores = model.predict_proba(x_test)
    return (
        metrics.macro(metrics.roc_auc(y["test"], scores)),
        metrics.macro(metrics.average_precision(y["test"], scores)),
    )


def ours(manifest: Manifest, folder: Path, seed: int, settings: list[str]) -> tuple[float, float]:
    """The same of the VSM encoder and a logistic head on its embedding."""
    path = manifest.write(folder / "captions.csv")
    run = folder / "run"
    extract_features(
        path, run=run, modalities=["text"], settings=[f"seed={seed}", *settings]
    )
    summary = fuse(["text"], run=run, seeds=1)["rows"][0]["all"]["summary"]
    return summary["macro_roc_auc"]["mean"], summary["macro_pr_auc"]["mean"]


def main(settings: list[str]) -> None:
    """Prints a line a seed, and the means."""
    captions = Manifest.read(CAPTIONS)
    rows = []
    print("seed   scikit-learn AUC / AP      mmgenre AUC / AP     seconds (peer, ours)")
    for seed in range(3):
        manifest = random_splits(captions, seed)
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            theirs = peer(manifest)
            between = time.perf_counter()
            mine = ours(manifest, Path(folder), seed, settings)
            took = between - started, time.perf_counter() - between
        rows.append((*theirs, *mine))
        print(
            f"{seed:>4}   {theirs[0]:.3f} / {theirs[1]:.3f}              "
            f"{mine[0]:.3f} / {mine[1]:.3f}        {took[0]:.0f}, {took[1]:.0f}"
        )
    means = np.mean(rows, axis=0)
    print(
        f"mean   {means[0]:.3f} / {means[1]:.3f}              {means[2]:.3f} / {means[3]:.3f}"
        f"        difference {means[2] - means[0]:+.3f} / {means[3] - means[1]:+.3f}"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
