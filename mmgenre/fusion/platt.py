"""The line from scores to log-odds, slope * z + bias, of the greatest likelihood.

Platt (1999), for all labels or with a deviation of each; of exclusive genres temperature and vector
scaling (Guo 2017). Deviations are drawn to 0 as those of labels whose spread is `BIAS_SPREAD` and,
of the log of the slope, `SLOPE_SPREAD`. z, (n, L), of n items and L labels.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mmgenre.measuring.by_value import row_blocks

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
BIAS_SPREAD, SLOPE_SPREAD = 0.5, 0.25  # how far labels are from each other, before anything is seen
MOST_LOG_SLOPE = 5.0
BLOCK = 1 << 14  # numbers at a time: with what is made of them they stay in the L2 cache
MAX_STEPS, MAX_HALVINGS, LONGEST = 50, 30, 1.5  # of Newton's method; LONGEST of log slopes
PRECISION = 1e-10  # of the loss, relative


def fit_line(z: Floats, y: Bools, *, exclusive: bool, by_label: bool) -> tuple[Floats, Floats]:
    """Slope and bias, (1,) each, or (L,) with a deviation of each label."""
    with threadpool_limits(1, "blas"):  # few numbers: threads would wait for each other
        fit = _softmax_line if exclusive else _sigmoid_line
        return fit(np.ascontiguousarray(z), y, by_label=by_label)


def _sigmoid_line(z: Floats, y: Bools, *, by_label: bool) -> tuple[Floats, Floats]:
    """By Newton's method for all labels at once.

    a_j is the log slope and the bias of label j, c what labels have in common. The loss

        sum_j loss_j(a_j) + |(a_j - c) / spread|^2 / 2

    is least at c = mean a. So its second derivative has a block D_j, 2 x 2, for each label and one
    term that all labels share, and steps d are solutions of D_j d_j - mean(d) / spread^2 = -g_j.
    """
    penalty = np.array([SLOPE_SPREAD, BIAS_SPREAD]) ** -2.0
    a, most = np.zeros((2, z.shape[1] if by_label else 1)), np.array([[MOST_LOG_SLOPE], [np.inf]])
    truth = np.stack([y.sum(axis=0), (z * y).sum(axis=0)])

    def parts(a: Floats) -> tuple[float, Floats, Floats]:
        loss, gradient, curvature = _sigmoid_loss(z, truth, a)
        if not by_label:
            gradient = gradient.sum(axis=1, keepdims=True)
            curvature = curvature.sum(axis=0, keepdims=True)
        apart = a - a.mean(axis=1, keepdims=True)
        drawn = penalty[:, None] * apart
        curvature[:, 0, 0] += np.maximum(gradient[0], 0)  # the slope is the exponential of a
        return loss + float((drawn * apart).sum()) / 2, gradient + drawn, curvature

    loss, gradient, curvature = parts(a)
    for _ in range(MAX_STEPS):
        inverse = np.linalg.inv(curvature + np.diag(penalty))  # (L, 2, 2)
        alone = np.einsum("jkl,lj->kj", inverse, -gradient)
        by_mean = inverse * penalty  # times mean(d) what it adds to d_j
        mean = np.linalg.solve(np.eye(2) - by_mean.mean(axis=0), alone.mean(axis=1))
        step = alone + np.einsum("jkl,l->kj", by_mean, mean)
        gain = -float((gradient * step).sum()) / 2  # of the loss, as expected
        step *= LONGEST / max(float(np.abs(step[0]).max()), LONGEST)
        for _ in range(MAX_HALVINGS):
            tried = np.clip(a + step, -most, most)
            found = parts(tried)
            if found[0] < loss:
                a, (loss, gradient, curvature) = tried, found
                break
            step /= 2
        else:  # nothing but rounding is left, or the slope is as great as it may be
            break
        if gain <= PRECISION * loss:
            break
    return np.exp(a[0]), a[1]


def _sigmoid_loss(z: Floats, truth: Floats, a: Floats) -> tuple[float, Floats, Floats]:
    """The loss, summed, by log slopes and biases a, (2, L) or (2, 1), and its derivatives by these.

    `truth`: sums over items of y and z y, (2, L). The gradient is (2, L), the curvature (L, 2, 2)
    as if logits u = slope z + bias were linear in a. Of h = tanh(u / 2), the probability is
    (1 + h) / 2, its derivative (1 - h^2) / 4, and log(1 + exp(u)) = max(u, 0) + log(2 / (1 + |h|)).
    """
    slope, bias = np.exp(a[0]), a[1]
    n_labels, loss = z.shape[1], z.size * math.log(2)
    of_p, of_w = (
        np.zeros((2, n_labels)),
        np.zeros((3, n_labels)),
    )  # sums over items, with powers of z
    for own in row_blocks(len(z), n_labels, BLOCK):
        x = z[own]
        half = x * (slope / 2)
        half += bias / 2
        h = np.tanh(half)
        loss += float(half.sum())
        np.abs(half, out=half)
        loss += float(half.sum())  # max(u, 0) = (u + |u|) / 2
        np.abs(h, out=half)
        loss -= float(np.log1p(half, out=half).sum())
        of_p += h.sum(axis=0), np.einsum("ij,ij->j", h, x)
        w = np.square(h, out=h)
        np.subtract(1, w, out=w)
        np.multiply(w, x, out=half)
        of_w += w.sum(axis=0), half.sum(axis=0), np.einsum("ij,ij->j", half, x)
    sums = np.stack([np.full(n_labels, float(len(z))), z.sum(axis=0)])
    loss -= float((slope * truth[1] + bias * truth[0]).sum())
    off = (sums + of_p) / 2 - truth  # of p - y, and times z
    gradient = np.stack([slope * off[1], off[0]])
    w, w_z, w_z2 = of_w / 4
    rows = [[slope**2 * w_z2, slope * w_z], [slope * w_z, w]]
    return loss, gradient, np.moveaxis(np.array(rows), 2, 0)


def _softmax_line(z: Floats, y: Bools, *, by_label: bool) -> tuple[Floats, Floats]:
    """By L-BFGS: probabilities of an item depend on all labels, and so do second derivatives."""
    from scipy.optimize import minimize

    n_labels = z.shape[1]
    spread = np.array([[SLOPE_SPREAD], [BIAS_SPREAD]])
    truth = np.stack([y.sum(axis=0), (z * y).sum(axis=0)])

    def parts(flat: Floats) -> tuple[Floats, Floats, Floats]:
        own = flat[1:].reshape(2, -1) if by_label else np.zeros((2, 1))
        log_slope = np.clip(flat[0] + own[0], -MOST_LOG_SLOPE, MOST_LOG_SLOPE)
        return np.exp(log_slope), own[1], own

    def objective(flat: Floats) -> tuple[float, Floats]:
        slope, bias, own = parts(flat)
        loss, of_p = _softmax_loss(z, slope, bias)
        loss -= float((slope * truth[1] + bias * truth[0]).sum())
        off = of_p - truth  # of p - y, and times z
        gradient = np.stack([slope * off[1], off[0]])
        if not by_label:  # a common bias changes no softmax
            return loss, gradient[:1].sum(axis=1)
        loss += float(np.square(own / spread).sum()) / 2
        own_gradient = gradient + own / spread**2
        return loss, np.concatenate([[gradient[0].sum()], own_gradient.ravel()])

    start = np.zeros(1 + 2 * n_labels * by_label)
    found = minimize(objective, start, jac=True, method="L-BFGS-B")
    slope, bias, _ = parts(found.x)
    return slope, bias


def _softmax_loss(z: Floats, slope: Floats, bias: Floats) -> tuple[float, Floats]:
    """Sum of log(sum(exp(u))) over items, and of probabilities p and p z over items, (2, L)."""
    loss, of_p = 0.0, np.zeros((2, z.shape[1]))
    for own in row_blocks(len(z), z.shape[1], BLOCK):
        x = z[own]
        u = x * slope
        u += bias
        most = u.max(axis=1, keepdims=True)
        u -= most
        p = np.exp(u, out=u)
        total = p.sum(axis=1, keepdims=True)
        loss += float((np.log(total) + most).sum())
        p /= total
        of_p += p.sum(axis=0), np.einsum("ij,ij->j", p, x)
    return loss, of_p
