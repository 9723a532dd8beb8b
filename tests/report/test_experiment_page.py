"""The page of an experiment: every row and matrix, what was shared, nothing loaded from outside."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from test_classification import NAMES, made_table
from test_page import HOSTILE, Page

from mmgenre.errors import MmgenreError
from mmgenre.measuring.readable import as_json
from mmgenre.measuring.table_results import TableResult, TableRow
from mmgenre.pipeline.qualitative import make_report
from mmgenre.report.experiment import render_experiment, write_experiment
from mmgenre.report.published import classification

BOLD = re.compile(r'class="key"><strong>(.*?)</strong>')
LOADING = re.compile(r"https?://|@import|\bsrc=|<link|<iframe|<object|url\((?!#)")


def parsed(table: TableResult) -> tuple[Page, str]:
    """The page, well formed and loading nothing, and its text with single spaces."""
    html = render_experiment(table)
    # What is drawn as an image stands in the page itself.
    assert not LOADING.search(html.replace("http-equiv", ""))
    page = Page(html)
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    links = page.values("href")
    assert all(h.startswith(("#", "data:image/png;base64,")) for h in links)
    assert {h[1:] for h in links if h.startswith("#")} <= set(ids)
    return page, " ".join(page.text.split())


def matrices(html: str) -> list[int]:
    """The sum of the counts in every drawn confusion matrix."""
    sums = []
    for svg in re.findall(r'<svg [^>]*aria-label="confusion matrix.*?</svg>', html, flags=re.S):
        # Counts are centred over their cells, unlike names and ticks.
        texts = [t for t in ET.fromstring(svg).iter("text") if "middle" in t.get("style", "")]
        sums.append(sum(int(t.text or "") for t in texts if re.fullmatch(r"\d+", t.text or "")))
    return sums


def failed(row: TableRow) -> TableRow:
    return {**row, "reports": [], "per_seed": [], "summary": {}, "failed": ["seed 0: no disk"]}


def test_every_row_has_its_report_and_its_matrix() -> None:
    table = made_table(NAMES, exclusive=True, n_rows=3, n_seeds=3)
    page, text = parsed(table)
    assert matrices(render_experiment(table)) == [sum(table["n_items"])] * 3
    assert page.tags["svg"] == 3  # matrices
    assert any(value.startswith("rotate(-90") for value in page.values("transform"))
    for k, row in enumerate(table["rows"], 1):
        assert f"row-{k}" in page.values("id")
        assert f"#row-{k}" in page.values("href")
        report = classification(row)
        assert report is not None
        start = text.index(f'image.network = "cnn-{k - 1}"')
        own = text[start : text.index("The most frequent confusions", start)]
        for line in (*report.labels, *report.averages):
            shown = " ".join(str(f) for f in line.figures if f is not None)
            assert f"{line.name} {shown} {line.count}" in own
        assert f"network {k - 1}, 3 seeds added up: 270 predictions" in own
    for part in (
        "A table that was made up",
        "covers/made-up on /somewhere/covers.csv",
        "A note that readers need.",
        "Highest macro F1: network ",
        "90 test items that have every input of the table; mean ± deviation over 3 seeds.",
        "F1 of every label, mean over seeds",
        "Seed 0, 1, 2: 1 of 5 labels cannot be measured (no test item has them): Polka.",
        "3 steps serve 6 uses (train 3 for 6); 1 were made now.",
        "train 3 6 1 61.5",
        ".730",
    ):
        assert part in text, part
    assert "ynthetic" not in text
    assert "Not as published" not in text


def test_the_picture_has_every_row_and_what_was_published() -> None:
    table = made_table(NAMES, exclusive=False, n_rows=3, n_seeds=3)
    table["rows"][1]["summary"] = {}
    picture = re.findall(r'<ul class="dots wide-names">.*?</ul>', render_experiment(table), re.S)[0]
    assert re.findall(r'href="(#row-\d)"', picture) == ["#row-1", "#row-3"]
    assert picture.count('class="beside"') == picture.count("published .730") == 1
    assert "lines: mean ± deviation over seeds; upright: published." in parsed(table)[1]


def test_the_headline_compares_nothing_synthetic_with_what_was_published() -> None:
    table = made_table(NAMES, exclusive=False, n_rows=3, n_seeds=3)
    for row in table["rows"]:
        row["published"] = {"macro_roc_auc": 0.73}
    headline = re.compile(r"Highest macro ROC-AUC: network \d, [^(]+( \(published: \.730\))?\.")
    for synthetic in (False, True):
        found = headline.search(parsed({**table, "synthetic": synthetic})[1])
        assert found
        assert (found[1] is None) == synthetic


def test_what_cannot_be_told_from_the_highest_is_said() -> None:
    table = made_table(NAMES, exclusive=False, n_rows=3)
    means = {row["name"]: row["summary"]["macro_roc_auc"]["mean"] for row in table["rows"]}
    best, other, third = sorted(means, key=lambda name: -means[name])
    pairs = [(other, best, "not distinguishable"), (best, third, "better")]
    for a, b, verdict in pairs:
        table["differences"].append(
            {
                "a": a, "b": b, "metric": "macro_roc_auc", "value": 0.1, "low": 0.0, "high": 0.2,
                "p": 0.01, "p_holm": 0.02, "verdict": verdict,
            }
        )  # fmt: skip
    assert f"{best} is better than {third} and cannot be told from {other}." in parsed(table)[1]
    assert BOLD.findall(render_experiment(table)) == [f"{means[best]:.3f}"[1:]]
    table["differences"][0]["verdict"] = "worse"
    assert f"{best} can be told from every other row." in parsed(table)[1]
    table["differences"].clear()
    assert "told from" not in parsed(table)[1]
    assert BOLD.findall(render_experiment(table)) == []


def test_overlapping_labels_have_rankings_and_no_matrix() -> None:
    table = made_table(NAMES, exclusive=False)
    page, text = parsed(table)
    assert page.tags["svg"] == 0
    assert text.count("A label counts as named from a score of 0.5 on.") == 2
    assert "count a label as named from a score of 0.5 on." in text
    assert "label precision recall F1 ROC-AUC PR-AUC support" in text
    assert "ROC-AUC of every label, mean over seeds" in text
    assert "micro average" in text


def test_synthetic_data_changes_and_faults_are_said() -> None:
    table = made_table(NAMES, exclusive=True)
    table["synthetic"], table["dataset"] = True, "synthetic"
    table["rows"][1] = failed(table["rows"][1])
    table["refused"] = [
        {"id": f"a{k}", "modality": "image", "code": "unreadable", "detail": "x"} for k in range(12)
    ]
    _, text = parsed(table)
    for part in (
        "on the built-in synthetic catalogue",
        "Synthetic data. The built-in catalogue is synthetic and the networks are small",
        "network 1: seed 0: no disk",
        "Nothing was measured.",
        "Refused inputs: 12",
        "image: unreadable 12",
    ):
        assert part in text, part
    table["synthetic"], table["settings"] = False, ["seed=3"]
    assert "Not as published: changed by seed=3." in parsed(table)[1]
    table["rows"][0] = failed(table["rows"][0])
    assert "No row has a figure of macro F1." in parsed(table)[1]


def test_what_comes_from_the_data_is_escaped() -> None:
    table = made_table([*NAMES[:3], "{{ 7*7 }} </svg>", HOSTILE], exclusive=True)
    table["title"] = table["note"] = table["name"] = table["dataset"] = HOSTILE
    table["settings"], table["overlay"] = [HOSTILE], HOSTILE
    table["rows"][0]["name"] = HOSTILE
    table["rows"][1]["failed"] = [HOSTILE]
    table["rows"][0]["changes"] = {HOSTILE: HOSTILE}
    page, text = parsed(table)
    assert page.tags["script"] == 1
    assert text.count(HOSTILE) > 15
    assert "{{ 7*7 }}" in text


@pytest.mark.slow
def test_a_table_of_26_rows_and_32_genres_stays_usable() -> None:
    names = [f"Genre of music number {k}" for k in range(32)]
    table = made_table(names, exclusive=True, n_rows=4, n_seeds=3, n=900)
    html = render_experiment(table)
    assert len(html.encode()) / 4 < 3e6 / 26
    assert matrices(html) == [2700] * 4
    opened = [name for tag, name, _ in Page(html).attributes if (tag, name) == ("details", "open")]
    assert not opened  # all folded: the page is about as long as its table
    assert "F1 of all 32 labels at every row" in html
    two = made_table(NAMES, exclusive=True)
    assert ("details", "open", "") in parsed(two)[0].attributes


def test_everything_is_made_again_from_table_json(tmp_path: Path) -> None:
    with pytest.raises(MmgenreError, match=r"table\.json: not there. Run first: mmgenre run"):
        write_experiment(tmp_path)
    source = tmp_path / "table.json"
    source.write_text("{")
    with pytest.raises(MmgenreError, match="not valid JSON"):
        write_experiment(tmp_path)
    table = made_table(NAMES, exclusive=True)
    old = json.loads(as_json(table))
    del old["threshold"], old["rows"][1]["reports"]
    source.write_text(json.dumps(old))
    with pytest.raises(MmgenreError, match=r"lacks rows\.reports, threshold; was it written by"):
        write_experiment(tmp_path)
    source.write_text(as_json(table), encoding="utf-8")
    assert make_report(tmp_path) == tmp_path / "table.html"
    assert (tmp_path / "table.html").read_text(encoding="utf-8") == render_experiment(table)
    names = ["reports.csv", "reports.md", "table.csv", "table.html", "table.json", "table.md"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    with pytest.raises(MmgenreError, match="an experiment, whose page shows no media"):
        make_report(tmp_path, media=True)
    with pytest.raises(MmgenreError, match="an annotator is compared with a run"):
        make_report(tmp_path, human=tmp_path / "human.csv")


def test_table_json_is_short_lines_and_the_same_data() -> None:
    table = made_table(NAMES, exclusive=True)
    text = as_json(table)
    assert json.loads(text) == table
    assert (
        f'      "Rock": {json.dumps(table["rows"][0]["reports"][0]["per_label"]["Rock"])}' in text
    )
    assert max(len(line) for line in text.splitlines()) < 140
