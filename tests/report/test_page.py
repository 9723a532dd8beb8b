"""The page on made-up runs: sections, escaping, determinism, what is missing."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, cast

import pytest
from test_tables import GENRES, SIGNAL, TOP, TREE, learning_curve, made_fusion

from mmgenre.errors import MmgenreError
from mmgenre.items.modalities import MODALITIES, TEXT
from mmgenre.measuring.results import FusionResult, RunResult
from mmgenre.report import render, write_report
from mmgenre.report.page import SECTIONS

HOSTILE = '<script>alert("1")</script>'


def made_run(fusions: list[FusionResult], names: list[str]) -> RunResult:
    counts = {name: int(900 / (k + 1)) for k, name in enumerate(names)}
    return {
        "run": "default",
        "made_by": "mmgenre 0.1.0",
        "notes": [],
        "recipe": {
            "seed": 1,
            "audio": {"network": "low-4x70", "sample_rate_hz": 22050, "excerpt_s": 15.0},
            "text": {"vocabulary": 10000, "entities": None},
            "fusion": {"inputs": ["audio", "text", "image"], "head": "logistic"},
        },
        "dataset": {
            "name": "synthetic",
            "synthetic": True,
            "n_items": 1600,
            "splits": {"train": 1200, "val": 160, "test": 240},
            "modalities": {
                "audio": {"train": 1150, "val": 151, "test": 231},
                "text": {"train": 1020, "val": 140, "test": 200},
                "image": {"train": 1188, "val": 158, "test": 238},
            },
            "label_counts": counts,
            "given": [],
            "refused": [
                {
                    "id": f"album-{k:04d}",
                    "modality": "audio" if k % 3 else "image",
                    "code": "truncated" if k % 3 else "unreadable",
                    "detail": "media/x.mp3: 1.2 s of audio, 30.0 s declared; is the copy whole?",
                }
                for k in range(14)
            ],
        },
        "encoders": {
            m: {
                "network": f"{m} network",
                "n_parameters": 1234567,
                "embedding_dim": 2048,
                "curve": learning_curve(9),
            }
            for m in SIGNAL
        },
        "fusions": fusions,
    }


@pytest.fixture(scope="module")
def two_fusions() -> RunResult:
    """One genre an item among 15, and overlapping labels of a two-level tree, in one run."""
    single = made_fusion("genre", GENRES, exclusive=True)
    tree = made_fusion("tree", TREE, exclusive=False, n_seeds=2, sizes=(1, 3))
    return made_run([single, tree], GENRES)


@pytest.fixture(scope="module")
def page(two_fusions: RunResult) -> str:
    return render(two_fusions)


class Page(HTMLParser):
    """Fails on a tag that is not closed in order; collects what the tests ask for."""

    VOID = frozenset({"meta", "br", "wbr", "img"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names), (tag, names)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open, tag
        assert self.open.pop() == tag, self.getpos()
        self.text += " " if tag in ("th", "td") else ""

    def handle_data(self, data: str) -> None:
        self.text += data

    def values(self, name: str) -> list[str]:
        return [value for _, attribute, value in self.attributes if attribute == name]


def test_the_page_is_well_formed_and_loads_nothing(page: str) -> None:
    parsed = Page(page)
    ids = parsed.values("id")
    assert len(ids) == len(set(ids))
    targets = [h[1:] for h in parsed.values("href") if h.startswith("#")]
    assert set(targets) <= set(ids)
    clips = re.findall(r"url\(#([^)]*)\)", page)
    assert clips
    assert set(clips) <= set(ids)
    loading = [*parsed.values("src"), *parsed.values("href"), *re.findall(r"url\((.*?)\)", page)]
    assert all(
        value.startswith(("#", "data:image/png;base64,", "data:image/jpeg;base64,"))
        for value in loading
    )
    assert not re.findall(r"https?://|@import", page)
    assert parsed.tags["script"] == 1
    (policy,) = (v for v in parsed.values("content") if v.startswith("default-src 'none'"))
    code = re.findall(r"<script>(.*?)</script>", page, flags=re.S)[0]
    assert base64.b64encode(hashlib.sha256(code.encode()).digest()).decode() in policy
    assert all(s for t, n, s in parsed.attributes if t == "svg" and n == "aria-label")
    assert parsed.tags["svg"] == len(
        [n for t, n, _ in parsed.attributes if (t, n) == ("svg", "role")]
    )
    assert all(scope in ("col", "row", "rowgroup") for scope in parsed.values("scope"))
    assert len(parsed.values("scope")) == parsed.tags["th"]


def test_every_section_is_there(page: str) -> None:
    text = " ".join(Page(page).text.split())
    order = [
        "default",
        "Audio + text + image: macro F1 0.",
        "audio A 0.",
        "audio + text + image A+T+I 0.",
        "Macro F1 of each set of modalities, ",
        "; lines: 95 % intervals",
        "The catalogue is synthetic; these figures show that the code works",
        "1,600 items (1,200 train, 160 val, 240 test), 15 labels, audio for 1,532",
        "tree: Audio + text + image: macro ROC-AUC 0.",
        "How sure genreMeasured on",
        "All figures of 8 rows",
        "Items with every modality (n = ",
        "All test items (n = 240)",
        "What each modality adds",
        "audio alone 0.",
        "Where it is right and wrong",
        "F1 of each genre",
        "New Age 0 not measured",
        "Confusion matrix",
        "1 of 15 labels cannot be measured (no test item has them): New Age.",
        "ROC-AUC of each genre",
        "Learning curves",
        "1,234,567 parameters, 2,048-d, best epoch",
        "Items of each split",
        "Refused inputs: 14",
        "audio: truncated 9, image: unreadable 5",
        "album-0013",
        "How it was made",
        'audio network "low-4x70" sample_rate_hz 22050',
        "What this page leaves out, and why",
        "Words, places on covers, covers that look alike, map of albums",
        "Not computed for this page. Run: mmgenre report RUN",
        "Made by mmgenre 0.1.0",
    ]
    place = 0
    for part in order:
        place = text.find(part, place)
        assert place >= 0, f"{part!r} is not where it belongs"
    taken = page[page.index(">predicted<") :]
    assert re.findall(r"<bdi>(.*?)</bdi></th><td", taken)[0] in GENRES
    assert page.count("<svg") == 1 + 3 + 9 + 6  # a confusion matrix, and learning curves


def sections(page: str) -> list[str]:
    found = Page(page).attributes
    return [value for tag, name, value in found if (tag, name) == ("section", "id")]


def test_sections_come_in_the_order_of_the_list_and_empty_ones_are_left_out(page: str) -> None:
    shown = ["sure", "adds", "genres", "curves", "dataset", "refused", "origin"]
    assert sections(page) == shown == [name for name in SECTIONS if name in shown]
    links = [v for t, n, v in Page(page).attributes if (t, n) == ("a", "href")]
    assert links == ["#content", "#refused", *(f"#{name}" for name in shown)]


def with_statistics(fusion: FusionResult) -> FusionResult:
    """With the figures that a fusion has of its labels, artists and pairs of rows."""
    found: dict[str, Any] = copy.deepcopy(dict(fusion))
    metric = "macro_f1" if fusion["exclusive"] else "macro_roc_auc"
    names = [row["name"] for row in fusion["rows"]]
    whole = found["rows"][-2]["complete"]  # behind it stands the joint space
    whole["n_groups"] = 57
    few: dict[str, Any] = {metric: {"mean": 0.25, "std": 0.0}}
    whole["buckets"] = [
        {"name": name, "n_labels": 5, "n_train": [k, k + 9], "summary": few}
        for k, name in enumerate(("head", "middle", "tail"))
    ]
    whole["levels"] = [{"name": "parents", "raw": few, "closed": few}]
    found["baselines"] = {
        "random": {"summary": {metric: {"mean": 0.125, "std": 0.0}}},
        "commonest": {"summary": {metric: {"mean": 0.0625, "std": 0.0}}},
    }
    pair = {"metric": metric, "value": 0.05, "low": 0.01, "high": 0.09, "p": 0.01, "p_holm": 0.04}
    found["differences"] = {
        "complete": [
            {"a": "A+T+I", "b": "A+T", "verdict": "better", **pair},
            {"a": "T+I", "b": "A+T+I", "verdict": "better", **pair},
            {"a": "A+T+I", "b": "A+I", "verdict": "not distinguishable", **pair},
            {"a": "A", "b": "T", "verdict": "worse", **pair},
        ]
    }
    assert {"A+T+I", "A+T", "T+I", "A+I"} <= set(names)
    return cast(FusionResult, found)


def test_what_can_be_told_apart_is_said_and_drawn() -> None:
    fusion = with_statistics(made_fusion("genre", GENRES, exclusive=True))
    text = " ".join(Page(render(made_run([fusion], GENRES))).text.split())
    order = [
        "; dashed: random scores (0.125); dotted: always the commonest (0.062).",
        "of 57 artists",
        "A+T+I is better than A+T. A+T+I is not distinguishable from A+I. A+T+I is worse than T+I.",
        "All 4 pairs of rows",
        "T+I A+T+I +0.050 +0.010 to +0.090 0.040 better",
        "audio alone 0.",
        "−5.0 points −9.0 to −1.0 worse",  # T+I is better than the whole
        "text alone 0.",
        "+5.0 points +1.0 to +9.0 not distinguishable",
        "Frequent and rare genres head 5 labels of 0 to 9 training items 0.250",
        "Broad and narrow genres",
        "parents as scored 0.250",
    ]
    place = 0
    for part in order:
        place = text.find(part, place)
        assert place >= 0, f"{part!r} is not where it belongs"
    small = {**fusion, "too_small": "2 test artists; 7 of 9 genres cannot be measured"}
    page = render(made_run([cast(FusionResult, small)], GENRES))
    told = "Too few test items to say much: 2 test artists; 7 of 9 genres cannot be measured."
    assert f'<p class="headline">{told}</p>' in page


def test_the_fusion_that_the_recipe_asks_for_comes_first(two_fusions: RunResult) -> None:
    run = copy.deepcopy(two_fusions)
    run["recipe"] = {"labels": {"task": "multi"}, "fusion": {"head": "cosine"}}
    headline = re.findall(r'<p class="headline">(.*?)</p>', render(run))
    assert len(headline) == 1
    assert "macro ROC-AUC" in headline[0]


def test_the_same_result_gives_the_same_bytes(two_fusions: RunResult) -> None:
    """Also in another process, with other hash seeds, and whatever was drawn before."""
    small: RunResult = {**two_fusions, "fusions": []}
    code = (
        "import json, sys; from mmgenre.report import render; print(render(json.load(sys.stdin)));"
        "print(sorted({'torch', 'rich', 'matplotlib.pyplot'} & set(sys.modules)), file=sys.stderr)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(small),
        capture_output=True,
        encoding="utf-8",
        check=True,
        env={"PYTHONHASHSEED": "5", "PYTHONUTF8": "1"},
    )
    assert found.stdout.rstrip("\n") == render(small)
    assert found.stderr.strip() == "[]"  # nothing that is slow to load or keeps a global state


def test_what_comes_from_the_data_is_escaped() -> None:
    names = [
        HOSTILE,
        '日本 $x^2$ & "quotes"',
        "\x00\ud800 bell\x07",
        "x" * 300,
        "</svg>",
        "{{ 7*7 }}",
    ]
    run = made_run([made_fusion(HOSTILE, names, exclusive=True, n_seeds=1, sizes=(1, 3))], names)
    run["run"] = run["made_by"] = run["dataset"]["name"] = HOSTILE
    run["recipe"] = {HOSTILE: {HOSTILE: HOSTILE}, "x": HOSTILE}
    run["encoders"] = {HOSTILE: next(iter(run["encoders"].values()))}
    run["encoders"][HOSTILE]["network"] = HOSTILE
    run["dataset"]["splits"] = {HOSTILE: 3}
    run["dataset"]["modalities"] = {HOSTILE: {HOSTILE: 3}}
    run["dataset"]["refused"] = [dict.fromkeys(("id", "modality", "code", "detail"), HOSTILE)]
    run["fusions"][0]["head"] = HOSTILE
    for row in run["fusions"][0]["rows"]:
        row["name"] = HOSTILE
        row["inputs"] = [HOSTILE] * len(row["inputs"])
    page = render(run)
    page.encode("utf-8")
    parsed = Page(page)
    assert parsed.tags["script"] == 1
    assert "<script>alert" not in page
    assert parsed.text.count(HOSTILE) > 15
    assert "{{ 7*7 }}" in parsed.text
    assert "\x00" not in page
    assert page.count("日本 $x^2$ &amp; ") > 2  # as text, also in the figures


def test_hundreds_of_labels_are_cut_in_figures_and_whole_in_the_table() -> None:
    names = [f"{TOP[k % 8]}/Sub {k}" for k in range(250)]
    run = made_run(
        [
            made_fusion(
                "m", names, exclusive=True, n_seeds=1, n_items=100, joint=False, sizes=(1, 3)
            )
        ],
        names,
    )
    run["encoders"] = {}
    text = " ".join(Page(render(run)).text.split())
    assert "The 40 labels with the most test items; the table below has all 250." in text
    assert "counts are left out above 40 labels" in text
    assert "One seed, so there is no deviation over seeds" in text
    assert "±" not in text
    table = text[text.index("All 250 labels as a table") : text.index("Confusion matrix")]
    assert all(f"{name} " in table for name in names)


def test_what_is_missing_is_said() -> None:
    run = made_run([], [])
    run["encoders"], run["recipe"] = {}, {}
    run["dataset"] = {
        "name": "bare",
        "synthetic": False,
        "n_items": 0,
        "splits": {},
        "modalities": {},
        "label_counts": {},
        "given": [],
        "refused": [],
    }
    text = Page(render(run)).text
    for part in (
        "No fusion has been evaluated yet",
        "no splits",
        "recorded no recipe",
    ):
        assert part in text
    assert sections(render(run)) == ["dataset", "origin"]
    assert "synthetic;" not in text


def test_a_curve_of_steps_is_drawn_over_steps() -> None:
    fusion = made_fusion("m", GENRES[:4], exclusive=True, n_seeds=1, sizes=(1, 3))
    result = made_run([fusion], GENRES[:4])
    for epoch in result["encoders"]["audio"]["curve"]["epochs"]:
        epoch["step"] = 1000 * epoch["epoch"]
    best = result["encoders"]["audio"]["curve"]["best_epoch"]
    text = " ".join(Page(render(result)).text.split())
    assert f"best step {best:,},000 of 9,000" in text
    assert f"best epoch {best} of 9" in text  # the other encoders


def test_null_metrics_and_missing_parts_render() -> None:
    fusion = made_fusion("m", GENRES[:4], exclusive=True, n_seeds=1, sizes=(1, 3))
    for row in fusion["rows"]:
        row["complete"] = None
        row["curve"] = {"epochs": [], "best_epoch": 0}
        row["all"]["summary"] = {"macro_f1": {"mean": None, "std": None}}  # type: ignore[typeddict-item]
        row["all"]["intervals"] = {}
        row["all"]["per_seed"][0].update(
            confusion_matrix=None, left_out_of_f1=[], left_out_of_auc=[]
        )
    empty: FusionResult = {**copy.deepcopy(fusion), "rows": [], "joint": None}
    text = " ".join(Page(render(made_run([fusion, empty], GENRES[:4]))).text.split())
    for part in ("macro F1 does not exist here", "the test split has none", "no epoch recorded",
                 "This fusion has no rows yet"):  # fmt: skip
        assert part in text, part
    assert "Confusion matrix" not in text


def test_rows_and_marks_come_in_the_order_of_modalities() -> None:
    fusion = made_fusion("m", GENRES[:4], exclusive=True, n_seeds=1, joint=False)
    fusion["rows"].reverse()
    page = render(made_run([fusion], GENRES[:4]))
    picture = re.findall(r'<ul class="dots">.*?</ul>', page, flags=re.S)[0]
    names = re.findall(r"<small><bdi>(.*?)</bdi>", picture)
    assert names == ["A", "T", "I", "A+T", "A+I", "T+I", "A+T+I"]
    assert page.index("> <bdi>A</bdi></span>") < page.index("> <bdi>I</bdi></span>")  # legend
    own = fusion["rows"][0]["complete"]
    assert own
    for figures in own["per_seed"][0]["per_label"].values():
        figures["f1"] = None
    assert '<ul class="dots labels">' in page
    assert '<ul class="dots labels">' not in render(made_run([fusion], GENRES[:4]))


def test_write_report_is_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MmgenreError, match=r"metrics\.json: not there.*mmgenre fuse --run"):
        write_report(tmp_path)
    source = tmp_path / "metrics.json"
    source.write_text("{")
    with pytest.raises(MmgenreError, match="not valid JSON"):
        write_report(tmp_path)
    source.write_text("{}")
    with pytest.raises(
        MmgenreError, match="lacks dataset, encoders, fusions, made_by, notes, recipe, run"
    ):
        write_report(tmp_path)
    older = copy.deepcopy(made_fusion("m", GENRES[:3], exclusive=True, n_seeds=1, sizes=(1,)))
    del older["differences"]  # type: ignore[misc]
    source.write_text(json.dumps(made_run([older], GENRES)))
    with pytest.raises(MmgenreError, match=r"lacks fusions\.differences; was it written by anoth"):
        write_report(tmp_path)
    run = made_run([], GENRES)
    source.write_text(json.dumps(run))
    target = write_report(tmp_path)
    assert target == tmp_path / "report.html"
    assert target.read_text(encoding="utf-8") == render(run)
    before = target.read_bytes()
    monkeypatch.setattr("mmgenre.report.page.render", lambda result, found, steps: "\ud800")
    with pytest.raises(UnicodeEncodeError):
        write_report(tmp_path)
    assert target.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["metrics.json", "report.html"]


def test_a_further_modality_has_the_colour_and_the_place_of_its_line(
    two_fusions: RunResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    lyrics = replace(TEXT, name="lyrics", short="l", colour="#123456", marker="P")
    monkeypatch.setitem(MODALITIES, "lyrics", lyrics)
    run = copy.deepcopy(two_fusions)
    data = run["dataset"]["modalities"]
    run["dataset"]["modalities"] = {"zither": data["text"], "lyrics": data["text"], **data}
    for row in run["fusions"][0]["rows"]:
        if row["inputs"] == ["image"]:
            row["inputs"] = ["lyrics"]
    page = render({**run, "fusions": run["fusions"][:1]})
    assert "text for 1,360, image for 1,584, lyrics for 1,360, zither for 1,360" in page
    for picture in ("dots", "dots adds", "dots labels"):
        drawn = re.findall(rf'<ul class="{picture}">.*?</ul>', page, flags=re.S)[0]
        assert ("background:#123456" in drawn) is (picture != "dots adds")  # the whole lacks lyrics
