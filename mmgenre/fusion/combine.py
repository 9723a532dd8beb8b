"""Outputs of several experts -> one output, by weights that are fitted on cross-fitted outputs.

n items, E experts, D outputs of the target. For LOGISTIC, the sum of weighted logits is the product
of the experts' temperature-scaled odds (Hinton 2002, products of experts): an expert that knows
nothing gets the weight 0 and takes part no more. Weights that suit all experts together, or each
item, were no better on any of four real sets (docs/measured.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmgenre.fusion.solve import loss_and_slope
from mmgenre.learning.targets import CosineTarget, Target

Floats = NDArray[np.float64]
Outputs = NDArray[np.float32]  # (n, E, D)
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


def combine(outputs: Outputs, goals: NDArray[np.float32], target: Target) -> Combination:
    """Fits the weights on outputs of experts that have not seen these items.

    Each expert at the temperature that suits it alone, and then one for all. These are so few
    numbers that what a combination is worth may be read off the items that it was fitted on.
    """
    n, n_experts, _dim = outputs.shape
    mean = outputs.mean(axis=0)
    apart = outputs - mean
    bias = goals.mean(axis=0).astype(np.float64)
    if not isinstance(target, CosineTarget):
        shares = np.clip(goals.mean(axis=0, dtype=np.float64), 0.5 / n, 1 - 0.5 / n)
        bias = np.log(shares) - (0 if target.exclusive else np.log1p(-shares))
    each = [_fit(apart[:, e], goals, target, bias)[0] for e in range(n_experts)]
    weight = np.array(each) / n_experts
    factor, bias = _fit(np.einsum("e,ned->nd", weight, apart), goals, target, bias)
    arrays = (np.asarray(a, np.float32) for a in (mean, factor * weight, bias))
    return Combination(*arrays)


def _loss(target: Target, z: Floats, goals: NDArray[np.float32]) -> tuple[float, Floats]:
    """Mean loss of an item and its derivative by z."""
    n = len(z)
    if isinstance(target, CosineTarget):
        length = np.linalg.norm(z, axis=1, keepdims=True) + 1e-12
        unit = z / length
        cos = (unit * goals).sum(axis=1, keepdims=True)
        return float((1 - cos).mean()), -(goals - cos * unit) / length / n
    weights = np.ones(z.shape[1]) if target.weights is None else target.weights.astype(float)
    loss, slope = loss_and_slope(z, goals.astype(np.float64), weights, exclusive=target.exclusive)
    return loss / n, slope / n


def _fit(
    apart: Outputs, goals: NDArray[np.float32], target: Target, bias: Floats
) -> tuple[float, Floats]:
    """A factor >= 0 on outputs (n, D), and biases."""
    from scipy.optimize import minimize  # only those who fit need it

    pull = PRIOR / len(apart)

    def objective(flat: Floats) -> tuple[float, Floats]:
        factor = flat[0]
        loss, slope = _loss(target, factor * apart + flat[1:], goals)
        grown = np.concatenate([[(slope * apart).sum()], slope.sum(axis=0)])
        grown[0] += pull * (factor - 1)
        return loss + pull / 2 * float((factor - 1) ** 2), grown

    bounds = [(0.0, None)] + [(None, None)] * len(bias)
    first = np.concatenate([[1.0], bias])
    found = minimize(objective, first, jac=True, method="L-BFGS-B", bounds=bounds)
    return float(found.x[0]), found.x[1:]
