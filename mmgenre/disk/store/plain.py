"""Arrays in HDF5 files of other programs, at the root of the file; nothing else is read of them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from mmgenre.disk.store.layout import (
    HDF5_DAMAGE,
    damage_as_error,
    filters_of,
    lies_elsewhere,
    open_file,
    own_member,
)
from mmgenre.errors import StoreError

FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32, 32000}
MOST_PACKED = 1100  # times: zlib packs zeros 1032 times, and LZF (32000) less


def is_plain(path: Path) -> bool:
    """Whether arrays lie at the root of an HDF5 file, where a feature store has none."""
    try:
        with open_file(path) as file:
            return any(isinstance(own_member(file, key), h5py.Dataset) for key in file)
    except (StoreError, *HDF5_DAMAGE):
        return False  # the reader of stores says what is wrong with it


def read_plain(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays at the root of an HDF5 file, by name.

    Raises:
        StoreError: the file is damaged, or an array has text of variable length, links to other
            files, is packed by unusual filters, or declares more than it can hold.
    """
    with open_file(path) as file, damage_as_error(path, f"{path}: damaged"):
        found = {}
        for key in sorted(file):
            data = own_member(file, key)
            if not isinstance(data, h5py.Dataset):
                raise StoreError(f"{path}: {key!r} is no array; expected ids and vectors only")
            if fault := _fault(data):
                raise StoreError(f"{path}: {key}: {fault}")
            found[key] = np.asarray(data[:])
        return found


def _fault(data: h5py.Dataset) -> str | None:
    """Why an array is not read; it is asked before any of its values are."""
    if lies_elsewhere(data):
        return "its data would come from another file"
    # A damaged heap of variable strings sends HDF5 into an endless loop.
    if h5py.check_string_dtype(data.dtype) is not None and data.dtype.kind == "O":
        return "text of variable length; write it as np.array(ids).astype('S')"
    if data.dtype.kind not in "fiubS" or not data.shape:
        return f"{data.dtype} {data.shape}: neither numbers nor text of fixed length"
    if unknown := filters_of(data) - FILTERS:
        return f"packed by filters {sorted(unknown)}, which are not read; write it without"
    declared = max(data.size, math.prod(data.chunks or ())) * data.dtype.itemsize
    held = data.id.get_storage_size() * (MOST_PACKED if filters_of(data) else 1)
    return f"declares {declared:,} bytes but does not hold them" if declared > held else None
