"""Outputs of several experts -> one output, by weights that are fitted on cross-fitted outputs.

n items, E experts, D outputs of the target. For LOGISTIC, the sum of weighted logits is the product
of the experts' temperature-scaled odds (Hinton 2002, products of experts): an expert that knows
nothing gets the weight 0 and takes part no more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from mmgenre.fusion.solve import loss_and_slope
from mmgenre.learning.targets import CosineTarget, Target

Floats = NDArray[np.float64]
Outputs = NDArray[np.float32]  # (n, E, D)
Way = Literal["product", "stacking", "gated"]
WAYS: tuple[Way, ...] = ("product", "stacking", "gated")
PRIOR = 0.05  # a light pull of every weight towards an even product; in loss per item


@dataclass(frozen=True)
class Combination:
    """Weights of experts: outputs (n, E, D) -> (n, D).

    z = bias + sum_e weight_e (z_e - mean_e). "product": each expert at the temperature that suits
    it alone; "stacking": weights that suit all together; "gated": an item's weights also depend on
    how far each expert's outputs are from their mean.
    """

    way: Way
    mean: Outputs  # (E, D), of the training items' cross-fitted outputs
    weight: Outputs  # (E,)
    gate: Outputs  # (E,), 0 unless gated
    spread: Outputs  # (E,), mean distance of an expert's outputs from their mean
    bias: Outputs  # (D,)

    def __call__(self, outputs: Outputs) -> NDArray[np.float32]:
        apart = outputs - self.mean
        weight = self.weight * gates(apart, self.spread, self.gate)
        return np.asarray(self.bias + np.einsum("ne,ned->nd", weight, apart), np.float32)


def gates(apart: Outputs, spread: Outputs, gate: Outputs) -> Outputs:
    """Factors on the weights, (n, E): above 1 for an expert that is more decided than usual."""
    if not gate.any():
        return np.ones(apart.shape[:2], np.float32)
    decided = np.sqrt((apart**2).mean(axis=2)) / spread - 1
    return np.asarray(np.exp(np.clip(gate * decided, -2, 2)), np.float32)


def combine(outputs: Outputs, goals: NDArray[np.float32], target: Target, way: Way) -> Combination:
    """Fits the weights on outputs of experts that have not seen these items."""
    n, n_experts, _dim = outputs.shape
    mean = outputs.mean(axis=0)
    apart = outputs - mean
    spread = np.sqrt((apart**2).mean(axis=2)).mean(axis=0) + 1e-9
    bias = goals.mean(axis=0).astype(np.float32)
    if not isinstance(target, CosineTarget):
        shares = np.clip(goals.mean(axis=0, dtype=np.float64), 0.5 / n, 1 - 0.5 / n)
        bias = np.log(shares) - (0 if target.exclusive else np.log1p(-shares))
    start = np.full(n_experts, 1 / n_experts)
    no_gate: Floats = np.zeros(n_experts)

    def made(weight: Floats, bias: Floats, gate: Floats = no_gate) -> Combination:
        arrays = (np.asarray(a, np.float32) for a in (mean, weight, gate, spread, bias))
        return Combination(way, *arrays)

    if way == "product":  # each expert at its own temperature, then one for all
        each = [_fit(apart[:, [e]], goals, target, np.ones(1), bias)[0] for e in range(n_experts)]
        start = np.concatenate(each) / n_experts
        scaled = (apart * start[None, :, None]).sum(axis=1, keepdims=True)
        factor, bias = _fit(scaled, goals, target, np.ones(1), bias)
        return made(start * factor, bias)
    weight, shared_bias = _fit(apart, goals, target, start, bias)
    if way == "stacking":
        return made(weight, shared_bias)
    return made(weight, shared_bias, _fit_gates(apart, spread, goals, target, weight, shared_bias))


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
    apart: Outputs, goals: NDArray[np.float32], target: Target, start: Floats, bias: Floats
) -> tuple[Floats, Floats]:
    """Weights >= 0 of experts, and biases."""
    n_experts = len(start)

    def objective(flat: Floats) -> tuple[float, Floats]:
        w, b = flat[:n_experts], flat[n_experts:]
        loss, slope = _loss(target, np.einsum("e,ned->nd", w, apart) + b, goals)
        pull = PRIOR / len(apart)
        grown = np.concatenate([np.einsum("nd,ned->e", slope, apart), slope.sum(axis=0)])
        grown[:n_experts] += pull * (w - start)
        return loss + pull / 2 * float(((w - start) ** 2).sum()), grown

    bounds = [(0.0, None)] * n_experts + [(None, None)] * len(bias)
    first = np.concatenate([start, bias])
    found = minimize(objective, first, jac=True, method="L-BFGS-B", bounds=bounds)
    return found.x[:n_experts], found.x[n_experts:]


def _fit_gates(
    apart: Outputs,
    spread: Outputs,
    goals: NDArray[np.float32],
    target: Target,
    weight: Floats,
    bias: Floats,
) -> Floats:
    """Gates of experts at fixed weights; numeric derivatives of a handful of numbers."""

    def objective(gate: Floats) -> float:
        factors = gates(apart, spread, gate.astype(np.float32))
        z = np.einsum("ne,ned->nd", factors * weight, apart) + bias
        return _loss(target, z, goals)[0] + PRIOR / len(apart) * float((gate**2).sum())

    bounds = [(-2.0, 2.0)] * len(weight)
    found = minimize(objective, np.full(len(weight), 0.1), method="L-BFGS-B", bounds=bounds)
    return np.asarray(found.x)


def crossed(
    outputs: Outputs,
    goals: NDArray[np.float32],
    folds: NDArray[np.intp],
    target: Target,
    way: Way,
) -> NDArray[np.float32]:
    """Combined outputs of each item by weights that were fitted without its fold, (n, D).

    Biases and means are those of all items: a bias that is fitted without a fold is higher where
    that fold has fewer items of a genre, so that pooled over folds it would rank them wrongly.
    """
    whole = combine(outputs, goals, target, way)
    result = np.zeros((len(outputs), outputs.shape[2]), np.float32)
    for fold in np.unique(folds):
        out = folds == fold
        own = combine(outputs[~out], goals[~out], target, way)
        own = replace(own, mean=whole.mean, bias=whole.bias)
        result[out] = own(outputs[out])
    return result
