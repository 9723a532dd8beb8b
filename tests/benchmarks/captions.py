"""The text encoder on real texts, against tf-idf and one-vs-rest logistic regression.

    python tests/benchmarks/captions.py

2348 captions, 50 genres, several an item (../shared/data/captions); random 70/15/15, three seeds.
Both sides see the same words (METHOD sec. 3) and are fitted on the training split; ours stops
early by the validation split. Measured on the test split.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from encoders import train_encoder
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier

from mmgenre import Manifest, extract_features, fuse
from mmgenre.disk.store import FeatureStore
from mmgenre.items.labels import LabelSpace
from mmgenre.items.manifest import SPLITS, Split
from mmgenre.learning.targets import make_target
from mmgenre.measuring import metrics
from mmgenre.pipeline.recipe import load_recipe

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


def ours(
    manifest: Manifest, folder: Path, seed: int, settings: list[str]
) -> tuple[float, float, float, float]:
    """Macro ROC-AUC and AP of the encoder's own output, then of a fusion head on its embedding."""
    settings = [f"seed={seed}", *settings]
    recipe = load_recipe("default", settings)
    run = folder / "run"
    path = manifest.write(folder / "captions.csv")
    extract_features(path, run=run, modalities=["text"], settings=settings)
    summary = fuse(["text"], run=run, seeds=1)["rows"][0]["all"]["summary"]
    space = LabelSpace.of([item.labels for item in manifest], exclusive=False)
    y = {s: space.encode([manifest[i].labels for i in manifest.ids(s)]) for s in SPLITS}
    target = make_target(recipe.target, len(space), exclusive=False)
    target.fit(y["train"])
    with FeatureStore(run / "inputs/text.h5", "text") as store:
        wanted = {
            split: dict(zip(manifest.ids(split), target.targets(y[split]), strict=True))
            for split in ("train", "val")
        }
        # The run's encoder once more, this time with the output layer that the run drops.
        network, _ = train_encoder(
            recipe.of("text"), target, recipe.target.name, store, wanted, seed=seed
        )
        views = network.encoder.source(store).views(manifest.ids("test"), None)
    with torch.inference_mode():
        scores = target.scores(network(torch.from_numpy(views[:, 0]))).double().numpy()
    return (
        metrics.macro(metrics.roc_auc(y["test"], scores)),
        metrics.macro(metrics.average_precision(y["test"], scores)),
        summary["macro_roc_auc"]["mean"],
        summary["macro_pr_auc"]["mean"],
    )


def main(settings: list[str]) -> None:
    """Prints a line a seed, and the means: ROC-AUC / AP."""
    captions = Manifest.read(CAPTIONS)
    rows = []
    print(f"{'seed':<14}{'scikit-learn':>16}{'VSM encoder':>16}{'fusion head T':>16}   seconds")
    for seed in range(3):
        manifest = random_splits(captions, seed)
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            theirs = peer(manifest)
            between = time.perf_counter()
            mine = ours(manifest, Path(folder), seed, settings)
            seconds = f"   {between - started:.0f}, {time.perf_counter() - between:.0f}"
        rows.append((*theirs, *mine))
        print(_line(str(seed), rows[-1]) + seconds)
    means = np.mean(rows, axis=0)
    print(_line("mean", means))
    print(_line("ours - theirs", [0, 0, *(means[2:4] - means[:2]), *(means[4:] - means[:2])]))


def _line(name: str, values: Sequence[float]) -> str:
    pairs = zip(values[::2], values[1::2], strict=True)
    return f"{name:<14}" + "".join(f"{f'{auc:.3f} / {ap:.3f}':>16}" for auc, ap in pairs)


if __name__ == "__main__":
    main(sys.argv[1:])
