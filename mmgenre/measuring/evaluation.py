"""Scores of test items -> the rows of a result table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mmgenre.items.labels import LabelSpace
from mmgenre.measuring import metrics
from mmgenre.measuring.results import Metrics, Result, SeedReport, Spread, headline_metric, spread

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
FIGURES = ("precision", "recall", "f1")
RANKINGS = ("roc_auc", "pr_auc")  # what scores alone decide, without a threshold
DECIMALS = 6  # of a share in a classification report: far below what a test item is worth


def result(
    y: Bools,
    scores: Sequence[Floats],
    thresholds: Sequence[float | None],
    labels: LabelSpace,
    has_input: Bools,
    *,
    seed: int,
) -> Result:
    """Evaluates one row of a table on one set of items.

    Args:
        y: truth, (n, n_labels).
        scores: per seed (n, n_labels).
        thresholds: per seed; None for exclusive labels.
        labels: the genres.
        has_input: (n,), whether the item has any of the row's inputs.
        seed: of the bootstrap.
    """
    exclusive = labels.exclusive
    per_seed = [
        metrics.evaluate(y, s, labels.names, exclusive=exclusive, threshold=t)
        for s, t in zip(scores, thresholds, strict=True)
    ]
    name = headline_metric(exclusive=exclusive)
    metric = _macro_f1 if exclusive else _macro_auc
    interval = metrics.bootstrap_interval(metric, y, scores[0], seed=seed)
    return {
        "n_items": len(y),
        "n_without_input": int((~has_input).sum()),
        "per_seed": per_seed,
        "summary": summarise(per_seed),
        "intervals": {name: interval} if np.isfinite(interval).all() else {},
    }


def summarise(per_seed: Sequence[Metrics]) -> dict[str, Spread]:
    """Mean and sample deviation of every scalar that has a value at each seed."""
    summary: dict[str, Spread] = {}
    for name, first in per_seed[0].items():
        values = [m[name] for m in per_seed]
        if isinstance(first, float) and all(isinstance(v, float) for v in values):
            summary[name] = spread(values)
    return summary


def seed_report(found: Metrics, *, seed: int) -> SeedReport:
    """The classification report among the metrics of one seed.

    Args:
        found: as `metrics.evaluate` returns them.
        seed: of the row.
    """
    matrix = found.get("confusion_matrix")
    figures = FIGURES if matrix is not None else (*FIGURES, *RANKINGS)
    kinds = ("macro", "weighted") if matrix is not None else ("micro", "macro", "weighted")
    return {
        "seed": seed,
        "n_items": found["n_items"],
        "threshold": found.get("threshold"),
        "accuracy": _rounded(found.get("accuracy")),
        "per_label": {
            name: {"support": own["support"], **{f: _rounded(own[f]) for f in figures}}
            for name, own in found["per_label"].items()
        },
        "averages": {
            kind: {f: _rounded(found.get(f"{kind}_{f}")) for f in figures} for kind in kinds
        },
        "confusion_matrix": matrix,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DECIMALS)


def _macro_f1(y: Bools, scores: Floats) -> float:
    return metrics.macro(metrics.precision_recall_f1(y, metrics.argmax_one_hot(scores))[2])


def _macro_auc(y: Bools, scores: Floats) -> float:
    return metrics.macro(metrics.roc_auc(y, scores))
