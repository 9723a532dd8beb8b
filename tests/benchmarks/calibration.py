"""What a fusion's probabilities, label sets and doubts are worth, on validation or test items.

    python tests/benchmarks/calibration.py --on test RUN RUN...

Of the largest fusion of each run, which `mmgenre fuse` made. What is fitted here is fitted on
validation items, so that figures `--on val` flatter. Nothing is printed of single genres.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from mmgenre.fusion.trust import TRUST, Trust
from mmgenre.fusion.whole import MODEL
from mmgenre.items.labels import LabelSpace
from mmgenre.measuring import metrics
from mmgenre.measuring.calibration import brier, calibration_error
from mmgenre.pipeline.align import feature_table
from mmgenre.pipeline.run import open_run
from mmgenre.pipeline.scores import read_scores

COVERAGE, RISK = 0.9, 0.1


def figures(folder: Path, on: Literal["val", "test"]) -> Mapping[str, float]:
    """Of a run's largest fusion, before and after calibration."""
    run = open_run(folder)
    fusion = max((f for f in run.fusions.iterdir() if (f / MODEL / TRUST).is_dir()), key=_size)
    found, trust = read_scores(fusion, on), Trust.load(fusion / MODEL / TRUST)
    about = found.about
    labels = LabelSpace(tuple(about["labels"]), about["exclusive"])
    row = len(about["rows"]) - 1
    here = found.has_input(row)
    ids = tuple(i for i, h in zip(found.ids, here, strict=True) if h)
    y, scores = run.truth(ids, space=labels), found.values[here, row, 0].astype(np.float64)
    places = {name: (folder / "embeddings.h5", name) for name in about["rows"][row]["inputs"]}
    table = feature_table(places, ids)
    judged = trust.judge(scores, table)
    exclusive, threshold = labels.exclusive, about["rows"][row]["thresholds"][0]
    before = metrics.argmax_one_hot(scores) if exclusive else scores >= threshold
    is_sure = judged.p.max(axis=1) >= 1 - RISK
    right = y[np.arange(len(y)), judged.p.argmax(axis=1)]
    sets = judged.sets[COVERAGE]
    print(f"  {folder.name}: {len(y)} items, {len(labels)} genres, {trust.whole.calibration.way}")
    return {
        "ECE before": calibration_error(y, scores, exclusive=exclusive),
        "ECE after": calibration_error(y, judged.p, exclusive=exclusive),
        "Brier before": brier(y, scores),
        "Brier after": brier(y, judged.p),
        "macro F1 before": _f1(y, before),
        "macro F1 after": _f1(y, judged.named),
        "coverage": float(((sets & y).sum(axis=1) / y.sum(axis=1)).mean()),
        "genres in a set": float(sets.sum(axis=1).mean()),
        "strange": float(judged.is_strange.mean()),
        "unsure at risk": float((~is_sure).mean()),
        "error of the rest": float(1 - right[is_sure].mean()) if is_sure.any() else np.nan,
    }


def _f1(y: NDArray[np.bool_], named: NDArray[np.bool_]) -> float:
    return metrics.macro(metrics.precision_recall_f1(y, named)[2])


def _size(fusion: Path) -> int:
    return fusion.name.count("+")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("runs", type=Path, nargs="*")
    parser.add_argument("--on", choices=("val", "test"), default="val")
    chosen = parser.parse_args()
    if not chosen.runs:
        print("give the folders of runs that mmgenre fuse has finished")
        return
    on = cast(Literal["val", "test"], chosen.on)
    all_of = [figures(folder, on) for folder in chosen.runs]
    print(f"{on}, mean over {len(all_of)} run(s), least and most:")
    for name in all_of[0]:
        values = np.array([of[name] for of in all_of])
        print(f"  {name:18} {np.nanmean(values):.3f}  ({values.min():.3f} to {values.max():.3f})")


if __name__ == "__main__":
    main()
