"""Arrays in NumPy's files, dense or sparse, which are read without ever unpickling."""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tokenize import TokenError
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mmgenre.errors import StoreError

if TYPE_CHECKING:
    from scipy import sparse

SPARSE = frozenset({"data", "indices", "indptr", "shape"})
NUMBERS = "fiub"  # dtype kinds: float, int, unsigned, bool
NPY_MAGIC = b"\x93NUMPY"
# What NumPy raises for damaged files and for pickled objects; it has zipfile, the decompressors,
# and Python's own parser read them.
BAD_FILE = (
    OSError, ValueError, EOFError, LookupError, MemoryError, RuntimeError, TypeError, SyntaxError,
    OverflowError, TokenError, struct.error, zipfile.BadZipFile, zlib.error, lzma.LZMAError,
)  # fmt: skip

Array: TypeAlias = "NDArray[Any] | sparse.csr_array[Any]"


class HasShape(Protocol):
    """An array, or what is read as one."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...


def row_faults(x: HasShape) -> list[str]:
    """Why an array is not (n, width) numbers; none if it is."""
    faults = []
    if len(x.shape) != 2:
        advice = "; pool it to one vector per id first" if len(x.shape) > 2 else ""
        faults.append(f"an array of shape {x.shape}; expected (n, width){advice}")
    elif 0 in x.shape:
        faults.append(f"an array of shape {x.shape} is empty")
    if x.dtype.kind not in NUMBERS:
        faults.append(f"values of type {x.dtype}; expected numbers")
    return faults


def dense(x: Array) -> NDArray[Any]:
    """The array, no longer sparse."""
    return x if isinstance(x, np.ndarray) else x.toarray()


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """A file for NumPy, which would not close it if it is damaged; a StoreError says so."""
    try:
        with path.open("rb") as file:
            yield file
    except FileNotFoundError:
        raise StoreError(f"{path}: no such file") from None
    except BAD_FILE as error:
        fault = f"cannot be read without unpickling, or is damaged ({error})"
        raise StoreError(f"{path}: {fault}") from None


def read_npy(path: Path) -> NDArray[Any]:
    """An array that stays on disk until it is used; StoreError if not a `.npy` of plain values."""
    with _opened(path) as file:
        if file.read(len(NPY_MAGIC)) != NPY_MAGIC:
            raise StoreError(f"{path}: not an array in NumPy's format")
        return np.asanyarray(np.load(path, mmap_mode="r", allow_pickle=False))


def read_npz(path: Path) -> sparse.csr_array[Any] | dict[str, NDArray[Any]]:
    """The sparse array that an archive holds in parts, otherwise all its arrays.

    The code of Oramas 2018 writes data, indices, indptr and shape; scipy adds the format. Raises a
    StoreError if these contradict each other or have another format than csr, or if the file is
    not an archive of plain values.
    """
    with _opened(path) as file:
        archive = np.load(file, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise StoreError(f"{path}: one array, not an archive; rename it to .npy")
        arrays = {name: archive[name] for name in archive.files}
    if others := [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]:
        raise StoreError(f"{path}: {others[0]!r} in it is no array in NumPy's format")
    if not arrays.keys() >= SPARSE:
        return arrays
    form = arrays["format"].item() if "format" in arrays else b"csr"
    if form not in (b"csr", "csr"):
        raise StoreError(f"{path}: a sparse array in format {form!r}; expected csr")
    try:
        parts = (arrays["data"], arrays["indices"], arrays["indptr"])
        from scipy import sparse  # which dense arrays do without

        array = sparse.csr_array(parts, shape=tuple(arrays["shape"].tolist()))
        # An index out of range would read memory outside the array.
        array.check_format(full_check=True)
    except (ValueError, TypeError, IndexError) as error:
        raise StoreError(f"{path}: not a sparse array: {error}") from None
    return array


def read_array(path: Path) -> Array:
    """The one array of a file, sparse or dense; a StoreError if it contains something else."""
    held = read_npy(path) if path.suffix == ".npy" else read_npz(path)
    if isinstance(held, dict) and len(held) != 1:
        raise StoreError(f"{path}: expected one array, got {', '.join(held) or 'none'}")
    return next(iter(held.values())) if isinstance(held, dict) else held
