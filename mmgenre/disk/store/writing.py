"""Writing a group of a store file, whole or not at all, by one process at a time."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from mmgenre.disk.files import replacing
from mmgenre.disk.locks import claimed
from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import layout
from mmgenre.disk.store.apart import Places
from mmgenre.disk.store.layout import CHUNK_BYTES, DTYPES, Block, Prints
from mmgenre.disk.store.reading import FeatureStore, group_names
from mmgenre.errors import Refusal, StoreError

NOTHING: Mapping[str, bytes] = MappingProxyType({})


def write_store(
    path: Path | str,
    name: str,
    blocks: Iterable[Block],
    provenance: Provenance,
    *,
    refused: Sequence[Refusal] = (),
    ragged: bool = False,
    made_from: Mapping[str, bytes] = NOTHING,
    prints: Prints | None = None,
    places: Places | None = None,
) -> Path:
    """Writes a group of a store file, replacing one of that name; other groups stay.

    Memory holds one block at a time: ids, and rows as an (n, *row_shape) array or as n arrays
    (ragged: their first axes may differ). The items that were left out, `refused`, are stored with
    the rows, and read after the last block; so is `made_from`, by which a later writer knows what
    each row, or refusal, was made from: bytes of one length, kept if every id has them. `prints`
    may be filled block by block; those of a block are taken out when it is written. With `places`,
    which know after each block where its rows lie, no values are written; they stay there.

    StoreError: ids repeat, counts or shapes differ, values are of another type or not finite;
    another process writes the file; the disk is full. The earlier file stays as it was.
    """
    how = refused, ragged, made_from, prints, places
    return _write_all(Path(path), {name: (blocks, provenance.as_dict(), *how)})


def write_groups(
    path: Path | str, groups: Mapping[str, tuple[Iterable[Block], Provenance]]
) -> Path:
    """Writes several groups at once, each as `write_store` does; the file is written once."""
    rest: Any = (), False, NOTHING, None
    new = {name: (blocks, own.as_dict(), *rest) for name, (blocks, own) in groups.items()}
    return _write_all(Path(path), new)


def _write_all(path: Path, new: Mapping[str, tuple[Any, ...]]) -> Path:
    """Groups by name, with the arguments of `_write`; others that the file has stay."""
    for name in new:
        if not name or "/" in name or name == ".":
            raise StoreError(f"{path}: {name!r} is no name for a group")
    with _new_file(path) as (file, disk):
        for other in group_names(path):
            if other not in new:  # through our own reader: HDF5's copy follows links and damage
                with FeatureStore(path, other) as old:
                    group, made = file.create_group(other), old.provenance
                    kept = None if old.prints_by is None else Prints(old.prints_by)
                    how = old.refused, old.ragged, old.made_from(), kept
                    _write(disk, group, old.blocks(kept), made, *how)
        for name, given in new.items():
            _write(disk, file.create_group(name), *given)
    return path


def _write(
    disk: Disk,
    group: h5py.Group,
    blocks: Iterable[Block],
    provenance: Mapping[str, Any],
    refused: Sequence[Refusal],
    ragged: bool,
    made_from: Mapping[str, bytes],
    prints: Prints | None,
    places: Places | None = None,
) -> None:
    """Fills a group, which readers accept only at the end."""
    where = f"{disk.target}: {group.name}"
    group.attrs["format"] = np.bytes_(layout.FORMAT if places is None else layout.APART)
    data: h5py.Dataset | None = None
    shape, dtype = (0,), np.dtype(np.float16)  # of the values, as of none
    all_ids: list[str] = []
    lengths: list[int] = []
    digest = hashlib.sha256()
    written = None if prints is None else _Prints(group, prints)
    for ids, rows in blocks:  # values are (n, ...), or (sum of lengths, ...) if ragged
        if len(ids) != len(rows):
            raise StoreError(f"{where}: {len(rows)} rows for {len(ids)} ids")
        if not len(rows):
            continue
        try:
            values = np.concatenate(list(rows)) if ragged else np.ascontiguousarray(rows)
        except ValueError as error:
            raise StoreError(f"{where}: rows of several shapes: {error}") from None
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise StoreError(f"{where} would hold NaN or infinite values")
        if not all_ids:
            shape, dtype = (0, *values.shape[1:]), values.dtype
            if places is None:
                data = _growing(group, values)
        if values.shape[1:] != shape[1:] or values.dtype != dtype:
            raise StoreError(f"{where}: rows of another shape or type in one store")
        start = shape[0]
        shape = (start + len(values), *shape[1:])
        if data is not None:
            data.resize(shape[0], axis=0)
            data[start:] = values
        if written is not None:
            written.add(ids)
        disk.check()
        digest.update(values.data)
        all_ids += ids
        lengths += [len(row) for row in rows] if ragged else []
    if nul := [i for i in all_ids if "\0" in i]:  # fixed-width strings lose it at the end
        raise StoreError(f"{where}: id {nul[0]!r} holds a NUL")
    if repeated := len(all_ids) - len(set(all_ids)):
        raise StoreError(f"{where}: {repeated} ids appear twice")
    if data is None and places is None:
        group.create_dataset("data", data=np.zeros(0, dtype))
    offsets = np.cumsum([0, *lengths]).astype(np.int64) if ragged else None
    meta = {
        "provenance": provenance,
        "refused": [asdict(r) for r in refused],
        "sha256": layout.content_digest(digest, all_ids, dtype, shape, offsets),
        **({} if written is None else written.meta()),
    }
    small: dict[str, NDArray[Any] | None] = {
        "offsets": offsets,
        "ids": np.array([i.encode() for i in all_ids], dtype="S"),
        "meta": np.frombuffer(json.dumps(meta).encode(), np.uint8),
    }
    if places is not None:
        small |= places.lists(all_ids, lengths if ragged else None, dtype, shape[1:])
    known = [made_from[i] for i in (*all_ids, *(r.id for r in refused)) if i in made_from]
    if known and len(known) == len(all_ids) + len(refused):
        small["made_from"] = np.frombuffer(b"".join(known), np.uint8).reshape(len(known), -1)
    for key, array in small.items():
        if array is not None:  # with HDF5's own checksum, so that damage shows on opening
            group.create_dataset(key, data=array, fletcher32=len(array) > 0)


class _Prints:
    """The fingerprints of a group, written one after another, each after its length."""

    def __init__(self, group: h5py.Group, prints: Prints) -> None:
        self._group, self._prints = group, prints
        self._data: h5py.Dataset | None = None
        self._digest = hashlib.sha256()

    def add(self, ids: Sequence[str]) -> None:
        """Writes those of some rows."""
        own = layout.packed([self._prints.of.pop(i, None) for i in ids])
        if self._data is None:
            sizes = {"shape": (0,), "maxshape": (None,), "chunks": (min(len(own), CHUNK_BYTES),)}
            self._data = self._group.create_dataset("prints", dtype="u1", fletcher32=True, **sizes)
        start = len(self._data)
        self._data.resize(start + len(own), axis=0)
        self._data[start:] = np.frombuffer(own, np.uint8)
        self._digest.update(own)

    def meta(self) -> dict[str, str]:
        """What readers must know of them."""
        return {"prints_by": self._prints.by, "prints_sha256": self._digest.hexdigest()}


def _growing(group: h5py.Group, first: NDArray[Any]) -> h5py.Dataset:
    """An empty dataset for rows of the shape and type of those of `first`."""
    dtype, shape = first.dtype, first.shape[1:]
    if dtype.name not in DTYPES:
        raise StoreError(f"dtype {dtype}; stores hold {', '.join(DTYPES)}")
    if 0 in shape:
        raise StoreError(f"rows of shape {shape} hold nothing")
    chunks = (max(1, layout.CHUNK_BYTES // layout.row_bytes(first)), *shape)
    sizes = {"shape": (0, *shape), "maxshape": (None, *shape), "chunks": chunks}
    return group.create_dataset("data", dtype=dtype, fletcher32=True, **sizes)


@contextmanager
def _new_file(path: Path) -> Iterator[tuple[h5py.File, Disk]]:
    """An empty file that replaces `path` unless an error is raised inside."""
    in_caller = False
    try:
        with claimed(path), replacing(path) as temporary, Disk(temporary, path) as disk:
            # HDF5 1.10 adds checksums to its own metadata. In older formats one changed byte can
            # send every reader into an endless loop.
            with h5py.File(disk, "w", libver="v110") as file:
                in_caller = True
                yield file, disk
                in_caller = False
            disk.check()
    except OSError as error:
        if in_caller:  # an error of its reading, not of our writing
            raise
        raise cannot_write(path, error) from error


def cannot_write(path: Path, error: OSError) -> StoreError:
    """The cause, and what to do."""
    code = errno.errorcode.get(error.errno or 0, type(error).__name__)
    return StoreError(
        f"{path}: cannot be written: {error.strerror or error} ({code}); the earlier file, if "
        f"there was one, is as it was. Make room, or get the right to write in {path.parent}, "
        "then run it again"
    )


class Disk(AbstractContextManager["Disk"]):
    """A new file, as a Python file object for h5py, later renamed to `target`, which errors name.

    Faults are hidden from HDF5: when it cannot write what it holds in memory, closing its file
    fails, and the process ends with a segmentation fault (HDF5 2.0). So after the first fault
    nothing is written, HDF5 continues as if it were, and the caller, told by `check`, discards it.
    """

    def __init__(self, temporary: Path, target: Path) -> None:
        self.target = target
        self.position = self.size = 0  # as if nothing had failed
        self.fault: OSError | None = None
        self.descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)

    def check(self) -> None:
        """StoreError if the disk has failed."""
        if self.fault is not None:
            raise cannot_write(self.target, self.fault)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Moves to a position; HDF5 seeks to the end to find the size."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self.position, os.SEEK_END: self.size}[whence]
        self.position = start + offset
        return self.position

    def tell(self) -> int:
        return self.position

    def write(self, content: memoryview) -> int:
        left, place = memoryview(content).cast("B"), self.position
        total = len(left)
        self.position += total
        self.size = max(self.size, self.position)
        try:
            while self.fault is None and left:
                n = os.pwrite(self.descriptor, left, place)
                left, place = left[n:], place + n
        except OSError as error:
            self.fault = error
        return total

    def read(self, size: int) -> bytes:
        """h5py accepts objects with this method as files; it calls `readinto`."""
        content = bytearray(size)
        self.readinto(memoryview(content))
        return bytes(content)

    def readinto(self, buffer: memoryview) -> int:
        """Reads; bytes that could not be written are zeros."""
        buffer[:] = os.pread(self.descriptor, len(buffer), self.position).ljust(len(buffer), b"\0")
        self.position += len(buffer)
        return len(buffer)

    def truncate(self, size: int) -> int:
        self.size = size
        try:
            if self.fault is None:
                os.ftruncate(self.descriptor, size)
        except OSError as error:
            self.fault = error
        return size

    def flush(self) -> None:
        """Does nothing: there is no buffer."""
