"""Runs of the version before encoders had names: opened with a clear message, nothing deleted."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from small import SETTINGS, Small

from mmgenre.disk.records import write_record
from mmgenre.errors import MmgenreError, OlderRunWarning, RecipeError
from mmgenre.pipeline.commands import extract_features
from mmgenre.pipeline.run import open_run


def contents(folder: Path) -> set[str]:
    """Of all files but the notes on which of them were checked."""
    files = (p for p in folder.rglob("*") if p.is_file() and p.suffix != ".checked")
    return {hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture
def older(small: Small, tmp_path: Path) -> Path:
    """A run folder as version 0.1 left it."""
    run = tmp_path / "run"
    small.copy(run / "inputs", only="inputs")
    small.copy(run / "encoders", only="encoders")
    for record in (run / "inputs").glob("*.media.h5"):
        record.unlink()
    (run / "fusion" / "multi-logistic-t").mkdir(parents=True)
    (run / "fusion" / "multi-logistic-t" / "metrics.json").write_text("{}", encoding="utf-8")
    (run / "metrics.json").write_text("{}", encoding="utf-8")
    recipe = json.loads((small.run / "run.json").read_text(encoding="utf-8"))["recipe"]
    for section in ("audio", "text", "image"):
        del recipe[section]["encoders"], recipe[section]["options"]
    recipe["text"]["encoder"] = "vsm"
    state = {"dataset": str(small.manifest), "recipe": recipe}
    (run / "run.json").write_text(json.dumps(state), encoding="utf-8")
    return run


def test_an_older_run_is_refused_by_name_until_it_is_extracted_again(older: Path) -> None:
    before = contents(older)
    with pytest.raises(MmgenreError, match=r"made by an older version.*extract-features --run"):
        open_run(older)
    assert contents(older) == before


def test_inputs_are_used_again_and_nothing_is_deleted(
    older: Path, small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(older)
    with pytest.raises(MmgenreError, match=f"add: --manifest {small.manifest}"):
        extract_features(run=older, modalities=("text",))
    assert contents(older) == before
    monkeypatch.setattr("mmgenre.reading.extraction.read_parts", None)  # nothing is read
    with pytest.warns(
        OlderRunWarning, match=r"Used again: .*inputs/. Made again: encoders, fusion"
    ):
        extract_features(small.manifest, run=older, modalities=("text",))
    assert before <= contents(older)
    assert (older / "made-by-older-version" / "encoders" / "audio").is_dir()
    assert open_run(older).recipe.of("text").encoders == ("vsm",)
    extract_features(run=older, modalities=("text",))  # without a warning


def test_settings_that_are_no_more_are_named(older: Path) -> None:
    state = json.loads((older / "run.json").read_text(encoding="utf-8"))
    state["recipe"]["image"]["embedding_precision"] = "int8"
    (older / "run.json").write_text(json.dumps(state), encoding="utf-8")
    before = contents(older)
    with pytest.raises(RecipeError, match="int8 was removed in this version"):
        extract_features(run=older)
    assert contents(older) == before
    assert (older / "encoders").is_dir()


def test_a_newer_run_is_refused_by_name(small: Small, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    state = json.loads((small.run / "run.json").read_text(encoding="utf-8"))
    write_record(run / "run.json", {**state, "format": 4})
    for call in (lambda: open_run(run), lambda: extract_features(run=run)):
        with pytest.raises(MmgenreError, match=r"newer version of mmgenre \(format 4"):
            call()


def test_a_run_outlives_the_manifest_it_was_made_from(small: Small, tmp_path: Path) -> None:
    source = tmp_path / "m.csv"
    text = small.manifest.read_text(encoding="utf-8")
    source = small.manifest.with_name("gone-later.csv")
    source.write_text(text, encoding="utf-8")
    run = tmp_path / "run"
    small.copy(run / "inputs", only="inputs")
    extract_features(source, run=run, modalities=("text",), recipe="quick", settings=SETTINGS)
    source.unlink()
    extract_features(run=run, modalities=("text",))
    with pytest.raises(MmgenreError, match=r"(?s)gone-later\.csv.*no such file"):
        extract_features(run=run, modalities=("text",), settings=["seed=5"])
