"""Frozen models beside our own encoders, and scikit-learn on the same frozen vectors.

    python tests/benchmarks/frozen.py RUNS OWN FOLDER... [--on val|test]

FOLDER are sets as of `mmgenre benchmark` (../shared/data/dev/NAME). OWN holds the runs that
`mmgenre benchmark FOLDER... --runs OWN` has made of them with `default`; RUNS those of the same
with frozen models among the encoders, for instance

    --set 'image.encoders=["descriptors", "dir:models/efficientnet-lite0"]'

A line a modality and one for all: ROC-AUC (F1 where an item has one genre), the mean over splits of
the macro average on all items: our own encoders; the frozen model alone; both; scikit-learn's
logistic regression on the frozen vectors, C and class weights chosen on validation (all: the mean
of their probabilities). Then what both have before our own and before scikit-learn, by a paired
bootstrap over artists.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mmgenre.disk.store import FeatureStore
from mmgenre.items.modalities import MODALITIES
from mmgenre.measuring.differences import MACRO_METRICS, Pair, groups_of, paired_difference
from mmgenre.measuring.metrics import main_figures
from mmgenre.measuring.results import headline_metric
from mmgenre.pipeline.run import Run, open_run
from mmgenre.pipeline.scores import On, read_scores

SPLITS = (0, 1, 2)
STRENGTHS, WEIGHTS = (0.003, 0.01, 0.03, 0.1, 1.0), (None, "balanced")
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Side:
    """Scores of the items of a split by row: "I", "T", "all"; `frozen` where there are any."""

    y: NDArray[np.bool_]
    groups: list[str]
    whole: Mapping[str, Floats]
    frozen: Mapping[str, Floats]
    peer: Mapping[str, Floats]


def frozen_views(run: Run) -> dict[str, str]:
    """Modality -> the name of its view by a frozen model."""
    views = [view for modality in MODALITIES for view in run.views(modality)]
    return {view.modality: view.name for view in views if view.given}


def side_of(folder: Path, on: On) -> Side:
    """What a run says of the items of a split."""
    run = open_run(folder)
    scores = read_scores(next(p for p in run.fusions.iterdir() if p.is_dir()), on)
    truth = run.truth(scores.ids)
    named = {tuple(row["inputs"]): k for k, row in enumerate(scores.about["rows"])}
    modalities = [m for m in MODALITIES if run.manifest.count(having=[m])]
    views = frozen_views(run)

    def row(names: list[str]) -> Floats:
        return cast(Floats, scores.values[:, named[tuple(names)], 0].astype(np.float64))

    whole = {MODALITIES[m].short.upper(): row([v.name for v in run.views(m)]) for m in modalities}
    whole["all"] = scores.values[:, -1, 0].astype(np.float64)
    frozen = {MODALITIES[m].short.upper(): row([name]) for m, name in views.items()}
    peer = {MODALITIES[m].short.upper(): peer_scores(run, name, on) for m, name in views.items()}
    if len(peer) == len(modalities) > 1:
        peer["all"] = np.mean(list(peer.values()), axis=0)
    groups = groups_of(scores.ids, [run.manifest[i].artist for i in scores.ids])
    return Side(truth, groups, whole, frozen, peer)


def peer_scores(run: Run, view: str, on: On) -> Floats:
    """Probabilities by logistic regression on a store; of an item without a vector, their mean."""
    single = run.recipe.exclusive
    metric = headline_metric(exclusive=single)
    with FeatureStore(run.embeddings(view), view) as store:
        known = set(store.ids)
        parts = {}
        for split in ("train", "val", on):
            ids = list(run.manifest.ids(split))
            here = np.array([i in known for i in ids])
            x = store.take([i for i in ids if i in known])
            parts[split] = x, here, run.truth(tuple(ids))
    x, here, y = parts["train"]
    y = y[here]
    kept = np.ones(y.shape[1], bool) if single else y.any(0) & ~y.all(0)

    def scores(model: Any, split: str) -> Floats:
        x, here, truth = parts[split]
        found = np.zeros((len(x), truth.shape[1]))
        found[:, model.classes_ if single else kept] = model.predict_proba(x)
        result = np.tile(found.mean(axis=0), (len(here), 1))
        result[here] = found
        return result

    best: tuple[float, Any] | None = None
    for c, weights in product(STRENGTHS, WEIGHTS):
        one = LogisticRegression(C=c, class_weight=weights, max_iter=500)
        model = make_pipeline(StandardScaler(), one if single else OneVsRestClassifier(one))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(x, y.argmax(axis=1) if single else y[:, kept])
        truth = parts["val"][2]
        quality = main_figures(truth, scores(model, "val"), exclusive=single)[metric]
        if best is None or quality > best[0]:
            best = float(quality), model
    assert best is not None
    return scores(best[1], on)


def main(runs: Path, own: Path, folders: list[Path], on: On) -> None:
    """Prints a line a row."""
    for folder in folders:
        with_frozen = [side_of(runs / f"{folder.name}-{k}", on) for k in SPLITS]
        without = [side_of(own / f"{folder.name}-{k}", on) for k in SPLITS]
        exclusive = open_run(runs / f"{folder.name}-0").recipe.exclusive
        metric = headline_metric(exclusive=exclusive)
        for row in with_frozen[0].whole:
            columns: dict[str, list[Floats | None]] = {
                "own": [side.whole.get(row) for side in without],
                "frozen": [side.frozen.get(row) for side in with_frozen],
                "both": [side.whole.get(row) for side in with_frozen],
                "scikit-learn": [side.peer.get(row) for side in with_frozen],
            }
            said = [f"{folder.name:12} {row:4}"]
            for name, scores in columns.items():
                figures = [
                    main_figures(side.y, s, exclusive=exclusive)[metric]
                    for side, s in zip(with_frozen, scores, strict=True)
                    if s is not None
                ]
                said.append(f"{name} {np.mean(figures):.3f}" if figures else f"{name} -")
            for name in ("own", "scikit-learn"):
                pairs = [
                    Pair(side.y, both, other, side.groups)
                    for side, both, other in zip(
                        with_frozen, columns["both"], columns[name], strict=True
                    )
                    if both is not None and other is not None
                ]
                if pairs:
                    d = paired_difference(pairs, MACRO_METRICS[metric])
                    said.append(
                        f"both - {name} {d.value:+.3f} [{d.low:+.3f}, {d.high:+.3f}] {d.verdict}"
                    )
            print("  ".join(said), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("runs", type=Path, nargs="?")
    parser.add_argument("own", type=Path, nargs="?")
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--on", choices=("val", "test"), default="val")
    given = parser.parse_args()
    if given.folders:
        main(given.runs, given.own, given.folders, given.on)
    else:
        print(__doc__)
