"""How a group lies in a file, and what readers refuse: everything that our own writer never makes.

HDF5 lets a file of 1 400 bytes declare petabytes, or fetch its data from any other file.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from mmgenre.disk.files import is_machine_fault, unreachable
from mmgenre.disk.locks import NO_LOCKS
from mmgenre.errors import StoreError, UnreachableError

FORMAT = "mmgenre feature store 1"
APART = "mmgenre feature store 2"  # of groups whose values lie in parts: see `store.apart`
CHUNK_BYTES = 1 << 17  # about one 30-s clip of float16 CQT
BLOCK_BYTES = 1 << 24  # of the values that are read or copied at once
DTYPES = ("float16", "float32", "uint8")
# What h5py and JSON raise for bytes that are not what they claim to be.
HDF5_DAMAGE = (OSError, LookupError, ValueError, TypeError, AttributeError, RuntimeError)
NO_PRINT = b"\xff\xff\xff\xff"

Rows = NDArray[Any] | Sequence[NDArray[Any]]
Block = tuple[Sequence[str], Rows]


@dataclass
class Prints:
    """Fingerprints of rows by id, by which near twins are found; `by` names what makes them."""

    by: str
    of: dict[str, bytes] = field(default_factory=dict)


def row_bytes(rows: h5py.Dataset | NDArray[Any]) -> int:
    """Bytes of one entry of the first axis; 1 instead of 0, so that it can be divided by."""
    return max(1, math.prod(rows.shape[1:]) * rows.dtype.itemsize)


def packed(prints: Sequence[bytes | None]) -> bytes:
    """Each after its length as int32, which is -1 for one that is not known."""
    return b"".join(
        NO_PRINT if own is None else len(own).to_bytes(4, "little") + own for own in prints
    )


def content_digest(
    digest: hashlib._Hash,
    ids: Sequence[str],
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    offsets: NDArray[Any] | None,
) -> str:
    """A group's checksum: sha256 `digest` of the data goes on over type, shape, ids and offsets."""
    digest.update(f"\0{dtype.str}{shape}\0".encode() + "\n".join(ids).encode())
    if offsets is not None:
        digest.update(offsets.tobytes())
    return digest.hexdigest()


@contextmanager
def damage_as_error(path: Path | str, message: str) -> Iterator[None]:
    """Raises StoreError, `message` with the cause, for damage that h5py or JSON finds inside.

    UnreachableError if the machine cannot read the file `path` now.
    """
    try:
        yield
    except HDF5_DAMAGE as error:
        if isinstance(error, OSError) and is_machine_fault(error):
            raise unreachable(path, error) from None
        raise StoreError(f"{message}: {error!r}") from None


def open_file(path: Path) -> h5py.File:
    """Opens a file for reading; StoreError if it is not there, or not an HDF5 file.

    UnreachableError if the machine cannot open it now, or another program is writing it.
    """
    if not path.is_file():
        raise StoreError(f"{path}: no such file")
    try:
        try:
            return h5py.File(path, "r")
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            # A network disk without locks: HDF5's own only tells of writers that we do not have.
            return h5py.File(path, "r", locking=False)
    except OSError as error:
        if is_machine_fault(error):
            raise unreachable(path, error) from None
        if "already open for" in str(error):  # HDF5 has marked it so; its content may be whole
            raise UnreachableError(
                f"{path}: another program has opened it for writing and not closed it: close it "
                f"there, then run this again; if that program was killed: h5clear -s {path}. "
                "Nothing was changed"
            ) from None
        raise StoreError(f"{path}: not a readable HDF5 file ({error})") from None


def guarded_group(file: h5py.File, name: str) -> dict[str, h5py.Dataset]:
    """The members of a group of ours, all of which may be read; StoreError if one is not ours."""
    group = own_member(file, name)
    if group is None:
        raise StoreError(f"{file.filename}: no group {name!r}; has {sorted(file)}")
    found: Any = group.attrs if isinstance(group, h5py.Group) else {}
    # Fixed width: a damaged heap of variable strings sends HDF5 into an endless loop.
    fixed = "format" in found and found.get_id("format").dtype.kind == "S"
    known = [FORMAT.encode(), APART.encode()]
    if not fixed or found["format"] not in known:
        what = ""
        if fixed and (other := bytes(found["format"])).startswith(FORMAT[:-1].encode()):
            what = (
                f" but a {other.decode(errors='replace')!r}, of a newer version: install that one"
            )
        elif "format" in found and not fixed:
            what = ", but perhaps of a very early version: make it again"
        raise StoreError(f"{file.filename}: group {name!r} is not a {FORMAT!r}{what}")
    n_bytes = Path(file.filename).stat().st_size
    members = {key: _guarded(group, key, n_bytes) for key in group}
    is_apart = found["format"] == APART.encode()
    if ("parts" in members, "data" in members) != (is_apart, not is_apart):
        raise StoreError(f"{file.filename}: group {name!r}: has {sorted(members)}, odd for ours")
    return members


def own_member(group: h5py.Group, key: str) -> h5py.HLObject | None:
    """A member that lies in the group itself; None if there is none or if it is a link."""
    return group[key] if isinstance(group.get(key, getlink=True), h5py.HardLink) else None


def lies_elsewhere(data: h5py.Dataset) -> bool:
    """Whether values would come from another file, or from another dataset."""
    return bool(data.external or data.is_virtual)


def filters_of(data: h5py.Dataset) -> set[int]:
    """Numbers of the filters that values pass when they are read."""
    pipeline = data.id.get_create_plist()
    return {pipeline.get_filter(i)[0] for i in range(pipeline.get_nfilters())}


def _guarded(group: h5py.Group, key: str, n_bytes: int) -> h5py.Dataset:
    """A member; refuses links, external or virtual data, filters, types, sizes that are not ours.

    `n_bytes`: size of the file.
    """
    where = f"{group.file.filename}:{group.name}/{key}"
    data = own_member(group, key)
    if data is None:
        raise StoreError(f"{where}: a link, not data")
    if not isinstance(data, h5py.Dataset):
        raise StoreError(f"{where}: not a dataset")
    if lies_elsewhere(data):
        raise StoreError(f"{where}: its data would come from another file")
    filters = filters_of(data)
    if not filters <= {h5py.h5z.FILTER_FLETCHER32}:  # a reader needs no other
        raise StoreError(f"{where}: filters {sorted(filters)} are not ours")
    if data.dtype.kind != "S" and data.dtype.name not in (*DTYPES, "int64"):
        raise StoreError(f"{where}: dtype {data.dtype} is not one of {DTYPES}")
    if data.shape is None:
        raise StoreError(f"{where}: no data")
    declared = data.size * data.dtype.itemsize
    if declared > min(data.id.get_storage_size(), n_bytes):
        raise StoreError(f"{where}: declares {declared:,} bytes but does not hold them")
    # Last, as a file with one of the faults above deserves that name. Ids and the rest, which are
    # read whole on opening, show damage by what they mean.
    if key == "data" and data.shape and data.size:
        if not filters:
            raise StoreError(f"{where}: it has no checksums, so that damage would not show")
        if data.chunks[1:] != data.shape[1:]:
            raise StoreError(f"{where}: its rows are cut into chunks {data.chunks}, not whole")
    return data
