"""20k album covers within 20 genres: 18 of them, from the archive as it unpacks."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest
from published_layouts import faults, make_covers20k, noted, touch

from mmgenre.datasets.folders import ARCHIVE_FOLDER, GENRES, LEFT_OUT, read_covers20k


@pytest.mark.parametrize("inside", [False, True])
def test_18_genres_stay(tmp_path: Path, inside: bool) -> None:
    make_covers20k(tmp_path)
    published = read_covers20k(tmp_path / ARCHIVE_FOLDER if inside else tmp_path)
    assert Counter(label for item in published.items for label in item.labels) == dict.fromkeys(
        GENRES, 2
    )
    assert len(GENRES) == 18
    assert noted(published, "as Greenfield").startswith("4 covers of DeathMetal and DoomMetal")
    assert "2 Blues" in noted(published, "not 1000 covers")
    assert noted(published, "80/10/10")


def test_after_others_have_dropped_and_split_them(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{split}/{g}/1.jpg" for split in ("train", "val", "test") for g in GENRES))
    published = read_covers20k(tmp_path)
    assert Counter(item.split for item in published.items) == {"train": 18, "val": 18, "test": 18}
    assert noted(published, "as Greenfield").startswith("0 covers")
    assert not any("80/10/10" in note for note in published.notes)


def test_a_genre_is_missing_or_foreign(tmp_path: Path) -> None:
    root = make_covers20k(tmp_path) / ARCHIVE_FOLDER
    shutil.rmtree(root / "Grime")
    shutil.rmtree(root / LEFT_OUT[0])
    touch(root, "Opera/1.jpg")
    missing, foreign = faults(read_covers20k, tmp_path)
    assert missing == "no cover of the genre 'Grime'"
    assert "'Opera' is none of the 20" in foreign


def test_says_where_to_get_it(tmp_path: Path) -> None:
    (fault,) = faults(read_covers20k, touch(tmp_path, "Opera/1.jpg"))
    assert "https://www.kaggle.com/datasets/michaeljkerr/20k-album-covers" in fault
