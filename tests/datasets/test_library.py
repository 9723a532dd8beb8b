"""Tagged music as people have it: tags of every family, covers, lyrics, discs, compilations."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import mutagen
import numpy as np
import pytest
from coded import RATE_HZ, encode
from command_line import Call
from music import cover, make_library, make_sound, tag
from mutagen.apev2 import BINARY, APEValue
from mutagen.asf._attrs import ASFByteArrayAttribute
from published_layouts import by_id, noted
from real_music import make_real_library

from mmgenre.datasets.library import read_library
from mmgenre.datasets.sources import Published
from mmgenre.datasets.tags import TagsError, read_tags
from mmgenre.errors import ManifestError
from mmgenre.items.manifest import Manifest


def read(folder: Path, **how: object) -> Published:
    return read_library(folder, covers=folder.parent / "covers", **how)  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", [".mp3", ".flac", ".ogg", ".wav", ".aiff", ".m4a"])
def test_every_family_of_tags(tmp_path: Path, suffix: str) -> None:
    path, picture = tmp_path / f"a{suffix}", cover(1)
    if suffix == ".m4a":
        encode(path, "aac", np.zeros(RATE_HZ, np.int16))
    else:
        make_sound(path)
    tag(
        path,
        picture,
        artist="One feat. Other",
        albumartist="One",
        album="First",
        title="Song",
        genre=["Rock", "Hip-Hop/Rap"],
        date="1999-03-01",
        language="eng",
        discnumber="2/2",
        tracknumber="7/12",
        compilation="1",
        lyrics="Line one\nLine two",
        musicbrainz_trackid="rec-1",
        musicbrainz_albumid="rel-1",
    )
    found = read_tags(path)
    assert (found.artist, found.album_artist, found.album) == ("One feat. Other", "One", "First")
    assert (found.title, found.genres) == ("Song", ("Rock", "Hip-Hop/Rap"))
    assert (found.year, found.language, found.disc, found.track) == ("1999", "eng", 2, 7)
    assert found.is_compilation
    assert found.lyrics == "Line one\nLine two"
    assert found.mbids == {"recording_mbid": "rec-1", "release_mbid": "rel-1"}
    assert found.picture == picture


def test_a_track_is_an_item(tmp_path: Path) -> None:
    music = tmp_path / "music"
    first = make_sound(music / "One" / "First" / "01.flac")
    tag(first, cover(1), artist="One", album="First", genre=["Rock; Pop", "Rock"], date="1999")
    published = read(music)
    (item,) = published.items
    assert (item.id, item.artist, item.album) == ("One/First/01.flac", "One", "First")
    assert item.labels == ("Rock", "Pop")
    assert item.extra == {"year": "1999"}
    (picture,) = item.media["image"]
    assert isinstance(picture, Path)
    assert picture.parent == tmp_path / "covers"
    assert picture.read_bytes() == cover(1)


@pytest.mark.parametrize("name", ["Cover.JPG", "folder.png", "FRONT.jpeg"])
def test_a_cover_beside_the_tracks(tmp_path: Path, name: str) -> None:
    make_sound(tmp_path / "m" / "One" / "a.flac")
    (tmp_path / "m" / "One" / name).write_bytes(cover(2))
    (tmp_path / "m" / "One" / "booklet.jpg").write_bytes(cover(3))
    (item,) = read(tmp_path / "m").items
    assert item.media["image"] == (tmp_path / "m" / "One" / name,)


def test_a_cover_in_a_folder_of_several_albums_is_nobodys(tmp_path: Path) -> None:
    music = tmp_path / "m"
    for album in ("First", "Second"):
        tag(make_sound(music / f"{album}.flac"), artist="One", album=album)
    (music / "cover.jpg").write_bytes(cover(2))
    published = read(music)
    assert not any("image" in item.media for item in published.items)
    assert noted(published, "several albums").startswith("the covers of 1 folder(s)")


def test_lyrics_of_tags_of_lrc_and_of_txt(tmp_path: Path) -> None:
    music = tmp_path / "m"
    tag(make_sound(music / "a.flac"), lyrics="[00:01.00]From the tag")
    (music / "a.txt").write_text("not read: the tag has lyrics")
    make_sound(music / "b.flac")
    (music / "B.lrc").write_text("[ar:One]\n[00:12.00]From <00:12.50>the\n[00:13.00]lrc")
    make_sound(music / "c.flac")
    (music / "c.txt").write_text("from the text")
    make_sound(music / "d.flac")
    (music / "d.lrc").write_bytes("[00:01]é".encode("latin-1"))
    published = read(music)
    items = by_id(published)
    assert items["a.flac"].media["text"] == ("From the tag",)
    assert items["b.flac"].media["text"] == ("From the\nlrc",)
    assert items["c.flac"].media["text"] == (music / "c.txt",)
    assert "text" not in items["d.flac"].media
    assert [(f.path, f.reason) for f in published.faults] == [
        (str(music / "d.lrc"), "lyrics cannot be read")
    ]


def test_an_album_of_two_discs_is_one_item(tmp_path: Path) -> None:
    music = tmp_path / "m"
    for disc, names in (("CD1", "ba"), ("Disc 2", "dc")):
        for number, name in enumerate(names, start=1):
            path = make_sound(music / "One" / "Live" / disc / f"{name}.flac")
            fields = {"artist": "One", "tracknumber": str(number), "genre": ["Rock"]}
            tag(path, album=f"Live ({disc})", **fields)  # type: ignore[arg-type]
    (music / "One" / "Live" / "cover.jpg").write_bytes(cover(4))
    (music / "One" / "Live" / "review.txt").write_text("Loud.")
    tag(make_sound(music / "single.flac"), artist="Two", genre="Pop")
    items = by_id(read(music, by="album"))
    assert set(items) == {"One/Live", "single.flac"}
    live = items["One/Live"]
    assert [p.name for p in live.media["audio"] if isinstance(p, Path)] == [
        "b.flac", "a.flac", "d.flac", "c.flac",
    ]  # fmt: skip
    assert (live.album, live.labels) == ("Live", ("Rock",))
    assert live.media["image"] == (music / "One" / "Live" / "cover.jpg",)
    assert live.media["text"] == (music / "One" / "Live" / "review.txt",)


def test_albums_in_one_folder_are_named_by_their_tags(tmp_path: Path) -> None:
    for name, album in (("a", "First"), ("b", "Second"), ("c", "First"), ("d", "First#1; x")):
        tag(make_sound(tmp_path / "m" / f"{name}.flac"), artist="One", album=album)
    items = by_id(read(tmp_path / "m", by="album"))
    assert set(items) == {"First", "Second", "First%231, x"}
    assert len(items["First"].media["audio"]) == 2
    Manifest(items.values()).write(tmp_path / "m.csv")


def test_a_compilation_binds_nothing(tmp_path: Path) -> None:
    music = tmp_path / "m"
    for artist in ("One", "Two"):
        path = make_sound(music / "Best Of" / f"{artist}.flac")
        tag(path, artist=artist, albumartist="Various Artists", album="Best Of", compilation="1")
    tracks = read(music).items
    assert [(i.artist, i.extra["album_artist"]) for i in tracks] == [
        ("One", "Various Artists"),
        ("Two", "Various Artists"),
    ]
    (album,) = read(music, by="album").items
    assert album.artist == "Various Artists"


def test_tracks_with_guests_belong_to_the_artist_of_the_album(tmp_path: Path) -> None:
    path = make_sound(tmp_path / "m" / "a.flac")
    tag(path, artist="One & Somebody", albumartist="One", album="First")
    (item,) = read(tmp_path / "m").items
    assert (item.artist, item.extra["track_artist"]) == ("One", "One & Somebody")


def test_separators_of_genres(tmp_path: Path) -> None:
    path = tag(make_sound(tmp_path / "m" / "a.flac"), genre="Pop/Rock, Folk;Jazz")
    published = read(path.parent)
    assert published.items[0].labels == ("Pop|Rock, Folk", "Jazz")
    assert "--separators ';,'" in noted(published, "contain ','")
    assert read(path.parent, separators=",/").items[0].labels == ("Pop", "Rock", "Folk", "Jazz")


def test_no_file_ends_the_building(tmp_path: Path, call: Call) -> None:
    music = make_library(tmp_path / "music")
    good = (music / "One" / "First" / "01.flac").read_bytes()
    (music / "empty.mp3").touch()
    (music / "noise.mp3").write_bytes(bytes(range(256)) * 40)
    (music / "cut.flac").write_bytes(good[:60])
    (music / "a;b.flac").write_bytes(good)
    tag(make_sound(music / "odd.flac"), b"no picture at all", artist="One")
    (music / "._01.flac").write_bytes(b"of a Mac")
    out = tmp_path / "out" / "items.csv"
    built = call("manifest", "build", "library", music, "--out", out)
    assert built.code == 3, built.err
    assert "5 file(s) with faults: " in built.out
    with (out.parent / "items-refused.csv").open(newline="") as file:
        found = {Path(row["path"]).name: row["fault"] for row in csv.DictReader(file)}
    assert found == {
        "empty.mp3": "empty file",
        "noise.mp3": "tags cannot be read",
        "cut.flac": "tags cannot be read",
        "a;b.flac": "name no manifest can hold",
        "odd.flac": "embedded cover is no picture",
    }
    items = Manifest.read(out)
    assert {"noise.mp3", "cut.flac", "odd.flac"} < set(items.ids())
    assert {"empty.mp3", "a;b.flac"}.isdisjoint(items.ids())
    assert items["Three/First/01.flac"].labels == ()


def test_broken_tags_are_an_error_of_one_file(tmp_path: Path) -> None:
    (tmp_path / "a.flac").write_bytes(b"fLaC" + b"\xff" * 100)
    with pytest.raises(TagsError):
        read_tags(tmp_path / "a.flac")


@pytest.mark.parametrize("suffix", [".mp3", ".flac", ".ogg", ".m4a"])
def test_damaged_tags_are_read_or_an_error_of_their_own(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix == ".m4a":
        encode(path, "aac", np.zeros(RATE_HZ, np.int16))
    else:
        make_sound(path)
    data = tag(path, cover(1), artist="One", genre=["Rock", "Pop"], lyrics="words").read_bytes()
    rng = np.random.default_rng(7)
    n_read, said = 0, []
    for _ in range(60):
        mutated = bytearray(data)
        for at in rng.integers(0, min(len(data), 5000), 12).tolist():
            mutated[at] = int(rng.integers(256))
        path.write_bytes(mutated[: int(rng.integers(10, len(data)))])
        try:
            read_tags(path)
            n_read += 1
        except TagsError as error:
            said.append(str(error))
    assert len(said) + n_read == 60
    assert said
    assert all(said)


def test_no_audio_file_at_all(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    with pytest.raises(ManifestError, match="no audio file"):
        read(tmp_path)
    with pytest.raises(ManifestError, match="no such folder"):
        read(tmp_path / "nowhere")


def test_by_and_separators_are_of_a_library(tmp_path: Path, call: Call) -> None:
    built = call("manifest", "build", "folders", tmp_path, "--by", "album", "--out", tmp_path / "m")
    assert built.code == 1
    assert "only the layout library has this option" in built.err
    both = call(
        "manifest", "build", "library", tmp_path, "--by", "album", "--by", "track", "--out", "m"
    )
    assert both.code == 2


def test_built_again_nothing_changes(tmp_path: Path, call: Call) -> None:
    music = make_library(tmp_path / "music")
    tag(music / "One" / "First" / "01.flac", cover(1))
    out = tmp_path / "items.csv"
    contents = []
    for _ in range(2):
        built = call("manifest", "build", "library", music, "--out", out, "--by", "album")
        assert built.code == 0, built.err
        contents.append(out.read_bytes())
    assert contents[0] == contents[1]
    assert len(list((tmp_path / "items-covers").iterdir())) == 1
    assert set(Manifest.read(out).ids()) == {"One/First", "Two/First", "Three/First"}


def test_windows_media_and_ape_tags(tmp_path: Path) -> None:
    """Their names of the same things; pictures lie in structures of their own."""
    wma = encode(tmp_path / "a.wma", "wmav2", np.zeros(RATE_HZ, np.int16))
    file: Any = mutagen.File(wma)
    file["Author"], file["WM/AlbumTitle"], file["WM/Genre"] = "One", "First", ["Rock", "Pop"]
    file["WM/Year"], file["MusicBrainz/Album Id"] = "2003", "rel-1"
    held = b"\x03" + len(cover(1)).to_bytes(4, "little") + "image/jpeg".encode("utf-16-le")
    held += b"\0\0" + "front".encode("utf-16-le") + b"\0\0" + cover(1)
    file["WM/Picture"] = ASFByteArrayAttribute(held)
    file.save()
    found = read_tags(wma)
    assert (found.artist, found.album, found.genres) == ("One", "First", ("Rock", "Pop"))
    assert (found.year, found.mbids) == ("2003", {"release_mbid": "rel-1"})
    assert found.picture == cover(1)
    wavpack = encode(tmp_path / "a.wv", "wavpack", np.zeros(RATE_HZ, np.int16))
    file = mutagen.File(wavpack)
    file["Artist"], file["Genre"] = "One", ["Rock", "Pop"]
    file["Cover Art (Front)"] = APEValue(b"front.jpg\0" + cover(2), BINARY)
    file.save()
    found = read_tags(wavpack)
    assert (found.artist, found.genres, found.picture) == ("One", ("Rock", "Pop"), cover(2))


@pytest.mark.realdata
def test_a_library_of_real_songs(tmp_path: Path, real_data: Path, call: Call) -> None:
    """69 tagged files in four formats and 4 broken ones: what is found in each is what was put."""
    music = make_real_library(real_data / "real", tmp_path / "music")
    out = tmp_path / "items.csv"
    built = call("manifest", "build", "library", music.folder, "--out", out)
    assert built.code == 3, built.err
    assert f"{len(music.broken)} file(s) with faults" in built.out
    items = Manifest.read(out)
    assert len(music.tagged) >= 60
    assert {Path(i).suffix for i in music.tagged} == {".mp3", ".m4a", ".ogg", ".flac"}
    for item_id, put in music.tagged.items():
        item = items[item_id]
        assert (item.artist, item.labels) == (put.artist, put.labels), item_id
        assert ("image" in item.media) == put.has_cover, item_id
        texts = [t.read_text() if isinstance(t, Path) else t for t in item.media.get("text", ())]
        assert [" ".join(t.split()) for t in texts] == ([put.words] if put.words else []), item_id
    albums = call("manifest", "build", "library", music.folder, "--out", out, "--by", "album")
    assert albums.code == 3, albums.err
    various = Manifest.read(out)["Compilations/Best Of"]
    assert (various.artist, len(various.media["audio"])) == ("Various Artists", music.n_compiled)
