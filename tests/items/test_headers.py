"""Columns that are nearly ours are faults; further columns stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmgenre.errors import ManifestError
from mmgenre.items.item import Item
from mmgenre.items.manifest import Manifest


def write(path: Path, header: str) -> Path:
    cells = ",".join(["a"] * len(header.split(",")))
    path.write_text(f"{header}\n{cells}\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("header", "column", "meant"),
    [
        ("id, artist", " artist", "artist"),
        ("id,artist ", "artist ", "artist"),
        ("id,Artist", "Artist", "artist"),
        ("id,ARTIST", "ARTIST", "artist"),
        ("id,\u200bartist", "\u200bartist", "artist"),
        ("id,ａｒｔｉｓｔ", "ａｒｔｉｓｔ", "artist"),
        ("id,artist_id", "artist_id", "artist"),
        ("id,artists", "artists", "artist"),
        ("id,Artist Name", "Artist Name", "artist"),
        ("id,atrist", "atrist", "artist"),
        ("id,album_title", "album_title", "album"),
        ("id,Split", "Split", "split"),
        ("id,subset", "subset", "split"),
        ("id,genre", "genre", "labels"),
        ("id,Genres", "Genres", "labels"),
        ("id,label", "label", "labels"),
        ("id,classes", "classes", "labels"),
        ("id,lables", "lables", "labels"),
        ("id,audio_path", "audio_path", "audio"),
        ("id,images", "images", "image"),
        ("id,text-file", "text-file", "text_file"),
        ("id,reviews", "reviews", "text"),
        ("ID,artist", "ID", "id"),
        ("item_id,artist", "item_id", "id"),
        ("id,artist,Artist", "Artist", "artist"),
    ],
)
def test_a_near_miss_is_a_fault_that_names_it(
    tmp_path: Path, header: str, column: str, meant: str
) -> None:
    with pytest.raises(ManifestError) as caught:
        Manifest.read(write(tmp_path / "m.csv", header))
    assert f"line 1: column {column!r} is probably meant as {meant!r}: rename it" in str(
        caught.value
    )


@pytest.mark.parametrize(
    "header",
    [
        "id,artist,artist_id,artist_mbid",
        "id,labels,genre,style",
        "id,year,country,licence,source,title,duration,mood,label_source,image_url,audio_url",
        "id,album,album_id,track_id,musicbrainz_artistid",
        ",id,artist",  # the column of row numbers that pandas writes
    ],
)
def test_further_columns_stay(tmp_path: Path, header: str) -> None:
    path = tmp_path / "m.csv"
    names = header.split(",")
    path.write_text(f"{header}\n{','.join(f'x{k}' for k in range(len(names)))}\n")
    (item,) = Manifest.read(path)
    known = ("id", "artist", "album", "labels")
    assert set(item.extra) == set(names) - set(known)


def test_what_would_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    manifest = Manifest([Item("a", extra={"Artist": "x"})])
    with pytest.raises(ManifestError, match="column 'Artist' is probably meant as 'artist'"):
        manifest.write(tmp_path / "m.csv")


@pytest.mark.parametrize(("mark", "named"), [("\t", "tabs"), (";", "semicolons")])
def test_other_separators_are_named(tmp_path: Path, mark: str, named: str) -> None:
    path = tmp_path / "m.csv"
    path.write_text(f"id{mark}labels\na{mark}Rock\n")
    with pytest.raises(ManifestError, match=f"commas separate cells, not {named}"):
        Manifest.read(path)
