"""MuMu: albums, flat genres, the oldest reviews; what is not there is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from published_layouts import MUMU, MUMU_HEADER, MUMU_ROWS, by_id, faults, make_mumu, noted

from mmgenre.datasets.mumu import read_mumu
from mmgenre.errors import ManifestError


def test_mumu_albums(tmp_path: Path) -> None:
    published = read_mumu(make_mumu(tmp_path))
    items = by_id(published)
    assert sorted(items) == ["B01", "B02", "B03"]
    assert items["B01"].labels == ("Jazz", "Vocal Jazz")
    assert (items["B01"].artist, items["B01"].album) == ("art-1", "First")
    assert items["B01"].extra == {
        "album_mbid": "mb-1",
        "artist_mbids": "art-1;art-2",
        "image_url": "http://x/1.jpg",
    }
    assert items["B02"].album == "mb-2"
    assert published.tracks == {"B01": ("TRA", "TRB", "TRC"), "B02": ("TRD",), "B03": ("TRE",)}
    assert all(item.split is None for item in published.items)


def test_mumu_labels_stay_flat(tmp_path: Path) -> None:
    """A `/` in a published name would add a genre `Blues` above it that nobody annotated."""
    published = read_mumu(make_mumu(tmp_path))
    assert by_id(published)["B03"].labels == ("Pop", "Blues|Rock")
    assert noted(published, "genre name(s) contain '/'").endswith("Blues/Rock")


def test_mumu_reviews_oldest_first(tmp_path: Path) -> None:
    published = read_mumu(make_mumu(tmp_path))
    items = by_id(published)
    assert items["B01"].media == {"text": ("first", "second", "third")}
    assert "text" not in items["B02"].media
    assert noted(published, "reviews").startswith("of 5 reviews 3 are kept: 0 are newer")
    assert noted(published, "reviews").endswith("2 of 3 albums are without text")


@pytest.mark.parametrize(
    ("kept", "texts"),
    [(1, ["first"]), (5, ["first"]), (6, ["first", "second"]), (12, ["first", "second", "third"])],
)
def test_mumu_keeps_whole_reviews_until_there_is_enough(
    tmp_path: Path, kept: int, texts: list[str]
) -> None:
    published = read_mumu(make_mumu(tmp_path), kept_characters=kept)
    assert list(by_id(published)["B01"].media["text"]) == texts
    assert f"{3 - len(texts)} are newer than an album's first {kept} char" in noted(
        published, "reviews"
    )


def test_mumu_says_what_is_not_there_and_where_to_get_it(tmp_path: Path) -> None:
    (make_mumu(tmp_path) / "amazon_reviews_MuMu.json").unlink()
    note = noted(read_mumu(tmp_path), "no file")
    for words in ("'amazon_reviews_MuMu.json'", "https://zenodo.org/record/831189", str(tmp_path)):
        assert words in note
    (tmp_path / MUMU).unlink()
    table, reviews = faults(read_mumu, tmp_path)
    assert f"no file {MUMU!r}" in table
    assert "10.5281/zenodo.831189" in reviews


def test_mumu_counts_what_it_leaves_out(tmp_path: Path) -> None:
    published = read_mumu(make_mumu(tmp_path))
    assert noted(published, "no title").startswith("2 albums")
    assert "1 records are left out; their albums" in noted(published, "amazon_metadata_MuMu.json")
    assert noted(published, "several artists").startswith("1 albums")
    assert "items_index_train_MuMu-albums.tsv" in noted(published, "no published splits")


def test_mumu_tracks_in_several_albums_are_counted(tmp_path: Path) -> None:
    published = read_mumu(make_mumu(tmp_path, [*MUMU_ROWS, "B04,mb-4,TRA,rec-1,art-1,Pop"]))
    assert "1 tracks are in several albums" in published.notes


def test_mumu_published_splits(tmp_path: Path) -> None:
    make_mumu(tmp_path)
    splits = tmp_path / "ismir-data" / "splits"
    splits.mkdir(parents=True)
    (splits / "items_index_train_MuMu-albums.tsv").write_text("B01\n")
    (splits / "items_index_test_MuMu-albums.tsv").write_text("B02")
    published = read_mumu(tmp_path)
    assert [item.split for item in published.items] == ["train", "test", None]
    assert "1 of 3 items are in no published split (first: 'B03')" in noted(published, "in no pub")
    (splits / "items_index_val_MuMu-albums.tsv").write_text("B02\nB77\n")
    found = faults(read_mumu, tmp_path)
    assert any("'B77' is no album" in fault for fault in found)
    assert any("'B02' is also in val" in fault for fault in found)


def test_mumu_broken_table_lists_every_fault(tmp_path: Path) -> None:
    rows = [
        "B01,mb-1,TRA,rec,art-1,Jazz",
        "B01,mb-1,TRB,rec,art-1,Pop",
        "B01,mb-7,TRC,rec,art-1,Jazz",
        "B02,mb-2,TRD,rec,,Jazz",
        'B02,mb-2,TRD,rec,art-1,"Jazz,"',
    ]
    found = faults(read_mumu, make_mumu(tmp_path, rows))
    assert [fault.split(":")[0] for fault in found] == ["line 3", "line 4", "line 5", "line 6"]
    found = faults(read_mumu, make_mumu(tmp_path, ["B01,mb-1,TRA", *MUMU_ROWS]))
    assert found == ("line 2: 3 cells, but the header has 6",)
    header = MUMU_HEADER.replace("genres", "genre")
    (found_,) = faults(read_mumu, make_mumu(tmp_path, header=header))
    assert "no column 'genres'; the header is" in found_


@pytest.mark.parametrize(
    ("record", "match"),
    [
        ({"amazon_id": "B01", "reviewText": "x"}, "unixReviewTime: expected seconds, got None"),
        ({"amazon_id": "B01", "text": "x"}, "record 0: no 'reviewText'; it has amazon_id, text"),
        ({"reviewText": "x"}, "record 0: no 'amazon_id'"),
    ],
)
def test_mumu_reviews_of_another_form(tmp_path: Path, record: Any, match: str) -> None:
    (make_mumu(tmp_path) / "amazon_reviews_MuMu.json").write_text(json.dumps([record]))
    with pytest.raises(ManifestError, match=match):
        read_mumu(tmp_path)


def test_mumu_reviews_nested_in_albums(tmp_path: Path) -> None:
    albums = [{"amazon_id": "B02", "reviews": [{"reviewText": "x", "unixReviewTime": 1}]}]
    (make_mumu(tmp_path) / "amazon_reviews_MuMu.json").write_text(json.dumps(albums))
    assert by_id(read_mumu(tmp_path))["B02"].media == {"text": ("x",)}


def test_mumu_table_that_is_not_utf8(tmp_path: Path) -> None:
    (make_mumu(tmp_path) / MUMU).write_bytes(b"\xff\xfe")
    assert "not UTF-8" in faults(read_mumu, tmp_path)[0]
