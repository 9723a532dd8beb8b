"""Linear heads as solved problems: the whole path of L2 strengths, deterministic, without seeds.

LOGISTIC minimises, over weights W and biases b of all labels at once,

    sum_i loss(b + W' x_i, y_i) + strength / 2 |W|^2

by L-BFGS (Nocedal and Wright 2006, sec. 7.2), COSINE the ridge regression onto label factors in
closed form. Biases are free. Both are solved in the principal directions of the rows, in whose span
the solution lies. LOGISTIC on more than `FEW_ROWS` rows is solved by mini-batches with momentum, at
equal figures (docs/measured.md); seeded, and chosen by the size alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mmgenre.learning.targets import CosineTarget, LogisticTarget, Target

if TYPE_CHECKING:  # torch takes seconds to import, and only mini-batches need it
    import torch

Floats = NDArray[np.float64]
MAX_ITERATIONS = 200
TOLERANCE = 1e-8  # of the objective, relative
ROUGHLY = 1e-6  # to tell strengths apart
MANY_NUMBERS = 8_000_000  # in the rows, from which on all cores multiply
FEW_ROWS = 10_000
BATCH_ROWS, STEPS, FURTHER_STEPS, MOMENTUM, RATE, SEED = 1024, 175, 75, 0.9, 12.0, 0xBA7C
MOST_SPEED = 4.0  # of a rare label, by how much more than that of one which half of the rows have
POWER_STEPS = 8  # the greatest moment within a few per cent; momentum allows nearly four times
LEAST = 1e-9  # a direction of less than this share of the largest is rounding


@dataclass(frozen=True)
class Linear:
    """Weights (columns, outputs) and biases (outputs,): rows (n, columns) -> outputs."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(x @ self.weight + self.bias, np.float32)


@dataclass(frozen=True)
class Rows:
    """Rows in their principal directions: (n, rank), and these directions."""

    coordinates: NDArray[np.float32]
    basis: NDArray[np.float32]  # (columns, rank), orthonormal

    @classmethod
    def of(cls, x: NDArray[np.float32]) -> Rows:
        n, columns = x.shape
        gram = (x @ x.T if n < columns else x.T @ x).astype(np.float64)
        values, vectors = np.linalg.eigh(gram)
        kept = values > LEAST * max(values[-1], LEAST)
        values, vectors = values[kept], vectors[:, kept]
        if n < columns:
            vectors = (x.T @ vectors.astype(np.float32)) / np.sqrt(values)
        basis = vectors.astype(np.float32)
        return cls(x @ basis, basis)

    def linear(self, weight: Floats, bias: Floats) -> Linear:
        """A solution in these coordinates, of the rows' columns."""
        return Linear(self.basis @ weight.astype(np.float32), bias.astype(np.float32))


def solve_path(
    x: NDArray[np.float32],
    goals: NDArray[np.float32],
    target: Target,
    strengths: Sequence[float],
    tolerance: float = TOLERANCE,
) -> Iterator[Linear]:
    """The solution for each strength, from the greatest on; each starts at the one before.

    `x`: rows (n, columns); `goals`: `target.targets` of them, (n, outputs). `tolerance`: of the
    objective, relative, where L-BFGS solves it.
    """
    if isinstance(target, CosineTarget):
        solved = _ridge_path
    elif len(x) <= FEW_ROWS:
        solved = partial(_logistic_path, tolerance=tolerance)
    else:
        solved = _mini_batch_path
    # One thread for small problems: on a busy machine two threads took ten times as long.
    with threadpool_limits(1 if x.size < MANY_NUMBERS else None, "blas"):
        yield from solved(x, goals, target, sorted(strengths, reverse=True))


def _logistic_path(
    rows: NDArray[np.float32],
    goals: NDArray[np.float32],
    target: Target,
    strengths: Sequence[float],
    *,
    tolerance: float,
) -> Iterator[Linear]:
    from scipy.optimize import minimize  # only those who fit need it

    assert isinstance(target, LogisticTarget)
    turned, n_labels = Rows.of(rows), goals.shape[1]
    x = turned.coordinates
    rank = x.shape[1]
    y = goals.astype(np.float64)
    weights = np.ones(n_labels) if target.weights is None else target.weights.astype(np.float64)
    shares = np.clip(y.mean(axis=0), 1e-4, 1 - 1e-4)
    w = np.zeros((rank, n_labels))
    bias = np.log(shares) - (0 if target.exclusive else np.log1p(-shares))
    # Of rows in their principal directions the Hessian is about diagonal: the curvature of the
    # loss along a direction, and the penalty. In units of its root all directions are alike.
    curvature = np.outer((x.astype(np.float64) ** 2).sum(axis=0), shares * (1 - shares))
    bias_unit = 1 / np.sqrt(len(x) * shares * (1 - shares))

    def objective(flat: Floats, strength: float, unit: Floats) -> tuple[float, Floats]:
        u = flat.reshape(rank + 1, n_labels)
        w = u[:-1] * unit
        z = (x @ w.astype(np.float32)).astype(np.float64) + u[-1] * bias_unit
        loss, slope = loss_and_slope(z, y, weights, exclusive=target.exclusive)
        gradient = np.empty_like(u)
        gradient[:-1] = (x.T @ slope.astype(np.float32) + strength * w) * unit
        gradient[-1] = slope.sum(axis=0) * bias_unit
        return loss + strength / 2 * float((w**2).sum()), gradient.ravel()

    for strength in strengths:
        unit = 1 / np.sqrt(curvature + strength)
        found = minimize(
            objective,
            np.concatenate([w / unit, [bias / bias_unit]]).ravel(),
            (strength, unit),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": MAX_ITERATIONS, "ftol": tolerance, "maxcor": 10},
        )
        solution = found.x.reshape(rank + 1, n_labels)
        w, bias = solution[:-1] * unit, solution[-1] * bias_unit
        yield turned.linear(w, bias)


def _mini_batch_path(
    rows: NDArray[np.float32],
    goals: NDArray[np.float32],
    target: Target,
    strengths: Sequence[float],
) -> Iterator[Linear]:
    """Stochastic gradient descent with momentum and a rate that falls to 0, by strength.

    Of overlapping labels one that a share s of the rows have gets 1 / (4 s (1 - s)) times the rate,
    within limits: the curvature of its loss goes with the mean of p (1 - p), which is at most about
    s. With one rate for all, rare labels need more than twice as many steps.
    """
    import torch

    assert isinstance(target, LogisticTarget)
    x, y = torch.from_numpy(rows), torch.from_numpy(goals)
    n, n_labels = goals.shape
    shares = np.clip(goals.mean(axis=0, dtype=np.float64), 1e-4, 1 - 1e-4)
    bias = np.log(shares) - (0 if target.exclusive else np.log1p(-shares))
    w, b = torch.zeros(x.shape[1], n_labels), torch.from_numpy(bias.astype(np.float32))
    weights = None if target.weights is None else torch.from_numpy(target.weights)
    rng = np.random.default_rng(SEED)
    # The greatest curvature of the mean loss is a quarter of the greatest second moment.
    steepest, squares = _greatest_moment(x, rng), float(x.norm()) ** 2 / n
    # Below what the steepest direction allows, and what batches do: their rows are not all alike.
    fastest = min(1 / (0.25 * steepest), RATE / squares)
    speeds, steps = np.ones(n_labels), STEPS
    if weights is None and not target.exclusive:  # weighted positives are not rare
        in_batch = BATCH_ROWS * shares  # of few, a step is mostly noise
        speeds = np.minimum(1 / (4 * shares * (1 - shares)), np.minimum(1 + in_batch, MOST_SPEED))
        steps = FURTHER_STEPS
    fast = fastest * torch.from_numpy(speeds.astype(np.float32))  # (n_labels,)
    speed_w, speed_b = torch.zeros_like(w), torch.zeros_like(b)
    each = math.ceil(n / BATCH_ROWS)
    for number, strength in enumerate(strengths):
        epochs = math.ceil((FURTHER_STEPS if number else steps) / each)
        total, step = epochs * each, 0
        for _ in range(epochs):
            for part in torch.split(torch.from_numpy(rng.permutation(n)), BATCH_ROWS):
                own, truth = x[part], y[part]
                z = torch.addmm(b, own, w)
                named = truth.sum(dim=1, keepdim=True)  # 0 of an item without a label
                slope = (named * z.softmax(1) if target.exclusive else z.sigmoid()) - truth
                if weights is not None:
                    slope *= (
                        (truth @ weights)[:, None]
                        if target.exclusive
                        else 1 + truth * (weights - 1)
                    )
                slope /= len(part)
                rate = fast * ((1 + math.cos(math.pi * step / total)) / 2)
                speed_w.mul_(MOMENTUM).addmm_(own.T, slope).add_(w, alpha=strength / n)
                speed_b.mul_(MOMENTUM).add_(slope.sum(0))
                w.addcmul_(speed_w, rate, value=-1)
                b.addcmul_(speed_b, rate, value=-1)
                step += 1
        yield Linear(w.numpy().copy(), b.numpy().copy())


def _greatest_moment(x: torch.Tensor, rng: np.random.Generator) -> float:
    """The mean square of the rows along their principal direction, by power iteration."""
    import torch

    direction = torch.from_numpy(rng.normal(size=x.shape[1]).astype(np.float32))
    for _ in range(POWER_STEPS):
        direction = x.T @ (x @ (direction / direction.norm()))
    return float(direction.norm()) / len(x)


def loss_and_slope(
    z: Floats, y: Floats, weights: Floats, *, exclusive: bool
) -> tuple[float, Floats]:
    """Summed loss of logits (n, labels) and its derivative; `weights` as `LogisticTarget` has them.

    One label an item: the weight of its label; many: the weight of each label's positives.
    """
    from scipy.special import expit, log_softmax, softmax  # only those who fit need it

    if exclusive:
        of_rows = (y @ weights)[:, None] if (weights != 1).any() else 1.0
        loss = -float((of_rows * y * log_softmax(z, axis=1)).sum())
        return loss, np.asarray(of_rows * (softmax(z, axis=1) * y.sum(axis=1, keepdims=True) - y))
    positive, negative = weights * y, 1 - y
    p = expit(z)
    loss = float((positive * np.logaddexp(0, -z) + negative * np.logaddexp(0, z)).sum())
    return loss, negative * p - positive * (1 - p)


def _ridge_path(
    rows: NDArray[np.float32],
    goals: NDArray[np.float32],
    target: Target,
    strengths: Sequence[float],
) -> Iterator[Linear]:
    del target
    turned = Rows.of(rows)
    x = turned.coordinates.astype(np.float64)
    mean, bias = x.mean(axis=0), goals.astype(np.float64).mean(axis=0)
    values, vectors = np.linalg.eigh((x - mean).T @ (x - mean))
    onto = vectors.T @ ((x - mean).T @ (goals - bias))
    for strength in strengths:
        weight = vectors @ (onto / (np.maximum(values, 0) + strength)[:, None])
        yield turned.linear(weight, bias - mean @ weight)
