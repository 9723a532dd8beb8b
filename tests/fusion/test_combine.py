"""Combinations of experts: who knows nothing has no say, and nothing is fitted on itself."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import approx_fprime

from mmgenre.fusion import combine as combining
from mmgenre.fusion.combine import Combination, combine
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


@pytest.mark.parametrize("kind", KINDS)
def test_an_expert_of_pure_noise_gets_about_no_weight(kind: str) -> None:
    target, _, goals = task(kind)
    rng = np.random.default_rng(9)
    noise = 2 * rng.standard_normal(goals.shape).astype(np.float32)
    outputs = np.stack([knowing(goals, 1, 1), noise], axis=1)
    found = combine(outputs, goals, target)
    assert (found.weight >= 0).all()
    good, bad = np.abs(found.weight * outputs.std(axis=(0, 2)))
    assert good > 0.1
    assert bad < 0.1 * good


@pytest.mark.parametrize("kind", KINDS)
def test_an_expert_that_is_wrong_is_not_turned_round(kind: str) -> None:
    target, _, goals = task(kind)
    outputs = np.stack([knowing(goals, 1, 1), -knowing(goals, 1, 2)], axis=1)
    found = combine(outputs, goals, target)
    assert found.weight[0] > 0
    assert 0 <= found.weight[1] < 0.02 * found.weight[0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_product_of_one_expert_keeps_its_ranking(kind: str) -> None:
    """Of one genre's scores over items: outputs are multiplied and moved, whatever their scale."""
    target, _, goals = task(kind)
    outputs = knowing(goals, 2, 1, scale=7.0)[:, None]
    found = combine(outputs, goals, target)
    assert found.weight[0] > 0
    z = found(outputs)
    for d in range(goals.shape[1]):
        order = np.argsort(outputs[:, 0, d])
        assert (np.diff(z[order, d]) >= -1e-5).all()


def test_a_product_undoes_an_overconfident_expert() -> None:
    target, _, goals = task("many")
    calm = knowing(goals, 1, 1)
    one = combine(calm[:, None], goals, target)
    other = combine(10 * calm[:, None], goals, target)
    assert other.weight[0] == pytest.approx(one.weight[0] / 10, rel=0.05)
    np.testing.assert_allclose(one(calm[:, None]), other(10 * calm[:, None]), atol=0.05)


def test_two_that_know_different_things_are_better_than_either() -> None:
    target, y, goals = task("many", 800)
    outputs = np.stack([knowing(goals, 4, 1), knowing(goals, 4, 2)], axis=1)
    found = combine(outputs[:400], goals[:400], target)

    def auc(z: Floats) -> float:
        return metrics.macro(metrics.roc_auc(y[400:], z.astype(np.float64)))

    alone = max(auc(outputs[400:, e]) for e in range(2))
    assert auc(found(outputs[400:])) > alone + 0.03


def test_an_item_s_output_is_the_sum_that_the_docstring_says() -> None:
    rng = np.random.default_rng(0)
    outputs = rng.standard_normal((5, 2, 3)).astype(np.float32)
    mean = rng.standard_normal((2, 3)).astype(np.float32)
    weight, bias = np.array([0.5, 2], np.float32), np.array([1, 2, 3], np.float32)
    plain = Combination(mean, weight, bias)
    for i in range(5):
        expected = bias + sum(weight[e] * (outputs[i, e] - mean[e]) for e in range(2))
        np.testing.assert_allclose(plain(outputs)[i], expected, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_slope_is_the_derivative_of_the_loss(kind: str) -> None:
    target, _, goals = task(kind, 3)
    z = np.random.default_rng(0).standard_normal(goals.shape)

    loss_of = combining._loss(target, np.ones(z.shape[1], bool))

    def loss(flat: NDArray[np.float64]) -> float:
        return loss_of(flat.reshape(z.shape), goals)[0]

    slope = loss_of(z, goals)[1]
    np.testing.assert_allclose(slope.ravel(), approx_fprime(z.ravel(), loss), atol=1e-5)


@pytest.mark.parametrize("kind", ["many", "one"])
def test_labels_that_experts_did_not_know_do_not_decide(kind: str) -> None:
    target, y, goals = task(kind)
    outputs = np.stack([knowing(goals, 1, 1), knowing(goals, 2, 2)], axis=1)
    judged = np.array([True, True, False, True])
    unknown = outputs.copy()
    unknown[y[:, 2], :, 2] -= 20
    found = combine(unknown, goals, target, judged)
    assert combine(unknown, goals, target).weight.max() < 0.1 < found.weight.max()
    share = y[:, 2].mean()
    log_odds = np.log(share) - (0 if kind == "one" else np.log1p(-share))
    assert found.bias[2] == pytest.approx(log_odds, abs=1e-3)
    np.testing.assert_allclose(found.weight, combine(outputs, goals, target).weight, rtol=0.4)


@pytest.mark.parametrize("kind", ["many", "one"])
def test_no_label_known_leaves_the_mean_of_the_experts(kind: str) -> None:
    target, _, goals = task(kind)
    outputs = np.stack([knowing(goals, 1, 1), knowing(goals, 2, 2)], axis=1)
    found = combine(outputs, goals, target, np.zeros(N_LABELS, bool))
    assert found.weight.tolist() == [0.5, 0.5]


def test_experts_that_all_know_nothing_still_rank() -> None:
    """What few items refute is said with little weight, not with none: nobody is served by ties."""
    target, _, goals = task("many")
    outputs = np.stack([-knowing(goals, 1, 1), -knowing(goals, 1, 2)], axis=1)
    weight = combine(outputs, goals, target).weight
    assert ((weight > 0) & (weight < 0.1)).all()
