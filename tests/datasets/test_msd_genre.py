"""Genre files of the Million Song Dataset (.cls)."""

from __future__ import annotations

from pathlib import Path

from published_layouts import by_id, faults, noted

from mmgenre.datasets.msd import read_cls

CLS = "# tagtraum\n% or so\n\nTRA\tRock\nTRB\tPunk\tRock\nTRC\tPop_Rock\tPop_Rock\nTRD\tRnB\t\n"


def test_cls_majority_first(tmp_path: Path) -> None:
    (tmp_path / "msd_tagtraum_cd1.cls").write_text(CLS)
    published = read_cls(tmp_path)
    assert {item.id: item.labels for item in published.items} == {
        "TRA": ("Rock",),
        "TRB": ("Punk", "Rock"),
        "TRC": ("Pop_Rock",),
        "TRD": ("RnB",),
    }
    assert noted(published, "second genre").startswith("1 tracks")
    assert "splits of this manifest may share artists" in noted(published, "no artists")
    assert read_cls(tmp_path / "msd_tagtraum_cd1.cls") == published


def test_cls_with_the_artists_of_the_msd(tmp_path: Path) -> None:
    (tmp_path / "a.cls").write_text(CLS)
    tracks = tmp_path / "unique_tracks.txt"
    tracks.write_text("TRA<SEP>SO1<SEP>Faster Pussy cat<SEP>Silent Night\n")
    published = read_cls(tmp_path)
    assert by_id(published)["TRA"].artist == "Faster Pussy cat"
    assert by_id(published)["TRB"].artist == ""
    assert "the artist of 1 of 4 tracks" in noted(published, "unique_tracks.txt")
    tracks.write_text("TRA,SO1,x,y\n")
    assert faults(read_cls, tmp_path)[0].startswith("line 1: expected four cells")


def test_cls_broken_lines_are_all_listed(tmp_path: Path) -> None:
    (tmp_path / "a.cls").write_text("TRA Rock\nTRB\tPop\nTRB\tRock\nTRC\ta\tb\tc\n\tRock\n")
    found = faults(read_cls, tmp_path)
    assert [fault.split(":")[0] for fault in found] == ["line 1", "line 3", "line 4", "line 5"]


def test_cls_partition_is_no_genre_file(tmp_path: Path) -> None:
    (tmp_path / "a.cls").write_text("TRA\tTRAIN\nTRB\tTEST\n")
    assert "a partition, not genres" in faults(read_cls, tmp_path)[0]


def test_cls_which_file(tmp_path: Path) -> None:
    (none,) = faults(read_cls, tmp_path)
    assert "https://www.tagtraum.com/msd_genre_datasets.html" in none
    for name in ("a.cls", "b.cls"):
        (tmp_path / name).write_text("# nothing\n")
    assert "2 .cls files (a.cls, b.cls)" in faults(read_cls, tmp_path)[0]
    assert faults(read_cls, tmp_path / "a.cls") == ("every line is a comment or empty",)
