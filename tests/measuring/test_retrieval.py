"""Recall of matches against a plain loop over sorted similarities."""

from __future__ import annotations

import numpy as np
import pytest

from mmgenre.measuring.retrieval import evaluate_retrieval, match_ranks, recall_at_k


def drawn(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, n)) + 1.5 * np.eye(n)


@pytest.mark.parametrize("n", [1, 2, 37])
@pytest.mark.parametrize("k", [1, 5, 10])
def test_ranks_and_recall_are_those_of_a_sorted_list(n: int, k: int) -> None:
    similarity = drawn(n)
    order = np.argsort(-similarity, axis=1)
    places = [order[i].tolist().index(i) + 1 for i in range(n)]
    ranks = match_ranks(similarity)
    assert ranks.tolist() == places
    assert recall_at_k(ranks, k) == sum(i in order[i, :k] for i in range(n)) / n


def test_equal_similarities_share_their_ranks() -> None:
    """A constant finds nothing: its rank is that of chance, and not the first."""
    assert match_ranks(np.zeros((9, 9))).tolist() == [5.0] * 9
    similarity = np.array([[2.0, 2.0, 1.0], [0.0, 1.0, 2.0], [0.0, 0.0, 3.0]])
    assert match_ranks(similarity).tolist() == [1.5, 2.0, 1.0]


def test_chance_is_met_by_chance() -> None:
    ranks = np.concatenate(
        [match_ranks(np.random.default_rng(s).standard_normal((50, 50))) for s in range(40)]
    )
    for k in (1, 5, 10):
        assert recall_at_k(ranks, k) == pytest.approx(k / 50, abs=0.02)


def test_figures_and_their_intervals() -> None:
    ranks = match_ranks(drawn(200))
    found = evaluate_retrieval(ranks, [f"artist {k // 2}" for k in range(200)])
    assert found.n == 200
    assert found.median_rank == np.median(ranks)
    assert found.mean_reciprocal_rank == pytest.approx(np.mean([1 / r for r in ranks]))
    for k in (1, 5, 10):
        low, high = found.interval[k]
        assert low < found.recall[k] < high
        # Pairs are drawn, of independent queries: the normal approximation of n = 200 holds.
        p = found.recall[k]
        assert high - low == pytest.approx(2 * 1.96 * np.sqrt(p * (1 - p) / 200), rel=0.25)
        assert found.chance[k] == k / 200


def test_groups_are_drawn_whole() -> None:
    """Of two groups, one always found and one never, a draw has 0, 1 or 2 of the first."""
    ranks = np.array([1.0] * 50 + [99.0] * 50)
    apart = evaluate_retrieval(ranks, [str(k) for k in range(100)], ks=[1])
    together = evaluate_retrieval(ranks, ["a"] * 50 + ["b"] * 50, ks=[1])
    assert together.interval[1] == (0.0, 1.0)
    assert apart.interval[1][1] - apart.interval[1][0] < 0.25


def test_a_perfect_match_is_found_at_once() -> None:
    found = evaluate_retrieval(match_ranks(np.eye(20)), [str(k) for k in range(20)])
    assert set(found.recall.values()) == {1.0}
    assert found.median_rank == 1


@pytest.mark.parametrize("shape", [(2, 3), (0, 0), (4,)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"must be \(n, n\)"):
        match_ranks(np.zeros(shape))


def test_bad_values_are_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        match_ranks(np.full((2, 2), np.nan))
    with pytest.raises(ValueError, match="at least 1"):
        recall_at_k(np.ones(2), 0)
    with pytest.raises(ValueError, match="1 groups for 2 ranks"):
        evaluate_retrieval(np.ones(2), ["a"])
