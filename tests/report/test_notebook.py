"""What notebooks show of runs, fusions and predictions: small, escaped, without torch."""

from __future__ import annotations

import json
from pathlib import Path

from test_page import HOSTILE, Page, made_run
from test_tables import GENRES, made_fusion

from mmgenre.errors import Refusal
from mmgenre.fusion.prediction import Genre, Prediction
from mmgenre.pipeline.commands import Extraction
from mmgenre.pipeline.fused import fused
from mmgenre.report.notebook import fusion_html, run_html


def test_a_fusion_has_a_row_for_each_set_of_modalities() -> None:
    fusion = made_fusion(HOSTILE, GENRES, exclusive=True)
    html = fusion_html(fusion)
    page = Page(html)
    assert page.tags["tr"] == 1 + 7  # without the joint space
    assert page.tags["script"] == 0
    assert HOSTILE in page.text
    mean = fusion["rows"][0]["complete"]["summary"]["macro_f1"]["mean"]  # type: ignore[index]
    assert f"width:{100 * mean:.2f}%" in html
    assert f"{mean:.3f} ± " in page.text
    assert len(html) < 5000


def test_what_fuse_returns_is_a_dict_that_shows_itself() -> None:
    fusion = made_fusion("genre", GENRES[:4], exclusive=True, n_seeds=1, sizes=(1,), joint=False)
    shown = fused(fusion)
    assert shown == fusion
    assert json.loads(json.dumps(shown)) == json.loads(json.dumps(fusion))
    assert shown._repr_html_() == fusion_html(fusion)  # type: ignore[attr-defined]


def test_a_run_shows_what_is_measured_or_what_to_do(tmp_path: Path) -> None:
    assert "metrics.json: not there, so nothing is measured yet" in Page(run_html(tmp_path)).text
    fusion = made_fusion("genre", GENRES, exclusive=True, n_seeds=1, sizes=(1,), joint=False)
    (tmp_path / "metrics.json").write_text(json.dumps(made_run([fusion], GENRES)))
    text = Page(run_html(tmp_path)).text
    assert "1,600 items of synthetic" in text
    assert "genre: " in text


def test_a_prediction_shows_its_genres_and_what_it_names() -> None:
    genres = (Genre(HOSTILE, 0.75), *(Genre(f"g{k}", 0.1) for k in range(9)))
    html = Prediction(HOSTILE, "probability", genres, (HOSTILE,), ("audio",))._repr_html_()
    page = Page(html)
    assert (page.tags["tr"], page.tags["strong"], page.tags["script"]) == (6, 1, 0)
    assert "width:75.0%" in html
    unsure = Prediction("a", "probability", genres, (), ("audio",), unsure="<b>strange</b>")
    assert "Unsure: <b>strange</b>" in Page(unsure._repr_html_()).text


def test_an_extraction_shows_counts_and_notes(tmp_path: Path) -> None:
    refused = (Refusal("a", "audio", "missing", "x"),)
    shown = Extraction(tmp_path, tmp_path, {"audio": 1200}, refused, (HOSTILE,))._repr_html_()
    page = Page(shown)
    assert "audio of 1,200 items; 1 inputs refused" in page.text
    assert HOSTILE in page.text
    assert page.tags["script"] == 0
