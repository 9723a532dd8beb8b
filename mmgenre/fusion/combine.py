"""Outputs of several experts -> one output, by weights that are fitted on cross-fitted outputs.

n items, E experts, D outputs of the target. For LOGISTIC, the sum of weighted logits is the product
of the experts' temperature-scaled odds (Hinton 2002, products of experts): an expert that knows
nothing gets the weight 0 and takes part no more, unless none does. Weights that suit all experts
together, or each item, were no better on any of four real sets (docs/measured.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmgenre.fusion.solve import loss_and_slope
from mmgenre.learning.targets import CosineTarget, Target, log_odds

Floats = NDArray[np.float64]
Outputs = NDArray[np.float32]  # (n, E, D)
Loss = Callable[[Floats, NDArray[np.float32]], tuple[float, Floats]]
LEAST = 0.1  # of the weights where all would be 0, so that items are ranked nevertheless
PRIOR = 0.05  # a light pull of every weight towards 1; in loss of one item


@dataclass(frozen=True)
class Combination:
    """A product of experts: outputs (n, E, D) -> bias + sum_e weight_e (outputs_e - mean_e)."""

    mean: Outputs  # (E, D), of the training items' cross-fitted outputs
    weight: Outputs  # (E,)
    bias: Outputs  # (D,)

    def __call__(self, outputs: Outputs) -> NDArray[np.float32]:
        z = np.einsum("e,ned->nd", self.weight, outputs - self.mean)
        return np.asarray(self.bias + z, np.float32)


def combine(
    outputs: Outputs,
    goals: NDArray[np.float32],
    target: Target,
    judged: NDArray[np.bool_] | None = None,
) -> Combination:
    """Fits the weights on outputs of experts that have not seen these items.

    Each expert at the temperature that suits it alone, and then one for all. These are so few
    numbers that what a combination is worth may be read off the items that it was fitted on.

    `judged`: of LOGISTIC the labels (L,) that the experts knew, None: all. Weights are fitted by
    these alone, and the biases of others are those of their shares.
    """
    n, n_experts, dim = outputs.shape
    mean = outputs.mean(axis=0)
    bias = goals.mean(axis=0).astype(np.float64)
    rows = np.ones(n, bool)
    if judged is None or isinstance(target, CosineTarget):
        judged = np.ones(dim, bool)
    if not isinstance(target, CosineTarget):
        shares = np.clip(goals.mean(axis=0, dtype=np.float64), 0.5 / n, 1 - 0.5 / n)
        bias = log_odds(shares, exclusive=target.exclusive)
        if target.exclusive:
            rows = judged[goals.argmax(axis=1)]
    weight = np.full(n_experts, 1 / n_experts)
    if rows.any() and judged.any():
        apart = (outputs[rows] - mean)[:, :, judged]
        own, loss, first = goals[rows][:, judged], _loss(target, judged), bias[judged]
        each = [_fit(apart[:, e], own, loss, first)[0] for e in range(n_experts)]
        weight = np.array(each) / n_experts
        factor, bias[judged] = _fit(np.einsum("e,ned->nd", weight, apart), own, loss, first)
        weight = factor * weight
        if np.allclose(weight, 0):
            weight = np.full(n_experts, LEAST / n_experts)
    return Combination(*(np.asarray(a, np.float32) for a in (mean, weight, bias)))


def _loss(target: Target, judged: NDArray[np.bool_]) -> Loss:
    """Of outputs and goals (n, judged): mean loss of an item, and its derivative by the outputs."""
    if isinstance(target, CosineTarget):
        return _cosine_loss
    weights = np.ones(target.dim) if target.weights is None else target.weights.astype(float)
    exclusive = target.exclusive

    def logistic(z: Floats, goals: NDArray[np.float32]) -> tuple[float, Floats]:
        wide = goals.astype(np.float64)
        loss, slope = loss_and_slope(z, wide, weights[judged], exclusive=exclusive)
        return loss / len(z), slope / len(z)

    return logistic


def _cosine_loss(z: Floats, goals: NDArray[np.float32]) -> tuple[float, Floats]:
    length = np.linalg.norm(z, axis=1, keepdims=True) + 1e-12
    unit = z / length
    cos = (unit * goals).sum(axis=1, keepdims=True)
    return float((1 - cos).mean()), -(goals - cos * unit) / length / len(z)


def _fit(
    apart: Outputs, goals: NDArray[np.float32], loss_of: Loss, bias: Floats
) -> tuple[float, Floats]:
    """A factor >= 0 on outputs (n, D), and biases."""
    from scipy.optimize import minimize  # only those who fit need it

    pull = PRIOR / len(apart)

    def objective(flat: Floats) -> tuple[float, Floats]:
        factor = flat[0]
        loss, slope = loss_of(factor * apart + flat[1:], goals)
        grown = np.concatenate([[(slope * apart).sum()], slope.sum(axis=0)])
        grown[0] += pull * (factor - 1)
        return loss + pull / 2 * float((factor - 1) ** 2), grown

    bounds = [(0.0, None)] + [(None, None)] * len(bias)
    first = np.concatenate([[1.0], bias])
    found = minimize(objective, first, jac=True, method="L-BFGS-B", bounds=bounds)
    return float(found.x[0]), found.x[1:]
