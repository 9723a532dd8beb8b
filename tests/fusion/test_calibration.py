"""Scores become probabilities that mean what they say, and only where that helps."""

from __future__ import annotations

import numpy as np
import pytest

from mmgenre.fusion.calibration import Calibration, Link, fit_calibration, probabilities
from mmgenre.measuring.calibration import calibration_error

RNG = np.random.default_rng(1)


def drawn(
    n: int, link: Link, *, slope: float = 1.0, bias: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores (n, 5) whose z must be multiplied by `slope` to be true; labels; folds."""
    exclusive = link.endswith("softmax")
    z = RNG.normal(0, 2, (n, 5))
    p = probabilities(slope * z + bias, exclusive=exclusive)
    if exclusive:
        y = np.eye(5, dtype=bool)[[RNG.choice(5, p=row) for row in p]]
    else:
        y = RNG.random(p.shape) < p
    scores = z if link.startswith("cosine") else probabilities(z, exclusive=exclusive)
    return scores, y, np.arange(n) % 5


def test_true_scores_stay() -> None:
    kept = 0
    for _ in range(20):
        found, _ = fit_calibration(*drawn(150, "softmax"), "softmax")
        kept += found.way == "as they are"
    assert kept >= 14


@pytest.mark.parametrize("link", ["softmax", "sigmoid"])
@pytest.mark.parametrize("slope", [0.4, 2.0])
def test_what_is_too_sure_or_too_unsure_is_mended(link: Link, slope: float) -> None:
    scores, y, folds = drawn(600, link, slope=slope)
    found, _ = fit_calibration(scores, y, folds, link)
    new, y_new, _ = drawn(3000, link, slope=slope)
    exclusive = link == "softmax"
    before = calibration_error(y_new, new, exclusive=exclusive)
    assert calibration_error(y_new, found(new), exclusive=exclusive) < min(0.35 * before, 0.04)


def test_cosines_become_probabilities() -> None:
    scores, y, folds = drawn(400, "cosine", slope=1.5, bias=-1.0)
    found, held_out = fit_calibration(scores, y, folds, "cosine")
    new, y_new, _ = drawn(3000, "cosine", slope=1.5, bias=-1.0)
    assert calibration_error(y_new, found(new), exclusive=False) < 0.03
    assert calibration_error(y, held_out, exclusive=False) < 0.05
    assert found.way != "as they are"


def test_labels_that_are_off_are_moved_alone() -> None:
    scores, y, folds = drawn(800, "sigmoid")
    z = np.log(scores / (1 - scores))
    z[:, 2] += 2.0  # said too often
    shifted = probabilities(z, exclusive=False)
    found, _ = fit_calibration(shifted, y, folds, "sigmoid")
    assert found.way == "by label"
    assert found.bias[2] < -1
    assert np.abs(np.delete(found.bias, 2)).max() < 0.6


def test_of_exclusive_genres_probabilities_add_up_to_one() -> None:
    scores, y, _ = drawn(500, "softmax", slope=0.5)
    for way in ("temperature", "by label", "isotonic"):
        found = _by(way, scores, y)
        assert found(scores).sum(axis=1) == pytest.approx(1)
        again = Calibration.of_state(found.state())
        assert np.array_equal(again(scores), found(scores))


def test_steps_keep_the_order() -> None:
    scores, y, _ = drawn(500, "softmax", slope=0.5)
    found = _by("isotonic", scores, y)
    assert (found(scores).argmax(axis=1) == scores.argmax(axis=1)).mean() > 0.99
    assert np.isfinite(found(np.eye(5))).all()


def test_of_few_items_nothing_is_learned() -> None:
    scores, y, folds = drawn(12, "sigmoid", slope=0.2)
    found, held_out = fit_calibration(scores, y, folds, "sigmoid")
    assert found.way == "as they are"
    assert held_out == pytest.approx(scores, abs=1e-6)


def _by(way: str, scores: np.ndarray, y: np.ndarray) -> Calibration:
    from mmgenre.fusion import calibration

    return calibration._fitted(way, scores, y, "softmax")  # type: ignore[arg-type]
