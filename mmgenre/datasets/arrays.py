"""NumPy files without pickles: matrices on disk, dense or sparse, as finite float32 rows."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mmgenre.errors import StoreError

SPARSE = frozenset({"data", "indices", "indptr", "shape"})
NUMBERS = "fiub"  # dtype kinds: float, int, unsigned, bool
BLOCK_ROWS = 1024
NPY_MAGIC = b"\x93NUMPY"
# What NumPy raises for bytes that are not what they claim to be, and for pickled objects.
DAMAGE = (OSError, ValueError, EOFError, KeyError, MemoryError, zipfile.BadZipFile, zlib.error)

Array = NDArray[Any] | sparse.csr_array[Any]


def open_npy(path: Path) -> NDArray[Any]:
    """An array that stays on disk until it is used.

    Raises:
        StoreError: not a `.npy` of plain values.
    """
    try:
        with path.open("rb") as file:
            if file.read(len(NPY_MAGIC)) != NPY_MAGIC:
                raise StoreError(f"{path}: not an array as NumPy writes it")
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except DAMAGE as error:
        raise StoreError(_unreadable(path, error)) from None
    return np.asanyarray(array)


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of an archive.

    Raises:
        StoreError: not a `.npz` of plain values.
    """
    try:
        # Opened here: of a broken archive, NumPy would leave its own handle open.
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise StoreError(f"{path}: one array, not an archive; call it .npy")
            return {name: archive[name] for name in archive.files}
    except DAMAGE as error:
        raise StoreError(_unreadable(path, error)) from None


def sparse_array(arrays: Mapping[str, NDArray[Any]], where: str) -> sparse.csr_array[Any] | None:
    """A compressed sparse row array from its parts; None if these are not such parts.

    The authors' code writes data, indices, indptr and shape; scipy adds the format.

    Raises:
        StoreError: the parts contradict each other, or are of another sparse format.
    """
    if not arrays.keys() >= SPARSE:
        return None
    form = arrays["format"].item() if "format" in arrays else b"csr"
    if form not in (b"csr", "csr"):
        raise StoreError(f"{where}: a sparse array in format {form!r}; wants csr")
    try:
        parts = (arrays["data"], arrays["indices"], arrays["indptr"])
        array = sparse.csr_array(parts, shape=tuple(arrays["shape"].tolist()))
        # An index out of range would read memory that is not ours.
        array.check_format(full_check=True)
    except (ValueError, TypeError, IndexError) as error:
        raise StoreError(f"{where}: not a sparse array: {error}") from None
    return array


def read_array(path: Path) -> Array:
    """The one array of a `.npy`, or of a `.npz` that holds a sparse or a single array.

    Raises:
        StoreError: it cannot be read, or holds something else.
    """
    if path.suffix == ".npy":
        return open_npy(path)
    arrays = read_npz(path)
    found = sparse_array(arrays, str(path))
    if found is not None:
        return found
    if len(arrays) != 1:
        raise StoreError(f"{path}: wants one array, holds {', '.join(arrays) or 'none'}")
    return next(iter(arrays.values()))


def is_matrix(array: NDArray[Any]) -> bool:
    """Whether it is (n, width) numbers."""
    return array.ndim == 2 and array.dtype.kind in NUMBERS


def row_faults(x: Array) -> list[str]:
    """What keeps an array from being (n, width) numbers."""
    faults = []
    if len(x.shape) != 2:
        advice = "; pool it to one vector an id first" if len(x.shape) > 2 else ""
        faults.append(f"an array of shape {x.shape}; wants (n, width){advice}")
    elif 0 in x.shape:
        faults.append(f"an array of shape {x.shape} holds nothing")
    if x.dtype.kind not in NUMBERS:
        faults.append(f"values of type {x.dtype}; wants numbers")
    return faults


def float_rows(
    x: Array, ids: Sequence[str], where: str
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """(n, width) numbers -> (first row, (at most BLOCK_ROWS, width) float32), one by one.

    Raises:
        StoreError: names the first row with NaN, infinity, or what float32 cannot hold.
    """
    for start in range(0, x.shape[0], BLOCK_ROWS):
        block = x[start : start + BLOCK_ROWS]
        dense = block if isinstance(block, np.ndarray) else block.toarray()
        with np.errstate(over="ignore"):  # becomes infinite, and is refused below
            rows = np.asarray(dense, dtype=np.float32)
        bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        if bad.size:
            row = start + int(bad[0])
            raise StoreError(
                f"{where}: row {row} ({ids[row]!r}) holds NaN, infinity, or a number beyond float32"
            )
        yield start, rows


def _unreadable(path: Path, error: BaseException) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{path}: no such file"
    return f"{path}: cannot be read without unpickling, or is damaged ({error})"
