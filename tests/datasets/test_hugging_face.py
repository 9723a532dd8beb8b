"""Audiofolders and imagefolders of Hugging Face, and datasets of mirdata."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from published_layouts import by_id, faults, make_hf, noted, touch

from mmgenre.datasets import mirdata_sets
from mmgenre.datasets.hugging_face import read_hugging_face
from mmgenre.datasets.mirdata_sets import read_mirdata
from mmgenre.errors import ManifestError


def test_tables_in_folders_of_splits(tmp_path: Path) -> None:
    published = read_hugging_face(make_hf(tmp_path))
    items = by_id(published)
    first, second, third = (items[i] for i in ("train/a.wav", "train/b.wav", "test/c.wav"))
    assert first.media == {
        "audio": (tmp_path / "train" / "a.wav",),
        "image": (tmp_path / "train" / "train0.png",),
    }
    assert (first.split, first.labels, first.artist) == ("train", ("Rock",), "One")
    assert first.extra == {"mood": "calm"}
    assert second.media == {"audio": (tmp_path / "train" / "b.wav",)}
    assert (third.split, third.labels) == ("test", ("Rock", "R&B|Soul"))
    assert third.media["text"] == ("loud",)


def test_one_table_with_its_own_splits(tmp_path: Path) -> None:
    touch(tmp_path, "x/1.jpg", "x/2.jpg")
    rows = [{"file_name": "x/1.jpg", "label": "Rock", "split": "validation"}]
    rows.append({"file_name": "x/2.jpg", "split": "train"})
    rows.append({"file_name": "x/3.jpg", "label": "Pop"})
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    published = read_hugging_face(tmp_path)
    assert {i: item.split for i, item in by_id(published).items()} == {
        "x/1.jpg": "val",
        "x/2.jpg": "train",
        "x/3.jpg": None,
    }
    assert noted(published, "no genre").startswith("1 items")
    assert noted(published, "are not there").startswith("1 files")


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('{"file_name": "a.jpg", "x_file_name": "b.jpg"}', "line 1: several images"),
        ('{"file_name": "a.doc"}', "line 1: file_name 'a.doc': neither audio, image nor .txt"),
        ('{"genre": "Rock"}', "line 1: no file_name"),
        ("[1]", "line 1: expected an object"),
        ("{", "line 1: no JSON"),
        ('{"file_name": "c.jpg"}', "none of the files that the tables name is there"),
        ('{"file_name": "a.jpg"}\n{"file_name": "a.jpg"}', "1 files are in the tables twice"),
    ],
)
def test_faults(tmp_path: Path, table: str, words: str) -> None:
    touch(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "metadata.jsonl").write_text(table)
    found = faults(read_hugging_face, tmp_path)
    assert any(words in fault for fault in found), found


def test_genres_in_folders_are_another_layout(tmp_path: Path) -> None:
    touch(tmp_path, "train/Rock/a.wav")
    assert "mmgenre manifest build folders" in faults(read_hugging_face, tmp_path)[0]


def stub_mirdata(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Mirdata is not installed here: a module with the part of its face that is used."""
    (folder / "1.wav").touch()
    tracks = {
        "1": SimpleNamespace(audio_path=str(folder / "1.wav"), genre="rock", artist="One"),
        "2": SimpleNamespace(audio_path=None, genre=None, tags=["genre---pop", "mood---sad"]),
    }
    loader = SimpleNamespace(
        load_tracks=lambda: tracks,
        get_track_splits=lambda: {"train": ["1"], "validation": ["2"]},
    )
    module = ModuleType("mirdata")
    vars(module)["list_datasets"] = lambda: ["gtzan_genre", "beatles"]
    vars(module)["initialize"] = lambda name, data_home: loader
    monkeypatch.setitem(sys.modules, "mirdata", module)
    monkeypatch.setattr(mirdata_sets, "find_spec", lambda name: object())


def test_mirdata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub_mirdata(monkeypatch, tmp_path)
    published = read_mirdata(tmp_path, dataset="gtzan_genre")
    first, second = published.items
    assert (first.labels, first.split, first.artist) == (("rock",), "train", "One")
    assert first.media == {"audio": (tmp_path / "1.wav",)}
    assert (second.labels, second.split, second.media) == (("pop",), "val", {})
    with pytest.raises(ManifestError, match="give --dataset one of gtzan_genre, beatles"):
        read_mirdata(tmp_path, dataset="nope")


def test_mirdata_is_an_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirdata_sets, "find_spec", lambda name: None)
    with pytest.raises(ManifestError, match="pip install mirdata"):
        read_mirdata(tmp_path, dataset="gtzan_genre")
