"""Losses and label factors against slow loops written from METHOD section 5."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from mmgenre.errors import LabelError
from mmgenre.learning.settings import TargetConfig
from mmgenre.learning.targets import (
    CosineTarget,
    LogisticTarget,
    Target,
    label_factors,
    load_target,
    make_target,
    ppmi,
)

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
UNKNOWN = (2, 7)  # labels that no training item has


def labels(n: int = 80, n_labels: int = 9, seed: int = 0) -> Bools:
    """Correlated labels, two of which never occur."""
    rng = np.random.default_rng(seed)
    topic = rng.integers(3, size=n)
    share = rng.uniform(0.05, 0.6, (3, n_labels))
    y = rng.random((n, n_labels)) < share[topic]
    y[:, UNKNOWN] = False
    return y


def hard_labels() -> Bools:
    """The same, but one label is on all items, one on one, two are the same and two never meet."""
    y = labels()
    y[:, 4] = True
    y[:, 5] = y[:, 3]
    y[:, 6] &= ~y[:, 3]
    y[:, 8] = np.arange(len(y)) == 10
    return y


def dot(a: Sequence[float], b: Sequence[float]) -> float:
    return sum(p * q for p, q in zip(a, b, strict=True))


def cosine(a: Sequence[float], b: Sequence[float]) -> float:
    """0 where a vector has no length."""
    norm = math.sqrt(dot(a, a) * dot(b, b))
    return dot(a, b) / norm if norm else 0.0


def eigen_by_rotations(x: Floats) -> list[tuple[float, list[float]]]:
    """Eigenvalues and eigenvectors of a symmetric matrix, largest magnitude first (Jacobi 1846).

    Each plane rotation makes one entry beside the diagonal zero.
    """
    n = len(x)
    a: list[list[float]] = x.tolist()
    v = [[float(i == j) for j in range(n)] for i in range(n)]
    for p, q in list(combinations(range(n), 2)) * 12:
        if a[p][q] == 0:
            continue
        theta = (a[q][q] - a[p][p]) / (2 * a[p][q])
        t = math.copysign(1, theta) / (abs(theta) + math.hypot(theta, 1))
        c = 1 / math.hypot(t, 1)
        s = t * c
        for row in (*a, *v):
            row[p], row[q] = c * row[p] - s * row[q], s * row[p] + c * row[q]
        a[p], a[q] = (
            [c * u - s * w for u, w in zip(a[p], a[q], strict=True)],
            [s * u + c * w for u, w in zip(a[p], a[q], strict=True)],
        )
    pairs = [(a[k][k], [row[k] for row in v]) for k in range(n)]
    return sorted(pairs, key=lambda pair: -abs(pair[0]))


def fitted(name: str, *, exclusive: bool = False) -> Target:
    config = TargetConfig.model_validate({"name": name, "dim": 5})
    target = make_target(config, 9, exclusive=exclusive)
    target.fit(labels())
    return target


def test_softmax_cross_entropy_is_the_equation() -> None:
    rng = np.random.default_rng(1)
    logits = rng.standard_normal((6, 4)).astype(np.float32)
    logits[0] = 0.5  # all labels tie
    y = np.eye(4, dtype=bool)[rng.integers(3, size=6)]  # nothing has the last label
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
    logits[0] = 0.5
    y = rng.random((6, 4)) < 0.5
    y[:, 0], y[:, 1], y[2] = False, True, False  # only absent, (almost) only present, no label
    total = 0.0
    for row, truth in zip(logits.tolist(), y.tolist(), strict=True):
        for v, t in zip(row, truth, strict=True):
            p = 1 / (1 + math.exp(-v))
            total += -(math.log(p) if t else math.log(1 - p))
    target = LogisticTarget(4, exclusive=False)
    loss = target.loss(torch.from_numpy(logits), torch.from_numpy(target.targets(y)))
    assert float(loss) == pytest.approx(total / 24, rel=1e-5)


@pytest.mark.parametrize("exclusive", [True, False])
def test_a_sure_and_wrong_logit_costs_its_size_and_does_not_overflow(exclusive: bool) -> None:
    # Cross-entropy: log(1 + exp(1000)) = 1000; binary: (1000 + 0) / 2.
    loss = LogisticTarget(2, exclusive=exclusive).loss(
        torch.tensor([[1000.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    )
    assert float(loss) == pytest.approx(1000 if exclusive else (1000 + math.log(2)) / 2)


def test_cosine_loss_is_one_minus_cosine() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal((2, 6, 5)).astype(np.float32)
    b[1] = 0  # an item whose labels are all unknown: cos = 0, whatever the output
    b[2] = -a[2]
    b[3] = 2 * a[3]
    each = [1 - cosine(p, q) for p, q in zip(a.tolist(), b.tolist(), strict=True)]
    assert each[1:4] == pytest.approx([1, 2, 0])
    total = sum(each)
    loss = CosineTarget(9, 5).loss(torch.from_numpy(a), torch.from_numpy(b))
    assert float(loss) == pytest.approx(total / 6, rel=1e-5)
    # The output layer's length does not count (L2-normalised output).
    longer = CosineTarget(9, 5).loss(torch.from_numpy(7 * a), torch.from_numpy(b))
    assert float(longer) == pytest.approx(float(loss), rel=1e-5)


@pytest.mark.parametrize("y", [labels(), hard_labels(), hard_labels()[:1]])
def test_ppmi_is_the_equation(y: Bools) -> None:
    n, n_labels = y.shape
    rows = y.tolist()
    expected = [[0.0] * n_labels for _ in range(n_labels)]
    for i in range(n_labels):
        for j in range(n_labels):
            p_ij = sum(row[i] and row[j] for row in rows) / n
            p_i, p_j = sum(row[i] for row in rows) / n, sum(row[j] for row in rows) / n
            if p_ij > 0:
                expected[i][j] = max(0.0, math.log(p_ij / (p_i * p_j)))
    np.testing.assert_allclose(ppmi(y), expected, atol=1e-12)


def test_ppmi_of_labels_that_say_nothing_or_everything_about_each_other() -> None:
    y = hard_labels()
    assert (~labels().any(axis=1)).any()  # and items without a label
    x = ppmi(y)
    assert (x[:, UNKNOWN] == 0).all()  # on no item
    np.testing.assert_allclose(x[:, 4], 0, atol=1e-12)  # on every item
    assert x[3, 6] == 0  # never meet
    np.testing.assert_array_equal(x[3], x[5])  # are one
    assert x[3, 5] == pytest.approx(math.log(len(y) / y[:, 3].sum()))
    assert (ppmi(labels()) > 0).sum() > 9  # more than the diagonal
    assert not ppmi(np.zeros((4, 9), bool)).any()


HALF = np.random.default_rng(14).standard_normal((7, 7))
SYMMETRIC = {
    "ppmi": ppmi(labels(seed=4)),
    "hard ppmi": ppmi(hard_labels()),
    "positive semi-definite": HALF[:, :5] @ HALF[:, :5].T,
    "indefinite": HALF + HALF.T,
    # Shares 1/6, 1/6, 1/3, 1/3 of exclusive labels: each singular value twice.
    "tied": ppmi(np.eye(4, dtype=bool)[[0, 1, 2, 2, 3, 3]]),
}


@pytest.mark.parametrize("x", SYMMETRIC.values(), ids=SYMMETRIC.keys())
def test_label_factors_by_plane_rotations(x: Floats) -> None:
    """C_d C_d' = sum over k <= d of S_k u_k u_k', and column k of C_d is sqrt(S_k) u_k.

    C_d is known up to the signs of its columns; columns of one and the same S_k up to a rotation,
    which C_d C_d' does not see unless d parts them.
    """
    n = len(x)
    pairs = eigen_by_rotations(x)
    s = [abs(value) for value, _ in pairs]
    whole = [0, *(d for d in range(1, n) if s[d - 1] - s[d] > 1e-6), n]
    for d in whole[1:]:
        factors = label_factors(x, d)
        gram = [
            [
                sum(s_k * u[i] * u[j] for s_k, (_, u) in zip(s[:d], pairs, strict=False))
                for j in range(n)
            ]
            for i in range(n)
        ]
        np.testing.assert_allclose(factors @ factors.T, gram, atol=1e-10)
        columns = factors.T.tolist()
        assert [dot(column, column) for column in columns] == pytest.approx(s[:d], abs=1e-10)
        for k in range(d):
            if s[k] > 1e-6 and {k, k + 1} <= set(whole):
                u = pairs[k][1]
                assert abs(dot(columns[k], u)) == pytest.approx(math.sqrt(s[k]), abs=1e-10)


def test_all_factors_of_a_positive_semi_definite_matrix_give_it_back() -> None:
    x = SYMMETRIC["positive semi-definite"]
    for d in (5, 7):  # its rank, its width
        factors = label_factors(x, d)
        np.testing.assert_allclose(factors @ factors.T, x, atol=1e-10)
    assert np.abs(label_factors(x, 4) @ label_factors(x, 4).T - x).max() > 0.01


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
    y[:3] = False
    y[0, 1] = True
    y[1, UNKNOWN] = True  # only labels that training never saw
    got = target.targets(y)  # item 2 has no label at all
    assert got.shape == (12, 5)
    factors: list[list[float]] = target.factors.tolist()
    for row, truth in zip(got, y.tolist(), strict=True):
        total = [sum(c[k] for c, has in zip(factors, truth, strict=True) if has) for k in range(5)]
        norm = math.sqrt(dot(total, total))
        np.testing.assert_allclose(row, [v / norm if norm else 0.0 for v in total], atol=1e-5)
    assert np.linalg.norm(got[0]) == pytest.approx(1, abs=1e-5)
    np.testing.assert_array_equal(got[1:3], 0)


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
    scores = target.scores(np.random.default_rng(0).standard_normal((4, target.dim)))
    assert (scores[:, list(UNKNOWN)] == 0).all()


def test_cosine_scores_are_cosines_with_the_label_factors() -> None:
    target = CosineTarget(9, 5)
    target.fit(hard_labels())
    output = np.random.default_rng(7).standard_normal((4, 5)).astype(np.float32)
    output[3] = 0
    scores = target.scores(output)
    for i in range(4):
        for j in range(9):
            expected = cosine(output[i].tolist(), target.factors[j].tolist())
            assert scores[i, j] == pytest.approx(expected, abs=1e-5)
    # Labels that always go together tie; unknown labels and an output of no length say nothing.
    np.testing.assert_allclose(scores[:, 3], scores[:, 5], atol=1e-6)
    assert (scores[:, UNKNOWN] == 0).all()
    assert (scores[3] == 0).all()


def test_a_perfect_output_scores_its_own_label_highest() -> None:
    y = np.eye(6, dtype=bool)[np.random.default_rng(8).integers(6, size=60)]
    target = CosineTarget(6, 6)
    target.fit(y)
    scores = target.scores(target.targets(y))
    np.testing.assert_array_equal(scores.argmax(axis=1), y.argmax(axis=1))
    np.testing.assert_allclose(scores.max(axis=1), 1, atol=1e-5)


def test_logistic_scores_are_probabilities() -> None:
    logits = [[0.0, 2.0, -1.0], [0.5, 0.5, 0.5], [-90.0, 90.0, 0.0]]
    sigmoid = LogisticTarget(3, exclusive=False).scores(np.array(logits))
    softmax = LogisticTarget(3, exclusive=True).scores(np.array(logits))
    for i, row in enumerate(logits):
        total = sum(math.exp(v) for v in row)
        expected = [1 / (1 + math.exp(-v)) for v in row]
        assert sigmoid[i].tolist() == pytest.approx(expected, rel=1e-5, abs=1e-30)
        expected = [math.exp(v) / total for v in row]
        assert softmax[i].tolist() == pytest.approx(expected, rel=1e-5, abs=1e-30)


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
    np.testing.assert_array_equal(again.scores(output.numpy()), target.scores(output.numpy()))
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


@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_balanced_and_smoothed_losses_are_the_equations(exclusive: bool, smoothing: float) -> None:
    """With a label that no training item has."""
    rng = np.random.default_rng(4)
    n, n_labels = 40, 5
    y = np.zeros((n, n_labels), dtype=bool)
    y[np.arange(n), rng.integers(0, 4, n)] = True
    if not exclusive:
        y[:, 1] |= rng.random(n) < 0.5
    target = LogisticTarget(
        n_labels, exclusive=exclusive, smoothing=smoothing, class_weights="balanced"
    )
    target.fit(y)
    z = rng.normal(0, 2, (6, n_labels))
    some = y[:6]
    got = target.loss(torch.tensor(z), torch.from_numpy(target.targets(some)).double())
    losses = []
    for i in range(6):
        total = 0.0
        for j in range(n_labels):
            n_j = sum(bool(row[j]) for row in y)
            if exclusive:
                weight = n / (n_labels * n_j) if n_j else 1.0
                t = (1 - smoothing) * some[i, j] + smoothing / n_labels
                total -= weight * t * (z[i, j] - math.log(sum(math.exp(v) for v in z[i])))
            else:
                weight = (n - n_j) / n_j if n_j else 1.0
                t = (1 - smoothing) * some[i, j] + smoothing / 2
                p = 1 / (1 + math.exp(-z[i, j]))
                loss = weight * t * math.log(p) + (1 - t) * math.log(1 - p)
                total -= loss / n_labels
        losses.append(total)
    assert float(got) == pytest.approx(sum(losses) / 6, rel=1e-5)


@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_an_output_layer_begins_at_the_prior(exclusive: bool, smoothing: float) -> None:
    """No other constant output has a smaller loss; a label without items has a finite bias."""
    y = np.zeros((4000, 4), dtype=bool)
    y[np.arange(4000), [0] * 3000 + [1] * 900 + [2] * 100] = True
    config = TargetConfig(first_bias="prior", label_smoothing=smoothing)
    target = make_target(config, 4, exclusive=exclusive)
    target.fit(y)
    assert target.first_bias is not None
    wanted = torch.from_numpy(target.targets(y))
    bias = torch.from_numpy(target.first_bias).requires_grad_()
    [gradient] = torch.autograd.grad(target.loss(bias.expand(4000, 4), wanted), bias)
    assert gradient.abs().max() < 1e-3
    assert target.first_bias[:3].tolist() == sorted(target.first_bias[:3], reverse=True)
    assert np.isfinite(target.first_bias).all()
    for name in ("logistic", "cosine"):
        random = make_target(TargetConfig.model_validate({"name": name}), 4, exclusive=exclusive)
        random.fit(y)
        assert random.first_bias is None


def test_adjusted_logits_are_the_equation_in_training_only() -> None:
    y = np.eye(3, dtype=bool)[[0] * 6 + [1] * 3]  # nothing has the last label
    target = make_target(TargetConfig(class_weights="adjusted"), 3, exclusive=True)
    target.fit(y)
    z, truth = [0.5, -0.2, 0.1], 1
    shifted = [v + math.log(n + 0.5) - math.log(10) for v, n in zip(z, (6, 3, 0), strict=True)]
    expected = math.log(sum(math.exp(v) for v in shifted)) - shifted[truth]
    row = torch.tensor([z])
    loss = target.loss(row, torch.from_numpy(target.targets(np.eye(3, dtype=bool)[[truth]])))
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    expected_scores = row.double().softmax(dim=1).numpy()
    np.testing.assert_allclose(target.scores(row.numpy()), expected_scores)
    with pytest.raises(LabelError, match="adjusted: is for exclusive labels; these overlap"):
        make_target(TargetConfig(class_weights="adjusted"), 3, exclusive=False)


def test_smoothing_and_weights_are_for_logistic() -> None:
    with pytest.raises(ValidationError, match="are for logistic, not for cosine"):
        TargetConfig(name="cosine", label_smoothing=0.1)
    with pytest.raises(ValidationError, match="balanced labels have the same prior"):
        TargetConfig(class_weights="balanced", first_bias="prior")
    assert TargetConfig(dim=3).used() == TargetConfig(dim=9).used()
    cosine = [TargetConfig(name="cosine", first_bias=how).used() for how in ("random", "prior")]
    assert cosine[0] == cosine[1]
