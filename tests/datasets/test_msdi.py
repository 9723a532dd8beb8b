"""MSD-I: tracks, one genre each, the published splits."""

from __future__ import annotations

from pathlib import Path

from published_layouts import MSDI_HEADER, MSDI_ROWS, faults, make_msdi, noted

from mmgenre.datasets.msd import read_msdi
from mmgenre.items.item import Item


def test_msdi_tracks(tmp_path: Path) -> None:
    published = read_msdi(make_msdi(tmp_path))
    assert published.items[1] == Item(
        "TRB", "AR2", "2", "val", ("New Age",), extra={"image_url": "http://x/b.jpg"}
    )
    assert [item.split for item in published.items] == ["train", "val", "test"]
    assert published.items[2].extra["image_url"] == 'http://x/"c.jpg'
    assert not published.notes


def test_msdi_columns_in_any_order(tmp_path: Path) -> None:
    def swap(row: str) -> str:
        cells = row.split("\t")
        return "\t".join(cells[k] for k in (5, 3, 0, 4, 2, 1))

    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    swapped = make_msdi(tmp_path / "a", [*map(swap, MSDI_ROWS)], swap(MSDI_HEADER))
    assert read_msdi(swapped).items == read_msdi(make_msdi(tmp_path / "b")).items


def test_msdi_partial_splits_are_reported(tmp_path: Path) -> None:
    rows = [MSDI_ROWS[0], MSDI_ROWS[1].replace("val", "")]
    published = read_msdi(make_msdi(tmp_path, rows))
    assert "1 of 2 items are in no published split (first: 'TRB')" in noted(published, "split")


def test_msdi_album_in_two_splits_is_reported(tmp_path: Path) -> None:
    rows = [*MSDI_ROWS, "TRD\tRock\t1\ttest\tAR4\t"]  # a compilation: another artist
    published = read_msdi(make_msdi(tmp_path, rows))
    assert noted(published, "several published splits").startswith("1 of 3 albums")


def test_msdi_broken_table_lists_every_fault(tmp_path: Path) -> None:
    rows = [*MSDI_ROWS, MSDI_ROWS[0], "TRD\tRock\t4\tdev\tAR4\t", "TRE\t\t4\ttest\tAR4\t"]
    assert faults(read_msdi, make_msdi(tmp_path, rows)) == (
        "line 5: track 'TRA' is already in line 2",
        "line 6: set 'dev': must be train, val, test or empty",
        "line 7: no genre",
    )


def test_msdi_missing_file_or_column(tmp_path: Path) -> None:
    (missing,) = faults(read_msdi, tmp_path)
    for words in ("'MSD-I_dataset.tsv'", "https://zenodo.org/record/1240485", str(tmp_path)):
        assert words in missing
    header = MSDI_HEADER.replace("set", "split")
    assert "no column 'set'" in faults(read_msdi, make_msdi(tmp_path, header=header))[0]
    assert faults(read_msdi, tmp_path / "nowhere") == ("no such folder",)
    make_msdi(tmp_path)
    (tmp_path / "copy").mkdir()
    make_msdi(tmp_path / "copy")
    assert "exists 2 times" in faults(read_msdi, tmp_path)[0]
