"""NumPy files from elsewhere: damaged, hostile or simply not what their name says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from mmgenre.datasets.arrays import read_array
from mmgenre.datasets.features import BLOCK_ROWS, Features, read_features
from mmgenre.errors import StoreError


class Trap:
    """Unpickling this would run code."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return pytest.fail, ("unpickled",)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_nothing_is_unpickled(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"clap{suffix}"
    objects = np.array([Trap()], dtype=object)
    np.savez(path, ids=objects, x=np.ones((1, 2))) if suffix == ".npz" else np.save(path, objects)
    (tmp_path / "clap.ids.txt").write_text("a\n")
    with pytest.raises(StoreError, match="without unpickling"):
        read_features(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", b"\x93NUMPY\x01\x00", b"text"])
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_damaged_files(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"clap{suffix}"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=f"clap{suffix}"):
        read_features(path)


def test_truncated_array(tmp_path: Path) -> None:
    path = tmp_path / "clap.npy"
    np.save(path, np.ones((3, 4)))
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(StoreError, match="damaged"):
        read_features(path)


def test_sparse_indices_out_of_range_are_refused(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "v.npz",
        data=np.ones(1),
        indices=np.array([10**6]),
        indptr=np.array([0, 1]),
        shape=np.array([1, 2]),
    )
    (tmp_path / "v.ids.txt").write_text("a\n")
    with pytest.raises(StoreError, match="not a sparse array"):
        read_features(tmp_path / "v.npz")


@pytest.mark.parametrize("form", ["csc", "coo"])
def test_sparse_formats_other_than_rows(tmp_path: Path, form: Any) -> None:
    sparse.save_npz(tmp_path / "v.npz", sparse.csr_array(np.eye(3)).asformat(form))
    with pytest.raises(StoreError, match=r"expected csr|expected one array"):
        read_array(tmp_path / "v.npz")


def test_one_array_in_an_archive(tmp_path: Path) -> None:
    np.savez(tmp_path / "v.npz", np.eye(3))
    np.testing.assert_array_equal(np.asarray(read_array(tmp_path / "v.npz")), np.eye(3))
    np.savez(tmp_path / "w.npz", a=np.eye(3), b=np.eye(3))
    with pytest.raises(StoreError, match="expected one array, got a, b"):
        read_array(tmp_path / "w.npz")


def test_blocks_hold_every_row_once() -> None:
    x = np.arange(2.0 * BLOCK_ROWS + 1)[:, None]
    ids = tuple(str(k) for k in range(len(x)))
    for array in (x, sparse.csr_array(x)):
        blocks = list(Features(Path("x"), ids, array).blocks())
        assert tuple(i for block, _ in blocks for i in block) == ids
        np.testing.assert_array_equal(np.concatenate([rows for _, rows in blocks]), x)
