"""Lines from scores to log-odds: against a general optimiser on the loss as it is written."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import approx_fprime, minimize

from mmgenre.fusion import platt
from mmgenre.fusion.platt import BIAS_SPREAD, SLOPE_SPREAD, fit_line

Floats = NDArray[np.float64]
N_LABELS = 6


def drawn(n: int, *, exclusive: bool, seed: int) -> tuple[Floats, NDArray[np.bool_]]:
    """Scores (n, L) whose slopes and biases differ by label, and labels; one label is rare."""
    rng = np.random.default_rng(seed)
    z = rng.normal(-1, 2, (n, N_LABELS))
    u = np.linspace(0.5, 1.5, N_LABELS) * z + np.linspace(1, -3, N_LABELS)
    if exclusive:
        return z, np.eye(N_LABELS, dtype=bool)[(u + rng.gumbel(size=u.shape)).argmax(axis=1)]
    return z, u + rng.logistic(size=u.shape) > 0


def loss_of(
    z: Floats, y: NDArray[np.bool_], *, exclusive: bool, by_label: bool
) -> Callable[[Floats], float]:
    """By common log slope and bias, then deviations of log slopes and of biases."""

    def loss(flat: Floats) -> float:
        own = flat[2:].reshape(2, -1) if by_label else np.zeros((2, 1))
        common_bias = 0.0 if exclusive else flat[1]
        u = np.exp(flat[0] + own[0]) * z + common_bias + own[1]
        drawn_to = np.square(own[0] / SLOPE_SPREAD).sum() + np.square(own[1] / BIAS_SPREAD).sum()
        if exclusive:
            of_items = [
                np.log(np.exp(row).sum()) - row[is_so][0] for row, is_so in zip(u, y, strict=True)
            ]
        else:
            of_items = [
                np.logaddexp(0, np.where(is_so, -row, row)).sum()
                for row, is_so in zip(u, y, strict=True)
            ]
        return float(np.sum(of_items) + drawn_to / 2)

    return loss


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("by_label", [False, True])
@pytest.mark.parametrize("n", [8, 60, 400])
def test_lines_are_as_likely_as_those_of_a_general_optimiser(
    exclusive: bool, by_label: bool, n: int
) -> None:
    z, y = drawn(n, exclusive=exclusive, seed=n)
    slope, bias = fit_line(z, y, exclusive=exclusive, by_label=by_label)
    loss = loss_of(z, y, exclusive=exclusive, by_label=by_label)
    start = np.zeros(2 + 2 * N_LABELS * by_label)
    least = minimize(loss, start, method="L-BFGS-B", tol=1e-12).fun
    if by_label:  # the best common values are the means; of exclusive genres only the slope has one
        common = np.array([np.log(slope).mean(), 0.0 if exclusive else bias.mean()])
        own = np.stack([np.log(slope) - common[0], bias - common[1]])
        found = loss(np.concatenate([common, own.ravel()]))
    else:
        found = loss(np.concatenate([np.log(slope), bias]))
    assert found == pytest.approx(least, rel=1e-6)


def test_derivatives_of_the_loss() -> None:
    z, y = drawn(30, exclusive=False, seed=0)
    a = np.random.default_rng(1).normal(0, 0.5, (2, N_LABELS))
    truth = np.stack([y.sum(axis=0), (z * y).sum(axis=0)])
    loss, gradient, curvature = platt._sigmoid_loss(z, truth, a)
    plain = loss_of(z, y, exclusive=False, by_label=True)
    drawn_to = np.square(a[0] / SLOPE_SPREAD).sum() + np.square(a[1] / BIAS_SPREAD).sum()
    assert loss == pytest.approx(plain(np.concatenate([[0, 0], a.ravel()])) - drawn_to / 2)
    for k in range(N_LABELS):

        def part(of_k: Floats, i: int, k: int = k) -> float:
            moved = a.copy()
            moved[:, k] = of_k
            found = platt._sigmoid_loss(z, truth, moved)
            return found[0] if i < 0 else float(found[1][i, k])

        first = approx_fprime(a[:, k], part, 1.5e-8, -1)
        np.testing.assert_allclose(gradient[:, k], first, rtol=1e-4, atol=1e-4)
        second = np.array([approx_fprime(a[:, k], part, 1.5e-8, i) for i in (0, 1)])
        second[0, 0] -= gradient[0, k]  # of the exponential, which is left out
        np.testing.assert_allclose(curvature[k], second, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("exclusive", [False, True])
def test_labels_that_scores_separate_have_a_finite_line(exclusive: bool) -> None:
    z, _ = drawn(40, exclusive=exclusive, seed=3)
    y = z == z.max(axis=1, keepdims=True) if exclusive else z > 0
    for by_label in (False, True):
        slope, bias = fit_line(z, y, exclusive=exclusive, by_label=by_label)
        assert np.isfinite(bias).all()
        assert (slope > 2).all()
        assert (slope <= np.exp(platt.MOST_LOG_SLOPE) * (1 + 1e-9)).all()


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for exclusive in (False, True):
        z, y = drawn(50, exclusive=exclusive, seed=4)
        whole = fit_line(z, y, exclusive=exclusive, by_label=True)
        with monkeypatch.context() as patch:
            patch.setattr(platt, "BLOCK", 7 * N_LABELS)
            np.testing.assert_allclose(
                fit_line(z, y, exclusive=exclusive, by_label=True), whole, rtol=1e-6
            )
