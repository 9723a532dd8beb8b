"""What a reader refuses before it reads: everything that our own writer never makes.

HDF5 lets a file of 1 400 bytes declare petabytes, or fetch its data from any other file.
"""

from __future__ import annotations

from pathlib import Path

import h5py

from mmgenre.disk.store.layout import DTYPES, FORMAT
from mmgenre.errors import StoreError

# Our files carry no other filter, so a reader needs no other.
ALLOWED_FILTERS = frozenset({h5py.h5z.FILTER_FLETCHER32})


def open_file(path: Path) -> h5py.File:
    """Opens a file for reading.

    Raises:
        StoreError: there is none, or it is no HDF5.
    """
    if not path.is_file():
        raise StoreError(f"{path}: no such file")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise StoreError(f"{path}: not a readable HDF5 file ({error})") from None


def guarded_group(file: h5py.File, name: str) -> h5py.Group:
    """A group of ours, all of whose members may be read.

    Raises:
        StoreError: no such group, or one with something in it that we never write.
    """
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise StoreError(f"{file.filename}: no group {name!r}; has {sorted(file)}")
    group = file[name]
    if not isinstance(group, h5py.Group) or not _has_format(group):
        raise StoreError(f"{file.filename}: group {name!r} is not a {FORMAT!r}")
    for key in group:
        _guard(group, key)
    return group


def _has_format(group: h5py.Group) -> bool:
    # Fixed width: a damaged heap of variable strings sends HDF5 into an endless loop.
    fixed = "format" in group.attrs and group.attrs.get_id("format").dtype.kind == "S"
    return fixed and group.attrs["format"] == FORMAT.encode()


def _guard(group: h5py.Group, key: str) -> None:
    """Refuses links, external or virtual data, filters, types and sizes that are not ours."""
    where = f"{group.file.filename}:{group.name}/{key}"
    if not isinstance(group.get(key, getlink=True), h5py.HardLink):
        raise StoreError(f"{where}: a link, not data")
    data = group[key]
    if not isinstance(data, h5py.Dataset):
        raise StoreError(f"{where}: not a dataset")
    if data.external or data.is_virtual:
        raise StoreError(f"{where}: its data would come from another file")
    pipeline = data.id.get_create_plist()
    filters = {pipeline.get_filter(i)[0] for i in range(pipeline.get_nfilters())}
    if not filters <= ALLOWED_FILTERS:
        raise StoreError(f"{where}: filters {sorted(filters)} are not ours")
    if data.dtype.kind != "S" and data.dtype.name not in (*DTYPES, "int64"):
        raise StoreError(f"{where}: dtype {data.dtype} is not one of {DTYPES}")
    if data.shape is None:
        raise StoreError(f"{where}: no data")
    declared = data.size * data.dtype.itemsize
    stored = min(data.id.get_storage_size(), Path(group.file.filename).stat().st_size)
    if declared > stored:
        raise StoreError(f"{where}: declares {declared:,} bytes but does not hold them")
    # Last, as a file with one of the faults above deserves that name. Ids and the rest, which are
    # read whole on opening, show damage by what they mean.
    if key == "data" and data.shape and data.size:
        if not filters:
            raise StoreError(f"{where}: it has no checksums, so that damage would not show")
        if data.chunks[1:] != data.shape[1:]:
            raise StoreError(f"{where}: its rows are cut into chunks {data.chunks}, not whole")
