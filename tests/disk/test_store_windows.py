"""Reads that do not go through HDF5: the same values, and no damage goes unseen."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import FeatureStore, write_store
from mmgenre.disk.store.chunks import Chunks
from mmgenre.errors import StoreError

PROVENANCE = Provenance("stage", 1, {})
N_BINS = 3
CHUNK = (1 << 17) // (2 * N_BINS)  # rows
LENGTHS = [0, 2 * CHUNK + 5, 1, 900, CHUNK - 7, 0, 350]
IDS = [f"item {k}" for k in range(len(LENGTHS))]


def clips() -> list[NDArray[np.float16]]:
    """Over several chunks, with ends of rows and of chunks in many places."""
    rng = np.random.default_rng(0)
    return [rng.standard_normal((n, N_BINS)).astype(np.float16) for n in LENGTHS]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_store(tmp_path / "a.h5", "r", [(IDS, clips())], PROVENANCE, ragged=True)


@pytest.mark.parametrize("length", [0, 1, 322, CHUNK + 1])
def test_windows_are_slices_padded(path: Path, length: int) -> None:
    rng = np.random.default_rng(length)
    rows = dict(zip(IDS, clips(), strict=True))
    with FeatureStore(path, "r") as store:
        ids = [str(i) for i in rng.choice(IDS, 40)]
        starts = [int(rng.integers(store.lengths([i])[0] + 10)) for i in ids]
        found = store.windows(ids, starts, length, fill=-80)
        assert found.shape == (40, length, N_BINS)
        assert found.dtype == "float16"
        for window, item_id, start in zip(found, ids, starts, strict=True):
            row = rows[item_id][start : start + length]
            np.testing.assert_array_equal(window[: len(row)], row)
            assert (window[len(row) :] == -80).all()
        assert store.lengths(ids) == [len(rows[i]) for i in ids]
        assert store.windows([], [], 5, fill=0).shape == (0, 5, N_BINS)


def test_windows_that_make_no_sense(path: Path) -> None:
    with FeatureStore(path, "r") as store:
        with pytest.raises(ValueError, match=r"expected 2 starts >= 0, .*; got \[0, -1\]"):
            store.windows(IDS[:2], [0, -1], 5, fill=0)
        with pytest.raises(ValueError, match=r"expected 2 starts >= 0, .*; got \[0\]"):
            store.windows(IDS[:2], [0], 5, fill=0)
        with pytest.raises(StoreError, match="1 of 1 ids are missing"):
            store.windows(["x"], [0], 5, fill=0)
    write_store(path, "v", [(["a"], np.ones((1, 3), np.float32))], PROVENANCE)
    with FeatureStore(path, "v") as fixed, pytest.raises(StoreError, match="/v is not ragged"):
        fixed.windows(["a"], [0], 5, fill=0)


def test_every_flipped_byte_of_a_chunk_is_seen_by_each_read(path: Path) -> None:
    whole = path.read_bytes()
    place = whole.index(clips()[1][:100].tobytes())
    for offset in (0, 6 * CHUNK - 1):  # first and last byte of the first chunk
        damaged = bytearray(whole)
        damaged[place + offset] ^= 1
        path.write_bytes(damaged)
        with FeatureStore(path, "r") as store:
            for _ in range(2):  # a chunk that failed is not taken for checked
                with pytest.raises(StoreError, match="/r cannot be read"):
                    store.windows(IDS[1:2], [50], 10, fill=0)
                with pytest.raises(StoreError, match="/r cannot be read"):
                    store.read(IDS[1], 50, 60)
                with pytest.raises(StoreError, match="/r cannot be read"):
                    store.verify()
            # The chunks beside it are whole.
            np.testing.assert_array_equal(store.read(IDS[6]), clips()[6])


def test_a_chunk_that_skips_its_checksum_is_refused(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        values = np.zeros((CHUNK, N_BINS), np.float16)
        file["r/data"].id.write_direct_chunk((0, 0), values.tobytes(), filter_mask=1)
        assert not file["r/data"][5, 0]  # HDF5 does not mind
    with FeatureStore(path, "r") as store, pytest.raises(StoreError, match="an odd chunk"):
        store.windows(IDS[1:2], [0], 5, fill=0)


def test_an_open_store_keeps_its_file_when_another_takes_the_name(path: Path) -> None:
    with FeatureStore(path, "r") as store:
        others = [clip + 1 for clip in clips()]
        write_store(path, "r", [(IDS, others)], PROVENANCE, ragged=True)
        for _ in range(2):
            np.testing.assert_array_equal(store.read(IDS[3]), clips()[3])
        with FeatureStore(path, "r") as new:
            np.testing.assert_array_equal(new.read(IDS[3]), others[3])


def test_a_file_cut_short_while_open_is_an_error_and_no_crash(path: Path) -> None:
    with FeatureStore(path, "r") as store:
        store.read(IDS[1])
        with path.open("r+b") as file:
            file.truncate(10_000)
        with pytest.raises(StoreError, match="the file has become shorter"):
            store.read(IDS[1])


def test_places_that_lead_elsewhere_are_seen(path: Path) -> None:
    with FeatureStore(path, "r") as store:
        store._chunks.places[0] += 6
        with pytest.raises(StoreError, match="differs from its checksum"):
            store.read(IDS[1], 0, 5)


def test_a_chunk_is_checked_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checked = []
    check = Chunks._check

    def counted(self: Chunks, chunk: int) -> NDArray[np.uint8]:
        checked.append(chunk)
        return check(self, chunk)

    monkeypatch.setattr(Chunks, "_check", counted)
    with FeatureStore(path, "r") as store:
        for _ in range(3):
            store.windows(IDS[1:2] * 2, [5, CHUNK - 5], 10, fill=0)
    assert checked == [0, 1]


def test_rows_in_order_are_those_of_the_store(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((3000, 40)).astype(np.float32)
    ids = [f"i{k}" for k in range(len(rows))]
    path = write_store(tmp_path / "v.h5", "r", [(ids, rows)], PROVENANCE)
    write_store(path, "same", [(ids, rows + 1)], PROVENANCE)
    write_store(path, "other", [(ids[::-1], rows)], PROVENANCE)
    with FeatureStore(path, "r") as store:
        for start, n in ((0, 3000), (700, 1), (811, 900), (3000, 0)):
            out = np.empty((n, 40), np.float32)
            store.read_rows(start, out)
            np.testing.assert_array_equal(out, rows[start : start + n])
        assert store.ids_at([2999, 0]) == ["i2999", "i0"]
        with FeatureStore(path, "same") as same, FeatureStore(path, "other") as other:
            assert store.has_same_ids(same)
            assert not store.has_same_ids(other)
        for start, dtype in ((2999, "float32"), (-1, "float32"), (0, "float16")):
            with pytest.raises(ValueError, match="3,000 rows"):
                store.read_rows(start, np.empty((2, 40), dtype))
