"""Scores of test items -> the rows of a result table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mmgenre import metrics
from mmgenre.labels import LabelSpace
from mmgenre.results import Metrics, Result, Spread, headline_metric

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


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
            deviation = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
            summary[name] = {"mean": float(np.mean(values)), "std": deviation}
    return summary


def _macro_f1(y: Bools, scores: Floats) -> float:
    return metrics.macro(metrics.precision_recall_f1(y, metrics.argmax_one_hot(scores))[2])


def _macro_auc(y: Bools, scores: Floats) -> float:
    return metrics.macro(metrics.roc_auc(y, scores))
