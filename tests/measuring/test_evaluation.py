"""From scores to the rows of a result table."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mmgenre.items.labels import LabelSpace
from mmgenre.measuring import metrics
from mmgenre.measuring.evaluation import result, seed_report, summarise
from mmgenre.measuring.results import headline_metric

NAMES = ("Blues", "Jazz", "Rock")


def scored(
    n: int, seed: int, *, exclusive: bool, noise: float = 1.0
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    y = np.eye(3, dtype=bool)[rng.integers(3, size=n)] if exclusive else rng.random((n, 3)) < 0.4
    return y, y + noise * rng.standard_normal((n, 3))


@pytest.mark.parametrize("exclusive", [True, False])
def test_a_row_holds_metrics_of_each_seed_their_spread_and_an_interval(exclusive: bool) -> None:
    y, first = scored(150, 0, exclusive=exclusive)
    others = [first + np.random.default_rng(k).normal(0, 0.5, first.shape) for k in (1, 2)]
    scores = [first, *others]
    thresholds = [None] * 3 if exclusive else [0.5, 0.6, 0.7]
    has_input = np.arange(150) >= 4
    row = result(y, scores, thresholds, LabelSpace(NAMES, exclusive), has_input, seed=0)
    assert (row["n_items"], row["n_without_input"]) == (150, 4)
    for s, t, got in zip(scores, thresholds, row["per_seed"], strict=True):
        assert got == metrics.evaluate(y, s, NAMES, exclusive=exclusive, threshold=t)
    name = headline_metric(exclusive=exclusive)
    assert name == ("macro_f1" if exclusive else "macro_roc_auc")
    values = [m[name] for m in row["per_seed"]]
    mean = sum(values) / 3
    assert row["summary"][name]["mean"] == pytest.approx(mean)
    deviation = (sum((v - mean) ** 2 for v in values) / 2) ** 0.5
    assert row["summary"][name]["std"] == pytest.approx(deviation)
    assert list(row["intervals"]) == [name]
    low, high = row["intervals"][name]
    assert low < values[0] < high
    assert 0.02 < high - low < 0.3
    json.dumps(row, allow_nan=False)


def test_an_interval_narrows_with_the_items_and_follows_its_seed() -> None:
    widths = []
    for n in (50, 2000):
        y, scores = scored(n, 3, exclusive=False)
        labels = LabelSpace(NAMES, False)
        rows = [result(y, [scores], [0.5], labels, np.ones(n, bool), seed=k) for k in (0, 0, 1)]
        intervals = [row["intervals"]["macro_roc_auc"] for row in rows]
        assert intervals[0] == intervals[1] != intervals[2]
        widths.append(intervals[0][1] - intervals[0][0])
    assert widths[1] < 0.4 * widths[0]


def test_a_perfect_score_gives_one() -> None:
    for exclusive in (True, False):
        y, scores = scored(60, 4, exclusive=exclusive, noise=0.0)
        thresholds = [None if exclusive else 0.5]
        labels = LabelSpace(NAMES, exclusive)
        row = result(y, [scores], thresholds, labels, np.ones(60, bool), seed=0)
        name = headline_metric(exclusive=exclusive)
        assert row["summary"][name] == {"mean": 1.0, "std": 0.0}
        assert row["intervals"][name] == (1.0, 1.0)


def test_a_task_without_a_metric_has_no_interval() -> None:
    y = np.ones((5, 3), bool)  # no negative anywhere: no AUC
    scores = np.random.default_rng(0).random((5, 3))
    row = result(y, [scores], [0.5], LabelSpace(NAMES, False), y[:, 0], seed=0)
    assert row["intervals"] == {}
    assert "macro_roc_auc" not in row["summary"]
    assert row["per_seed"][0]["macro_roc_auc"] is None


def test_only_scalars_with_a_value_at_every_seed_are_summarised() -> None:
    per_seed: list[dict[str, Any]] = [
        {"f1": 0.2, "auc": None, "ap": 0.5, "n_items": 7, "per_label": {}, "one": 1.0},
        {"f1": 0.4, "auc": 0.5, "ap": None, "n_items": 7, "per_label": {}, "one": 1.0},
    ]
    summary = summarise(per_seed)
    assert set(summary) == {"f1", "one"}
    assert summary["f1"]["mean"] == pytest.approx(0.3)
    assert summary["f1"]["std"] == pytest.approx(0.02**0.5)
    assert summary["one"] == {"mean": 1.0, "std": 0.0}
    assert summarise(per_seed[:1])["f1"] == {"mean": 0.2, "std": 0.0}


@pytest.mark.parametrize("exclusive", [True, False])
def test_a_seed_s_report_is_part_of_its_metrics(exclusive: bool) -> None:
    y, scores = scored(70, 6, exclusive=exclusive)
    y[:, 0] = False  # Blues is on no item, so that some figures do not exist
    if exclusive:
        keep = y.any(axis=1)
        y, scores = y[keep], scores[keep]
    found: dict[str, Any] = metrics.evaluate(
        y, scores, NAMES, exclusive=exclusive, threshold=None if exclusive else 0.5
    )
    report = seed_report(found, seed=4)
    assert (report["seed"], report["n_items"]) == (4, len(y))
    assert list(report["per_label"]) == list(NAMES)
    ranked = {"roc_auc", "pr_auc"}
    for name, own in report["per_label"].items():
        assert set(own) == {"support", "precision", "recall", "f1"} | (
            set() if exclusive else ranked
        )
        for key, value in own.items():
            whole = found["per_label"][name][key]
            assert value == (None if whole is None else pytest.approx(whole, abs=1e-6))
    assert report["per_label"]["Blues"]["f1"] is None
    kinds = {"macro", "weighted"} if exclusive else {"macro", "weighted", "micro"}
    assert set(report["averages"]) == kinds
    for kind, figures in report["averages"].items():
        for key, value in figures.items():
            assert value == pytest.approx(found[f"{kind}_{key}"], abs=1e-6)
    assert report["confusion_matrix"] == found.get("confusion_matrix")
    assert (report["confusion_matrix"] is not None) == exclusive
    assert report["threshold"] == (None if exclusive else 0.5)
    assert (report["accuracy"] is not None) == exclusive
    json.dumps(report, allow_nan=False)
