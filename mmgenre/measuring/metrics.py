"""Metrics as pure functions of truth `y` (n, n_labels) bool and `scores` (n, n_labels) float.

AUC is undefined for a label that has no positive or no negative item in `y`, F1 for one that has
no positive: such entries are NaN, and `macro` is the mean over the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmgenre.items.labels import ancestors
from mmgenre.measuring.by_value import parts, row_blocks
from mmgenre.measuring.calibration import brier, calibration_error

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
FIGURES = ("precision", "recall", "f1")


def check(y: Bools, scores: NDArray[np.floating]) -> None:
    """Raises ValueError for other shapes, no row, `y` not bool, a NaN or infinite score."""
    if y.ndim != 2 or y.shape != scores.shape or not len(y):
        raise ValueError(
            f"truth {y.shape} and scores {scores.shape}: both must be (n > 0, n_labels)"
        )
    if y.dtype != bool:
        raise ValueError(f"truth must be bool, got {y.dtype}")
    if not np.isfinite(scores).all():
        raise ValueError(f"{int((~np.isfinite(scores)).sum())} scores are NaN or infinite")


def within_folds(
    ranking: Callable[[Bools, Floats], Floats],
    y: Bools,
    scores: Floats,
    folds: NDArray[np.intp] | None,
) -> Floats:
    """`roc_auc` or `average_precision` where items are ranked among those of their fold alone.

    Scores of the models of two folds need not mean the same, so ROC-AUC is the share of pairs of a
    positive and a negative item of one fold that are in order, and average precision the mean over
    the positives of all folds (Forman and Scholz 2010, sec. 3). `folds`: of each item, (n,); None:
    there is one.
    """
    if folds is None:
        return ranking(y, scores)
    check(y, scores)
    total, weights = np.zeros(y.shape[1]), np.zeros(y.shape[1])
    for fold in np.unique(folds):
        here = folds == fold
        positives, own = y[here].sum(axis=0), ranking(y[here], scores[here])
        pairs = positives * (here.sum() - positives)
        weight = np.where(pairs > 0, pairs if ranking is roc_auc else positives, 0)
        total += weight * np.where(weight > 0, own, 0)
        weights += weight
    return np.where(weights > 0, total / np.maximum(weights, 1), np.nan)


def roc_auc(y: Bools, scores: NDArray[np.floating]) -> Floats:
    """Area under the ROC curve per label, (n_labels,); ties count half.

    AUC = (sum of the positives' ranks - P (P + 1) / 2) / (P N): the Mann-Whitney statistic.
    """
    return _of_labels(_auc, y, scores)


def _auc(y: Bools, scores: NDArray[np.floating]) -> float:
    """Of one column (n, 1)."""
    from scipy.stats import rankdata  # half a second, which whoever measures nothing saves

    positives = int(y.sum())
    negatives = below = y.size - positives
    wins = 0.0
    for part in parts(y, scores):
        own = int(part.y.sum())
        below -= len(part.y) - own  # negatives with lower scores than any of this part
        wins += float(rankdata(part.scores)[part.y].sum()) - own * (own + 1) / 2 + own * below
    return wins / (positives * negatives)


def average_precision(y: Bools, scores: NDArray[np.floating]) -> Floats:
    """PR-AUC per label as average precision, (n_labels,): sum over thresholds of (R_k - R_k-1) P_k.

    Items with equal scores share a threshold.
    """
    return _of_labels(_average_precision, y, scores)


def _average_precision(y: Bools, scores: NDArray[np.floating]) -> float:
    """Of one column (n, 1)."""
    positives, before, found = int(y.sum()), 0.0, 0.0
    for hits, claimed, _ in _thresholds(y, scores):
        recall = hits / positives
        found += float(np.sum(np.diff(recall, prepend=before) * (hits / claimed)))
        before = float(recall[-1])
    return found


def _thresholds(
    y: Bools, scores: NDArray[np.floating]
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp], Floats]]:
    """Of every distinct score, from the highest down: how many positives and pairs reach it, it."""
    hit = seen = 0
    for part in parts(y, scores):
        order = np.argsort(-part.scores, kind="stable")
        ordered = part.scores[order]
        last = np.append(np.flatnonzero(np.diff(ordered)), len(order) - 1)  # ends of ties
        hits = hit + np.cumsum(part.y[order])[last]
        yield hits, seen + last + 1, ordered[last]
        hit, seen = int(hits[-1]), seen + len(order)


def _of_labels(
    metric: Callable[[Bools, NDArray[np.floating]], float],
    y: Bools,
    scores: NDArray[np.floating],
) -> Floats:
    """A metric of each label that has a positive and a negative item, NaN of others."""
    check(y, scores)
    found = np.full(y.shape[1], np.nan)
    for j in np.flatnonzero(y.any(axis=0) & ~y.all(axis=0)).tolist():
        found[j] = metric(y[:, j : j + 1], scores[:, j : j + 1])
    return found


def micro(
    per_label: Callable[[Bools, Floats], Floats],
    y: Bools,
    scores: Floats,
    folds: NDArray[np.intp] | None = None,
) -> float:
    """A per-label metric over all (item, label) pairs, pooled as one label; within folds."""
    flat = y.reshape(-1, 1), scores.reshape(-1, 1)
    of_flat = None if folds is None else np.repeat(folds, y.shape[1])
    return float(within_folds(per_label, *flat, of_flat)[0])


def macro(values: Floats) -> float:
    """Mean over the labels with a value; NaN if there is none."""
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def weighted(values: Floats, support: NDArray[np.integer]) -> float:
    """Mean over the labels with a value, weighted by `support`; NaN if there is none."""
    has = np.isfinite(values)
    return float(np.average(values[has], weights=support[has])) if has.any() else float("nan")


def precision_recall_f1(y: Bools, predicted: Bools) -> tuple[Floats, Floats, Floats]:
    """Three arrays (n_labels,); NaN for labels without a positive in `y`.

    A label that is never predicted has precision 0 (scikit-learn's zero_division=0). Macro F1
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
    """The label with the highest score of each item, (n, n_labels) bool, one True per row."""
    return np.asarray(np.arange(scores.shape[1]) == scores.argmax(axis=1)[:, None])


def top_k_accuracy(y: Bools, scores: NDArray[np.floating], k: int) -> float:
    """Share of items with a true label among the k labels of highest score."""
    return float(in_top_k(y, scores, k).mean())


def in_top_k(y: Bools, scores: NDArray[np.floating], k: int) -> Bools:
    """Whether each item has a true label among the k labels of highest score, (n,)."""
    check(y, scores)
    blocks = [
        np.take_along_axis(y[own], _top(scores[own], k), axis=1).any(axis=1)
        for own in row_blocks(*scores.shape)
    ]
    return np.concatenate(blocks)


def adiv(scores: NDArray[np.floating], k: int) -> float:
    """ADiv@k: share of labels that are in the top k of some item (Oramas 2018, sec. 5.3)."""
    tops = [np.unique(_top(scores[own], k)) for own in row_blocks(*scores.shape)]
    return float(len(np.unique(np.concatenate(tops))) / scores.shape[1])


def _top(scores: NDArray[np.floating], k: int) -> NDArray[np.intp]:
    """Columns of the k highest scores per row, (n, min(k, n_labels)); ties in column order."""
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    if np.isnan(scores).any():
        raise ValueError("scores contain NaN, which has no rank")
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def confusion_matrix(y: Bools, predicted: Bools) -> NDArray[np.int64]:
    """Counts (true, predicted), (n_labels, n_labels); ValueError unless rows have one each."""
    if (y.sum(axis=1) != 1).any() or (predicted.sum(axis=1) != 1).any():
        raise ValueError("a confusion matrix needs one true and one predicted label per row")
    return y.T.astype(np.int64) @ predicted


def best_threshold(y: Bools, scores: Floats) -> float:
    """The common threshold of all labels with the highest micro F1; fit it on validation items.

    F1 is evaluated at every distinct score; a label is predicted where score >= threshold.
    """
    check(y, scores)
    positives, best, found = int(y.sum()), -1.0, 0.0
    for hits, claimed, ordered in _thresholds(y, scores):
        f1 = 2 * hits / (claimed + positives)
        k = int(np.argmax(f1))
        if f1[k] > best:
            best, found = float(f1[k]), float(ordered[k])
    return found


def sample_precision_recall_f1(y: Bools, predicted: Bools) -> tuple[Floats, Floats, Floats]:
    """Precision, recall and F1 of each item's set of labels, (n,) each; 0 / 0 is 0."""
    hits = (y & predicted).sum(axis=1)
    truth, claimed = y.sum(axis=1), predicted.sum(axis=1)
    precision, recall = hits / np.maximum(claimed, 1), hits / np.maximum(truth, 1)
    return precision, recall, 2 * hits / np.maximum(truth + claimed, 1)


def ranking_precision(y: Bools, scores: NDArray[np.floating]) -> Floats:
    """Average precision of each item's true labels among all, (n,); its mean is LRAP.

    An item with no label, or with all, has 1, as scikit-learn's.
    """
    check(y, scores)
    blocks = [_ranking_precision(y[own], scores[own]) for own in row_blocks(*scores.shape)]
    return np.concatenate(blocks)


def _ranking_precision(y: Bools, scores: NDArray[np.floating]) -> Floats:
    from scipy.stats import rankdata

    among_all = rankdata(-scores, method="max", axis=1)
    among_true = rankdata(np.where(y, -scores, np.inf), method="max", axis=1)
    n_true = y.sum(axis=1)
    share = np.where(y, among_true / among_all, 0.0).sum(axis=1) / np.maximum(n_true, 1)
    return np.where((n_true > 0) & (n_true < y.shape[1]), share, 1.0)


def closed_upward(values: NDArray[Any], names: Sequence[str]) -> NDArray[Any]:
    """Scores or predictions (n, n_labels) of which a label has at least what any below it has."""
    at = {name: j for j, name in enumerate(names)}
    found = values.copy()
    for name, j in at.items():
        for above in ancestors(name)[:-1]:
            if above in at:
                found[:, at[above]] = np.maximum(found[:, at[above]], values[:, j])
    return found


def are_probabilities(scores: NDArray[np.floating], *, exclusive: bool) -> bool:
    """Whether scores can be probabilities: cosines, for instance, cannot."""
    if scores.min() < 0 or scores.max() > 1:
        return False
    return not exclusive or bool(np.allclose(scores.sum(axis=1), 1, atol=1e-3))


def evaluate(
    y: Bools,
    scores: Floats,
    names: Sequence[str],
    *,
    exclusive: bool,
    threshold: float | Floats | None = None,
    folds: NDArray[np.intp] | None = None,
) -> dict[str, object]:
    """All metrics of a test set as plain numbers, ready for JSON.

    Overlapping labels are predicted where score >= threshold, which is fitted on validation: one,
    or that of each item's fold, (n, 1). `folds`: of cross-validation, see `within_folds`. For
    exclusive labels, of which an item has one, the prediction is the argmax, and accuracy and
    confusion matrix are added. The labels of an item may be none of `names`: then all that is
    predicted for it is wrong; the confusion matrix leaves it out.
    """
    check(y, scores)
    if exclusive == (threshold is not None):
        raise ValueError(
            f"exclusive {exclusive}, threshold {threshold}: overlapping labels need a threshold, "
            "exclusive labels have none"
        )
    predicted = argmax_one_hot(scores) if threshold is None else scores >= threshold
    shares = dict(zip(FIGURES, precision_recall_f1(y, predicted), strict=True))
    auc, ap = (within_folds(by, y, scores, folds) for by in (roc_auc, average_precision))
    figures = shares | {"roc_auc": auc, "pr_auc": ap}
    columns = list(zip(names, range(y.shape[1]), strict=True))
    calibration = brier_score = float("nan")
    if are_probabilities(scores, exclusive=exclusive):
        calibration = calibration_error(y, scores, exclusive=exclusive)
        brier_score = brier(y, scores)
    support, hits = y.sum(axis=0), int((y & predicted).sum())
    result: dict[str, object] = {
        "n_items": len(y),
        "n_without_label": int((~y.any(axis=1)).sum()),
        **{f"macro_{name}": macro(values) for name, values in shares.items()},
        **{f"weighted_{name}": weighted(values, support) for name, values in figures.items()},
        "micro_precision": hits / max(int(predicted.sum()), 1),
        "micro_recall": hits / max(int(y.sum()), 1),
        "micro_f1": 2 * hits / max(int(y.sum() + predicted.sum()), 1),
        "macro_roc_auc": macro(auc),
        "micro_roc_auc": micro(roc_auc, y, scores, folds),
        "macro_pr_auc": macro(ap),
        "micro_pr_auc": micro(average_precision, y, scores, folds),
        **{f"top_{k}_accuracy": top_k_accuracy(y, scores, k) for k in (1, 3, 5)},
        **{f"adiv_{k}": adiv(scores, k) for k in (1, 3, 5)},
        "macro_prevalence": macro(np.where(np.isfinite(ap), support / len(y), np.nan)),
        "calibration_error": calibration,
        "brier": brier_score,
        "left_out_of_f1": [name for name, j in columns if np.isnan(shares["f1"][j])],
        "left_out_of_auc": [name for name, j in columns if np.isnan(auc[j])],
        "per_label": {
            name: {
                "support": int(support[j]),
                "prevalence": float(support[j] / len(y)),
                **{k: _number(v[j]) for k, v in figures.items()},
            }
            for name, j in columns
        },
    }
    if exclusive:
        result["accuracy"] = float((y & predicted).any(axis=1).mean())
        labelled = y.any(axis=1)
        result["confusion_matrix"] = confusion_matrix(y[labelled], predicted[labelled]).tolist()
    else:
        own = zip(FIGURES, sample_precision_recall_f1(y, predicted), strict=True)
        result |= {f"sample_{name}": float(values.mean()) for name, values in own}
        result["lrap"] = float(ranking_precision(y, scores).mean())
        result["hamming_loss"] = float((y != predicted).mean())
        if any(len(ancestors(name)) > 1 for name in names):
            closed = closed_upward(predicted, names)
            total = max(int(y.sum() + closed.sum()), 1)
            result["hierarchical_f1"] = 2 * int((y & closed).sum()) / total
        result["threshold"] = threshold if isinstance(threshold, float) else None
    return {k: _number(v) if isinstance(v, float) else v for k, v in result.items()}


def main_figures(y: Bools, scores: Floats, *, exclusive: bool) -> dict[str, float]:
    """Macro F1 of one genre an item; of many, macro ROC-AUC and macro average precision.

    NaN where no genre can be measured.
    """
    if exclusive:
        return {"macro_f1": macro(precision_recall_f1(y, argmax_one_hot(scores))[2])}
    return {
        "macro_roc_auc": macro(roc_auc(y, scores)),
        "macro_pr_auc": macro(average_precision(y, scores)),
    }


def _number(value: float) -> float | None:
    """None for NaN, which JSON does not have."""
    return float(value) if np.isfinite(value) else None


@cache
def metric_names() -> tuple[str, ...]:
    """The names under which `evaluate` gives single numbers, for exclusive labels or others."""
    y = np.eye(2, dtype=bool)
    one = evaluate(y, y.astype(float), "ab", exclusive=True)
    many = evaluate(y, y.astype(float), ["a", "a/b"], exclusive=False, threshold=0.5)
    return tuple(name for name, value in (one | many).items() if isinstance(value, float))
