"""Tidy rows of results, and data frames of whichever library is installed."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any, cast

import pytest

from mmgenre.fusion.prediction import Genre, Prediction
from mmgenre.measuring import frames
from mmgenre.measuring.frames import TIDY, metric_rows, to_frame
from mmgenre.measuring.results import FusionResult


def fusion(**more: Any) -> FusionResult:
    def result(values: list[float]) -> dict[str, Any]:
        seeds = [
            {
                "macro_f1": v,
                "threshold": None,
                "left_out_of_f1": ["Folk"],
                "per_label": {"Jazz": {"support": 3, "f1": v, "roc_auc": None}},
            }
            for v in values
        ]
        spread = {"mean": sum(values) / len(values), "std": 0.1}
        return {
            "n_items": 4, "n_without_input": 0, "per_seed": seeds, "summary": {"macro_f1": spread},
            "intervals": {"macro_f1": (0.2, 0.9)},
            "buckets": [
                {"name": "tail", "n_labels": 3, "n_train": (1, 7), "summary": {"macro_f1": spread}}
            ],
            "levels": [
                {"name": "parents", "n_labels": 2, "raw": {"macro_f1": spread},
                 "closed": {"macro_f1": {"mean": 0.9, "std": 0.0}}}
            ],
        }  # fmt: skip

    rows = [
        {"name": "A", "inputs": ["audio"], "all": result([0.5, 0.7]), "complete": None},
        {"name": "A+T", "inputs": ["audio", "text"], "all": result([0.6, 0.8]),
         "complete": result([1.0, 1.0])},
    ]  # fmt: skip
    own = {"name": "multi", "exclusive": False, "labels": ["Jazz", "Folk"], "seeds": [0, 1]}
    apart = {"a": "A", "b": "A+T", "metric": "macro_f1", "value": -0.1, "low": -0.3, "high": 0.1,
             "p": 0.2, "p_holm": 0.4, "verdict": "not distinguishable"}  # fmt: skip
    own |= {"baselines": {}, "differences": {"all": [apart], "complete": []}}
    return cast(FusionResult, {**own, "rows": rows, **more})


def of_kind(rows: list[dict[str, Any]], kind: str, **where: Any) -> list[dict[str, Any]]:
    wanted = {"kind": kind, **where}
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def test_every_figure_is_a_row_and_what_does_not_exist_is_none() -> None:
    rows = metric_rows(fusion())
    assert all(tuple(row) == TIDY for row in rows)
    seeds = of_kind(rows, "seed")
    assert len(seeds) == 3 * 2 * 3  # results x seeds x (macro_f1, support, f1)
    blank = {"less": "", "part": "", "std": None, "low": None, "high": None, "p_holm": None}
    assert {"fusion": "multi", "kind": "seed", "row": "A", "items": "all", "seed": 1,
            "metric": "macro_f1", "label": "", "value": 0.7, **blank} in rows  # fmt: skip
    assert {"fusion": "multi", "kind": "seed", "row": "A+T", "items": "complete", "seed": 0,
            "metric": "f1", "label": "Jazz", "value": 1.0, **blank} in rows  # fmt: skip
    assert {row["metric"] for row in seeds} == {"macro_f1", "support", "f1"}


def test_means_buckets_levels_and_differences_are_rows() -> None:
    rows = metric_rows(fusion())
    [mean] = of_kind(rows, "mean", row="A", items="all")
    assert mean["value"] == pytest.approx(0.6)
    assert (mean["seed"], mean["std"], mean["low"], mean["high"]) == (None, 0.1, 0.2, 0.9)
    tail = of_kind(rows, "bucket", row="A+T", items="complete", part="tail")
    assert {row["metric"]: row["value"] for row in tail} == {
        "n_labels": 3, "n_train_least": 1, "n_train_most": 7, "macro_f1": 1.0,
    }  # fmt: skip
    [raw] = of_kind(rows, "level", row="A", metric="macro_f1", part="parents")
    [closed] = of_kind(rows, "closed", row="A", metric="macro_f1", part="parents")
    assert (raw["value"], closed["value"]) == (pytest.approx(0.6), 0.9)
    [apart] = of_kind(rows, "difference")
    assert (apart["row"], apart["less"], apart["items"], apart["metric"], apart["value"],
            apart["low"], apart["high"], apart["p_holm"]) == (
        "A", "A+T", "all", "macro_f1", -0.1, -0.3, 0.1, 0.4,
    )  # fmt: skip


def test_one_seed_has_no_deviation() -> None:
    own = fusion(seeds=[0])
    for row in own["rows"]:
        row["all"]["per_seed"] = row["all"]["per_seed"][:1]
    assert {row["std"] for row in of_kind(metric_rows(own), "mean", items="all")} == {None}


def test_baselines_are_rows_like_the_others() -> None:
    random = fusion()["rows"][0]["all"]
    rows = metric_rows(fusion(baselines={"random": random}))
    assert {row["row"] for row in rows} == {"A", "A+T", "random"}


def test_without_a_library_rows_are_dicts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "find_spec", lambda name: None)
    assert to_frame(fusion()) == metric_rows(fusion())
    assert to_frame([fusion(), fusion()]) == 2 * metric_rows(fusion())
    p = Prediction("a", "probability", (Genre("Jazz", 0.9),), ("Jazz",), ("audio", "text"))
    assert to_frame([p]) == [
        {"id": "a", "named": "Jazz", "unsure": None, "used": "audio;text", "genre_1": "Jazz",
         "score_1": 0.9}
    ]  # fmt: skip


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_frame_of_the_library_that_is_there(
    monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    found = ModuleType(library)
    found.DataFrame = lambda rows, **how: (library, rows)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, library, found)
    monkeypatch.setattr(frames, "find_spec", lambda name: True if name == library else None)
    assert to_frame([{"x": 1}]) == (library, [{"x": 1}])


@pytest.mark.parametrize("wrong", ["text", 3, [3], {"x": 1}])
def test_anything_else_is_refused(wrong: object) -> None:
    with pytest.raises(TypeError, match="give what fuse or predict_manifest returns"):
        to_frame(wrong)


def test_a_prediction_says_what_it_is() -> None:
    genres = tuple(Genre(f"g{k}", 0.9 - k / 10) for k in range(5))
    p = Prediction("a", "probability", genres, ("g0",), ("audio",))
    assert repr(p) == "Prediction('a', g0 0.900, g1 0.800, g2 0.700, ...; named g0; from audio)"
