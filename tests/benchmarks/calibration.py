"""What a fusion's probabilities, label sets and doubts are worth, on validation or test items.

    python tests/benchmarks/calibration.py --on test RUN RUN...

Of the largest fusion of each run with solved heads, whose saved model must have learned from
training items alone. It is fitted anew, on validation items, so that figures `--on val` flatter.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from mmgenre.fusion.ensemble import SolvedFusion
from mmgenre.fusion.experts import FOLDS
from mmgenre.fusion.trust import fit_trust
from mmgenre.fusion.whole import MODEL
from mmgenre.items.item import SPLITS
from mmgenre.items.labels import LabelSpace
from mmgenre.measuring import metrics
from mmgenre.measuring.calibration import brier, calibration_error
from mmgenre.pipeline.align import feature_table
from mmgenre.pipeline.run import open_run
from mmgenre.pipeline.scores import read_scores

COVERAGE, RISK = 0.9, 0.1
UNTRAINED = ("audio.statistics", "text.linear", "image.descriptors")


def figures(folder: Path, on: Literal["val", "test"]) -> Mapping[str, float]:
    """Of a run's largest fusion, before and after calibration."""
    run = open_run(folder)
    fusion = max((f for f in run.fusions.iterdir() if (f / MODEL).is_dir()), key=_size)
    about = read_scores(fusion, on).about
    labels = LabelSpace(tuple(about["labels"]), about["exclusive"])
    model = SolvedFusion.load(fusion / MODEL)
    places = {name: (folder / "embeddings.h5", name) for name in model.widths}
    tables = {split: feature_table(places, run.manifest.ids(split)) for split in SPLITS}
    truth = {split: run.truth(table.ids, space=labels) for split, table in tables.items()}
    folds = run.folds(FOLDS, "val").of
    of_items = np.array([folds[item_id] for item_id in tables["val"].ids])
    untrained = [name for name in model.widths if name in UNTRAINED]
    trust = fit_trust(
        model, tables["train"], truth["train"], tables["val"], truth["val"], of_items, untrained
    )
    here = np.any(list(tables[on].present.values()), axis=0)
    table, y = tables[on].select(here), truth[on][here]
    scores = model.scores(table)
    judged = trust.judge(scores, table)
    exclusive, threshold = labels.exclusive, about["rows"][-1]["thresholds"][0]
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
