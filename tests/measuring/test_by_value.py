"""Figures of more scores than are sorted at once are those of all of them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from mmgenre.measuring import by_value, calibration, metrics
from mmgenre.measuring import jackknife as jk

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
N, N_LABELS = 300, 7


def drawn(*, ties: bool) -> tuple[Bools, Floats]:
    rng = np.random.default_rng(0)
    y = rng.random((N, N_LABELS)) < 0.2
    y[:, 5] = False  # a genre that no item has
    scores = 1 / (1 + np.exp(-rng.standard_normal((N, N_LABELS)) - y))
    return y, np.round(scores, 1) if ties else scores


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """So few at once that every figure needs many parts."""
    for module in (by_value, calibration, jk):
        monkeypatch.setattr(module, "AT_ONCE", 97)


@pytest.mark.parametrize("ties", [True, False])
def test_parts_are_all_pairs_from_the_highest_score_down(ties: bool) -> None:
    y, scores = drawn(ties=ties)
    found = list(by_value.parts(y, scores, 100))
    assert len(found) > 5
    for one, other in pairwise(found):
        assert one.scores.min() > other.scores.max()
    for part in found:
        assert ties or len(part.y) < 300
        for row, truth, score in zip(part.items, part.y, part.scores, strict=True):
            assert ((scores[row] == score) & (y[row] == truth)).any()
    together = np.sort(np.concatenate([part.scores for part in found]))
    np.testing.assert_array_equal(together, np.sort(scores, axis=None))
    [whole] = by_value.parts(y, scores)
    np.testing.assert_array_equal(whole.scores, scores.ravel())
    np.testing.assert_array_equal(whole.items, np.repeat(np.arange(N), N_LABELS))


def figures(y: Bools, scores: Floats, blocks: jk.Blocks) -> dict[str, NDArray[np.floating]]:
    threshold = metrics.best_threshold(y, scores)
    plain = metrics.evaluate(y, scores, "abcdefg", exclusive=False, threshold=threshold)
    found = {k: np.array(v) for k, v in plain.items() if isinstance(v, float)}
    rows: dict[str, dict[str, float]] = plain["per_label"]  # type: ignore[assignment]
    for name in ("roc_auc", "pr_auc"):
        found[name] = np.array([row[name] for row in rows.values()], float)
    found["in top 3"] = metrics.in_top_k(y, scores, 3)
    found["jackknife AUC"] = jk.roc_auc(y, scores, blocks)
    found["jackknife AP"] = jk.average_precision(y, scores, blocks)
    found["jackknife micro AUC"] = jk.micro_roc_auc(y, scores, blocks)
    found["jackknife F1"] = jk.f1(y, scores >= threshold, blocks)
    found["bins"] = np.array(calibration.reliability(y, scores, exclusive=False))
    return found


@pytest.mark.parametrize("ties", [True, False])
def test_figures_are_the_same_by_parts(ties: bool, request: pytest.FixtureRequest) -> None:
    y, scores = drawn(ties=ties)
    blocks = jk.blocks_of([f"artist {k % 40}" for k in range(N)])
    once = figures(y, scores, blocks)
    request.getfixturevalue("few")
    by_parts = figures(y, scores, blocks)
    assert once.keys() == by_parts.keys()
    for name, value in once.items():
        np.testing.assert_allclose(by_parts[name], value, rtol=1e-12, err_msg=name)
    for name in ("threshold", "roc_auc", "micro_roc_auc", "jackknife micro AUC"):  # whole numbers
        np.testing.assert_array_equal(by_parts[name], once[name], err_msg=name)
