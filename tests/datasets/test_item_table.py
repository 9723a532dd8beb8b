"""A table of items: columns found or named, files found, and faults that show the header."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from music import make_sound
from published_layouts import by_id, faults, make_covers, make_table, noted

from mmgenre.datasets.item_table import read_item_table
from mmgenre.datasets.table_columns import Field, parse_columns
from mmgenre.items.item import Item
from mmgenre.items.manifest import Manifest


def test_columns_by_their_usual_names(tmp_path: Path) -> None:
    text = (
        "Image Path,Genres,Artist_Name,album,set,year\n"
        'a.jpg,Rock; Pop|Rock,"Earth, Wind",First,train,1970\n'
        "b.jpg,R&B/Soul,Other,,valid,1971\n"
    )
    published = read_item_table(make_table(tmp_path, text))
    first, second = published.items
    assert (first.id, first.labels, first.split) == ("a.jpg", ("Rock", "Pop"), "train")
    assert (first.artist, first.album) == ("Earth, Wind", "First")
    assert (second.labels, second.split) == (("R&B|Soul",), "val")
    assert second.extra == {"year": "1971"}
    assert second.media == {"image": (tmp_path / "b.jpg",)}
    assert "image is column 'Image Path'" in published.notes
    assert noted(published, "taxonomy")
    Manifest(published.items).write(tmp_path / "m.csv")
    assert Manifest.read(tmp_path / "m.csv")["a.jpg"].labels == ("Rock", "Pop")


@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
def test_delimiters(tmp_path: Path, delimiter: str) -> None:
    rows = ["path,genre", "a.jpg,Rock|Pop", "b.jpg,Jazz"]
    make_table(tmp_path, "\n".join(row.replace(",", delimiter) for row in rows))
    published = read_item_table(tmp_path / "covers.csv")
    assert [item.labels for item in published.items] == [("Rock", "Pop"), ("Jazz",)]


def test_files_by_path_by_name_and_by_stem(tmp_path: Path) -> None:
    covers = make_covers(tmp_path / "covers", "x/1.jpg", "x/2.jpg", "y/3.png", "y/4.jpg")
    text = "id,path,genre\na,x\\1.jpg,A\nb,2.jpg,B\nc,3,C\nd,x/4.jpg,D\ne,,E\nf,http://x/6.jpg,F\n"
    make_table(tmp_path, text)
    published = read_item_table(tmp_path, images=covers)
    items = by_id(published)
    found = {i: item.media["image"][0] for i, item in items.items() if item.media}
    assert found == {
        "a": covers / "x" / "1.jpg",
        "b": covers / "x" / "2.jpg",
        "c": covers / "y" / "3.png",
    }  # a path means that folder: d's is not y/4.jpg
    assert items["f"].extra["image_url"] == "http://x/6.jpg"
    assert noted(published, "have no file").startswith("1 of 5 covers have no file (first: 'x/4")
    assert noted(published, "without image").startswith("3 of 6")
    assert noted(published, "addresses")


def test_columns_named(tmp_path: Path) -> None:
    make_table(tmp_path, "path,file,genre,split,text\na.jpg,b.jpg,Rock,elsewhere,x\n")
    columns: dict[Field, str] = {"image": "file", "split": ""}
    published = read_item_table(tmp_path, columns=columns)
    assert published.items[0].id == "b.jpg"
    assert published.items[0].split is None
    assert published.items[0].extra == {"path": "a.jpg"}
    assert published.items[0].media["text"] == ("x",)
    assert noted(published, "columns left out").endswith("split")


def test_rows_without_a_genre_are_counted(tmp_path: Path) -> None:
    published = read_item_table(make_table(tmp_path, "path,genre\na.jpg,\nb.jpg,Folk\n"))
    assert [item.labels for item in published.items] == [(), ("Folk",)]
    note = noted(published, "no genre")
    assert note == "1 rows have no genre: they are kept (first: 'a.jpg')"


def test_a_comma_separates_no_genres(tmp_path: Path) -> None:
    published = read_item_table(make_table(tmp_path, 'path,genre\na.jpg,"Folk, World"\n'))
    assert published.items[0].labels == ("Folk, World",)
    assert noted(published, "contain a comma")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("path,kind\na.jpg,Rock\n", "no column for labels; give --columns labels=COLUMN"),
        ("path,kind\na.jpg,Rock\n", "the header is path, kind"),
        ("path,file,genre\na.jpg,b.jpg,Rock\n", "image: could be column path or file; give"),
        ("path,path,genre\na.jpg,b.jpg,Rock\n", "column 'path' twice"),
        ("path,genre\na.jpg,Rock\na.jpg,Pop\n", "line 3: 'a.jpg' is already in line 2"),
        ("path,genre\n,Rock\na.jpg,Rock\n", "line 2: no image"),
        ("id,path,genre\n,a.jpg,Rock\n", "line 2: no id"),
        ("path,genre,split\na.jpg,Rock,fold1\n", "line 2: split 'fold1': allowed are train"),
        ("path,genre\na.jpg,\"['Rock']\"\n", "write Rock;Pop"),
        ("path,genre\na.jpg,\n", "no row has a genre in column 'genre'"),
        ("path,genre\nz.jpg,Rock\n", "none of 1 covers is in"),
        ("path,genre\na.jpg,Rock,more\n", "line 2: 3 cells"),
        ("path,genre\n", "no rows"),
        ("", "no column for any of audio, image, text_file, text"),
    ],
)
def test_faults(tmp_path: Path, text: str, words: str) -> None:
    found = faults(read_item_table, make_table(tmp_path, text))
    assert any(words in fault for fault in found), found


def test_a_name_that_fits_two_files(tmp_path: Path) -> None:
    make_table(make_covers(tmp_path, "x/1.jpg", "y/1.jpg"), "file,genre\n1.jpg,Rock\n")
    (fault,) = faults(read_item_table, tmp_path)
    assert fault.startswith("'1.jpg' fits 2 files")


def test_which_table(tmp_path: Path) -> None:
    assert faults(read_item_table, tmp_path / "no.csv") == ("no such file or folder",)
    assert "got none" in faults(read_item_table, tmp_path)[0]
    make_table(tmp_path)
    (tmp_path / "other.tsv").touch()
    assert "got covers.csv, other.tsv; give the file" in faults(read_item_table, tmp_path)[0]


def test_columns_as_words() -> None:
    assert parse_columns("image=a b, labels=x=y,id=") == {"image": "a b", "labels": "x=y", "id": ""}
    for text in ("image", "genre=x", "image=a,image=b", ""):
        with pytest.raises(ValueError, match="expected FIELD=COLUMN"):
            parse_columns(text)


def test_quoted_cells_between_tabs(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        make_covers(tmp_path, name)
    quoted = 'filename\tgenre\na.png\t"12"" Mixes"\nb.png\t"Rock\tPop"\nc.png\tJazz\n'
    path = tmp_path / "t.tsv"
    path.write_text(quoted)
    labels = [item.labels for item in read_item_table(path).items]
    assert labels == [('12" Mixes',), ("Rock\tPop",), ("Jazz",)]


def test_quotes_that_belong_to_names_between_tabs(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        make_covers(tmp_path, name)
    path = tmp_path / "t.tsv"
    path.write_text('filename\tgenre\na.png\t"Weird" Pop\nb.png\tJazz\n')
    assert [item.labels for item in read_item_table(path).items] == [('"Weird" Pop',), ("Jazz",)]


def test_a_cover_is_found_by_its_name_in_either_form_of_unicode(tmp_path: Path) -> None:
    make_covers(tmp_path, "covers/" + unicodedata.normalize("NFD", "Beyoncé") + ".png")
    path = tmp_path / "t.csv"
    path.write_text("filename,genre\nBeyoncé.png,R&B\n", encoding="utf-8")
    (item,) = read_item_table(path).items
    assert len(item.media["image"]) == 1


def test_columns_that_are_nearly_a_manifests_are_left_out(tmp_path: Path) -> None:
    make_covers(tmp_path, "a.png")
    path = tmp_path / "t.csv"
    path.write_text("filename,genre,Artist,Text,year\na.png,Rock,Low,x,1994\n")
    published = read_item_table(path, columns={"artist": "", "text": ""})
    assert published.items[0].extra == {"year": "1994"}
    assert any("left out" in note and "Artist, Text" in note for note in published.notes)
    Manifest(published.items).write(tmp_path / "m.csv")


def test_audio_texts_and_items_without_a_genre(tmp_path: Path) -> None:
    make_sound(tmp_path / "tracks" / "a" / "1.wav")
    make_sound(tmp_path / "tracks" / "a" / "2.wav")
    (tmp_path / "a.txt").write_text("a review")
    text = (
        "file,Cover,Text File,lyrics,genre,artist\n"
        "a/1.wav;2,a.jpg,a.txt,la la,Rock,One\n"
        "b/1.wav,b.jpg,,,,Two\n"
        "http://x/c.mp3,,,only words,Jazz,Three\n"
    )
    published = read_item_table(make_table(tmp_path, text), audio=tmp_path / "tracks")
    first, second, third = published.items
    tracks = tmp_path / "tracks" / "a"
    assert first.id == "a/1.wav,2"
    assert first.media == {
        "audio": (tracks / "1.wav", tracks / "2.wav"),
        "image": (tmp_path / "a.jpg",),
        "text": (tmp_path / "a.txt", "la la"),
    }
    assert (second.labels, set(second.media)) == ((), {"image"})
    assert third.media == {"text": ("only words",)}
    assert third.extra == {"audio_url": "http://x/c.mp3"}
    assert noted(published, "tracks have no file").startswith("1 of 4 tracks")
    Manifest(published.items).write(tmp_path / "m.csv")
    assert Manifest.read(tmp_path / "m.csv")["a/1.wav,2"].media["audio"] == first.media["audio"]


def test_no_genres_at_all_if_the_user_says_so(tmp_path: Path) -> None:
    path = make_table(tmp_path, "path,kind\na.jpg,x\n")
    assert read_item_table(path, columns={"labels": ""}).items[0].labels == ()


def test_texts_alone_need_ids(tmp_path: Path) -> None:
    path = make_table(tmp_path, "text,genre\nLoud.,Rock\n")
    assert "line 2: no column for id" in faults(read_item_table, path)[0]
    (item,) = read_item_table(make_table(tmp_path, "id,text,genre\n7,Loud.,Rock\n")).items
    assert item == Item("7", labels=("Rock",), media={"text": ("Loud.",)})
