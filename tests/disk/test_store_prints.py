"""Fingerprints of rows, kept with them: through writes, merges and renewals, each with its row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import pytest

from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import (
    FeatureStore,
    Prints,
    layout,
    merge_stores,
    renew_store,
    write_store,
)
from mmgenre.errors import StoreError

MADE = Provenance("inputs", 1, {})


def rows_of(ids: Sequence[str]) -> np.ndarray:
    return np.array([[ord(i)] * 3 for i in ids], np.float32)


def print_of(item_id: str) -> bytes:
    """Of another length for each."""
    return item_id.encode() * (ord(item_id) - ord("a"))


def write(path: Path, ids: str, by: str | None = "ours 1", known: str | None = None) -> Path:
    prints = None
    if by is not None:
        prints = Prints(by, {i: print_of(i) for i in (ids if known is None else known)})
    return write_store(path, "x", [(list(ids), rows_of(ids))], MADE, prints=prints)


def stored(path: Path, by: str = "ours 1") -> dict[str, bytes | None]:
    with FeatureStore(path, "x") as store:
        store.verify()
        return dict(zip(store.ids, store.prints(by), strict=True))


def expected(ids: str, known: str | None = None) -> dict[str, bytes | None]:
    return {i: print_of(i) if known is None or i in known else None for i in ids}


def test_what_was_written_is_read_by_its_name_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "s.h5", "abcz")
    assert stored(path) == expected("abcz")
    assert stored(path, "ours 2") == expected("abcz", known="")
    monkeypatch.setattr(layout, "BLOCK_BYTES", 5)  # lengths and prints lie across blocks
    assert stored(path) == expected("abcz")
    assert stored(write(tmp_path / "none.h5", "ab", by=None)) == expected("ab", known="")
    assert stored(write(tmp_path / "some.h5", "abcd", known="bd")) == expected("abcd", known="bd")


def test_they_are_no_part_of_what_rows_are(tmp_path: Path) -> None:
    hashes = set()
    for by in ("ours 1", None):
        with FeatureStore(write(tmp_path / "s.h5", "abc", by=by), "x") as store:
            hashes.add(store.sha256)
    assert len(hashes) == 1


def test_other_groups_keep_theirs(tmp_path: Path) -> None:
    path = write(tmp_path / "s.h5", "abc")
    write_store(path, "y", [(["a"], rows_of("a"))], MADE)
    assert stored(path) == expected("abc")


@pytest.mark.parametrize("block_bytes", [1, 1 << 24])
def test_merged_and_renewed_they_stay_with_their_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    monkeypatch.setattr(layout, "BLOCK_BYTES", block_bytes)
    target = tmp_path / "s.h5"
    parts = [write(tmp_path / "1.h5", "bf"), write(tmp_path / "2.h5", "hj")]
    merge_stores(parts, target, "x")
    assert stored(target) == expected("bfhj")
    added = [write(tmp_path / "3.h5", "ag"), write(tmp_path / "4.h5", "z")]
    merge_stores(added, target, "x", taken={"b", "h", "j"}, order="abghjz")
    assert stored(target) == expected("abghjz")
    renew_store(target, "x", [], MADE, taken={"a", "z"}, order="az")
    assert stored(target) == expected("az")


def test_rows_of_before_or_of_another_version_have_none(tmp_path: Path) -> None:
    target = write(tmp_path / "s.h5", "bd", by=None)
    merge_stores([write(tmp_path / "1.h5", "ac")], target, "x", taken={"b", "d"}, order="abcd")
    assert stored(target) == expected("abcd", known="ac")
    other = write(tmp_path / "2.h5", "e", by="ours 2")
    merge_stores([other], target, "x", taken=set("abcd"), order="abcde")
    assert stored(target, "ours 2") == expected("abcde", known="e")


@pytest.mark.parametrize("what", ["swapped", "cut", "longer"])
def test_damage_is_found(tmp_path: Path, what: str) -> None:
    path = write(tmp_path / "s.h5", "bcd")
    with h5py.File(path, "r+") as file:
        data = file["x/prints"]
        values = data[:]
        del file["x/prints"]
        changed = {"swapped": values[::-1], "cut": values[:-1], "longer": np.append(values, 0)}
        file["x"].create_dataset("prints", data=changed[what].astype(np.uint8), fletcher32=True)
    with pytest.raises(StoreError, match="is damaged"):
        stored(path)
