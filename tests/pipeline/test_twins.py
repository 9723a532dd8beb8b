"""A run looks for near twins among what it has read, notes those in two splits, and pays once."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from command_line import Call
from PIL import Image
from tunes import RATE_HZ, tune

from mmgenre.audio import fingerprint as recordings
from mmgenre.disk.allowed import allow, allow_media
from mmgenre.disk.store import FeatureStore
from mmgenre.image import fingerprint as pictures
from mmgenre.pipeline import twins
from mmgenre.pipeline.commands import extract_features
from mmgenre.pipeline.measure import evaluate
from mmgenre.pipeline.run import open_run

SETTINGS = ["image.encoders=['descriptors']", "audio.encoders=['statistics']"]
NOTE = (
    "1 pair(s) of items in two splits seem to have the same {}, edited or not, so that figures may "
    "flatter: {}; mmgenre manifest check {}/manifest.csv lists all"
)


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 items in three splits. Item 8 (test) has the cover of 1 (train), 9 the sound of 0."""
    folder = tmp_path_factory.mktemp("catalogue")
    rows = ["id,artist,split,labels,image,audio"]
    for k in range(12):
        rng = np.random.default_rng({8: 1}.get(k, k))
        grey = Image.fromarray(rng.integers(0, 255, (16, 16, 3), np.uint8)).resize((200, 200))
        (grey.crop((5, 5, 195, 195)) if k == 8 else grey).save(folder / f"{k}.png")
        sound = tune({9: 0}.get(k, k), 12)
        soundfile.write(folder / f"{k}.flac", sound * (0.2 if k == 9 else 1), RATE_HZ)
        split = ("train", "val", "test")[k // 4]
        rows.append(f"{k},A{k},{split},{('Rock', 'Jazz')[k % 2]},{k}.png,{k}.flac")
    (folder / "items.csv").write_text("\n".join(rows))
    return folder / "items.csv"


@pytest.fixture(scope="module")
def finished(catalogue: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    made = extract_features(catalogue, run=folder, settings=SETTINGS, workers=1)
    assert [note for note in made.notes if "pair(s)" in note] == expected(folder)
    return folder


@pytest.fixture
def run(finished: Path, catalogue: Path, tmp_path: Path) -> Path:
    copy = Path(shutil.copytree(finished, tmp_path / "run"))
    allow_media(copy / "manifest.csv", [catalogue.parent])
    allow(copy, [str(catalogue)])
    return copy


def expected(run: Path) -> list[str]:
    return [
        NOTE.format("recording", "0 (train) and 9 (test)", run),
        NOTE.format("cover", "1 (train) and 8 (test)", run),
    ]


def noted(run: Path) -> list[str]:
    return [note for note in extract_features(run=run, workers=1).notes if "pair(s)" in note]


def never(*_: Any) -> Any:
    raise AssertionError("compared again")


def no_search(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (pictures, recordings):
        monkeypatch.setattr(module, "twins_in", never)


def test_twins_are_noted_by_commands_and_in_what_the_page_shows(run: Path, call: Call) -> None:
    said = call("extract-features", "--run", run).out
    for note in expected(run):
        assert f"note: {note}" in said
    assert [note for note in evaluate(open_run(run))["notes"] if "pair(s)" in note] == expected(run)
    checked = call("manifest", "check", run / "manifest.csv")
    assert checked.code == 1
    assert "leak: similar cover '1 ~ 8' in train and test: 1, 8" in checked.out
    assert "leak: similar audio '0 ~ 9' in train and test: 0, 9" in checked.out


def test_nothing_is_compared_again(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_search(monkeypatch)
    before = (run / twins.FILE).stat().st_mtime_ns
    assert noted(run) == expected(run)
    assert (run / twins.FILE).stat().st_mtime_ns == before


def test_a_run_that_cannot_be_written_is_searched_all_the_same(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run / twins.FILE).unlink()
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and access(path, mode))
    assert noted(run) == expected(run)
    assert not (run / twins.FILE).exists()


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{", '{"image": 3}', '{"image": {"made_from": [], "pairs": [[1, 2]], "note": 3}}'],
)
def test_a_damaged_file_is_made_again(run: Path, content: str) -> None:
    (run / twins.FILE).write_text(content)
    assert list(twins.twin_notes(open_run(run))) == []
    assert noted(run) == expected(run)


def test_fingerprints_are_those_of_the_rows_and_are_made_once(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name in ((pictures, "image"), (recordings, "audio")):
        with FeatureStore(run / "inputs" / f"{name}.h5", name) as store:
            made = module.prints_of([store.read(row_id) for row_id in store.ids])
            assert list(store.prints(module.PRINTS)) == made
            assert all(made)
        monkeypatch.setattr(module, "fingerprint", never)
    (run / twins.FILE).unlink()
    assert noted(run) == expected(run)


def test_inputs_of_before_without_fingerprints_are_compared(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (pictures, recordings):
        monkeypatch.setattr(module, "PRINTS", "of another version")
    (run / twins.FILE).unlink()
    assert noted(run) == expected(run)


def test_only_what_was_read_anew_is_compared_again(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "twins_in", never)
    kept = json.loads((run / twins.FILE).read_text())
    kept["audio"]["made_from"] = [twins.VERSION, "of other inputs"]
    kept["audio"]["pairs"] = [["0", "4"], ["gone", "5"]]
    (run / twins.FILE).write_text(json.dumps(kept))
    assert noted(run) == expected(run)


def test_twins_within_a_split_are_not_noted(catalogue: Path, tmp_path: Path) -> None:
    text = (
        catalogue.read_text().replace("8,A8,test", "8,A8,train").replace("9,A9,test", "9,A9,train")
    )
    (moved := catalogue.with_name("moved.csv")).write_text(text)
    folder = tmp_path / "run"
    made = extract_features(moved, run=folder, settings=SETTINGS, workers=1)
    assert not [note for note in made.notes if "pair(s)" in note]
    assert json.loads((folder / twins.FILE).read_text())["image"]["pairs"] == [["1", "8"]]


def test_a_catalogue_too_large_is_said(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MOST", 5)
    (run / twins.FILE).unlink()
    notes = list(extract_features(run=run, workers=1).notes)
    assert (
        "12 covers are too many to be compared, which is done up to 5; so covers may be in two "
        "splits without word of it" in notes
    )
