"""How a group lies in a file: names, types, chunks and checksums, for readers and writers alike."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from mmgenre.errors import StoreError

FORMAT = "mmgenre feature store 1"
CHUNK_BYTES = 1 << 17  # about one 30-s clip of float16 CQT
BLOCK_BYTES = 1 << 24  # of what is read or copied at once
DTYPES = ("float16", "float32", "uint8")
# What h5py and JSON raise for bytes that are not what they claim to be.
DAMAGE = (OSError, LookupError, ValueError, TypeError, AttributeError, RuntimeError)

Rows = NDArray[Any] | Sequence[NDArray[Any]]
Block = tuple[Sequence[str], Rows]


def row_bytes(rows: h5py.Dataset | NDArray[Any]) -> int:
    """Bytes of one entry of the first axis; 1 where it has none, so that one can divide by it."""
    return max(1, math.prod(rows.shape[1:]) * rows.dtype.itemsize)


def create_group(file: h5py.File, name: str) -> h5py.Group:
    """An empty group that says what it is."""
    group = file.create_group(name)
    group.attrs["format"] = np.bytes_(FORMAT)
    return group


def create_data(group: h5py.Group, first: NDArray[Any] | h5py.Dataset) -> h5py.Dataset:
    """An empty, growing dataset for rows like those of `first`.

    Raises:
        StoreError: rows of a type that stores do not hold, or of no values.
    """
    if first.dtype.name not in DTYPES:
        raise StoreError(f"dtype {first.dtype}; stores hold {', '.join(DTYPES)}")
    if 0 in first.shape[1:]:
        raise StoreError(f"rows of shape {first.shape[1:]} hold nothing")
    chunk = (max(1, CHUNK_BYTES // row_bytes(first)), *first.shape[1:])
    return group.create_dataset(
        "data",
        shape=(0, *first.shape[1:]),
        maxshape=(None, *first.shape[1:]),
        dtype=first.dtype,
        chunks=chunk,
        fletcher32=True,
    )


def put(group: h5py.Group, key: str, values: NDArray[Any]) -> None:
    """Writes a small array with HDF5's own checksum, so that damage shows on opening."""
    group.create_dataset(key, data=values, fletcher32=len(values) > 0)


def content_digest(
    values: hashlib._Hash,
    ids: Sequence[str],
    data: h5py.Dataset,
    offsets: NDArray[np.int64] | None,
) -> str:
    """The checksum of a group: a sha256 over the data bytes, and what gives them their meaning."""
    digest = values.copy()
    digest.update(f"\0{data.dtype.str}{data.shape}\0".encode() + "\n".join(ids).encode())
    if offsets is not None:
        digest.update(offsets.tobytes())
    return digest.hexdigest()
