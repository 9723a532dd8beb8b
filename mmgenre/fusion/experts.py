"""Experts: one linear head an input, its scaling and L2 strength chosen by cross-validation.

n items, D outputs of the target: logits of all genres, or dimensions of the label factors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mmgenre.fusion.scaling import FittedScaling, Scaling
from mmgenre.fusion.solve import Linear, solve_path
from mmgenre.learning.targets import Target
from mmgenre.measuring import metrics

Vectors = NDArray[np.float32]
# Of rows of length 1 on average, from "says nothing" to "fits every training item".
STRENGTHS = (30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003)
PATIENCE = 3


@dataclass(frozen=True)
class Expert:
    """Vectors (n, width) of one input -> outputs (n, D)."""

    scaling: FittedScaling
    linear: Linear

    def __call__(self, x: Vectors) -> Vectors:
        return self.linear(self.scaling(x))


@dataclass(frozen=True)
class Crossed:
    """An expert, and for each training item the outputs of one that was fitted without it."""

    expert: Expert
    outputs: Vectors  # (n, D) of the training items
    quality: float  # of these outputs
    chosen: str  # for reports: "centred, strength 1"


def quality_of(target: Target, y: NDArray[np.bool_], *, exclusive: bool) -> Callable[..., float]:
    """What is chosen by, a function of outputs (n, D) and rows: figures that tables show.

    One genre an item: mean of macro F1 and macro ROC-AUC; many: of macro ROC-AUC and macro AP. NaN
    if no genre has both items with it and without it.
    """

    def quality(outputs: Vectors, rows: NDArray[np.intp] | slice = slice(None)) -> float:
        scores = scores_of(target, outputs[rows])
        truth = y[rows]
        auc = metrics.macro(metrics.roc_auc(truth, scores))
        if exclusive:
            predicted = metrics.argmax_one_hot(scores)
            return (auc + metrics.macro(metrics.precision_recall_f1(truth, predicted)[2])) / 2
        return (auc + metrics.macro(metrics.average_precision(truth, scores))) / 2

    return quality


def scores_of(target: Target, outputs: Vectors) -> NDArray[np.float64]:
    """Outputs (n, D) -> genre scores (n, n_labels)."""
    with torch.inference_mode():
        found = target.scores(torch.from_numpy(np.asarray(outputs, np.float32)))
    return found.double().numpy()


def fit_expert(
    x: Vectors,
    goals: NDArray[np.float32],
    folds: NDArray[np.intp],
    target: Target,
    quality: Callable[..., float],
    scalings: Sequence[Scaling],
    *,
    extra: tuple[Vectors, NDArray[np.float32]] | None = None,
) -> Crossed:
    """Chooses scaling and strength by folds (n,) of the training rows (n, width), then fits all.

    Where a fold has all rows, nothing is left out, and the choice is the strongest that is best.
    `extra`: further rows and goals for the last fit only.
    """
    best: tuple[float, Scaling, float, Vectors] | None = None
    for scaling in scalings:
        fitted = FittedScaling.fit(scaling, x)
        rows = fitted.of_mean_length_1(fitted(x))(x)
        parts = [folds == fold for fold in np.unique(folds)]
        paths = [solve_path(rows[~out], goals[~out], target, STRENGTHS) for out in parts]
        falls = 0
        for strength, solutions in zip(STRENGTHS, zip(*paths, strict=True), strict=False):
            outputs = np.zeros(goals.shape, np.float32)
            for out, linear in zip(parts, solutions, strict=True):
                outputs[out] = linear(rows[out])
            found = quality(outputs)
            if best is None or found > best[0]:
                best = found, scaling, strength, outputs
            falls = 0 if best[1] is scaling and best[0] == found else falls + 1
            if falls == PATIENCE:  # weaker ones fit training items ever more closely
                break
    assert best is not None
    found, scaling, strength, outputs_k = best
    fitted = FittedScaling.fit(scaling, x)
    fitted = fitted.of_mean_length_1(fitted(x))
    rows, wanted = fitted(x), goals
    if extra is not None:
        rows, wanted = np.concatenate([rows, fitted(extra[0])]), np.concatenate([goals, extra[1]])
    linear = _at(rows, wanted, target, strength)
    return Crossed(Expert(fitted, linear), outputs_k, found, f"{scaling.name}, {strength:g}")


def _at(x: Vectors, goals: NDArray[np.float32], target: Target, strength: float) -> Linear:
    """The solution at a strength, by the path that leads there."""
    *_, last = solve_path(x, goals, target, [s for s in STRENGTHS if s >= strength])
    return last
