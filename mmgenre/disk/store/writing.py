"""Writing a group of a store file, whole or not at all, by one process at a time; and merging."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from mmgenre.disk.files import replacing
from mmgenre.disk.locks import claimed
from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import layout
from mmgenre.disk.store.layout import DTYPES, Block
from mmgenre.disk.store.reading import FeatureStore, GroupInfo, group_names, store_info
from mmgenre.errors import Refusal, StoreError


def write_store(
    path: Path | str,
    name: str,
    blocks: Iterable[Block],
    provenance: Provenance,
    *,
    refused: Sequence[Refusal] = (),
    ragged: bool = False,
) -> Path:
    """Writes a group of a store file, replacing one of that name; other groups stay.

    Memory holds one block at a time: ids, and rows as an (n, *row_shape) array or as n arrays
    (ragged: their first axes may differ). The items that were left out, `refused`, are stored with
    the rows, and read after the last block.

    StoreError: ids repeat, counts or shapes differ, values are of another type or not finite;
    another process writes the file; the disk is full. The earlier file stays as it was.
    """
    path = Path(path)
    if not name or "/" in name or name == ".":
        raise StoreError(f"{path}: {name!r} is no name for a group")
    with _new_file(path) as (file, disk):
        for other in group_names(path):
            if other != name:  # through our own reader: HDF5's copy follows links and damage
                with FeatureStore(path, other) as old:
                    group, made = file.create_group(other), old.provenance
                    _write(disk, group, old.blocks(), made, old.refused, old.ragged)
        _write(disk, file.create_group(name), blocks, provenance.as_dict(), refused, ragged)
    return path


def _write(
    disk: Disk,
    group: h5py.Group,
    blocks: Iterable[Block],
    provenance: Mapping[str, Any],
    refused: Sequence[Refusal],
    ragged: bool,
) -> None:
    """Fills a group, which readers accept only at the end."""
    where = f"{disk.target}: {group.name}"
    group.attrs["format"] = np.bytes_(layout.FORMAT)
    data: h5py.Dataset | None = None
    all_ids: list[str] = []
    lengths: list[int] = []
    digest = hashlib.sha256()
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
        if data is None:
            data = _growing(group, values)
        if values.shape[1:] != data.shape[1:] or values.dtype != data.dtype:
            raise StoreError(f"{where}: rows of another shape or type in one store")
        start = len(data)
        data.resize(start + len(values), axis=0)
        data[start:] = values
        disk.check()
        digest.update(values.data)
        all_ids += ids
        lengths += [len(row) for row in rows] if ragged else []
    if nul := [i for i in all_ids if "\0" in i]:  # fixed-width strings lose it at the end
        raise StoreError(f"{where}: id {nul[0]!r} holds a NUL")
    if repeated := len(all_ids) - len(set(all_ids)):
        raise StoreError(f"{where}: {repeated} ids appear twice")
    if data is None:
        data = group.create_dataset("data", data=np.zeros(0, np.float16))
    offsets = np.cumsum([0, *lengths]).astype(np.int64) if ragged else None
    meta = {
        "provenance": provenance,
        "refused": [asdict(r) for r in refused],
        "sha256": layout.content_digest(digest, all_ids, data, offsets),
    }
    small: dict[str, NDArray[Any] | None] = {
        "offsets": offsets,
        "ids": np.array([i.encode() for i in all_ids], dtype="S"),
        "meta": np.frombuffer(json.dumps(meta).encode(), np.uint8),
    }
    for key, array in small.items():
        if array is not None:  # with HDF5's own checksum, so that damage shows on opening
            group.create_dataset(key, data=array, fletcher32=len(array) > 0)


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


def merge_stores(
    parts: Sequence[Path | str],
    target: Path | str,
    name: str,
    *,
    provenance: Provenance | None = None,
    ragged: bool = False,
    asked_for: Set[str] | None = None,
) -> Path:
    """Writes the rows of group `name` of all parts, in their order, into one group of `target`.

    The content hash is that of one uninterrupted write of the same rows. Memory holds some 16 MiB
    of one part at a time, and all ids. Other groups of `target` stay, and so do the parts.
    `provenance` and `ragged` are those of the target if there are no parts; a `provenance` that is
    given must also be that of the parts. `asked_for` has the ids that the parts must hold or have
    refused, and no others; None: any.

    StoreError: a part is damaged or differs from the checksum that it was written with; two parts
    differ in fingerprint, width, type or raggedness, or hold or have refused the same id; rows that
    were asked for are missing, or others are there.
    """
    if not parts:
        if provenance is None:
            raise StoreError(f"{target}: nothing to merge: no parts, and no provenance given")
        return write_store(target, name, [], provenance, ragged=ragged)
    with FeatureStore(parts[0], name) as first:
        found, ragged = _provenance(first), first.ragged
    if provenance is not None and provenance.fingerprint != found.fingerprint:
        raise StoreError(
            f"{parts[0]}: /{name} was made with other settings: fingerprint {found.fingerprint}, "
            f"expected {provenance.fingerprint}; remove the file and make it again"
        )
    refused: list[Refusal] = []
    blocks = _merged(parts, name, refused, asked_for)
    return write_store(target, name, blocks, found, refused=refused, ragged=ragged)


def merge_files(
    parts: Sequence[Path | str], target: Path | str, name: str | None = None
) -> GroupInfo:
    """`merge_stores` of the one group that the parts hold, or of `name`; describes the result.

    StoreError if `name` is None and the parts hold several groups, or `target` holds it already.
    """
    if name is None:
        names = sorted({n for path in parts for n in group_names(path)})
        if len(names) != 1:
            raise StoreError(
                f"{target}: it is not clear which group to merge: the parts hold "
                f"{', '.join(names) or 'none'}; name one (--group)"
            )
        name = names[0]
    if name in group_names(target):
        raise StoreError(f"{target}: holds /{name} already; choose another file, or remove it")
    merged = store_info(merge_stores(parts, target, name))
    return next(group for group in merged if group.name == name)


def _merged(
    parts: Sequence[Path | str], name: str, refused: list[Refusal], asked_for: Set[str] | None
) -> Iterator[Block]:
    """All rows; fills `refused` as it goes."""
    traits: dict[str, tuple[Path, object]] = {}  # what must be equal -> first part with it, value
    seen: dict[str, Path] = {}
    for path in parts:
        with FeatureStore(path, name) as part:
            length = "any length" if part.ragged else "one length"
            own: dict[str, object] = {"fingerprint": part.fingerprint, "rows of": length}
            if len(part):  # else it has no type and no shape of its own
                own |= {"dtype": part.dtype.name, "row shape": part.row_shape}
            for what, value in own.items():
                where, known = traits.setdefault(what, (part.path, value))
                if value != known:
                    raise StoreError(
                        f"{part.path}: /{name} has {what} {value}, but {where} has {known}; only "
                        "files made with the same settings can be merged: leave one out"
                    )
            for item_id in (*part.ids, *(refusal.id for refusal in part.refused)):
                where = seen.setdefault(item_id, part.path)
                if where is not part.path:
                    raise StoreError(
                        f"{part.path}: /{name} holds id {item_id!r}, or has refused it, and so "
                        f"does or has {where}; leave one of the two files out"
                    )
            refused += part.refused
            yield from part.blocks()
    if asked_for is not None and (wrong := asked_for ^ seen.keys()):
        raise StoreError(
            f"{Path(parts[0]).parent}: the parts of /{name} miss or add {len(wrong):,} rows of the "
            f"{len(asked_for):,} asked for (first: {min(wrong)!r}); remove them and read again"
        )


def _provenance(store: FeatureStore) -> Provenance:
    """What a group was made from; StoreError if it does not give the fingerprint beside it."""
    where = f"{store.path}: /{store.name}"
    try:
        provenance = Provenance(**{k: v for k, v in store.provenance.items() if k != "fingerprint"})
    except TypeError as error:
        raise StoreError(f"{where}: odd provenance: {error}") from None
    if provenance.fingerprint != store.fingerprint:
        raise StoreError(f"{where}: its fingerprint is not that of its provenance")
    return provenance
