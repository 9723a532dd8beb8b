"""What a run hands on: tables, LaTeX, citations, suspects; and settings as Python gives them."""

from __future__ import annotations

import csv
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from command_line import Call
from sliced import make_sliced
from small import NAME, Small

from mmgenre.errors import ManifestError, MmgenreError, RecipeError
from mmgenre.items.item import SPLITS
from mmgenre.pipeline.as_settings import as_settings
from mmgenre.pipeline.cite import cited
from mmgenre.pipeline.recipe import merge, parse_setting
from mmgenre.pipeline.run import open_run
from mmgenre.pipeline.scores import read_scores
from mmgenre.pipeline.slices import UNKNOWN, slices
from mmgenre.pipeline.suspects import suspects
from mmgenre.pipeline.tidy import write_tables


@pytest.fixture(scope="module")
def sliced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sliced(tmp_path_factory.mktemp("sliced"))


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_items_metrics_and_latex_say_what_the_scores_say(small: Small, tmp_path: Path) -> None:
    run = open_run(small.run)
    names = {path.name for path in write_tables(run, tmp_path / "tables")}
    latex = {"steps.tex", f"{NAME}-all.tex", f"{NAME}-complete.tex"}
    assert names == {"items.csv", "metrics.csv", "steps.csv", *latex}
    scores = read_scores(small.run / "fusion" / NAME)
    items = {row["id"]: row for row in rows_of(tmp_path / "tables" / "items.csv")}
    assert set(items) == {i for split in SPLITS for i in run.manifest.ids(split)}
    for k, item_id in enumerate(scores.ids):
        own, values = items[item_id], scores.values[k, -1].mean(axis=0)
        assert own["split"] == "test"
        assert own["row"] == "A+T+I"
        assert own["top_1"] == scores.about["labels"][int(values.argmax())]
        assert float(own["score_1"]) == pytest.approx(values.max(), rel=1e-5)
        top = sorted(values, reverse=True)
        assert float(own["margin"]) == pytest.approx(top[0] - top[1], rel=1e-3, abs=1e-6)
        assert own["truth"].split(";")[0] in run.labels().names
    figures = rows_of(tmp_path / "tables" / "metrics.csv")
    found = [
        float(row["value"])
        for row in figures
        if (row["kind"], row["row"], row["items"], row["metric"], row["label"])
        == ("seed", "A+T+I", "all", "macro_roc_auc", "")
    ]
    wanted = [m["macro_roc_auc"] for m in small.result["rows"][-1]["all"]["per_seed"]]
    assert found == pytest.approx(wanted, rel=1e-5)
    table = (tmp_path / "tables" / f"{NAME}-all.tex").read_text(encoding="utf-8")
    assert table.count(r"\begin{tabular}") == table.count(r"\toprule") == 1
    assert len(re.findall(r" \\\\$", table, re.MULTILINE)) == 1 + len(small.result["rows"])
    assert not re.search(r"(?<!\\)[%#]|±", table)


def test_metrics_have_means_buckets_levels_and_differences(small: Small, tmp_path: Path) -> None:
    write_tables(open_run(small.run), tmp_path)
    figures = rows_of(tmp_path / "metrics.csv")
    result = small.result["rows"][-1]["all"]

    def values(kind: str, **where: str) -> list[float]:
        wanted = {"kind": kind, "row": "A+T+I", "items": "all", **where}
        return [float(r["value"]) for r in figures if all(r[k] == v for k, v in wanted.items())]

    assert result["buckets"]
    for bucket in result["buckets"]:
        [value] = values("bucket", part=bucket["name"], metric="macro_roc_auc")
        assert value == pytest.approx(bucket["summary"]["macro_roc_auc"]["mean"], rel=1e-5)
    assert [level["name"] for level in result["levels"]] == ["parents", "leaves", "all"]
    for level in result["levels"]:
        for kind, own in (("level", level["raw"]), ("closed", level["closed"])):
            found = values(kind, part=level["name"], metric="macro_f1")
            wanted = [own["macro_f1"]["mean"]] if "macro_f1" in own else []
            assert found == pytest.approx(wanted, rel=1e-5)
    apart = [row for row in figures if row["kind"] == "difference"]
    pairs = [d for own in small.result["differences"].values() for d in own]
    assert len(apart) == len(pairs) > 0
    for row, d in zip(apart, pairs, strict=True):
        assert (row["row"], row["less"], row["metric"]) == (d["a"], d["b"], d["metric"])
        told = [float(row[name]) for name in ("value", "low", "high", "p_holm")]
        assert told == pytest.approx([d["value"], d["low"], d["high"], d["p_holm"]], rel=1e-5)


def test_items_have_folds_and_slices(sliced: Path, tmp_path: Path, call: Call) -> None:
    out = ("--out", tmp_path)
    done = call("tables", sliced, *out, "--by", "language", "--by", "year")
    assert done.code == 0
    run = open_run(sliced)
    items = {row["id"]: row for row in rows_of(tmp_path / "items.csv")}
    assert len(items) == len(run.manifest)
    artists: dict[tuple[str, str], set[str]] = {}
    for item_id, row in items.items():
        item = run.manifest[item_id]
        assert row["split"] == item.split
        assert (row["fold"] == "") == (item.split == "test")
        assert row["slice_language"] == (item.extra.get("language") or UNKNOWN)
        low, high = map(float, row["slice_year"].split(" to "))
        assert low <= float(item.extra["year"]) <= high
        assert (row["top_1"] == row["score_1"] == row["margin"] == "") == (item.split == "train")
        artists.setdefault((row["split"], item.artist), set()).add(row["fold"])
    assert all(len(folds) == 1 for folds in artists.values())
    assert {row["fold"] for row in items.values() if row["split"] == "train"} == set("01234")
    in_slices = {one["name"]: one["n_items"] for one in slices(run, "year", on="val")["slices"]}
    of_val = Counter(row["slice_year"] for row in items.values() if row["split"] == "val")
    assert in_slices == of_val


@pytest.mark.parametrize(
    ("by", "fault"),
    [
        (["country"], "--by country: no item of .* has a value of it; .*: language, one, year"),
        (["year", "year"], "--by year: is given twice"),
    ],
)
def test_columns_that_cannot_be_cut_are_refused(
    sliced: Path, tmp_path: Path, by: list[str], fault: str
) -> None:
    with pytest.raises(MmgenreError, match=fault):
        write_tables(open_run(sliced), tmp_path / "t", by=by)
    assert not (tmp_path / "t").exists()


def test_heads_that_learn_from_all_at_once_have_no_folds(small: Small, tmp_path: Path) -> None:
    write_tables(open_run(small.run), tmp_path)
    folds = {(row["split"], row["fold"] != "") for row in rows_of(tmp_path / "items.csv")}
    assert folds == {("train", False), ("val", True), ("test", False)}


def test_a_fusion_that_is_not_there_is_named(small: Small, tmp_path: Path) -> None:
    with pytest.raises(MmgenreError, match=rf"has no fusion other; there are: {re.escape(NAME)}"):
        write_tables(open_run(small.run), tmp_path, "other")


def test_what_to_cite(small: Small, call: Call) -> None:
    found = cited(open_run(small.run), ["mumu", "fma"])
    assert [e.key for e in found.entries] == [
        "oramas2018multimodal", "mmgenre", "mumu-1", "mumu-2", "fma-1",
    ]  # fmt: skip
    done = call("cite", small.run)
    assert done.code == 0
    assert "10.5334/tismir.10" in done.out
    assert "% dataset " in done.out  # a manifest does not say what it was built from
    assert call("cite", small.run, "--json").json["entries"][0]["key"] == "oramas2018multimodal"
    with pytest.raises(ManifestError, match="no such dataset; did you mean mumu"):
        cited(open_run(small.run), ["mumuu"])


def test_every_card_can_be_cited() -> None:
    from mmgenre.datasets.sources import card_names, load_card
    from mmgenre.pipeline.cite import _work

    for name in card_names():
        for k, text in enumerate(load_card(name).citation):
            entry = _work(name, k, text).bibtex
            assert entry.count("{") == entry.count("}")
            assert re.match(rf"@\w+\{{{name}-{k},\n", entry)
            assert "title = {{" in entry


def test_an_encoder_that_has_seen_the_labels_has_no_say(small: Small) -> None:
    with pytest.raises(MmgenreError, match="its encoder has seen these labels"):
        suspects(open_run(small.run))


@pytest.mark.parametrize(
    "given",
    [
        {"text.training.max_epochs": 3},
        {"text": {"training": {"max_epochs": 3}}},
        {"image.weights": "none", "fusion.refit": True},
        {"audio.encoders": ["cnn", "hf:a/b"], "split.ratios": (0.5, 0.25, 0.25)},
        {"image": {"weights": "3"}},
    ],
)
def test_a_dict_of_settings_means_what_it_says(given: dict[str, object]) -> None:
    def flat(values: dict[str, object], above: str = "") -> dict[str, object]:
        found: dict[str, object] = {}
        for key, value in values.items():
            own = f"{above}{key}"
            found |= flat(value, f"{own}.") if isinstance(value, dict) else {own: value}
        return found

    read = merge({}, *map(parse_setting, as_settings(given)))
    wanted = {k: list(v) if isinstance(v, tuple) else v for k, v in flat(given).items()}
    assert flat(read) == wanted


@pytest.mark.parametrize("value", [None, {1}, float("nan"), np.float32(1.0)])
def test_a_value_without_a_form_in_a_recipe_is_refused(value: object) -> None:
    with pytest.raises(RecipeError, match=r"setting fusion\.x: .* has no form in a recipe"):
        as_settings({"fusion": {"x": value}})


def test_a_text_is_no_list_of_settings() -> None:
    with pytest.raises(RecipeError, match="give a list of these, or a dict"):
        as_settings("image.weights=none")
