"""Metrics as pure functions of truth `y` (n, n_labels) bool and `scores` (n, n_labels) float.

A label without a positive (or without a negative) in `y` has no AUC, one without a positive no
F1: such entries are NaN, a macro mean is taken over the others, and the caller lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Metric = Callable[[Bools, Floats], float]


def check(y: Bools, scores: NDArray[np.floating]) -> None:
    """Refuses what no metric can be computed from.

    Raises:
        ValueError: the shapes differ, there is no row, or a score is NaN or infinite.
    """
    if y.ndim != 2 or y.shape != scores.shape or not len(y):
        raise ValueError(
            f"truth {y.shape} and scores {scores.shape}: both must be (n > 0, n_labels)"
        )
    if y.dtype != bool:
        raise ValueError(f"truth must be bool, got {y.dtype}")
    if not np.isfinite(scores).all():
        raise ValueError(f"{int((~np.isfinite(scores)).sum())} scores are NaN or infinite")


def roc_auc(y: Bools, scores: NDArray[np.floating]) -> Floats:
    """Area under the ROC curve per label, (n_labels,); ties count half.

    AUC = (sum of the positives' ranks - P (P + 1) / 2) / (P N): the Mann-Whitney statistic.
    """
    check(y, scores)
    positives = y.sum(axis=0).astype(float)
    negatives = len(y) - positives
    ranks = rankdata(scores, axis=0)
    wins = np.where(y, ranks, 0.0).sum(axis=0) - positives * (positives + 1) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where((positives > 0) & (negatives > 0), wins / (positives * negatives), np.nan)


def average_precision(y: Bools, scores: NDArray[np.floating]) -> Floats:
    """PR-AUC per label as average precision, (n_labels,): sum over thresholds of (R_k - R_k-1) P_k.

    Items of equal score share a threshold.
    """
    check(y, scores)
    n, n_labels = y.shape
    result = np.full(n_labels, np.nan)
    for j in np.flatnonzero(y.any(axis=0) & ~y.all(axis=0)):
        order = np.argsort(-scores[:, j], kind="stable")
        hits = np.cumsum(y[order, j])
        last = np.append(np.flatnonzero(np.diff(scores[order, j])), n - 1)  # ends of ties
        precision = hits[last] / (last + 1)
        recall = hits[last] / hits[-1]
        result[j] = float(np.sum(np.diff(recall, prepend=0.0) * precision))
    return result


def micro(per_label: Callable[[Bools, Floats], Floats], y: Bools, scores: Floats) -> float:
    """A per-label metric over all (item, label) pairs pooled as one label."""
    return float(per_label(y.reshape(-1, 1), scores.reshape(-1, 1))[0])


def macro(values: Floats) -> float:
    """Mean over the labels that have a value; NaN if none has."""
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def weighted(values: Floats, support: NDArray[np.integer]) -> float:
    """Mean over the labels that have a value, each by its positives; NaN if none has."""
    has = np.isfinite(values)
    return float(np.average(values[has], weights=support[has])) if has.any() else float("nan")


def precision_recall_f1(y: Bools, predicted: Bools) -> tuple[Floats, Floats, Floats]:
    """Per label, each (n_labels,); NaN for labels without a positive in `y`.

    A label that is never predicted has precision 0 (as scikit-learn's zero_division=0). Macro F1
    is the mean of the per-label F1 values, not the F1 of the means (METHOD sec. 8).
    """
    hits = (y & predicted).sum(axis=0).astype(float)
    positives, claimed = y.sum(axis=0), predicted.sum(axis=0)
    precision = hits / np.maximum(claimed, 1)
    recall = hits / np.maximum(positives, 1)
    f1 = 2 * hits / np.maximum(positives + claimed, 1)
    precision, recall, f1 = (np.where(positives > 0, v, np.nan) for v in (precision, recall, f1))
    return precision, recall, f1


def argmax_one_hot(scores: NDArray[np.floating]) -> Bools:
    """The best-scored label of each item as (n, n_labels) bool, one True a row."""
    best = np.zeros(scores.shape, dtype=bool)
    best[np.arange(len(scores)), scores.argmax(axis=1)] = True
    return best


def top_k_accuracy(y: Bools, scores: NDArray[np.floating], k: int) -> float:
    """Share of items with a true label among their k best-scored."""
    check(y, scores)
    return float(np.take_along_axis(y, _top(scores, k), axis=1).any(axis=1).mean())


def adiv(scores: NDArray[np.floating], k: int) -> float:
    """ADiv@k: share of all labels that are in some item's top k (Oramas 2018, sec. 5.3)."""
    return float(len(np.unique(_top(scores, k))) / scores.shape[1])


def _top(scores: NDArray[np.floating], k: int) -> NDArray[np.intp]:
    """Columns of the k highest scores per row, (n, min(k, n_labels)); ties by column order."""
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    if np.isnan(scores).any():
        raise ValueError("scores hold NaN, which has no rank")
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def confusion_matrix(y: Bools, predicted: Bools) -> NDArray[np.int64]:
    """Counts (true, predicted), (n_labels, n_labels); both one-hot.

    Raises:
        ValueError: a row names another number of labels than one.
    """
    if (y.sum(axis=1) != 1).any() or (predicted.sum(axis=1) != 1).any():
        raise ValueError("a confusion matrix needs exactly one true and one predicted label a row")
    matrix = np.zeros((y.shape[1], y.shape[1]), dtype=np.int64)
    np.add.at(matrix, (y.argmax(axis=1), predicted.argmax(axis=1)), 1)
    return matrix


def best_threshold(y: Bools, scores: Floats) -> float:
    """The one threshold over all labels that gives the highest micro F1; fit it on validation.

    F1 is evaluated at every distinct score: label (i, j) is predicted where score >= threshold.
    """
    check(y, scores)
    flat, truth = scores.ravel(), y.ravel()
    order = np.argsort(-flat, kind="stable")
    hits = np.cumsum(truth[order])
    claimed = np.arange(1, len(flat) + 1)
    f1 = 2 * hits / (claimed + truth.sum())
    last = np.append(np.flatnonzero(np.diff(flat[order])), len(flat) - 1)
    return float(flat[order][last[int(np.argmax(f1[last]))]])


def bootstrap_interval(
    metric: Metric, y: Bools, scores: Floats, *, seed: int, n: int = 200, level: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of a metric over resampled items; NaN where no draw has a value."""
    check(y, scores)
    rng = np.random.default_rng((seed, 0xB007))
    draws = []
    for _ in range(n):
        rows = rng.integers(0, len(y), len(y))
        draws.append(metric(y[rows], scores[rows]))
    if np.isnan(draws).all():
        return float("nan"), float("nan")
    tail = (1 - level) / 2
    low, high = np.nanquantile(draws, [tail, 1 - tail])
    return float(low), float(high)


def evaluate(
    y: Bools,
    scores: Floats,
    names: Sequence[str],
    *,
    exclusive: bool,
    threshold: float | None = None,
) -> dict[str, object]:
    """All metrics of a test set as plain numbers, ready for JSON.

    Args:
        y: truth, (n, n_labels) bool.
        scores: (n, n_labels), higher is likelier.
        names: the labels.
        exclusive: one label an item: predictions are the argmax, and there is a confusion matrix.
        threshold: for overlapping labels, predict where score >= threshold (from validation).
    """
    check(y, scores)
    if exclusive == (threshold is not None):
        raise ValueError("a threshold goes with overlapping labels, and only with them")
    predicted = argmax_one_hot(scores) if threshold is None else scores >= threshold
    precision, recall, f1 = precision_recall_f1(y, predicted)
    auc, ap = roc_auc(y, scores), average_precision(y, scores)
    support = y.sum(axis=0)
    result: dict[str, object] = {
        "n_items": len(y),
        "macro_precision": macro(precision),
        "macro_recall": macro(recall),
        "macro_f1": macro(f1),
        "weighted_precision": weighted(precision, support),
        "weighted_recall": weighted(recall, support),
        "weighted_f1": weighted(f1, support),
        "weighted_roc_auc": weighted(auc, support),
        "weighted_pr_auc": weighted(ap, support),
        "micro_precision": _share(y & predicted, predicted),
        "micro_recall": _share(y & predicted, y),
        "micro_f1": float(2 * (y & predicted).sum() / max(int(y.sum() + predicted.sum()), 1)),
        "macro_roc_auc": macro(auc),
        "micro_roc_auc": micro(roc_auc, y, scores),
        "macro_pr_auc": macro(ap),
        "micro_pr_auc": micro(average_precision, y, scores),
        **{f"top_{k}_accuracy": top_k_accuracy(y, scores, k) for k in (1, 3, 5)},
        **{f"adiv_{k}": adiv(scores, k) for k in (1, 3, 5)},
        "left_out_of_f1": [name for name, v in zip(names, f1, strict=True) if np.isnan(v)],
        "left_out_of_auc": [name for name, v in zip(names, auc, strict=True) if np.isnan(v)],
        "per_label": {
            name: {
                "support": int(support[j]),
                "precision": _number(precision[j]),
                "recall": _number(recall[j]),
                "f1": _number(f1[j]),
                "roc_auc": _number(auc[j]),
                "pr_auc": _number(ap[j]),
            }
            for j, name in enumerate(names)
        },
    }
    if exclusive:
        result["accuracy"] = float((y & predicted).any(axis=1).mean())
        result["confusion_matrix"] = confusion_matrix(y, predicted).tolist()
    else:
        result["threshold"] = threshold
    return {k: _number(v) if isinstance(v, float) else v for k, v in result.items()}


def _share(part: Bools, whole: Bools) -> float:
    """How much of the whole the part is; 0 of nothing."""
    return float(part.sum() / max(int(whole.sum()), 1))


def _number(value: float) -> float | None:
    """JSON knows no NaN: a metric that does not exist is null."""
    return float(value) if np.isfinite(value) else None
