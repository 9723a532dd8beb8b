"""Confident learning: planted flips are found, order is by margin, rows without scores stay out."""

from __future__ import annotations

import numpy as np
import pytest

from mmgenre.measuring.label_errors import suspicions


def planted(*, exclusive: bool, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(given labels, probabilities of a good model, which items are flipped)."""
    rng = np.random.default_rng(seed)
    n, n_labels = 600, 6
    true = np.eye(n_labels, dtype=bool)[rng.integers(0, n_labels, n)]
    logits = 4.0 * true - 2 + rng.standard_normal((n, n_labels))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    if not exclusive:
        p = 1 / (1 + np.exp(-logits))
    flipped = np.arange(n) < n // 10
    y = true.copy()
    y[flipped] = np.roll(true[flipped], 1, axis=1)
    return y, p, flipped


@pytest.mark.parametrize("exclusive", [True, False])
def test_planted_flips_come_first(exclusive: bool) -> None:
    y, p, flipped = planted(exclusive=exclusive)
    found = suspicions(y, p, exclusive=exclusive)
    first = [flipped[s.row] for s in found[:50]]
    assert np.mean(first) >= 0.9
    assert [s.margin for s in found] == sorted((s.margin for s in found), reverse=True)
    best = found[0]
    assert best.wrong == tuple(np.flatnonzero(y[best.row]))
    assert best.lacking == ((best.wrong[0] - 1) % y.shape[1],)


def test_right_labels_of_a_perfect_model_are_not_suspected() -> None:
    y = np.eye(3, dtype=bool)[[0, 1, 2, 0, 1, 2]]
    for exclusive in (True, False):
        assert suspicions(y, np.where(y, 0.9, 0.05), exclusive=exclusive) == []


@pytest.mark.parametrize("exclusive", [True, False])
def test_items_without_scores_are_left_out_and_positions_stay(exclusive: bool) -> None:
    y, p, _ = planted(exclusive=exclusive)
    hidden = p.copy()
    hidden[::2] = np.nan
    rows = {s.row for s in suspicions(y, hidden, exclusive=exclusive)}
    assert rows
    assert all(row % 2 for row in rows)


def test_a_label_that_no_item_has_is_never_lacking() -> None:
    y = np.array([[True, False], [True, False]])
    p = np.array([[0.1, 0.9], [0.9, 0.1]])
    for exclusive in (True, False):
        assert not any(1 in s.lacking for s in suspicions(y, p, exclusive=exclusive))
