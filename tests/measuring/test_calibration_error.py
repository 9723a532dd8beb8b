"""Calibration error and Brier score against plain loops and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, log_loss

from mmgenre.measuring.calibration import brier, calibration_error, losses, reliability


@pytest.fixture
def judged() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(4), 6000)
    y = np.eye(4, dtype=bool)[[rng.choice(4, p=row) for row in p]]
    return y, p


def test_what_is_drawn_as_said_is_calibrated(judged: tuple[np.ndarray, np.ndarray]) -> None:
    y, p = judged
    assert calibration_error(y, p, exclusive=True) < 0.035
    assert calibration_error(y, p, exclusive=False) < 0.02
    sure = p**4 / (p**4).sum(axis=1, keepdims=True)
    assert calibration_error(y, sure, exclusive=True) > 0.1


def test_against_a_loop_over_bins(judged: tuple[np.ndarray, np.ndarray]) -> None:
    y, p = judged
    said, true = p.max(axis=1), y[np.arange(len(y)), p.argmax(axis=1)]
    order = np.argsort(said)
    expected = sum(
        len(part) / len(y) * abs(said[part].mean() - true[part].mean())
        for part in np.split(order, 10)
    )
    assert calibration_error(y, p, exclusive=True, bins=10) == pytest.approx(expected)


def test_equal_probabilities_share_a_bin() -> None:
    y = np.array([[True, False]] * 6 + [[False, True]] * 4)
    p = np.full((10, 2), 0.5)
    found = reliability(y, p, exclusive=False)
    assert found.n.tolist() == [20]
    assert (found.said[0], found.true[0]) == (0.5, 0.5)


def test_against_scikit_learn(judged: tuple[np.ndarray, np.ndarray]) -> None:
    y, p = judged
    assert losses(y, p, exclusive=True).mean() == pytest.approx(log_loss(y.argmax(axis=1), p))
    each = [log_loss(y[:, j], p[:, j]) for j in range(4)]
    assert losses(y, p, exclusive=False).mean() == pytest.approx(sum(each))
    each = [brier_score_loss(y[:, j], p[:, j]) for j in range(4)]
    assert brier(y, p) == pytest.approx(sum(each))
