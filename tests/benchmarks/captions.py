"""Texts alone: `default` on real captions, against tf-idf and one-vs-rest logistic regression.

    python tests/benchmarks/captions.py [--on val|test] [section.key=value ...]

2348 captions, 50 genres, several an item (../shared/data/captions); random 70/15/15, three seeds.
The peer is scikit-learn's logistic regression, C = 1, on the 10 000 words that the paper counts.
Differences are of our row T, with a paired bootstrap over items, as the captions name no artists.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import cast

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier

from mmgenre import Manifest, extract_features, fuse
from mmgenre.items.item import SPLITS, Split
from mmgenre.items.labels import LabelSpace
from mmgenre.measuring.differences import MACRO_METRICS, Pair, paired_difference
from mmgenre.measuring.metrics import main_figures
from mmgenre.pipeline.scores import On, read_scores

CAPTIONS = Path(__file__).parents[3] / "shared/data/captions/items.csv"
SHARES = (0.70, 0.15, 0.15)
METRICS = ("macro_roc_auc", "macro_pr_auc")


def random_splits(manifest: Manifest, seed: int) -> Manifest:
    """Items at random into the splits: the captions name no artists."""
    ids = np.random.default_rng(seed).permutation(manifest.ids())
    ends = np.round(np.cumsum(SHARES) * len(ids)).astype(int)
    splits: dict[str, Split] = {
        item_id: SPLITS[int(np.searchsorted(ends, position, side="right"))]
        for position, item_id in enumerate(ids.tolist())
    }
    return manifest.with_splits(splits)


def truth(manifest: Manifest, ids: tuple[str, ...]) -> NDArray[np.bool_]:
    """Labels of items, (n, n_labels)."""
    space = LabelSpace.of([item.labels for item in manifest], exclusive=False)
    return space.encode([manifest[i].labels for i in ids])


def peer(manifest: Manifest, ids: tuple[str, ...]) -> NDArray[np.float64]:
    """Scores of items by one-vs-rest logistic regression."""
    texts = {item.id: str(item.media["text"][0]) for item in manifest}
    words = TfidfVectorizer(sublinear_tf=True, max_df=0.5, max_features=10_000)
    train = tuple(manifest.ids("train"))
    x = words.fit_transform([texts[i] for i in train])
    model = OneVsRestClassifier(LogisticRegression(C=1.0, max_iter=1000))
    model.fit(x, truth(manifest, train))
    scores: NDArray[np.float64] = model.predict_proba(words.transform([texts[i] for i in ids]))
    return scores


Sides = dict[str, NDArray[np.float64]]


def measured(
    seed: int, on: On, settings: list[str]
) -> tuple[tuple[str, ...], NDArray[np.bool_], Sides]:
    """Ids and labels of a split's items, and everybody's scores of them."""
    manifest = random_splits(Manifest.read(CAPTIONS), seed)
    with tempfile.TemporaryDirectory() as folder:
        path, run = manifest.write(Path(folder) / "captions.csv"), Path(folder) / "run"
        extract_features(path, run=run, modalities=["text"], settings=settings)
        result = fuse(["text"], run=run)
        scores = read_scores(run / "fusion" / result["name"], on)
    sides = {"scikit-learn": peer(manifest, scores.ids)}
    for k, row in enumerate(scores.about["rows"]):
        sides[row["name"]] = scores.values[:, k, 0].astype(np.float64)
    return scores.ids, truth(manifest, scores.ids), sides


def main(on: On, settings: list[str]) -> None:
    """Prints a line a seed, the means, and the paired differences."""
    made = Parallel(n_jobs=-1)(delayed(measured)(seed, on, settings) for seed in range(3))
    rows, pairs = [], []
    for ids, y, sides in made:
        of = {n: main_figures(y, s, exclusive=False) for n, s in sides.items()}
        rows.append({n: tuple(own[m] for m in METRICS) for n, own in of.items()})
        pairs.append(Pair(y, sides["T"], sides["scikit-learn"], ids))
        print(f"{len(rows) - 1}: {_line(rows[-1])}")
    means = {n: tuple(np.mean([row[n] for row in rows], axis=0)) for n in rows[0]}
    print(f"mean: {_line(means)}")
    for metric in METRICS:
        d = paired_difference(pairs, MACRO_METRICS[metric])
        print(
            f"T - scikit-learn, {metric}: {d.value:+.3f} [{d.low:+.3f}, {d.high:+.3f}] {d.verdict}"
        )


def _line(row: dict[str, tuple[float, ...]]) -> str:
    return "   ".join(f"{name} {auc:.3f} / {ap:.3f}" for name, (auc, ap) in row.items())


if __name__ == "__main__":
    words = sys.argv[1:]
    chosen: On = "val"
    if "--on" in words:
        at = words.index("--on")
        chosen = cast(On, words[at + 1])
        del words[at : at + 2]
    main(chosen, words)
