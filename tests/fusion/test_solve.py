"""Heads as solved problems: against scikit-learn, closed forms, and each other."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import approx_fprime
from scipy.special import expit, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from mmgenre.fusion import solve
from mmgenre.fusion.solve import Linear, Rows, loss_and_slope, solve_path
from mmgenre.learning.settings import TargetConfig
from mmgenre.learning.targets import LogisticTarget, Target, make_target

Floats = NDArray[np.float32]
N_LABELS = 4


def planted(
    n: int, columns: int, *, exclusive: bool, seed: int = 0
) -> tuple[Floats, NDArray[np.bool_]]:
    """Rows, and labels that a noisy linear rule gives them."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, columns)).astype(np.float32)
    z = 2 * x @ rng.standard_normal((columns, N_LABELS)) / np.sqrt(columns)
    z += rng.gumbel(size=z.shape) if exclusive else rng.logistic(size=z.shape)
    return x, (z == z.max(axis=1, keepdims=True)) if exclusive else z > 1


def target_of(y: NDArray[np.bool_], *, exclusive: bool, weights: str = "none") -> Target:
    config = TargetConfig.model_validate({"class_weights": weights})
    target = make_target(config, y.shape[1], exclusive=exclusive)
    target.fit(y)
    return target


def solved(x: Floats, y: NDArray[np.bool_], strength: float, *, exclusive: bool) -> Linear:
    target = target_of(y, exclusive=exclusive)
    (found,) = solve_path(x, target.targets(y), target, [strength])
    return found


@pytest.mark.parametrize("strength", [0.1, 1.0, 10.0])
def test_many_labels_are_the_logistic_regressions_of_each(strength: float) -> None:
    x, y = planted(200, 6, exclusive=False)
    found = solved(x, y, strength, exclusive=False)
    for label in range(N_LABELS):
        peer = LogisticRegression(C=1 / strength, tol=1e-8, max_iter=1000).fit(x, y[:, label])
        np.testing.assert_allclose(found.weight[:, label], peer.coef_[0], atol=0.01)
        assert found.bias[label] == pytest.approx(peer.intercept_[0], abs=0.01)


@pytest.mark.parametrize("strength", [0.1, 1.0, 10.0])
def test_one_label_is_multinomial_logistic_regression(strength: float) -> None:
    x, y = planted(200, 6, exclusive=True)
    found = solved(x, y, strength, exclusive=True)
    peer = LogisticRegression(C=1 / strength, tol=1e-8, max_iter=1000).fit(x, y.argmax(axis=1))
    np.testing.assert_allclose(found.weight, peer.coef_.T, atol=0.01)
    # A constant on all biases changes nothing.
    mine, theirs = (b - b.mean() for b in (found.bias, peer.intercept_))
    np.testing.assert_allclose(mine, theirs, atol=0.01)


@pytest.mark.parametrize("exclusive", [False, True])
def test_a_balanced_loss_weighs_rows_or_positives(exclusive: bool) -> None:
    x, y = planted(200, 6, exclusive=exclusive)
    target = target_of(y, exclusive=exclusive, weights="balanced")
    assert isinstance(target, LogisticTarget)
    assert target.weights is not None
    (found,) = solve_path(x, target.targets(y), target, [1.0])
    peer = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000)
    if exclusive:
        peer.fit(x, y.argmax(axis=1), target.weights[y.argmax(axis=1)])
        np.testing.assert_allclose(found.weight, peer.coef_.T, atol=0.01)
    else:
        peer.fit(x, y[:, 0], np.where(y[:, 0], target.weights[0], 1.0))
        np.testing.assert_allclose(found.weight[:, 0], peer.coef_[0], atol=0.01)


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_slope_is_the_derivative_of_the_loss(exclusive: bool, weighted: bool) -> None:
    rng = np.random.default_rng(0)
    z = rng.standard_normal((3, N_LABELS))
    y = np.eye(N_LABELS)[[0, 2, 2]] if exclusive else (rng.random(z.shape) < 0.5).astype(float)
    weights = rng.uniform(0.5, 3, N_LABELS) if weighted else np.ones(N_LABELS)

    def loss(flat: NDArray[np.float64]) -> float:
        return loss_and_slope(flat.reshape(z.shape), y, weights, exclusive=exclusive)[0]

    slope = loss_and_slope(z, y, weights, exclusive=exclusive)[1]
    np.testing.assert_allclose(slope.ravel(), approx_fprime(z.ravel(), loss), atol=1e-5)


def test_cosine_heads_are_ridge_regressions() -> None:
    """Against the normal equations with a column of ones, whose weight is free."""
    rng = np.random.default_rng(0)
    x, y = planted(90, 7, exclusive=False)
    x += 3  # no columns of mean 0
    target = make_target(TargetConfig(name="cosine", dim=3), N_LABELS, exclusive=False)
    target.fit(y)
    goals = rng.standard_normal((90, 3)).astype(np.float32)
    with_ones = np.column_stack([x, np.ones(len(x))]).astype(np.float64)
    for strength, found in zip((50.0, 2.0), solve_path(x, goals, target, [2.0, 50.0]), strict=True):
        penalty = np.diag([strength] * 7 + [0.0])
        w = np.linalg.solve(with_ones.T @ with_ones + penalty, with_ones.T @ goals)
        np.testing.assert_allclose(found.weight, w[:-1], atol=1e-4)
        np.testing.assert_allclose(found.bias, w[-1], atol=1e-3)


@pytest.mark.parametrize("exclusive", [False, True])
def test_a_path_goes_from_strong_to_weak_and_ends_where_each_does_alone(exclusive: bool) -> None:
    x, y = planted(150, 5, exclusive=exclusive)
    target = target_of(y, exclusive=exclusive)
    path = list(solve_path(x, target.targets(y), target, [0.1, 30.0, 1.0]))
    lengths = [float(np.linalg.norm(found.weight)) for found in path]
    assert lengths == sorted(lengths)
    for strength, found in zip((30.0, 1.0, 0.1), path, strict=True):
        alone = solved(x, y, strength, exclusive=exclusive)
        np.testing.assert_allclose(found.weight, alone.weight, atol=0.02)


@pytest.mark.parametrize("exclusive", [False, True])
def test_few_rows_of_many_columns_are_solved_in_their_span(exclusive: bool) -> None:
    """The same outputs as of all columns, for rows that were seen and for others."""
    x, y = planted(40, 90, exclusive=exclusive)
    other = np.random.default_rng(1).standard_normal((30, 90)).astype(np.float32)
    assert Rows.of(x).coordinates.shape == (40, 40)
    found = solved(x, y, 1.0, exclusive=exclusive)
    assert found.weight.shape == (90, N_LABELS)
    peer = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000)
    for rows in (x, other):
        if exclusive:
            z = peer.fit(x, y.argmax(axis=1)).decision_function(rows)
            mine = found(rows) - found(rows).mean(axis=1, keepdims=True)
            np.testing.assert_allclose(mine, z - z.mean(axis=1, keepdims=True), atol=0.02)
        for label in () if exclusive else range(N_LABELS):
            z = peer.fit(x, y[:, label]).decision_function(rows)
            np.testing.assert_allclose(found(rows)[:, label], z, atol=0.02)


def test_ridge_regressions_of_few_rows_are_solved_in_their_span() -> None:
    x, y = planted(40, 90, exclusive=False)
    goals = np.random.default_rng(2).standard_normal((40, 3)).astype(np.float32)
    target = make_target(TargetConfig(name="cosine", dim=3), N_LABELS, exclusive=False)
    target.fit(y)
    (found,) = solve_path(x, goals, target, [2.0])
    centred = x.astype(np.float64) - x.mean(axis=0)
    weight = np.linalg.solve(centred.T @ centred + 2 * np.eye(90), centred.T @ goals)
    np.testing.assert_allclose(found.weight, weight, atol=1e-3)
    np.testing.assert_allclose(found.bias, goals.mean(axis=0) - x.mean(axis=0) @ weight, atol=1e-3)


def test_the_span_keeps_inner_products_and_drops_what_is_repeated() -> None:
    x = np.random.default_rng(0).standard_normal((10, 50)).astype(np.float32)
    rows = Rows.of(np.concatenate([x, x[:4]]))
    assert rows.coordinates.shape == (14, 10)
    assert rows.basis is not None
    np.testing.assert_allclose(rows.basis.T @ rows.basis, np.eye(10), atol=1e-4)
    np.testing.assert_allclose(rows.coordinates[:10] @ rows.basis.T, x, atol=1e-4)


@pytest.mark.parametrize("columns", [6, 60])
@pytest.mark.parametrize("exclusive", [False, True])
def test_many_rows_go_by_mini_batches_and_come_near(
    exclusive: bool, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = planted(solve.FEW_ROWS + 500, columns, exclusive=exclusive)
    x /= np.linalg.norm(x, axis=1).mean()  # as scalings make them
    target = target_of(y, exclusive=exclusive)
    goals, strengths = target.targets(y), [30.0, 1.0]
    near = list(solve_path(x, goals, target, strengths))
    again = list(solve_path(x, goals, target, strengths))
    for found, same in zip(near, again, strict=True):
        np.testing.assert_array_equal(found.weight, same.weight)
    monkeypatch.setattr(solve, "FEW_ROWS", len(x))
    exact = list(solve_path(x, goals, target, strengths))

    def squash(z: Floats) -> Floats:
        return np.asarray(softmax(z, axis=1) if exclusive else expit(z), np.float32)

    for found, best in zip(near, exact, strict=True):
        assert not np.array_equal(found.weight, best.weight)  # else it is the same path
        apart = np.abs(squash(found(x)) - squash(best(x)))
        assert apart.mean() < 0.03
        assert apart.max() < 0.2
        near_auc, best_auc = (roc_auc_score(y, of(x)) for of in (found, best))
        assert near_auc == pytest.approx(best_auc, abs=0.003)


def test_size_alone_chooses_mini_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = planted(60, 3, exclusive=False)
    monkeypatch.setattr(solve, "FEW_ROWS", 60)
    at = solved(x, y, 1.0, exclusive=False)
    monkeypatch.setattr(solve, "_logistic_path", None)
    monkeypatch.setattr(solve, "FEW_ROWS", 59)
    beyond = solved(x, y, 1.0, exclusive=False)
    assert not np.array_equal(at.weight, beyond.weight)


@pytest.mark.parametrize("exclusive", [False, True])
def test_of_an_overwhelming_strength_only_the_frequencies_are_left(exclusive: bool) -> None:
    x, y = planted(200, 5, exclusive=exclusive)
    y[:, 3] = False  # a label of no item
    if exclusive:
        y[~y.any(axis=1), 0] = True
    found = solved(x, y, 1e7, exclusive=exclusive)
    assert np.abs(found.weight).max() < 1e-3
    p = softmax(found.bias) if exclusive else expit(found.bias)
    np.testing.assert_allclose(p, y.mean(axis=0), atol=0.005)
    assert np.isfinite(found.bias).all()
