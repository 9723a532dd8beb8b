"""From a folder of tagged music to genres: two commands, items without a genre included."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from command_line import Call
from music import cover, make_sound, tag

from mmgenre.datasets import build
from mmgenre.errors import MmgenreError
from mmgenre.items.manifest import Manifest
from mmgenre.pipeline.commands import extract_features, fuse
from mmgenre.pipeline.music import FolderChoice, manifest_of_folder
from mmgenre.pipeline.run import open_run

SETTINGS = ["text.encoders=['linear']", "audio.encoders=['statistics']", "fusion.cross_fit=2"]


def make_music(folder: Path) -> Path:
    """Twelve artists with two tracks each, of two genres; one track of every third has none."""
    for number in range(12):
        genre = ("Rock", "Jazz")[number % 2]
        words = ("loud guitars and drums", "quiet horns and strings")[number % 2]
        for track in (1, 2):
            path = make_sound(folder / f"Artist {number}" / f"{track}.flac", hz=220.0 + 50 * number)
            own = [] if number % 3 == 0 and track == 2 else [genre]
            lyrics = f"{words} of song {number} {track}"
            tag(path, artist=f"Artist {number}", album="First", genre=own, lyrics=lyrics)
    tag(folder / "Artist 1" / "1.flac", cover(1))
    return folder


def test_from_a_folder_to_genres(tmp_path: Path, call: Call) -> None:
    music, run = make_music(tmp_path / "music"), tmp_path / "run"
    (music / "broken.mp3").write_bytes(b"\x01" * 200)
    how = ["-m", "t", "--run", run, "--workers", 1]
    how += [part for setting in SETTINGS for part in ("--set", setting)]
    done = call("extract-features", music, *how)
    assert done.code == 0, done.err
    assert "24 with text" in done.out
    assert "5 of 25 items have no genre" in done.out
    assert "1 file(s) with faults: 1 tags cannot be read" in done.out
    splits = open_run(run).manifest.splits
    bare = {i for i, split in splits.items() if split is None}
    assert bare == {f"Artist {n}/2.flac" for n in (0, 3, 6, 9)} | {"broken.mp3"}
    fused = call("fuse", "-m", "t", "--run", run)
    assert fused.code == 0, fused.err
    (file,) = run.glob("fusion/*/predictions.csv")
    assert f"genres of the items that had none: {file}" in fused.out
    with file.open(newline="") as table:
        rows = {row["id"]: row for row in csv.DictReader(table)}
    assert set(rows) == bare - {"broken.mp3"}  # of which nothing is there
    assert {row["best"] for row in rows.values()} <= {"Rock", "Jazz"}
    assert all(row["from"].startswith("text") for row in rows.values())


def test_built_once_and_anew_when_a_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    music, run = make_music(tmp_path / "music"), tmp_path / "run"
    file = manifest_of_folder(music, run)
    first = file.read_text()

    def never(*args: object, **how: object) -> None:
        raise AssertionError("built again")

    with monkeypatch.context() as patched:
        patched.setattr(build, "build_manifest", never)
        assert manifest_of_folder(music, run) == file
    tag(music / "Artist 3" / "2.flac", genre="Folk")
    manifest_of_folder(music, run)
    assert "Folk" in file.read_text()
    assert "Folk" not in first
    assert len(Manifest.read(manifest_of_folder(music, run, FolderChoice("album")))) == 12
    assert len(Manifest.read(manifest_of_folder(music, run))) == 12  # it stays by album


def test_an_edited_manifest_is_not_overwritten(tmp_path: Path) -> None:
    music, run = make_music(tmp_path / "music"), tmp_path / "run"
    file = manifest_of_folder(music, run)
    file.write_text(file.read_text().replace("Rock", "Metal"))
    with pytest.raises(MmgenreError, match="edited since it was built"):
        extract_features(music, run=run)
    assert "Metal" in file.read_text()


def test_by_is_of_a_folder(tmp_path: Path, call: Call) -> None:
    assert call("extract-features", "--by", "album", "--run", tmp_path / "r").code == 2
    both = call("extract-features", tmp_path, "--manifest", "m.csv", "--run", tmp_path / "r")
    assert both.code == 2
    with pytest.raises(MmgenreError, match="is of a folder of music"):
        extract_features(tmp_path / "m.csv", by="album", run=tmp_path / "r")


def test_genres_are_mapped_and_items_drawn_as_manifest_build_does(
    tmp_path: Path, call: Call
) -> None:
    music, run = make_music(tmp_path / "music"), tmp_path / "run"
    tag(music / "Artist 3" / "1.flac", genre=["Jazz", "Rare"])
    table = tmp_path / "genres.tsv"
    table.write_text("from\tto\nRock\tMetal\n", encoding="utf-8")
    choice = FolderChoice(genre_map=table, min_items=2, sample=20)
    built = Manifest.read(manifest_of_folder(music, run, choice))
    assert len(built) == 20
    assert {genre for item in built for genre in item.labels} == {"Metal", "Jazz"}
    command = ("manifest", "build", "library", music, "--out", tmp_path / "m.csv")
    done = call(*command, "--map", table, "--min-items", 2, "--sample", 20)
    assert done.code == 0, done.err
    same = Manifest.read(tmp_path / "m.csv")
    assert {i.id: i.labels for i in built} == {i.id: i.labels for i in same}
    again = manifest_of_folder(music, run)  # as in the run
    assert {i.id for i in Manifest.read(again)} == set(built.ids())
    table.write_text("from\tto\nRock\tPunk\n", encoding="utf-8")
    renamed = Manifest.read(manifest_of_folder(music, run))
    assert {genre for item in renamed for genre in item.labels} == {"Punk", "Jazz"}
    table.unlink()
    with pytest.raises(MmgenreError, match=r"genres.tsv: the table .* give it by --map"):
        manifest_of_folder(music, run)
    for option in ("--map", "--min-items", "--sample"):
        wrong = call("extract-features", option, "3", "--run", tmp_path / "r")
        assert wrong.code == 2
        assert f"{option} is of a folder of music" in wrong.err


def test_one_more_item_without_a_genre_leaves_encoders_as_they_are(tmp_path: Path) -> None:
    music, run = make_music(tmp_path / "music"), tmp_path / "run"
    how = {"run": run, "settings": SETTINGS, "modalities": ("text",), "workers": 1}
    extract_features(music, **how)  # type: ignore[arg-type]
    made = (run / "encoders" / "text").stat().st_ino
    path = make_sound(music / "new.flac")
    tag(path, artist="New", lyrics="quiet horns")
    extract_features(music, **how)  # type: ignore[arg-type]
    assert (run / "encoders" / "text").stat().st_ino == made
    fuse(("text",), run=run)
    (file,) = run.glob("fusion/*/predictions.csv")
    assert "new.flac" in file.read_text()
