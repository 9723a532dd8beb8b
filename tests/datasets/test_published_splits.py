"""FMA, MTG-Jamendo, GTZAN, Music4All and A+A in their published layouts, faults included."""

from __future__ import annotations

import gzip
import shutil
from collections import Counter
from pathlib import Path

import pytest
from published_layouts import (
    FMA_ROWS,
    JAMENDO_HEADER,
    by_id,
    faults,
    make_covers,
    make_fma,
    make_gtzan,
    make_jamendo,
    make_music4all,
    make_music4all_aa,
    noted,
    touch,
)

from mmgenre.datasets.fma import read_fma
from mmgenre.datasets.gtzan import read_gtzan
from mmgenre.datasets.jamendo import FILES, read_jamendo
from mmgenre.datasets.music4all import KEEPS, read_music4all, read_music4all_aa
from mmgenre.errors import ManifestError
from mmgenre.items.manifest import Manifest

# FMA


def test_fma_tracks_splits_and_broadest_genres(tmp_path: Path) -> None:
    published = read_fma(make_fma(tmp_path))
    items = by_id(published)
    assert {i: (item.split, item.labels) for i, item in items.items()} == {
        "000002": ("train", ("Hip-Hop",)),
        "000003": ("train", ()),
        "000005": ("val", ("Rock",)),
        "000010": ("test", ("Pop",)),
    }
    first = items["000002"]
    assert first.media["audio"] == (tmp_path / "fma_large" / "000" / "000002.mp3",)
    assert first.media["text"] == ("First & only,\nlast.",)
    assert items["000005"].media["text"] == ("A band",)
    assert (first.artist, first.album) == ("AWOL", "AWOL")
    assert first.extra["image_url"] == "https://x/1.jpg"
    assert items["000005"].extra["title"] == "Five, six"
    assert noted(published, "left out").endswith(": 099134, 001486")
    assert noted(published, "no such genre").startswith("1 of 4 tracks")
    Manifest(published.items).write(tmp_path / "m.csv")


def test_fma_genres_are_paths_down_the_tree(tmp_path: Path) -> None:
    items = by_id(read_fma(make_fma(tmp_path), labels="all"))
    assert items["000003"].labels == ("Pop/Experimental Pop", "Folk/Old-Time | Historic")
    assert items["000002"].labels == ("Hip-Hop",)


def test_fma_subsets_contain_each_other(tmp_path: Path) -> None:
    make_fma(tmp_path)
    assert set(by_id(read_fma(tmp_path, subset="small"))) == {"000002", "000005"}
    assert set(by_id(read_fma(tmp_path, subset="medium"))) == {"000002", "000003", "000005"}
    with pytest.raises(ManifestError, match="allowed are small, medium, large"):
        read_fma(tmp_path, subset="tiny")  # type: ignore[arg-type]


def test_fma_covers_are_of_albums(tmp_path: Path) -> None:
    covers = make_covers(tmp_path / "covers", "1.jpg", "99.jpg")
    items = by_id(read_fma(make_fma(tmp_path), images=covers))
    assert items["000002"].media["image"] == items["000003"].media["image"] == (covers / "1.jpg",)
    assert "image" not in items["000005"].media


def test_fma_faults(tmp_path: Path) -> None:
    assert "part of FMA" in faults(read_fma, touch(tmp_path / "empty", "a"))[0]
    short = make_fma(tmp_path / "short", [*FMA_ROWS, "7,1"])
    assert faults(read_fma, short) == ("line 12: 2 cells, the header has 15",)
    odd = make_fma(tmp_path / "odd", ["2,1,,A,,1,B,training,small,,[999],[],,CC,x"])
    with pytest.raises(ManifestError, match="line 4: genres '\\[999\\]'"):
        read_fma(odd, labels="all")
    table = tmp_path / "odd" / "fma_metadata" / "tracks.csv"
    table.write_text(table.read_text().replace("track_id", "id"))
    assert faults(read_fma, tmp_path / "odd") == (
        "line 3: expected 'track_id' alone, as published",
    )


# MTG-Jamendo


def test_jamendo_splits_and_ragged_tags(tmp_path: Path) -> None:
    published = read_jamendo(make_jamendo(tmp_path))
    items = by_id(published)
    assert items["track_0000242"].labels == ("pop", "rock")
    assert (items["track_0000242"].artist, items["track_0000242"].split) == (
        "artist_000005",
        "train",
    )
    assert Counter(item.split for item in items.values()) == {"train": 2, "val": 1, "test": 1}
    assert "mood/theme---sad" in noted(published, "no genres")
    assert len(read_jamendo(tmp_path, split="1").items) == 3
    assert "get it from" in faults(lambda f: read_jamendo(f, split="4"), tmp_path)[0]
    with pytest.raises(ManifestError, match="allowed are 0, 1, 2, 3, 4"):
        read_jamendo(tmp_path, split="5")


def test_jamendo_audio_of_either_quality(tmp_path: Path) -> None:
    audio = touch(tmp_path / "audio", "41/241.low.mp3", "02/302.mp3")
    items = by_id(read_jamendo(make_jamendo(tmp_path), audio=audio))
    assert items["track_0000241"].media["audio"] == (audio / "41" / "241.low.mp3",)
    assert items["track_0000302"].media["audio"] == (audio / "02" / "302.mp3",)
    assert "audio" not in items["track_0000400"].media
    with pytest.raises(ManifestError, match="none of 4 tracks is here"):
        read_jamendo(tmp_path, audio=touch(tmp_path / "other", "a.mp3"))


def test_jamendo_faults(tmp_path: Path) -> None:
    place = make_jamendo(tmp_path) / "data" / "splits" / "split-0"
    test = place / "autotagging_genre-test.tsv"
    row = "track_0000241\ta\tb\t41/241.mp3\t1.0\tgenre---rock"
    test.write_text(f"{JAMENDO_HEADER}\n{row}\ntrack_9\ta\tb\tc\t1.0\n")
    found = faults(read_jamendo, tmp_path)
    assert "'track_0000241' is already in autotagging_genre-train.tsv" in found[0]
    assert "line 3: expected an id and tags" in found[1]
    test.write_text(f"id\n{row}\n")
    assert "line 1: expected TRACK_ID" in faults(read_jamendo, tmp_path)[0]


@pytest.mark.realdata
def test_jamendo_of_real_lines(tmp_path: Path, real_data: Path) -> None:
    """Split 0 as published has 32 572 / 11 043 / 11 479 tracks and 87 genres, no artist in two."""
    rows: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    with gzip.open(real_data / "labels" / "jamendo_genres.tsv.gz", "rt") as file:
        assert file.readline().split() == ["id", "artist", "album", "split", "labels"]
        for text in file:
            track, artist, album, split, labels = text.rstrip("\n").split("\t")
            number = int(track.removeprefix("track_"))
            path = f"{number % 100:02}/{number}.mp3"
            tags = "\t".join(f"genre---{label}" for label in labels.split(";"))
            rows[split].append(f"{track}\t{artist}\t{album}\t{path}\t1.0\t{tags}")
    for name, split in FILES.items():
        (tmp_path / name).write_text("\n".join([JAMENDO_HEADER, *rows[split]]) + "\n")
    items = read_jamendo(tmp_path).items
    counts = Counter(item.split for item in items)
    assert counts == {"train": 32_572, "val": 11_043, "test": 11_479}
    assert len({label for item in items for label in item.labels}) == 87
    artists = [{i.artist for i in items if i.split == split} for split in rows]
    assert not artists[0] & artists[1] | artists[0] & artists[2] | artists[1] & artists[2]


# GTZAN


def test_gtzan_filtered(tmp_path: Path) -> None:
    published = read_gtzan(make_gtzan(tmp_path))
    assert {i: item.split for i, item in by_id(published).items()} == {
        "blues.00029": "train",
        "rock.00007": "train",
        "jazz.00001": "val",
        "rock.00008": "test",
    }
    assert by_id(published)["rock.00008"].labels == ("rock",)
    assert "(first: 'pop.00003')" in noted(published, "no usable file")
    assert noted(published, "in no list").startswith("2 excerpts")
    assert noted(published, "damaged").startswith("jazz.00054")


def test_gtzan_fold_by_artists(tmp_path: Path) -> None:
    published = read_gtzan(make_gtzan(tmp_path), split="fold1")
    items = by_id(published)
    assert not any("at random" in note for note in published.notes)
    assert {i for i, item in items.items() if item.split == "test"} == {"jazz.00001", "rock.00008"}
    assert Counter(item.split for item in items.values())["val"] == 1
    assert items["blues.00029"].artist == "artist 2"
    (tmp_path / "f1_evaluate.txt").write_text("./rock_00008.wav\trock\n")
    with pytest.raises(ManifestError, match="lists other excerpts than"):
        read_gtzan(tmp_path, split="fold1")


def test_gtzan_fold_without_artists_says_that_validation_is_drawn_at_random(tmp_path: Path) -> None:
    make_gtzan(tmp_path)
    (tmp_path / "f1_train_groups.txt").unlink()
    published = read_gtzan(tmp_path, split="fold1")
    assert "validation flatter" in noted(published, "no f1_train_groups.txt")
    assert {item.artist for item in published.items} == {""}


def test_gtzan_without_lists_is_refused_or_warned_of(tmp_path: Path) -> None:
    make_gtzan(tmp_path)
    for name in ("train", "valid", "test"):
        (tmp_path / f"{name}_filtered.txt").unlink()
    assert "--split none" in faults(read_gtzan, tmp_path)[-1]
    published = read_gtzan(tmp_path, split="none")
    assert {item.split for item in published.items} == {None}
    assert len(published.items) == 5  # without the damaged one
    assert "flatter" in noted(published, "no split")
    shutil.rmtree(tmp_path / "Data")
    assert "expected GENRE/GENRE.NUMBER.wav" in faults(read_gtzan, tmp_path)[0]
    with pytest.raises(ManifestError, match="allowed are filtered, fold1, none"):
        read_gtzan(tmp_path, split="random")


# Music4All


def test_music4all(tmp_path: Path) -> None:
    published = read_music4all(make_music4all(tmp_path))
    items = by_id(published)
    first = items["0009fF"]
    assert (first.artist, first.album, first.labels) == ("One", "First", ("rock", "pop"))
    assert first.extra == {"title": 'Song "A"', "language": "en"}
    assert first.media == {
        "audio": (tmp_path / "audios" / "0009fF.mp3",),
        "text": (tmp_path / "lyrics" / "0009fF.txt",),
    }
    assert items["00Abc1"].labels == ("r&b|soul",)
    assert "(first: '00Xyz2')" in noted(published, "no artist")
    assert {item.split for item in items.values()} == {None}
    (tmp_path / "id_genres.csv").write_text("0009fF\trock\n")
    assert "no column 'id'" in faults(read_music4all, tmp_path)[0]


def test_music4all_aa_and_the_lists_that_keep_a_modality(tmp_path: Path) -> None:
    published = read_music4all_aa(make_music4all_aa(tmp_path))
    items = by_id(published)
    counts = Counter(item.split for item in items.values())
    assert counts["test"] == 6
    assert counts["train"] + counts["val"] == 10
    assert 1 <= counts["val"] <= 2
    assert noted(published, "no validation is published")
    album = items["00000003-aaaa"]
    assert (album.artist, album.album, album.labels) == ("Artist 3", "Album 3", ("rock",))
    assert album.media["text"] == ("Album number 3.",)
    assert [p.name for p in album.media["image"] if isinstance(p, Path)] == ["00000003-aaaa_10.jpg"]
    keeps = [items[f"{k:08}-aaaa"].extra[KEEPS] for k in range(10, 16)]
    assert keeps == ["10", "40", "50", "70", "90", "100"]
    assert KEEPS not in album.extra
    with pytest.raises(ManifestError, match=r"'music4all_artist_split\.json'.* get it from"):
        read_music4all_aa(tmp_path, subset="artist")
