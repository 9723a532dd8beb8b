"""Covers in a folder a genre: ids, taxonomy, splits, and what is no cover."""

from __future__ import annotations

from pathlib import Path

import pytest
from published_layouts import by_id, faults, make_covers, make_folders, noted, touch

from mmgenre.datasets.folders import read_folders
from mmgenre.items.manifest import Manifest


def test_a_folder_a_genre(tmp_path: Path) -> None:
    items = by_id(read_folders(make_folders(tmp_path)))
    assert {i: item.labels for i, item in items.items()} == {
        "Rock/1.jpg": ("Rock",),
        "Rock/2.png": ("Rock",),
        "Jazz/1.jpg": ("Jazz",),
    }
    assert items["Rock/2.png"].media == {"image": (tmp_path / "Rock" / "2.png",)}
    assert {item.split for item in items.values()} == {None}


def test_nested_folders_are_a_taxonomy(tmp_path: Path) -> None:
    touch(tmp_path, "Rock/Punk/Oi/1.JPG", "Rock/2.webp", "Jazz/3.jpeg")
    items = by_id(read_folders(tmp_path))
    assert items["Rock/Punk/Oi/1.JPG"].labels == ("Rock/Punk/Oi",)
    assert items["Rock/2.webp"].labels == ("Rock",)


@pytest.mark.parametrize("names", [("train", "val", "test"), ("Training", "validation", "testing")])
def test_split_folders_above_the_genres(tmp_path: Path, names: tuple[str, ...]) -> None:
    touch(tmp_path, *(f"{name}/{genre}/1.jpg" for name in names for genre in ("Rock", "Jazz/Bop")))
    items = by_id(read_folders(tmp_path))
    assert [items[f"{name}/Rock/1.jpg"].split for name in names] == ["train", "val", "test"]
    assert {item.labels for item in items.values()} == {("Rock",), ("Jazz/Bop",)}


def test_ids_are_unique_and_safe(tmp_path: Path) -> None:
    names = [
        "Rock/#1.jpg",
        "Rock/%231.jpg",
        "Rock/1.jpg",
        "Rock/1.png",
        "Pop/1.jpg",
        "Rock/ñ é.jpg",
    ]
    published = read_folders(touch(tmp_path, *names))
    assert "Rock/%231.jpg" in by_id(published)
    assert "Rock/%25231.jpg" in by_id(published)
    Manifest(published.items).write(tmp_path / "m.csv")
    back = Manifest.read(tmp_path / "m.csv")
    files = {path for item in back for path in item.media["image"]}
    assert files == {tmp_path / name for name in names}


def test_what_is_no_cover_is_counted(tmp_path: Path) -> None:
    touch(tmp_path, "Rock/1.jpg", "Jazz/1.jpg", "loose.jpg", "Rock/notes.txt", "Rock/Thumbs.db")
    touch(tmp_path, ".git/x.jpg", "Rock/._1.jpg", "__MACOSX/Rock/1.jpg", "Rock/a;b.jpg")
    (tmp_path / "Empty").mkdir()
    published = read_folders(tmp_path)
    assert set(by_id(published)) == {"Rock/1.jpg", "Jazz/1.jpg"}
    assert noted(published, "hidden").startswith("3 hidden")
    assert noted(published, "suffix of audio or image").startswith("2 file(s)")
    assert "1 .txt" in noted(published, "suffix of audio or image")
    assert "'loose.jpg'" in noted(published, "no folder of a genre")
    assert "a;b.jpg" in noted(published, "rename them")
    assert noted(published, "contain no audio").endswith("Empty")
    assert noted(published, "no artists")


def test_links_to_folders_are_followed_but_not_round(tmp_path: Path) -> None:
    elsewhere = make_covers(tmp_path / "disk", "1.jpg")
    here = touch(tmp_path / "covers", "Jazz/1.jpg")
    (here / "Rock").symlink_to(elsewhere, target_is_directory=True)
    (here / "Jazz" / "up").symlink_to(here, target_is_directory=True)
    published = read_folders(here)
    assert set(by_id(published)) == {"Jazz/1.jpg", "Rock/1.jpg"}
    assert noted(published, "already read").startswith("1 link")


def test_names_alike_and_a_folder_too_high(tmp_path: Path) -> None:
    touch(tmp_path, "GAID/Hip Hop/1.jpg", "GAID/hip hop/2.jpg")
    published = read_folders(tmp_path)
    assert noted(published, "are they the same?")
    assert noted(published, "below 'GAID'")
    assert not any("below" in note for note in read_folders(make_folders(tmp_path / "x")).notes)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (
            ["train/Rock/1.jpg", "Jazz/1.jpg"],
            "train are named after splits, but Jazz beside them are not",
        ),
        (["val/Rock/1.jpg", "valid/Rock/2.jpg"], "folders val, valid all mean the split val"),
        (["1.jpg"], "1 file(s) are in no folder of a genre; expected FOLDER/GENRE/*"),
        (["Rock/1.txt"], "no audio and no image at all"),
        (["train/1.jpg"], "1 file(s) are in no folder of a genre"),
        (["Rock /1.jpg", "Jazz/1.jpg"], "folder 'Rock ': a genre must not"),
    ],
)
def test_faults(tmp_path: Path, names: list[str], words: str) -> None:
    assert any(words in fault for fault in faults(read_folders, touch(tmp_path, *names)))


def test_no_such_folder(tmp_path: Path) -> None:
    assert faults(read_folders, tmp_path / "nowhere") == ("no such folder",)


def test_files_of_one_name_are_one_item(tmp_path: Path) -> None:
    touch(tmp_path, "Rock/1.mp3", "Rock/1.JPG", "Rock/1.txt", "Rock/2.flac", "Jazz/Bop/3.wav")
    touch(tmp_path, "Jazz/4.mp3", "Jazz/4.ogg", "Jazz/4.png", "Jazz/4.txt", "Jazz/notes.txt")
    published = read_folders(tmp_path)
    items = by_id(published)
    rock, jazz = tmp_path / "Rock", tmp_path / "Jazz"
    assert items["Rock/1.mp3"].media == {
        "audio": (rock / "1.mp3",),
        "image": (rock / "1.JPG",),
        "text": (rock / "1.txt",),
    }
    assert items["Rock/2.flac"].media == {"audio": (rock / "2.flac",)}
    assert items["Jazz/Bop/3.wav"].labels == ("Jazz/Bop",)
    assert items["Jazz/4.mp3"].media == {"audio": (jazz / "4.mp3",)}  # whose is the cover?
    assert {"Jazz/4.ogg", "Jazz/4.png"} < set(items)
    assert noted(published, "suffix of audio or image").endswith("2 .txt")
