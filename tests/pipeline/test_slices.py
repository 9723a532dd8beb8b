"""A fusion on parts of its items: planted weak parts are found, others are not."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import Call
from sliced import GENRES, make_sliced

from mmgenre.errors import MmgenreError
from mmgenre.measuring.metrics import main_figures
from mmgenre.pipeline.run import open_run
from mmgenre.pipeline.scores import read_scores
from mmgenre.pipeline.slices import REST, UNKNOWN, parted, slices


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sliced(tmp_path_factory.mktemp("slices"))


def test_a_planted_weak_part_is_found(run: Path) -> None:
    found = slices(open_run(run), "language")
    assert [one["name"] for one in found["slices"]] == ["English", "Finnish", UNKNOWN]
    english, finnish, _ = found["slices"]
    assert english["verdict"] == "better"
    assert finnish["verdict"] == "worse"
    assert sum(one["n_items"] for one in found["slices"]) == 90
    for one in found["slices"]:
        figure, low, high = one["figure"], one["low"], one["high"]
        assert figure is not None
        assert low is not None
        assert high is not None
        assert low <= figure <= high
        assert one["n_labels"] == GENRES

    opened = open_run(run)
    scores = read_scores(opened.fusions / found["fusion"], "val")
    kept = [
        k for k, i in enumerate(scores.ids) if opened.manifest[i].extra["language"] == "Finnish"
    ]
    y = opened.truth(scores.ids)[kept]
    figures = main_figures(y, scores.values[kept, -1, 0].astype(float), exclusive=True)
    assert finnish["figure"] == pytest.approx(figures[found["metric"]])


def test_years_are_quarters_that_do_not_differ(run: Path) -> None:
    found = slices(open_run(run), "year")["slices"]
    assert len(found) == 4
    assert found[0]["name"].startswith("1950 to ")
    starts = [float(one["name"].partition(" to ")[0]) for one in found]
    assert starts == sorted(starts)
    assert {one["verdict"] for one in found} == {"not distinguishable"}


def test_rare_values_are_one_slice() -> None:
    values = [f"v{k}" for k in range(22) for _ in range(30 - k)] + [""]
    parts = parted(values)
    assert set(parts) == {*(f"v{k}" for k in range(20)), REST, UNKNOWN}
    assert parts.count(REST) == 10 + 9
    few = parted(["1", "2", "1", "2"])  # numbers, but few
    assert few == ["1", "2", "1", "2"]


def test_what_cannot_be_cut_is_refused(run: Path) -> None:
    opened = open_run(run)
    with pytest.raises(
        MmgenreError, match="a value of 'country'; its columns: language, one, year"
    ):
        slices(opened, "country")
    with pytest.raises(MmgenreError, match="every val item has one 'same'"):
        slices(opened, "one")
    with pytest.raises(MmgenreError, match="has no row A; its rows are v"):
        slices(opened, "language", row="A")


def test_the_command_prints_them(run: Path, call: Call) -> None:
    words = ("slices", str(run), "--by", "language")
    assert call(*words, "--json").json["slices"] == slices(open_run(run), "language")["slices"]
    printed = call(*words).out
    assert "Finnish" in printed
    assert "worse" in printed
