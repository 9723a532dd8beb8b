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
        return {"n_items": 4, "n_without_input": 0, "per_seed": seeds, "summary": {}}

    rows = [
        {"name": "A", "inputs": ["audio"], "all": result([0.5, 0.7]), "complete": None},
        {"name": "A+T", "inputs": ["audio", "text"], "all": result([0.6, 0.8]),
         "complete": result([1.0, 1.0])},
    ]  # fmt: skip
    own = {"name": "multi", "exclusive": False, "labels": ["Jazz", "Folk"], "seeds": [0, 1]}
    return cast(FusionResult, {**own, "rows": rows, "baselines": {}, **more})


def test_every_figure_is_a_row_and_what_does_not_exist_is_none() -> None:
    rows = metric_rows(fusion())
    assert len(rows) == 3 * 2 * 3  # results x seeds x (macro_f1, support, f1)
    assert all(tuple(row) == TIDY for row in rows)
    assert {"fusion": "multi", "row": "A", "items": "all", "seed": 1, "metric": "macro_f1",
            "label": "", "value": 0.7} in rows  # fmt: skip
    assert {"fusion": "multi", "row": "A+T", "items": "complete", "seed": 0, "metric": "f1",
            "label": "Jazz", "value": 1.0} in rows  # fmt: skip
    assert {row["metric"] for row in rows} == {"macro_f1", "support", "f1"}


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
    found.DataFrame = lambda rows: (library, rows)  # type: ignore[attr-defined]
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
