"""Rows that another program has put in another order, or changed, under valid checksums of HDF5."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import FeatureStore, check_store, write_store
from mmgenre.disk.store import layout as layout_module
from mmgenre.errors import StoreError

PROVENANCE = Provenance("stage", 1, {})
seeded = settings(derandomize=True, database=None, deadline=None, max_examples=60)
N = 12
IDS = [f"item {k}" for k in range(N)]
ROWS = np.arange(N * 3, dtype=np.float32).reshape(N, 3)
SWAPPED = np.array([1, 0, *range(2, N)])


def write(path: Path, *groups: str) -> Path:
    for group in groups:
        write_store(path, group, [(IDS, ROWS)], PROVENANCE)
    return path


def permute(path: Path, group: str, order: np.ndarray, key: str = "data") -> None:
    """Through HDF5, which computes the checksums of the chunks anew."""
    with h5py.File(path, "r+") as file:
        held = file[group][key][:]
        file[group][key][...] = held[order]


def served(path: Path, group: str = "v") -> bool:
    """Whether every reader but `check_store` takes the file for whole."""
    with FeatureStore(path, group) as store:
        return store.take(IDS).shape == ROWS.shape


@seeded
@given(st.permutations(range(N)), st.sampled_from(["data", "ids"]))
def test_any_other_order_of_rows_or_ids_is_found(order: list[int], key: str) -> None:
    assume(order != sorted(order))
    with TemporaryDirectory() as folder:
        path = write(Path(folder) / "a.h5", "v")
        check_store(path, "v")
        permute(path, "v", np.array(order), key)
        assert served(path)
        with pytest.raises(StoreError, match="/v is damaged: its checksum differs"):
            check_store(path, "v")


@seeded
@given(st.data())
def test_frames_and_lengths_of_ragged_rows_too(data: st.DataObject) -> None:
    lengths = data.draw(st.lists(st.integers(1, 6), min_size=2, max_size=8))
    rows = [np.full((n, 2), k, np.float16) for k, n in enumerate(lengths)]
    ids = [str(k) for k in range(len(rows))]
    with TemporaryDirectory() as folder:
        path = write_store(Path(folder) / "a.h5", "v", [(ids, rows)], PROVENANCE, ragged=True)
        with h5py.File(path, "r+") as file:
            if data.draw(st.booleans()):
                order = data.draw(st.permutations(range(sum(lengths))))
                values = file["v/data"][:]
                assume((values[order] != values).any())
                file["v/data"][...] = values[order]
            else:
                other = data.draw(st.permutations(lengths))
                assume(other != lengths)
                file["v/offsets"][...] = np.cumsum([0, *other])
        with pytest.raises(StoreError, match="/v is damaged: its checksum differs"):
            check_store(path, "v")


def test_whole_chunks_that_changed_places_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout_module, "CHUNK_BYTES", 4 * ROWS[0].nbytes)
    path = write(tmp_path / "a.h5", "v")
    with h5py.File(path, "r+") as file:
        assert file["v/data"].chunks == (4, 3)
        one, other = (file["v/data"].id.read_direct_chunk((k, 0)) for k in (0, 8))
        file["v/data"].id.write_direct_chunk((0, 0), other[1], other[0])
        file["v/data"].id.write_direct_chunk((8, 0), one[1], one[0])
    assert served(path)
    with pytest.raises(StoreError, match="/v is damaged: its checksum differs"):
        check_store(path, "v")


def test_the_error_says_what_to_do_and_nothing_is_changed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", "v")
    permute(path, "v", SWAPPED)
    before = path.read_bytes()
    with pytest.raises(StoreError) as error:
        check_store(path, "v")
    assert str(error.value) == (
        f"{path}: /v is damaged: its checksum differs, so ids or rows are not those that were "
        f"written; nothing was changed; move it away (mv {path} {path}.damaged), then run this "
        "again: it is made anew"
    )
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]
    with pytest.raises(StoreError, match="nothing was changed; give it again"):
        check_store(path, "v", remedy="give it again")


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the groups whose values were read."""
    names: list[str] = []
    verify = FeatureStore.verify

    def counted(self: FeatureStore, *how: object) -> None:
        names.append(self.name)
        verify(self)

    monkeypatch.setattr(FeatureStore, "verify", counted)
    return names


def test_what_was_found_whole_is_read_once(tmp_path: Path, read: list[str]) -> None:
    path = write(tmp_path / "a.h5", "v", "w")
    check_store(path, "v")
    check_store(path, "v")
    assert read == ["v"]
    check_store(path, "v", "w")
    check_store(path, "w", "v")
    assert read == ["v", "w"]


@pytest.mark.parametrize("keeps_times", [False, True])
def test_a_file_that_changed_since_is_read_again(
    tmp_path: Path, read: list[str], keeps_times: bool
) -> None:
    path = write(tmp_path / "a.h5", "v")
    check_store(path, "v")
    times = path.stat()
    permute(path, "v", SWAPPED)
    if keeps_times:
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(StoreError, match="its checksum differs"):
        check_store(path, "v")
    permute(path, "v", SWAPPED)  # as it was
    check_store(path, "v")
    shutil.copy2(path, tmp_path / "b.h5")
    (tmp_path / "b.h5").replace(path)
    check_store(path, "v")
    assert read == ["v"] * 4


@pytest.mark.parametrize(
    "note", ["", "[]", "{", '{"state": 1}', '{"state": [], "whole": {"v": 1}}']
)
def test_an_odd_note_counts_for_nothing(tmp_path: Path, read: list[str], note: str) -> None:
    path = write(tmp_path / "a.h5", "v")
    check_store(path, "v")
    (tmp_path / ".a.h5.checked").write_text(note)
    check_store(path, "v")
    assert read == ["v", "v"]
    assert json.loads((tmp_path / ".a.h5.checked").read_text())["whole"].keys() == {"v"}


def test_a_file_that_is_replaced_while_it_is_read_is_not_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, verify = write(tmp_path / "a.h5", "v"), FeatureStore.verify

    def overtaken(self: FeatureStore, *how: object) -> None:
        verify(self)
        write_store(path, "v", [(IDS, ROWS[::-1])], PROVENANCE)

    monkeypatch.setattr(FeatureStore, "verify", overtaken)
    check_store(path, "v")
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]


def test_where_nothing_can_be_written_it_is_read_each_time(
    tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.h5", "v")

    def no_right(*_: object) -> None:
        raise PermissionError(13, "no right")

    monkeypatch.setattr("mmgenre.disk.store.checking.write_record", no_right)
    check_store(path, "v")
    check_store(path, "v")
    assert read == ["v", "v"]
