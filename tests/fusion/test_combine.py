"""Combinations of experts: who knows nothing has no say, and nothing is fitted on itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import approx_fprime

from mmgenre.fusion import combine as combining
from mmgenre.fusion.combine import WAYS, Combination, Way, combine, crossed, gates
from mmgenre.learning.settings import TargetConfig
from mmgenre.learning.targets import Target, make_target
from mmgenre.measuring import metrics

Floats = NDArray[np.float32]
N_LABELS = 4
KINDS = ["many", "one", "cosine"]


def task(kind: str, n: int = 400, seed: int = 0) -> tuple[Target, NDArray[np.bool_], Floats]:
    """A target, labels and goals."""
    rng = np.random.default_rng(seed)
    exclusive = kind == "one"
    y = np.eye(N_LABELS, dtype=bool)[rng.choice(N_LABELS, n, p=[0.4, 0.3, 0.2, 0.1])]
    if not exclusive:
        y |= rng.random(y.shape) < 0.2
    name = "cosine" if kind == "cosine" else "logistic"
    target = make_target(
        TargetConfig.model_validate({"name": name, "dim": 3}), N_LABELS, exclusive=exclusive
    )
    target.fit(y)
    return target, y, target.targets(y)


def knowing(goals: Floats, noise: float, seed: int, scale: float = 1.0) -> Floats:
    """Outputs of an expert that sees the goals through noise."""
    rng = np.random.default_rng(seed)
    return np.asarray(scale * (2 * goals + noise * rng.standard_normal(goals.shape)), np.float32)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_an_expert_of_pure_noise_gets_about_no_weight(kind: str, way: Way) -> None:
    target, _, goals = task(kind)
    rng = np.random.default_rng(9)
    noise = 2 * rng.standard_normal(goals.shape).astype(np.float32)
    outputs = np.stack([knowing(goals, 1, 1), noise], axis=1)
    found = combine(outputs, goals, target, way)
    assert (found.weight >= 0).all()
    good, bad = np.abs(found.weight * outputs.std(axis=(0, 2)))
    assert good > 0.1
    assert bad < 0.1 * good


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_an_expert_that_is_wrong_is_not_turned_round(kind: str, way: Way) -> None:
    target, _, goals = task(kind)
    outputs = np.stack([knowing(goals, 1, 1), -knowing(goals, 1, 2)], axis=1)
    found = combine(outputs, goals, target, way)
    assert found.weight[0] > 0
    assert 0 <= found.weight[1] < 0.02 * found.weight[0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_product_of_one_expert_keeps_its_ranking(kind: str) -> None:
    """Of one genre's scores over items: outputs are multiplied and moved, whatever their scale."""
    target, _, goals = task(kind)
    outputs = knowing(goals, 2, 1, scale=7.0)[:, None]
    found = combine(outputs, goals, target, "product")
    assert found.weight[0] > 0
    z = found(outputs)
    for d in range(goals.shape[1]):
        order = np.argsort(outputs[:, 0, d])
        assert (np.diff(z[order, d]) >= -1e-5).all()


def test_a_product_undoes_an_overconfident_expert() -> None:
    target, _, goals = task("many")
    calm = knowing(goals, 1, 1)
    one = combine(calm[:, None], goals, target, "product")
    other = combine(10 * calm[:, None], goals, target, "product")
    assert other.weight[0] == pytest.approx(one.weight[0] / 10, rel=0.05)
    np.testing.assert_allclose(one(calm[:, None]), other(10 * calm[:, None]), atol=0.05)


@pytest.mark.parametrize("way", WAYS)
def test_two_that_know_different_things_are_better_than_either(way: Way) -> None:
    target, y, goals = task("many", 800)
    outputs = np.stack([knowing(goals, 4, 1), knowing(goals, 4, 2)], axis=1)
    found = combine(outputs[:400], goals[:400], target, way)

    def auc(z: Floats) -> float:
        return metrics.macro(metrics.roc_auc(y[400:], z.astype(np.float64)))

    alone = max(auc(outputs[400:, e]) for e in range(2))
    assert auc(found(outputs[400:])) > alone + 0.03


def test_an_item_s_output_is_the_sum_that_the_docstring_says() -> None:
    rng = np.random.default_rng(0)
    outputs = rng.standard_normal((5, 2, 3)).astype(np.float32)
    mean = rng.standard_normal((2, 3)).astype(np.float32)
    weight, bias = np.array([0.5, 2], np.float32), np.array([1, 2, 3], np.float32)
    none = np.zeros(2, np.float32)
    plain = Combination("stacking", mean, weight, none, np.ones(2, np.float32), bias)
    for i in range(5):
        expected = bias + sum(weight[e] * (outputs[i, e] - mean[e]) for e in range(2))
        np.testing.assert_allclose(plain(outputs)[i], expected, rtol=1e-5)
    gated = replace(plain, way="gated", gate=np.array([1, 0], np.float32))
    assert not np.allclose(gated(outputs), plain(outputs))


def test_gates_are_1_at_the_usual_distance_and_bounded() -> None:
    spread, gate = np.array([1.0], np.float32), np.array([1.5], np.float32)
    apart = np.array([[[1, -1]], [[2, -2]], [[0.5, 0.5]], [[1e6, 1e6]]], np.float32)
    factors = gates(apart, spread, gate)[:, 0]
    assert factors[0] == pytest.approx(1)
    assert factors[1] > 1 > factors[2]
    assert factors[3] == pytest.approx(np.exp(2))
    np.testing.assert_array_equal(gates(apart, spread, 0 * gate), 1)


def test_a_gate_opens_for_an_expert_that_knows_when_it_knows() -> None:
    """Half of the items it says loudly and rightly, of the others softly and wrongly."""
    target, _, goals = task("many", 1000)
    rng = np.random.default_rng(3)
    knows = rng.random(len(goals)) < 0.5
    loud = knowing(goals - goals.mean(axis=0), 0.5, 1)
    soft = rng.standard_normal(goals.shape).astype(np.float32) * 0.4
    moody = np.where(knows[:, None], loud, soft)
    steady = knowing(goals, 3, 2)
    outputs = np.stack([moody, steady], axis=1)
    found = combine(outputs, goals, target, "gated")
    assert found.gate[0] > 0.1
    losses = [
        combining._loss(target, combine(outputs, goals, target, way)(outputs).astype(float), goals)
        for way in ("stacking", "gated")
    ]
    assert losses[1][0] < losses[0][0]


@pytest.mark.parametrize("kind", KINDS)
def test_the_slope_is_the_derivative_of_the_loss(kind: str) -> None:
    target, _, goals = task(kind, 3)
    z = np.random.default_rng(0).standard_normal(goals.shape)

    def loss(flat: NDArray[np.float64]) -> float:
        return combining._loss(target, flat.reshape(z.shape), goals)[0]

    slope = combining._loss(target, z, goals)[1]
    np.testing.assert_allclose(slope.ravel(), approx_fprime(z.ravel(), loss), atol=1e-5)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_crossed_outputs_do_not_know_their_own_goals_but_for_the_biases(
    kind: str, way: Way
) -> None:
    """A fold's goals are permuted, which keeps their mean: its outputs stay what they are."""
    target, _, goals = task(kind)
    folds = np.arange(len(goals)) % 4
    outputs = np.stack([knowing(goals, 2, 1), knowing(goals, 3, 2)], axis=1)
    before = crossed(outputs, goals, folds, target, way)
    own = np.flatnonzero(folds == 1)
    others = goals.copy()
    others[own] = goals[np.random.default_rng(0).permutation(own)]
    assert not np.array_equal(others, goals)
    after = crossed(outputs, others, folds, target, way)
    moved = after - before
    # Only one number a genre: that of the bias, the same for all items of the fold.
    np.testing.assert_allclose(moved[own], moved[own][:1].repeat(len(own), axis=0), atol=1e-5)
    assert np.ptp(moved[folds == 2], axis=0).max() > 1e-4  # the weights of the others did change


@pytest.mark.parametrize("way", WAYS)
def test_crossed_outputs_are_those_of_the_others_weights(way: Way) -> None:
    target, _, goals = task("many", 200)
    folds = np.repeat([0, 3], 100)
    outputs = np.stack([knowing(goals, 2, 1), knowing(goals, 3, 2)], axis=1)
    found = crossed(outputs, goals, folds, target, way)
    whole = combine(outputs, goals, target, way)
    rest = combine(outputs[folds == 3], goals[folds == 3], target, way)
    own = replace(rest, mean=whole.mean, bias=whole.bias)
    np.testing.assert_allclose(found[folds == 0], own(outputs[folds == 0]), atol=1e-6)
