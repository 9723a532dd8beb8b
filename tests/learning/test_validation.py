"""Which weights are kept, what chance is, and what is said of a training at its end."""

from __future__ import annotations

import numpy as np
import pytest

from mmgenre.learning.selection import best_epoch, smoothed
from mmgenre.learning.settings import TargetConfig
from mmgenre.learning.targets import make_target
from mmgenre.learning.validation import chance_auc, task_metric
from mmgenre.learning.verdict import verdicts
from mmgenre.measuring.curves import Curve, Epoch
from mmgenre.measuring.metrics import macro, roc_auc


def epochs(losses: list[float], metrics: list[float] | None = None) -> list[Epoch]:
    points: list[Epoch] = [
        {"epoch": k, "train_loss": loss, "val_loss": loss} for k, loss in enumerate(losses, 1)
    ]
    for point, value in zip(points, metrics or [], strict=False):
        point["metrics"] = {"macro_roc_auc": value, "macro_pr_auc": value / 2}
    return points


def test_the_least_loss_or_the_best_smoothed_metric() -> None:
    losses, metrics = [3.0, 1.0, 2.0, 2.0, 2.0], [0.5, 0.6, 0.9, 0.6, 0.8]
    assert best_epoch(epochs(losses), "loss") == 2
    assert smoothed(metrics) == pytest.approx([0.5, 0.55, 2 / 3, 0.7, 23 / 30])
    assert best_epoch(epochs(losses, metrics), "metric") == 5
    assert best_epoch(epochs([3.0, 1.0, 1.0]), "loss") == 2  # the first of equals


def test_of_equal_metrics_that_of_least_loss() -> None:
    assert best_epoch(epochs([3.0, 2.0, 1.0, 2.0], [1.0] * 4), "metric") == 3


@pytest.mark.parametrize("name", ["logistic", "cosine"])
@pytest.mark.parametrize("exclusive", [True, False])
def test_the_metric_of_the_task(name: str, exclusive: bool) -> None:
    rng = np.random.default_rng(0)
    y = np.eye(4, dtype=bool)[np.arange(24) % 4]
    if not exclusive:
        y = y | (rng.random(y.shape) < 0.3)
    target = make_target(TargetConfig.model_validate({"name": name}), 4, exclusive=exclusive)
    target.fit(y)
    metric = task_metric(target, y, exclusive=exclusive)
    second = "macro_f1" if exclusive else "macro_pr_auc"
    perfect = target.targets(y) * 9
    views = np.repeat(perfect, 3, axis=0) + rng.standard_normal((72, target.dim)) / 100
    found = metric(views.astype(np.float32))
    assert found.keys() == {"macro_roc_auc", second}
    if name == "logistic":
        assert found == {"macro_roc_auc": 1.0, second: 1.0}
    shuffled = metric(rng.standard_normal((24, target.dim)).astype(np.float32))
    assert shuffled["macro_roc_auc"] < 0.75 < found["macro_roc_auc"]


def test_random_scores_exceed_chance_in_few_cases() -> None:
    rng = np.random.default_rng(0)
    y = rng.random((53, 12)) < 0.2
    bound = chance_auc(y)
    assert bound is not None
    values = [macro(roc_auc(y, rng.random(y.shape))) for _ in range(400)]
    assert 0.5 < bound < 0.6
    assert 0.005 < np.mean(np.array(values) > bound) < 0.05
    assert chance_auc(np.ones((1, 3), dtype=bool)) is None
    assert chance_auc(np.eye(2, dtype=bool)[:, [0, 0, 1]]) is not None


def curve(metrics: list[float], best: int, n_train: int = 900, n_val: int = 100) -> Curve:
    return {
        "epochs": epochs([1.0] * len(metrics), metrics),
        "best_epoch": best,
        "n_train": n_train,
        "n_val": n_val,
        "chance_auc": 0.55,
    }


def test_verdicts() -> None:
    assert verdicts(curve([0.6, 0.7, 0.8], 3)) == []
    assert verdicts(curve([0.5, 0.51, 0.53], 3)) == [
        "is at chance on validation (ROC-AUC .51 of 100 rows; chance reaches .55)"
    ]
    [first] = verdicts(curve([0.7, 0.6], 1))
    assert first.startswith("was best at the first of 2 evaluations")
    few = verdicts(curve([0.7, 0.8], 2, n_train=31, n_val=6))
    assert few[0] == "learned from 31 training rows only"
    assert few[1] == "was selected on 6 validation rows only: a matter of luck"
    # Curves of older versions, of selection by loss, and without an epoch.
    assert verdicts({"epochs": epochs([2.0, 1.0]), "best_epoch": 2}) == []
    assert verdicts({"epochs": [], "best_epoch": 0}) == []
