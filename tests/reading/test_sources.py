"""Rows whose files have gone since: they are not replaced by refusals unasked."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmgenre.disk.store import FeatureStore, parts_folder
from mmgenre.errors import MmgenreError, UnreachableError
from mmgenre.items.item import Item
from mmgenre.items.manifest import Manifest
from mmgenre.reading import extraction
from mmgenre.reading.extraction import (
    check_sources,
    extract_inputs,
    inputs_provenance,
)
from mmgenre.text.settings import TextInput


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    folder = tmp_path / "drive"
    folder.mkdir()
    for k in range(8):
        (folder / f"{k}.txt").write_text(f"A quiet record, number {k}.", encoding="utf-8")
    return folder


@pytest.fixture
def manifest(drive: Path) -> Manifest:
    files = [Item(f"i{k}", media={"text": (drive / f"{k}.txt",)}) for k in range(8)]
    return Manifest([*files, Item("inline", media={"text": ("A loud record.",)})])


def read(manifest: Manifest, target: Path, **how: Any) -> Path:
    return extract_inputs(manifest, "text", TextInput(), target, workers=1, **how)


@pytest.mark.parametrize(
    ("lose", "n"),
    [
        (lambda drive: drive.rename(drive.with_name("off")), 8),
        (lambda drive: [file.unlink() for file in drive.iterdir()], 8),
        (lambda drive: [(drive / f"{k}.txt").unlink() for k in range(3)], 3),
        (lambda drive: (drive / "5.txt").unlink(), 1),
        (lambda drive: (drive / "5.txt").rename(drive / "5.md"), 1),
    ],
)
def test_files_that_are_gone_stop_before_the_store_is_touched(
    tmp_path: Path, drive: Path, manifest: Manifest, lose: Callable[[Path], object], n: int
) -> None:
    target = read(manifest, tmp_path / "t.h5")
    check_sources(manifest, "text", target)
    lose(drive)
    message = rf"t\.h5: {n} of 8 files that this was read from are gone .*--accept-missing"
    with pytest.raises(MmgenreError, match=message):
        check_sources(manifest, "text", target)


def test_what_was_missing_before_is_no_loss(
    tmp_path: Path, drive: Path, manifest: Manifest
) -> None:
    (drive / "0.txt").unlink()
    target = read(manifest, tmp_path / "t.h5")
    with FeatureStore(target, "text") as store:
        assert [r.id for r in store.refused] == ["i0"]
    check_sources(manifest, "text", target)
    check_sources(manifest, "text", tmp_path / "new.h5")


def test_parts_of_an_unfinished_reading_count(
    tmp_path: Path, drive: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extraction, "PART_ROWS", 2)

    def stop(task: str, done: int, total: int) -> None:
        if done >= 4:
            raise KeyboardInterrupt

    target = tmp_path / "t.h5"
    with pytest.raises(KeyboardInterrupt):
        read(manifest, target, progress=stop)
    before = sorted(parts_folder(target).iterdir())
    drive.rename(tmp_path / "off")
    with pytest.raises(MmgenreError, match="4 of 4 files"):
        check_sources(manifest, "text", target)
    assert sorted(parts_folder(target).iterdir()) == before


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.ENOTCONN])
def test_a_disk_that_fails_is_no_missing_file(
    drive: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def fails(path: Path) -> os.stat_result:
        raise OSError(code, "fails")

    monkeypatch.setattr(Path, "stat", fails)
    with pytest.raises(UnreachableError, match=errno.errorcode[code]):
        inputs_provenance(manifest, "text", TextInput())


def test_a_damaged_store_is_renamed_and_read_again(tmp_path: Path, manifest: Manifest) -> None:
    target = read(manifest, tmp_path / "t.h5")
    target.write_bytes(b"damaged")
    read(manifest, target)
    with FeatureStore(target, "text") as store:
        assert len(store) == 9
    assert (tmp_path / "t.h5.damaged").read_bytes() == b"damaged"


def test_a_name_with_a_nul_is_a_file_that_is_not_there(tmp_path: Path) -> None:
    manifest = Manifest([Item("a", media={"text": (tmp_path / "a\0b.txt",)})])
    assert inputs_provenance(manifest, "text", TextInput()) == inputs_provenance(
        manifest, "text", TextInput()
    )
