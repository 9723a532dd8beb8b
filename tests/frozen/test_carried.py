"""Frozen models go along with a run, under the strictest of their licences."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import Call
from small import SIZES, Small

from mmgenre.errors import BundleError, WeightsError
from mmgenre.frozen.licences import of_models, strictest, strictness
from mmgenre.fusion.prediction import Prediction
from mmgenre.fusion.tagger import GenreTagger
from mmgenre.items.manifest import Manifest
from mmgenre.pipeline.commands import extract_features, fuse
from mmgenre.pipeline.export import export_model
from mmgenre.pipeline.notes import run_notes
from mmgenre.pipeline.run import open_run

LICENCES = {"bert": "mit", "dinov2": "cc-by-nc-4.0"}


@pytest.mark.parametrize(
    ("freer", "stricter"),
    [
        ("apache-2.0", "gpl-3.0"),
        ("mit", "cc-by-sa-4.0"),
        ("cc-by-4.0", "cc-by-nc-4.0"),
        ("cc-by-sa-4.0", "dinov3-license"),
        ("openrail", "cc-by-nc-sa-4.0"),
        ("gpl-3.0", "cc-by-nc-nd-4.0"),
        ("llama3", "Some-Non-Commercial-License"),
        ("cc-by-nc-4.0", None),
    ],
)
def test_the_stricter_licence_holds(freer: str, stricter: str | None) -> None:
    assert strictness(freer) < strictness(stricter)
    for order in ([freer, stricter], [stricter, freer]):
        assert strictest(order) == (stricter or "not stated")


def test_nothing_is_stored_where_there_is_no_model() -> None:
    assert of_models([]) == {}


@pytest.fixture(scope="module")
def models(tiny: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder, found = tmp_path_factory.mktemp("own"), {}
    for name, licence in LICENCES.items():
        found[name] = Path(shutil.copytree(tiny[name], folder / name))
        (found[name] / "README.md").write_text(f"---\nlicense: {licence}\n---\n", "utf-8")
    return found


@pytest.fixture(scope="module")
def run(small: Small, models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "run"
    settings = [
        *SIZES,
        f"text.encoders=['dir:{models['bert']}']",
        f"image.encoders=['descriptors', 'dir:{models['dinov2']}']",
    ]
    what: dict[str, Any] = {"modalities": ["text", "image"], "recipe": "quick"}
    extract_features(small.manifest, run=folder, settings=settings, workers=1, **what)
    fuse(["text", "image"], run=folder, with_frozen=True)
    return folder


def predictions(run: Path, small: Small, **how: Any) -> list[Prediction]:
    found = GenreTagger.from_pretrained(run, **how).predict_manifest(
        Manifest.read(small.manifest), workers=1
    )
    return found[0]


@pytest.mark.slow
def test_a_run_predicts_where_its_models_are_not(
    run: Path, small: Small, models: dict[str, Path], tmp_path: Path
) -> None:
    expected = predictions(run, small)
    elsewhere = Path(shutil.copytree(run, tmp_path / "run"))  # where nothing is allowed
    away = [path.rename(path.with_suffix(".away")) for path in models.values()]
    try:
        found = predictions(elsewhere, small)
        assert [p.id for p in found] == [p.id for p in expected]
        for one, other in zip(found, expected, strict=True):
            assert [g.name for g in one.genres] == [g.name for g in other.genres]
            np.testing.assert_allclose(
                [g.score for g in one.genres], [g.score for g in other.genres], atol=1e-6
            )
        [tokenizer] = elsewhere.glob("frozen/*/vocab.txt")
        tokenizer.write_bytes(tokenizer.read_bytes() + b"\nlove")
        with pytest.raises(WeightsError, match=r"frozen/.*holds another model than"):
            GenreTagger.from_pretrained(elsewhere)
        shutil.rmtree(elsewhere / "frozen")
        with pytest.raises(BundleError, match="which the model names and you did not"):
            GenreTagger.from_pretrained(elsewhere)
        named = [f"dir:{path}" for path in models.values()]
        with pytest.raises(WeightsError, match="no such folder"):
            GenreTagger.from_pretrained(elsewhere, allow=named)
    finally:
        for path in away:
            path.rename(path.with_suffix(""))


@pytest.mark.slow
def test_an_exported_model_predicts_without_run_and_models(
    run: Path, small: Small, models: dict[str, Path], tmp_path: Path
) -> None:
    expected = predictions(run, small)
    lean = export_model(run, tmp_path / "lean")
    whole = export_model(run, tmp_path / "whole", with_frozen=True)
    assert "| dir:" in (whole / "README.md").read_text("utf-8")
    assert 'license: "cc-by-nc-4.0"' in (whole / "README.md").read_text("utf-8")
    away = [path.rename(path.with_suffix(".away")) for path in models.values()]
    try:
        found = predictions(Path(shutil.copytree(whole, tmp_path / "elsewhere/whole")), small)
        assert [p.id for p in found] == [p.id for p in expected]
        for one, other in zip(found, expected, strict=True):
            of_run = {genre.name: genre.score for genre in other.genres}
            assert {g.name: g.score for g in one.genres} == pytest.approx(of_run, abs=1e-6)
        with pytest.raises(WeightsError, match="no such folder"):
            predictions(lean, small, allow=[f"dir:{path}" for path in models.values()])
    finally:
        for path in away:
            path.rename(path.with_suffix(""))


@pytest.mark.slow
def test_licences_are_told_stored_and_kept(run: Path, small: Small, call: Call) -> None:
    notes = "\n".join(run_notes(open_run(run)))
    assert "bert: licence mit (free to use)" in notes
    assert "dinov2: licence cc-by-nc-4.0 (not for commercial use)" in notes
    assert "under the strictest: cc-by-nc-4.0 (not for commercial use)" in notes
    [fusion] = (run / "fusion").glob("*/fusion.json")
    stored = json.loads(fusion.read_text("utf-8"))["frozen"]
    assert stored["licence"] == "cc-by-nc-4.0"
    config = json.loads((fusion.parent / "model" / "config.json").read_text("utf-8"))["config"]
    assert config["frozen"] == stored
    assert {m["licence"] for m in stored["models"]} == set(LICENCES.values())
    assert all(len(m["sha256"]) == 64 and "revision" in m for m in stored["models"])
    assert GenreTagger.from_pretrained(run).licence == "cc-by-nc-4.0"
    assert GenreTagger.from_pretrained(small.run).licence is None
    done = call("predict", run, "--text", small.manifest)
    assert "licence of the frozen models: cc-by-nc-4.0" in done.err
    page = call("report", run)
    assert page.code == 0, page.err
    assert "under the strictest: cc-by-nc-4.0" in (run / "report.html").read_text("utf-8")


@pytest.mark.slow
def test_carrying_again_copies_nothing(run: Path) -> None:
    def times() -> dict[str, int]:
        return {str(p): p.stat().st_mtime_ns for p in run.glob("frozen/*/*")}

    before = times()
    assert len(before) > 6
    fuse(["text", "image"], run=run, with_frozen=True)
    assert times() == before
