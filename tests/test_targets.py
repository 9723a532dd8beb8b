"""Losses and label factors against slow loops written from METHOD section 5."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mmgenre.errors import LabelError
from mmgenre.targets import (
    CosineTarget,
    LogisticTarget,
    Target,
    TargetConfig,
    label_factors,
    load_target,
    make_target,
    ppmi,
)

Bools = NDArray[np.bool_]
UNKNOWN = (2, 7)  # labels that no training item has


def labels(n: int = 80, n_labels: int = 9, seed: int = 0) -> Bools:
    """Correlated labels, two of which never occur."""
    rng = np.random.default_rng(seed)
    topic = rng.integers(3, size=n)
    share = rng.uniform(0.05, 0.6, (3, n_labels))
    y = rng.random((n, n_labels)) < share[topic]
    y[:, UNKNOWN] = False
    return y


def fitted(name: str, *, exclusive: bool = False) -> Target:
    config = TargetConfig.model_validate({"name": name, "dim": 5})
    target = make_target(config, 9, exclusive=exclusive)
    target.fit(labels())
    return target


def test_softmax_cross_entropy_is_the_equation() -> None:
    rng = np.random.default_rng(1)
    logits = rng.standard_normal((6, 4)).astype(np.float32)
    y = np.eye(4, dtype=bool)[rng.integers(4, size=6)]
    total = 0.0
    for row, truth in zip(logits.tolist(), y, strict=True):
        p = math.exp(row[int(truth.argmax())]) / sum(math.exp(v) for v in row)
        total += -math.log(p)
    target = LogisticTarget(4, exclusive=True)
    loss = target.loss(torch.from_numpy(logits), torch.from_numpy(target.targets(y)))
    assert float(loss) == pytest.approx(total / 6, rel=1e-5)


def test_binary_cross_entropy_is_the_mean_over_items_and_labels() -> None:
    rng = np.random.default_rng(2)
    logits = rng.standard_normal((6, 4)).astype(np.float32)
    y = rng.random((6, 4)) < 0.5
    total = 0.0
    for row, truth in zip(logits.tolist(), y.tolist(), strict=True):
        for v, t in zip(row, truth, strict=True):
            p = 1 / (1 + math.exp(-v))
            total += -(math.log(p) if t else math.log(1 - p))
    target = LogisticTarget(4, exclusive=False)
    loss = target.loss(torch.from_numpy(logits), torch.from_numpy(target.targets(y)))
    assert float(loss) == pytest.approx(total / 24, rel=1e-5)


def test_cosine_loss_is_one_minus_cosine() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal((2, 6, 5)).astype(np.float32)
    total = sum(1 - (p @ q) / math.sqrt((p @ p) * (q @ q)) for p, q in zip(a, b, strict=True))
    loss = CosineTarget(9, 5).loss(torch.from_numpy(a), torch.from_numpy(b))
    assert float(loss) == pytest.approx(total / 6, rel=1e-5)
    # The output layer's length does not count (L2-normalised output).
    longer = CosineTarget(9, 5).loss(torch.from_numpy(7 * a), torch.from_numpy(b))
    assert float(longer) == pytest.approx(float(loss), rel=1e-5)


def test_ppmi_is_the_equation() -> None:
    y = labels()
    n, n_labels = y.shape
    expected = np.zeros((n_labels, n_labels))
    for i in range(n_labels):
        for j in range(n_labels):
            p_ij = sum(bool(row[i] and row[j]) for row in y) / n
            p_i, p_j = sum(row[i] for row in y) / n, sum(row[j] for row in y) / n
            if p_ij > 0:
                expected[i, j] = max(0.0, math.log(p_ij / (p_i * p_j)))
    np.testing.assert_allclose(ppmi(y), expected, atol=1e-12)
    assert (expected[:, UNKNOWN] == 0).all()
    assert ((expected > 0).sum()) > n_labels  # more than the diagonal


@pytest.mark.parametrize("dim", [1, 4, 9, 50])
def test_label_factors_are_those_of_the_svd(dim: int) -> None:
    x = ppmi(labels(seed=4))
    u, s, _ = np.linalg.svd(x)
    expected = u[:, :dim] * np.sqrt(s[:dim])
    factors = label_factors(x, dim)
    assert factors.shape == (9, min(dim, 9))
    signs = np.sign((factors * expected).sum(axis=0))
    np.testing.assert_allclose(factors, expected * np.where(signs == 0, 1, signs), atol=1e-6)


def test_factors_go_by_magnitude_where_eigenvalues_are_negative() -> None:
    half = np.random.default_rng(13).standard_normal((7, 7))
    x = half + half.T
    values = np.linalg.eigvalsh(x)
    assert (values[np.argsort(-np.abs(values))[:3]] < 0).any()
    u, s, _ = np.linalg.svd(x)
    expected = u[:, :3] * np.sqrt(s[:3])
    np.testing.assert_allclose(np.abs(label_factors(x, 3)), np.abs(expected), atol=1e-9)


def test_all_factors_together_give_u_s_u() -> None:
    """C C' = U S U', the magnitude of X; the negative eigenvalue makes it differ from X."""
    x = np.array([[0.2, 1.0, 0.0], [1.0, 0.1, 0.3], [0.0, 0.3, 2.0]])
    assert np.linalg.eigvalsh(x).min() < 0
    u, s, _ = np.linalg.svd(x)
    factors = label_factors(x, 3)
    np.testing.assert_allclose(factors @ factors.T, (u * s) @ u.T, atol=1e-12)
    assert np.abs(factors @ factors.T - x).max() > 0.1


def test_signs_of_factors_are_fixed() -> None:
    factors = label_factors(ppmi(labels(seed=5)), 6)
    peaks = factors[np.abs(factors).argmax(axis=0), np.arange(6)]
    assert (peaks > 0).all()


def test_item_factors_are_normalised_sums_of_label_factors() -> None:
    target = CosineTarget(9, 5)
    target.fit(labels())
    y = labels(12, seed=6)
    y[0] = False
    y[0, 1] = True
    y[1] = False
    y[1, UNKNOWN] = True  # only labels that training never saw
    got = target.targets(y)
    assert got.shape == (12, 5)
    for row, truth in zip(got, y, strict=True):
        total = sum((target.factors[j].astype(float) for j in np.flatnonzero(truth)), np.zeros(5))
        norm = np.linalg.norm(total)
        np.testing.assert_allclose(row, total / norm if norm else total, atol=1e-5)
    assert np.linalg.norm(got[0]) == pytest.approx(1, abs=1e-5)
    np.testing.assert_array_equal(got[1], 0)


@pytest.mark.parametrize("dim", [5, 9, 50])
def test_labels_that_never_occur_have_no_factor(dim: int) -> None:
    # Rounding gives them factors of 1e-9 where dim exceeds the rank; normalised, these would be
    # targets of full length in a direction that means nothing.
    target = CosineTarget(9, dim)
    target.fit(labels())
    norms = np.linalg.norm(target.targets(np.eye(9, dtype=bool)), axis=1)
    known = [j for j in range(9) if j not in UNKNOWN]
    np.testing.assert_allclose(norms[known], 1, atol=1e-5)
    np.testing.assert_array_equal(norms[list(UNKNOWN)], 0)
    scores = target.scores(torch.randn(4, target.dim, generator=torch.Generator().manual_seed(0)))
    assert (scores[:, list(UNKNOWN)] == 0).all()


def test_cosine_scores_are_cosines_with_the_label_factors() -> None:
    target = CosineTarget(9, 5)
    target.fit(labels())
    output = np.random.default_rng(7).standard_normal((3, 5)).astype(np.float32)
    scores = target.scores(torch.from_numpy(output)).numpy()
    for i in range(3):
        for j in range(9):
            a, b = output[i].astype(float), target.factors[j].astype(float)
            norm = math.sqrt((a @ a) * (b @ b))
            assert scores[i, j] == pytest.approx(a @ b / norm if norm else 0, abs=1e-5)


def test_a_perfect_output_scores_its_own_label_highest() -> None:
    y = np.eye(6, dtype=bool)[np.random.default_rng(8).integers(6, size=60)]
    target = CosineTarget(6, 6)
    target.fit(y)
    scores = target.scores(torch.from_numpy(target.targets(y))).numpy()
    np.testing.assert_array_equal(scores.argmax(axis=1), y.argmax(axis=1))
    np.testing.assert_allclose(scores.max(axis=1), 1, atol=1e-5)


def test_logistic_scores_are_probabilities() -> None:
    output = torch.tensor([[0.0, 2.0, -1.0]])
    sigmoid = LogisticTarget(3, exclusive=False).scores(output)
    softmax = LogisticTarget(3, exclusive=True).scores(output)
    assert sigmoid[0].tolist() == pytest.approx([1 / (1 + math.exp(-v)) for v in (0, 2, -1)])
    total = sum(math.exp(v) for v in (0, 2, -1))
    assert softmax[0].tolist() == pytest.approx([math.exp(v) / total for v in (0, 2, -1)])


@pytest.mark.parametrize(
    ("name", "exclusive"), [("logistic", True), ("logistic", False), ("cosine", False)]
)
def test_a_saved_target_is_the_same(name: str, exclusive: bool) -> None:
    target = fitted(name, exclusive=exclusive)
    again = load_target(json.loads(json.dumps(target.state())))
    assert again.dim == target.dim
    y = labels(8, seed=9)
    np.testing.assert_array_equal(again.targets(y), target.targets(y))
    output = torch.randn(8, target.dim, generator=torch.Generator().manual_seed(1))
    assert torch.equal(again.scores(output), target.scores(output))
    one_hot = torch.from_numpy(target.targets(np.eye(9, dtype=bool)[:8]))
    assert float(again.loss(output, one_hot)) == float(target.loss(output, one_hot))


def test_factors_depend_on_the_rows_fitted_and_nothing_else() -> None:
    train = labels(seed=10)
    one, other = CosineTarget(9, 5), CosineTarget(9, 5)
    one.fit(train)
    one.targets(labels(seed=11))  # seeing others afterwards changes nothing
    other.fit(train[np.random.default_rng(12).permutation(len(train))])
    np.testing.assert_array_equal(one.factors, other.factors)
    changed = train.copy()
    changed[:10] = ~changed[:10]
    other.fit(changed)
    assert np.abs(one.factors - other.factors).max() > 1e-3


def test_a_space_of_few_labels_has_few_dimensions() -> None:
    assert make_target(TargetConfig(name="cosine"), 250, exclusive=False).dim == 50
    assert make_target(TargetConfig(name="cosine"), 12, exclusive=False).dim == 12
    assert make_target(TargetConfig(name="logistic"), 12, exclusive=False).dim == 12


def test_labels_of_another_shape_or_type_are_refused() -> None:
    for target in (LogisticTarget(9, exclusive=False), CosineTarget(9, 5)):
        with pytest.raises(LabelError, match=r"bool \(4, 8\): must be bool \(n, 9\)"):
            target.fit(np.zeros((4, 8), bool))
        with pytest.raises(LabelError, match="float64"):
            target.targets(np.zeros((4, 9)))  # type: ignore[arg-type]
