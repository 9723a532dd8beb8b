"""Genres renamed by a table, rare ones left out, samples drawn: what is kept, and what is said."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import Call
from music import make_library
from published_layouts import noted

from mmgenre.datasets.selection import keep_frequent, keep_known, mapped, read_map, sampled
from mmgenre.datasets.sources import Published
from mmgenre.errors import ManifestError
from mmgenre.items.item import Item
from mmgenre.items.manifest import Manifest


def published(*labels: tuple[str, ...]) -> Published:
    return Published("x", tuple(Item(f"{k:03}", labels=names) for k, names in enumerate(labels)))


def table(folder: Path, *rows: str) -> Path:
    (folder / "genres.tsv").write_text("\n".join(["from\tto", *rows]) + "\n", encoding="utf-8")
    return folder / "genres.tsv"


def test_mapped_dropped_and_unknown_genres(tmp_path: Path) -> None:
    rows = ("HIP-HOP\tHip Hop", "House\tElectronic/House;Dance", "Audiobook\t", "Polka\tFolk")
    done = mapped(
        published(("Hip-Hop", "Hip Hop"), ("House",), ("Audiobook",), ("Jazz", "Audiobook")),
        read_map(table(tmp_path, *rows)),
    )
    assert [item.labels for item in done.items] == [
        ("Hip Hop",),
        ("Electronic/House", "Dance"),
        (),
        ("Jazz",),
    ]
    assert noted(done, "are mapped").endswith("2 genre(s) are mapped: 'Hip-Hop' (1), 'House' (1)")
    assert noted(done, "are dropped") == "1 genre(s) are dropped: 'Audiobook' (2)"
    assert "'Hip Hop' (1), 'Jazz' (1)" in noted(done, "stay")
    assert noted(done, "not in the dataset").endswith("(first: 'Polka')")
    assert noted(done, "any more").startswith("1 item(s)")


def test_faults_of_a_table(tmp_path: Path) -> None:
    with pytest.raises(ManifestError) as caught:
        read_map(table(tmp_path, "Rock\tPop", "rock\tRock", "\tPop"))
    assert caught.value.faults == (
        "line 3: 'rock' is already mapped, as 'Rock'",
        "line 4: no genre in column 'from'",
    )
    (tmp_path / "a.tsv").write_text("from\tinto\nRock\tPop\n")
    with pytest.raises(ManifestError, match="no column 'to'"):
        read_map(tmp_path / "a.tsv")
    with pytest.raises(ManifestError, match="none of the 1 genres is in its column 'from': 'Jazz'"):
        mapped(published(("Jazz",)), read_map(table(tmp_path, "Rock\tPop")))


def test_rare_genres_go_and_their_items_stay() -> None:
    done = keep_known(published(("Rock", "Oi"), ("Rock",), ("Polka",), ()), 2)
    assert [item.labels for item in done.items] == [("Rock",), ("Rock",), (), ()]
    assert noted(done, "are kept: those of 2 items")
    assert noted(done, "any more").endswith("(first: '002')")


def test_a_share_is_of_the_items_with_a_genre() -> None:
    done = keep_frequent(published(("Rock",), ("Rock",), ("Oi",), (), (), ()), 0.5)
    assert [item.id for item in done.items] == ["000", "001", "003", "004", "005"]


def test_a_sample_is_drawn_by_seed_and_by_whole_artists() -> None:
    items = [Item(f"{a}{k}", f"Artist {a}", labels=("Rock",)) for a in "abcdef" for k in range(5)]
    items += [Item(f"v{k}", "Various Artists") for k in range(5)]
    full = Published("x", tuple(items))
    one, other = (sampled(full, 12, seed=seed) for seed in (0, 1))
    assert len(one.items) == len(other.items) == 12
    assert one.items != other.items
    assert sampled(Published("x", tuple(items[::-1])), 12).items[::-1] == one.items
    by_artist = sampled(full, 12, by_artist=True)
    counts = {a: sum(i.id[0] == a for i in by_artist.items) for a in "abcdef"}
    assert set(counts.values()) <= {0, 5}
    assert 10 <= len(by_artist.items) <= 12  # those by nobody are drawn alone
    assert noted(by_artist, "are drawn").endswith("artists whole (seed 0)")
    assert len(sampled(full, 99).items) == 35
    with pytest.raises(ManifestError, match="every artist has 5 items or more"):
        sampled(Published("x", tuple(items[:30])), 4, by_artist=True)


def test_command(tmp_path: Path, call: Call) -> None:
    music, out = make_library(tmp_path / "music"), tmp_path / "items.csv"
    how = ("--map", table(tmp_path, "Rock\tRock//Pop"), "--sample", 4, "--by", "artist")
    built = call("manifest", "build", "library", music, "--out", out, *how, "--min-items", 2)
    assert built.code == 0, built.err
    assert "1 genre(s) are mapped" in built.out
    assert "4 of 6 items are drawn, artists whole" in built.out
    assert len(Manifest.read(out)) == 4
    alone = call("manifest", "build", "library", music, "--out", out, "--by", "artist")
    assert alone.code == 1
    assert "is of a sample" in alone.err


def test_paths_with_faults_are_of_the_table(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="line 2: 'Rock / Pop' has an empty part or spaces"):
        read_map(table(tmp_path, "Rock\tRock / Pop"))
