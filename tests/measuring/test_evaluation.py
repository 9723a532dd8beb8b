"""From scores to the rows of a result table."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mmgenre.items.labels import LabelSpace
from mmgenre.measuring import metrics
from mmgenre.measuring.evaluation import (
    Scored,
    baselines,
    differences,
    measure,
    seed_report,
    summarise,
    too_small,
)
from mmgenre.measuring.results import Result, headline_metric
from mmgenre.report.tables import EXCLUSIVE_COLUMNS, OVERLAPPING_COLUMNS

NAMES = ("Blues", "Jazz", "Rock")


def scored(
    n: int, seed: int, *, exclusive: bool, noise: float = 1.0
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    y = np.eye(3, dtype=bool)[rng.integers(3, size=n)] if exclusive else rng.random((n, 3)) < 0.4
    return y, y + noise * rng.standard_normal((n, 3))


def items_of(
    y: NDArray[np.bool_], *, exclusive: bool, names: tuple[str, ...] = NAMES, per_artist: int = 2
) -> Scored:
    groups = [f"artist {k // per_artist}" for k in range(len(y))]
    return Scored(y, LabelSpace(names, exclusive), groups)


def row_of(
    items: Scored, scores: list[NDArray[np.float64]], thresholds: list[float | None]
) -> Result:
    n_train = list(range(1, items.y.shape[1] + 1))
    return measure(items, scores, thresholds, np.ones(len(items.y), bool), n_train).result


@pytest.mark.parametrize("exclusive", [True, False])
def test_a_row_holds_metrics_of_each_seed_their_spread_and_intervals(exclusive: bool) -> None:
    y, first = scored(150, 0, exclusive=exclusive)
    others = [first + np.random.default_rng(k).normal(0, 0.5, first.shape) for k in (1, 2)]
    scores = [first, *others]
    thresholds: list[float | None] = [None] * 3 if exclusive else [0.5, 0.6, 0.7]
    has_input = np.arange(150) >= 4
    items = items_of(y, exclusive=exclusive)
    row = measure(items, scores, thresholds, has_input, [30, 20, 10]).result
    assert (row["n_items"], row["n_groups"], row["n_without_input"]) == (150, 75, 4)
    for s, t, got in zip(scores, thresholds, row["per_seed"], strict=True):
        assert got == metrics.evaluate(y, s, NAMES, exclusive=exclusive, threshold=t)
    name = headline_metric(exclusive=exclusive)
    assert name == ("macro_f1" if exclusive else "macro_roc_auc")
    values = [m[name] for m in row["per_seed"]]
    mean = sum(values) / 3
    assert row["summary"][name]["mean"] == pytest.approx(mean)
    deviation = (sum((v - mean) ** 2 for v in values) / 2) ** 0.5
    assert row["summary"][name]["std"] == pytest.approx(deviation)
    for metric, (low, high) in row["intervals"].items():
        assert low <= row["summary"][metric]["mean"] <= high, metric
        assert 0.01 < high - low < 0.4, metric
    json.dumps(row, allow_nan=False)


@pytest.mark.parametrize("exclusive", [True, False])
def test_every_column_of_a_table_has_an_interval_but_for_diversity(exclusive: bool) -> None:
    y, scores = scored(150, 0, exclusive=exclusive)
    row = row_of(items_of(y, exclusive=exclusive), [scores], [None if exclusive else 0.5])
    shown = EXCLUSIVE_COLUMNS if exclusive else OVERLAPPING_COLUMNS
    assert {name for name in shown if not name.startswith("adiv")} <= set(row["intervals"])


def test_an_interval_narrows_with_the_artists() -> None:
    widths = []
    for n, per_artist in ((50, 2), (2000, 2), (2000, 80)):
        y, scores = scored(n, 3, exclusive=False)
        items = items_of(y, exclusive=False, per_artist=per_artist)
        low, high = row_of(items, [scores], [0.5])["intervals"]["macro_roc_auc"]
        widths.append(high - low)
    assert widths[1] < 0.3 * widths[0]
    assert widths[1] < widths[2] * 1.5


def test_a_perfect_score_gives_one_and_is_as_sure_as_there_are_artists() -> None:
    for exclusive in (True, False):
        y, scores = scored(60, 4, exclusive=exclusive, noise=0.0)
        items = items_of(y, exclusive=exclusive)
        row = row_of(items, [scores], [None if exclusive else 0.5])
        name = headline_metric(exclusive=exclusive)
        assert row["summary"][name] == {"mean": 1.0, "std": 0.0}
        low, high = row["intervals"][name]
        assert high == 1
        assert low == pytest.approx(0.025 ** (1 / 30))


def test_a_task_without_a_metric_has_no_interval() -> None:
    y = np.ones((5, 3), bool)  # no negative anywhere: no AUC
    scores = np.random.default_rng(0).random((5, 3))
    row = row_of(items_of(y, exclusive=False), [scores], [0.5])
    assert "macro_roc_auc" not in row["intervals"]
    assert "macro_roc_auc" not in row["summary"]
    assert row["per_seed"][0]["macro_roc_auc"] is None


def test_rows_are_told_apart_where_they_can_be() -> None:
    y, good = scored(300, 0, exclusive=False, noise=0.7)
    rng = np.random.default_rng(1)
    rows = {
        "good": good,
        "as good": y + 0.7 * rng.standard_normal(y.shape),
        "bad": y + 3 * rng.standard_normal(y.shape),
    }
    items = items_of(y, exclusive=False)
    has = np.ones(300, bool)
    found = differences(
        {name: measure(items, [s], [0.5], has, [3, 2, 1]) for name, s in rows.items()},
        items.blocks,
    )
    told = {(d["a"], d["b"], d["metric"]): d["verdict"] for d in found}
    for metric in ("macro_roc_auc", "macro_pr_auc", "hamming_loss"):
        assert told["good", "as good", metric] == "not distinguishable"
        assert told["good", "bad", metric] == "better"
        assert told["as good", "bad", metric] == "better"
    for d in found:
        assert d["low"] <= d["value"] <= d["high"]
        assert d["p"] <= d["p_holm"] <= min(1, 3 * d["p"])


def test_guessing_is_a_row() -> None:
    y, _ = scored(400, 5, exclusive=False)
    found = baselines(items_of(y, exclusive=False), [9, 5, 1], seed=0)
    random, commonest = found["random"]["summary"], found["commonest"]["summary"]
    assert random["macro_roc_auc"]["mean"] == pytest.approx(0.5, abs=0.05)
    assert random["macro_pr_auc"]["mean"] == pytest.approx(
        random["macro_prevalence"]["mean"], abs=0.06
    )
    assert commonest["macro_roc_auc"]["mean"] == 0.5
    assert commonest["macro_pr_auc"]["mean"] == pytest.approx(random["macro_prevalence"]["mean"])
    assert commonest["sample_recall"]["mean"] == pytest.approx(  # one genre, "Blues", is named
        np.mean(y[:, 0] / np.maximum(y.sum(axis=1), 1))
    )
    y, _ = scored(400, 5, exclusive=True)
    found = baselines(items_of(y, exclusive=True), [9, 5, 1], seed=0)
    assert found["commonest"]["summary"]["accuracy"]["mean"] == pytest.approx(y[:, 0].mean())
    assert found["random"]["summary"]["accuracy"]["mean"] == pytest.approx(1 / 3, abs=0.05)


def test_what_is_too_small_is_said() -> None:
    y, _ = scored(60, 0, exclusive=True)
    assert too_small(items_of(y, exclusive=True)) is None
    assert too_small(items_of(y, exclusive=True, per_artist=30)) == (
        "2 test artists; 0 of 3 genres cannot be measured"
    )
    y[:, 1:] = False
    y[:5, 0] = False
    said = too_small(items_of(y, exclusive=True))
    assert said == "30 test artists; 2 of 3 genres cannot be measured"


def test_labels_are_measured_by_how_common_they_are() -> None:
    names = tuple(f"genre {k}" for k in range(9))
    rng = np.random.default_rng(0)
    y = rng.random((300, 9)) < 0.3
    scores = y * np.linspace(0, 4, 9) + rng.standard_normal((300, 9))  # the later, the better
    items = items_of(y, exclusive=False, names=names)
    counts = [90, 80, 70, 60, 50, 40, 30, 20, 10]
    row = measure(items, [scores], [0.5], np.ones(300, bool), counts).result
    assert [b["name"] for b in row["buckets"]] == ["head", "middle", "tail"]
    assert [b["n_train"] for b in row["buckets"]] == [(70, 90), (40, 60), (10, 30)]
    per_label = row["per_seed"][0]["per_label"]
    for bucket, own in zip(row["buckets"], (names[:3], names[3:6], names[6:]), strict=True):
        mean = np.mean([per_label[name]["roc_auc"] for name in own])
        assert bucket["summary"]["macro_roc_auc"]["mean"] == pytest.approx(mean)
    assert row_of(items_of(y[:, :3], exclusive=False), [scores[:, :3]], [0.5])["buckets"] == []


def test_levels_of_a_taxonomy_are_measured_raw_and_closed() -> None:
    names = ("Jazz", "Jazz/Bop", "Jazz/Swing", "Rock")
    rng = np.random.default_rng(0)
    y = rng.random((200, 4)) < 0.3
    y[:, 0] |= y[:, 1] | y[:, 2]
    scores = 2.0 * y + rng.standard_normal((200, 4))
    row = row_of(items_of(y, exclusive=False, names=names), [scores], [1.0])
    levels = {level["name"]: level for level in row["levels"]}
    assert {name: level["n_labels"] for name, level in levels.items()} == {
        "parents": 1, "leaves": 3, "all": 4
    }  # fmt: skip
    parent = np.maximum(scores[:, 0], scores[:, 1:3].max(axis=1))
    closed = levels["parents"]["closed"]["macro_roc_auc"]["mean"]
    assert closed == pytest.approx(metrics.roc_auc(y[:, :1], parent[:, None])[0])
    assert closed != levels["parents"]["raw"]["macro_roc_auc"]["mean"]
    assert levels["leaves"]["closed"] == levels["leaves"]["raw"]
    whole = row["summary"]
    assert levels["all"]["raw"]["macro_f1"]["mean"] == pytest.approx(whole["macro_f1"]["mean"])


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
