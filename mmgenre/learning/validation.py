"""How well a network in training ranks the genres of the validation items."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mmgenre.learning.selection import Metric
from mmgenre.learning.targets import Target
from mmgenre.measuring.metrics import (
    argmax_one_hot,
    average_precision,
    macro,
    precision_recall_f1,
    roc_auc,
)


def task_metric(target: Target, y: NDArray[np.bool_], *, exclusive: bool) -> Metric:
    """Macro ROC-AUC of the genres `y` (n, L), with macro F1 if exclusive, else macro AP.

    Outputs are those of all evaluation views of n examples, a mean over which is taken.
    """

    def metric(outputs: NDArray[np.float32]) -> dict[str, float]:
        mean = outputs.reshape(len(y), -1, outputs.shape[1]).mean(axis=1)
        scores = target.scores(mean)
        auc = {"macro_roc_auc": macro(roc_auc(y, scores))}
        if exclusive:
            return auc | {"macro_f1": macro(precision_recall_f1(y, argmax_one_hot(scores))[2])}
        return auc | {"macro_pr_auc": macro(average_precision(y, scores))}

    return metric


def chance_auc(y: NDArray[np.bool_]) -> float | None:
    """The macro ROC-AUC that random scores exceed in one of 40 cases; None if it is undefined.

    Of P positives and N negatives, it has variance (P + N + 1) / (12 P N) for each label (Mann and
    Whitney 1947); labels are taken as independent.
    """
    positives = y.sum(axis=0).astype(float)
    negatives = len(y) - positives
    both = (positives > 0) & (negatives > 0)
    if not both.any():
        return None
    variances = (len(y) + 1) / (12 * positives[both] * negatives[both])
    return float(0.5 + 2 * np.sqrt(variances.sum()) / both.sum())
