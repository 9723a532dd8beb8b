from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics as peer

from mmgenre.measuring import metrics
from mmgenre.measuring.metrics import Bools, Floats

SEEDS = range(6)


def draw(seed: int, n: int = 60, n_labels: int = 7) -> tuple[Bools, Floats]:
    """Overlapping labels and scores with many ties; every label has positives and negatives."""
    rng = np.random.default_rng(seed)
    y = rng.random((n, n_labels)) < 0.3
    y[0], y[1] = True, False
    scores: Floats = np.round(rng.random((n, n_labels)) + 0.3 * y, 1).astype(np.float64)
    return y, scores


def draw_exclusive(seed: int, n: int = 80, n_labels: int = 6) -> tuple[Bools, Floats]:
    rng = np.random.default_rng(seed)
    truth = np.concatenate([np.arange(n_labels), rng.integers(n_labels, size=n - n_labels)])
    y = np.eye(n_labels, dtype=bool)[truth]
    return y, rng.random((n, n_labels)) + 0.4 * y


def draw_lacking(seed: int) -> tuple[Bools, Floats]:
    """As `draw`, but label 1 is on no item, 2 on all, 3 and 4 on one and on all but one.

    Label 5 is on items that all score the same; items 0 and 1 have label 2 and no other.
    """
    y, scores = draw(seed)
    y[:2] = False
    y[:, 1], y[:, 2], y[:, 3] = False, True, np.arange(len(y)) == 7
    y[:, 4] = np.arange(len(y)) != 1
    y[0, 4] = True
    scores[:, 5] = 0.5
    return y, scores


DRAWS = pytest.mark.parametrize("drawn", [draw, draw_lacking])
Draw = Callable[[int], tuple[Bools, Floats]]


# Slow loops, written from the equations, over plain lists.


def columns(values: NDArray[Any]) -> list[list[Any]]:
    return [list(column) for column in zip(*values.tolist(), strict=True)]


def auc_by_pairs(y: Sequence[bool], s: Sequence[float]) -> float:
    """Share of (positive, negative) pairs in which the positive scores higher; ties count half."""
    positives = [v for v, t in zip(s, y, strict=True) if t]
    negatives = [v for v, t in zip(s, y, strict=True) if not t]
    wins = [float(p > q) + 0.5 * float(p == q) for p in positives for q in negatives]
    return sum(wins) / len(wins) if wins else math.nan


def ap_by_thresholds(y: Sequence[bool], s: Sequence[float]) -> float:
    if all(y) or not any(y):
        return math.nan
    area, recall_before = 0.0, 0.0
    for threshold in sorted(set(s), reverse=True):
        claimed = [t for v, t in zip(s, y, strict=True) if v >= threshold]
        recall = sum(claimed) / sum(y)
        area += (recall - recall_before) * sum(claimed) / len(claimed)
        recall_before = recall
    return area


def prf_by_counts(y: Sequence[bool], claimed: Sequence[bool]) -> tuple[float, float, float]:
    """P = TP / (TP + FP), R = TP / (TP + FN), F1 = 2 P R / (P + R), 0 where P and R are."""
    pairs = list(zip(y, claimed, strict=True))
    tp, fp, fn = (pairs.count(kind) for kind in ((True, True), (False, True), (True, False)))
    if tp + fn == 0:
        return math.nan, math.nan, math.nan
    p, r = tp / (tp + fp) if tp + fp else 0.0, tp / (tp + fn)
    return p, r, 2 * p * r / (p + r) if p + r else 0.0


def top(scores: NDArray[np.float64], k: int) -> list[int]:
    return sorted(range(len(scores)), key=lambda j: (-scores[j], j))[:k]


@DRAWS
@pytest.mark.parametrize("seed", SEEDS)
def test_roc_auc_is_the_share_of_pairs_won(drawn: Draw, seed: int) -> None:
    y, scores = drawn(seed)
    slow = [auc_by_pairs(t, s) for t, s in zip(columns(y), columns(scores), strict=True)]
    np.testing.assert_allclose(metrics.roc_auc(y, scores), slow, atol=1e-12)
    both = y.any(axis=0) & ~y.all(axis=0)
    np.testing.assert_array_equal(np.isnan(slow), ~both)
    expected = peer.roc_auc_score(y[:, both], scores[:, both], average=None)
    np.testing.assert_allclose(np.array(slow)[both], expected, atol=1e-12)
    known = [v for v in slow if not math.isnan(v)]
    macro = metrics.macro(metrics.roc_auc(y, scores))
    assert macro == pytest.approx(sum(known) / len(known), abs=1e-12)


@DRAWS
@pytest.mark.parametrize("seed", SEEDS)
def test_average_precision_is_the_sum_over_thresholds(drawn: Draw, seed: int) -> None:
    y, scores = drawn(seed)
    slow = [ap_by_thresholds(t, s) for t, s in zip(columns(y), columns(scores), strict=True)]
    np.testing.assert_allclose(metrics.average_precision(y, scores), slow, atol=1e-12)
    both = y.any(axis=0) & ~y.all(axis=0)
    np.testing.assert_array_equal(np.isnan(slow), ~both)
    expected = peer.average_precision_score(y[:, both], scores[:, both], average=None)
    np.testing.assert_allclose(np.array(slow)[both], expected, atol=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (metrics.roc_auc, peer.roc_auc_score),
        (metrics.average_precision, peer.average_precision_score),
    ],
)
def test_micro_pools_all_pairs(
    ours: Callable[[Bools, Floats], Floats], theirs: Callable[..., float], seed: int
) -> None:
    y, scores = draw(seed)
    assert metrics.micro(ours, y, scores) == pytest.approx(theirs(y, scores, average="micro"))


@DRAWS
@pytest.mark.parametrize("seed", SEEDS)
def test_precision_recall_f1_by_counting(drawn: Draw, seed: int) -> None:
    y, scores = drawn(seed)
    predicted = scores >= 0.7
    predicted[:, 0], predicted[:, 6] = False, True  # never predicted, always
    pairs = zip(columns(y), columns(predicted), strict=True)
    slow = list(zip(*(prf_by_counts(t, c) for t, c in pairs), strict=True))
    found = metrics.precision_recall_f1(y, predicted)
    np.testing.assert_allclose(found, slow, atol=1e-12)
    for got, want in zip(found, slow, strict=True):
        known = [v for v in want if not math.isnan(v)]
        assert metrics.macro(got) == pytest.approx(sum(known) / len(known), abs=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_precision_recall_f1_against_peer(seed: int) -> None:
    y, scores = draw(seed)
    predicted = scores >= 0.7
    predicted[:, 3] = False  # never predicted: precision 0
    expected = peer.precision_recall_fscore_support(y, predicted, zero_division=0)[:3]
    for got, want in zip(metrics.precision_recall_f1(y, predicted), expected, strict=True):
        np.testing.assert_allclose(got, want, atol=1e-12)


def test_macro_f1_is_the_mean_of_f1_values() -> None:
    # Precision and recall are (1, 0) mirrored: the F1 of their means would be 1/2, not 0.
    y = np.array([[1, 0], [1, 0], [0, 1]], bool)
    predicted = np.array([[1, 0], [0, 1], [0, 1]], bool)
    precision, recall, f1 = metrics.precision_recall_f1(y, predicted)
    np.testing.assert_allclose(precision, [1, 1 / 2])
    np.testing.assert_allclose(recall, [1 / 2, 1])
    assert metrics.macro(f1) == pytest.approx(2 / 3)
    assert metrics.macro(f1) != pytest.approx(3 / 4)


@DRAWS
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("k", [1, 2, 3, 7, 9])
def test_top_k_and_adiv_by_sets(drawn: Draw, seed: int, k: int) -> None:
    y, scores = drawn(seed)
    if drawn is draw_lacking:
        y[:, 2] = False  # items 0 and 1 are left without a label: no hit, whatever k
        scores[0] = 0.5  # all tie
    tops = [set(top(row, k)) for row in scores]
    hits = [any(truth[j] for j in t) for t, truth in zip(tops, y.tolist(), strict=True)]
    assert metrics.top_k_accuracy(y, scores, k) == pytest.approx(sum(hits) / len(hits))
    assert metrics.adiv(scores, k) == pytest.approx(len(set.union(*tops)) / y.shape[1])


def test_top_k_against_peer() -> None:
    y, scores = draw_exclusive(0)
    for k in (1, 2, 4):
        expected = peer.top_k_accuracy_score(y.argmax(axis=1), scores, k=k)
        assert metrics.top_k_accuracy(y, scores, k) == pytest.approx(expected)


def test_adiv_of_one_item_and_of_a_model_that_names_the_same_label_for_all() -> None:
    assert metrics.adiv(np.array([[0.1, 0.9, 0.5, 0.2]]), 2) == 0.5
    assert metrics.adiv(np.tile([0.1, 0.9, 0.5, 0.2], (100, 1)), 1) == 0.25
    assert metrics.adiv(np.zeros((100, 4)), 2) == 0.5  # all tie: the same two for every item


@pytest.mark.parametrize("seed", SEEDS)
def test_confusion_matrix_against_peer(seed: int) -> None:
    y, scores = draw_exclusive(seed)
    predicted = metrics.argmax_one_hot(scores)
    assert (predicted.sum(axis=1) == 1).all()
    matrix = metrics.confusion_matrix(y, predicted)
    expected = peer.confusion_matrix(y.argmax(axis=1), scores.argmax(axis=1))
    np.testing.assert_array_equal(matrix, expected)  # rows are the truth
    assert matrix.sum() == len(y)


@pytest.mark.parametrize("seed", SEEDS)
def test_best_threshold_by_brute_force(seed: int) -> None:
    y, scores = draw(seed)

    def micro_f1(threshold: float) -> float:
        return float(peer.f1_score(y, scores >= threshold, average="micro"))

    grid = [*np.unique(scores), -1.0, 2.0, *(np.unique(scores) + 0.01)]
    best = metrics.best_threshold(y, scores)
    assert best in scores
    assert micro_f1(best) == pytest.approx(max(micro_f1(t) for t in grid))


def test_best_threshold_never_parts_equal_scores() -> None:
    # The first 0.5 in order is a hit; a threshold "after it" would be perfect, but none exists.
    y = np.array([[True], [False], [False], [False], [True]])
    scores = np.array([[0.5], [0.5], [0.5], [0.5], [0.9]])
    assert metrics.best_threshold(y, scores) == 0.9


def test_labels_without_positive_or_negative_have_no_value_and_do_not_count() -> None:
    y, scores = draw(0, n_labels=5)
    y[:, 1], y[:, 2] = False, True
    kept = [0, 3, 4]
    for per_label in (metrics.roc_auc, metrics.average_precision):
        values = per_label(y, scores)
        assert np.flatnonzero(np.isnan(values)).tolist() == [1, 2]
        assert metrics.macro(values) == pytest.approx(per_label(y[:, kept], scores[:, kept]).mean())
    f1 = metrics.precision_recall_f1(y, scores > 0.5)[2]
    assert np.flatnonzero(np.isnan(f1)).tolist() == [1]


def test_macro_of_nothing_is_nan() -> None:
    assert np.isnan(metrics.macro(np.array([np.nan, np.nan])))


@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize("n", [1, 80])
def test_a_perfect_score_gives_one(exclusive: bool, n: int) -> None:
    y = (draw_exclusive(1) if exclusive else draw(1, n=80))[0][:n]
    if not exclusive:
        y[0], y[-1] = True, [True, False, True, False, True, True, False]
    threshold = None if exclusive else 0.5
    found = evaluated(y, y.astype(float), threshold)
    assert found["macro_f1"] == found["micro_f1"] == found["macro_precision"] == 1
    assert found["macro_recall"] == found["micro_pr_auc"] == found["micro_roc_auc"] == 1
    assert found["macro_roc_auc"] == found["macro_pr_auc"] == (1 if n > 1 else None)
    if exclusive:
        assert found["accuracy"] == found["top_1_accuracy"] == 1
        assert np.trace(found["confusion_matrix"]) == n


def test_an_inverted_score_gives_zero() -> None:
    y, _ = draw_exclusive(2)
    found = evaluated(y, -y.astype(float), None)
    for name in ("accuracy", "macro_f1", "micro_f1", "macro_roc_auc", "micro_roc_auc"):
        assert found[name] == 0, name
    assert found["top_1_accuracy"] == 0


def test_inverting_scores_mirrors_the_auc() -> None:
    y, scores = draw(3)
    np.testing.assert_allclose(metrics.roc_auc(y, -scores), 1 - metrics.roc_auc(y, scores))
    np.testing.assert_allclose(metrics.roc_auc(y, np.zeros_like(scores)), 0.5)


@pytest.mark.parametrize("exclusive", [True, False])
def test_the_order_of_items_does_not_matter(exclusive: bool) -> None:
    y, scores = draw_exclusive(4) if exclusive else draw(4)
    rows = np.random.default_rng(0).permutation(len(y))
    threshold = None if exclusive else metrics.best_threshold(y, scores)
    same(evaluated(y, scores, threshold), evaluated(y[rows], scores[rows], threshold))
    if threshold is not None:
        assert metrics.best_threshold(y[rows], scores[rows]) == threshold


def test_evaluate_reports_what_the_functions_give_and_nothing_that_json_lacks() -> None:
    y, scores = draw(5, n_labels=6)
    y[:, 2] = False
    found = evaluated(y, scores, 0.6)
    assert found["left_out_of_auc"] == found["left_out_of_f1"] == ["label 2"]
    assert found["per_label"]["label 2"]["roc_auc"] is None
    assert found["per_label"]["label 2"]["support"] == 0
    assert found["per_label"]["label 4"]["support"] == y[:, 4].sum()
    assert found["per_label"]["label 4"]["roc_auc"] == metrics.roc_auc(y, scores)[4]
    assert found["per_label"]["label 4"]["pr_auc"] == metrics.average_precision(y, scores)[4]
    assert found["macro_roc_auc"] == metrics.macro(metrics.roc_auc(y, scores))
    assert found["macro_pr_auc"] == metrics.macro(metrics.average_precision(y, scores))
    assert found["micro_f1"] == pytest.approx(peer.f1_score(y, scores >= 0.6, average="micro"))
    for name, by_peer in (("precision", peer.precision_score), ("recall", peer.recall_score)):
        assert found[f"micro_{name}"] == pytest.approx(by_peer(y, scores >= 0.6, average="micro"))
    assert (found["n_items"], found["threshold"]) == (60, 0.6)
    assert found["adiv_3"] == metrics.adiv(scores, 3)
    assert found["top_3_accuracy"] == metrics.top_k_accuracy(y, scores, 3)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_evaluate_exclusive_against_peer() -> None:
    y, scores = draw_exclusive(6)
    found = evaluated(y, scores, None)
    truth, claimed = y.argmax(axis=1), scores.argmax(axis=1)
    assert found["accuracy"] == pytest.approx(peer.accuracy_score(truth, claimed))
    assert found["macro_f1"] == pytest.approx(peer.f1_score(truth, claimed, average="macro"))
    assert found["confusion_matrix"] == peer.confusion_matrix(truth, claimed).tolist()
    assert "threshold" not in found


def macro_auc(y: Bools, scores: Floats) -> float:
    return metrics.macro(metrics.roc_auc(y, scores))


@pytest.mark.parametrize(
    ("y", "scores", "message"),
    [
        (np.zeros((2, 3), bool), np.zeros((3, 2)), r"truth \(2, 3\) and scores \(3, 2\)"),
        (np.zeros((0, 3), bool), np.zeros((0, 3)), r"both must be \(n > 0, n_labels\)"),
        (np.zeros(3, bool), np.zeros(3), r"truth \(3,\)"),
        (np.zeros((2, 3), int), np.zeros((2, 3)), "truth must be bool, got int64"),
        (np.zeros((1, 2), bool), np.array([[np.nan, np.inf]]), "2 scores are NaN or infinite"),
    ],
)
@pytest.mark.parametrize("metric", ["roc_auc", "average_precision", "best_threshold"])
def test_what_no_metric_can_be_computed_from_is_refused(
    metric: str, y: Any, scores: Floats, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        getattr(metrics, metric)(y, scores)


def test_other_misuse_is_refused() -> None:
    y, scores = draw_exclusive(0)
    names = [str(j) for j in range(y.shape[1])]
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        metrics.adiv(scores, 0)
    with pytest.raises(ValueError, match="contain NaN, which has no rank"):
        metrics.adiv(np.array([[np.nan, 1.0]]), 1)
    with pytest.raises(ValueError, match="one true and one predicted label per row"):
        metrics.confusion_matrix(y, scores > 0.5)
    for exclusive, threshold in ((True, 0.5), (False, None)):
        with pytest.raises(ValueError, match="overlapping labels need a threshold"):
            metrics.evaluate(y, scores, names, exclusive=exclusive, threshold=threshold)
    with pytest.raises(ValueError, match="longer than"):
        metrics.evaluate(y, scores, names[:-1], exclusive=True)


@pytest.mark.parametrize("ties", [False, True])
def test_figures_of_items_are_scikit_learn_s(ties: bool) -> None:
    rng = np.random.default_rng(3)
    y = rng.random((80, 6)) < 0.3
    y[0], y[1] = False, True  # no label, every label
    scores = np.round(rng.random((80, 6)), 1 if ties else 9)
    found = evaluated(y, scores, 0.5)
    named = scores >= 0.5
    for ours, theirs in (
        ("precision", peer.precision_score),
        ("recall", peer.recall_score),
        ("f1", peer.f1_score),
    ):
        expected = theirs(y, named, average="samples", zero_division=0)
        assert found[f"sample_{ours}"] == pytest.approx(expected)
    assert found["lrap"] == pytest.approx(peer.label_ranking_average_precision_score(y, scores))
    assert found["hamming_loss"] == pytest.approx(peer.hamming_loss(y, named))
    assert found["per_label"]["label 2"]["prevalence"] == pytest.approx(y[:, 2].mean())
    briers = [peer.brier_score_loss(y[:, j], scores[:, j]) for j in range(6)]
    assert found["brier"] == pytest.approx(np.sum(briers))


def test_figures_are_torchmetrics_where_it_defines_them() -> None:
    import torch
    from torchmetrics.functional import classification as theirs

    rng = np.random.default_rng(3)
    y = rng.random((80, 6)) < 0.3
    scores = rng.random((80, 6)).astype(np.float32).astype(np.float64)
    found = evaluated(y, scores, 0.5)
    p, t = torch.from_numpy(scores), torch.from_numpy(y.astype(np.int64))
    for name, value in {
        "macro_roc_auc": theirs.multilabel_auroc(p, t, 6),
        "micro_roc_auc": theirs.multilabel_auroc(p, t, 6, average="micro"),
        "macro_pr_auc": theirs.multilabel_average_precision(p, t, 6),
        "macro_f1": theirs.multilabel_f1_score(p, t, 6),
        "micro_f1": theirs.multilabel_f1_score(p, t, 6, average="micro"),
        "hamming_loss": theirs.multilabel_hamming_distance(p, t, 6),
        "lrap": theirs.multilabel_ranking_average_precision(p, t, 6),
    }.items():
        assert found[name] == pytest.approx(float(value), abs=1e-6), name


def test_cosines_have_no_calibration() -> None:
    y = np.random.default_rng(0).random((30, 4)) < 0.4
    found = evaluated(y, np.random.default_rng(1).uniform(-1, 1, (30, 4)), 0.5)
    assert found["calibration_error"] is None
    assert found["brier"] is None


def test_predictions_are_closed_upward() -> None:
    names = ["Jazz", "Jazz/Bop", "Rock"]
    y = np.array([[True, True, False], [False, False, True]])
    scores = np.array([[0.1, 0.9, 0.2], [0.1, 0.2, 0.8]])
    np.testing.assert_array_equal(
        metrics.closed_upward(scores, names), [[0.9, 0.9, 0.2], [0.2, 0.2, 0.8]]
    )
    found = metrics.evaluate(y, scores, names, exclusive=False, threshold=0.5)
    assert found["hierarchical_f1"] == 1  # Jazz is named by Bop
    assert found["micro_f1"] == pytest.approx(2 * 2 / (3 + 2))
    assert "hierarchical_f1" not in evaluated(y, scores, 0.5)


def evaluated(y: Bools, scores: Floats, threshold: float | None) -> dict[str, Any]:
    """`evaluate` with made-up names; exclusive without a threshold."""
    names = [f"label {j}" for j in range(y.shape[1])]
    return metrics.evaluate(y, scores, names, exclusive=threshold is None, threshold=threshold)


def same(one: Any, two: Any) -> None:
    """Equal, but for rounding: sums run in another order."""
    if isinstance(one, dict):
        assert one.keys() == two.keys()
        for key in one:
            same(one[key], two[key])
    elif isinstance(one, float):
        assert one == pytest.approx(two, abs=1e-12)
    else:
        assert one == two
