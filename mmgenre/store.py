"""The feature store: rows by id in HDF5. Inputs, embeddings, joint vectors and scores are all this.

A file holds groups, one per modality or model; a group holds

    ids      (n,) fixed-width UTF-8           data     (n, *row_shape), or (sum of lengths, ...)
    offsets  (n + 1,) int64, if ragged        meta     JSON bytes: provenance, refusals, row_shape

Files appear only whole: they are written under a temporary name, synced, and renamed.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from mmgenre.errors import Refusal, StoreError
from mmgenre.files import replacing
from mmgenre.provenance import Provenance

FORMAT = "mmgenre feature store 1"
CHUNK_BYTES = 1 << 17  # about one 30-s clip of float16 CQT
WIDE_BYTES = 1 << 15
DTYPES = ("float16", "float32", "uint8")
# Our files carry no other filter, so a reader needs no other.
ALLOWED_FILTERS = frozenset({h5py.h5z.FILTER_FLETCHER32})
# What h5py and JSON raise for bytes that are not what they claim to be.
DAMAGE = (OSError, LookupError, ValueError, TypeError, AttributeError, RuntimeError)

Rows = NDArray[Any] | Sequence[NDArray[Any]]
Block = tuple[Sequence[str], Rows]


class FeatureStore:
    """One group of a store file, opened for reading. A handle is not shared between processes."""

    def __init__(self, path: Path | str, name: str) -> None:
        """Opens group `name` of the file.

        Raises:
            StoreError: no such file or group, or one that no mmgenre wrote whole.
        """
        self.path, self.name = Path(path), name
        if not self.path.is_file():
            raise StoreError(f"{self.path}: no such file")
        try:
            self._file = h5py.File(self.path, "r")
        except OSError as error:
            raise StoreError(f"{self.path}: not a readable HDF5 file ({error})") from None
        try:
            if not isinstance(self._file.get(name, getlink=True), h5py.HardLink):
                raise StoreError(f"{self.path}: no group {name!r}; has {sorted(self._file)}")
            group = self._file[name]
            if not isinstance(group, h5py.Group) or not _has_format(group):
                raise StoreError(f"{self.path}: group {name!r} is not a {FORMAT!r}")
            for key in group:
                _guard(group, key)
            meta = json.loads(group["meta"][:].tobytes())
            self.provenance: dict[str, Any] = meta["provenance"]
            self.fingerprint: str = meta["provenance"]["fingerprint"]
            self.refused = tuple(Refusal(**row) for row in meta["refused"])
            self.sha256: str = meta["sha256"]
            self.ids: tuple[str, ...] = tuple(i.decode() for i in group["ids"][:].tolist())
            self._data = group["data"]
            self._offsets = group["offsets"][:] if "offsets" in group else None
            self.dtype = self._data.dtype
            self.row_shape: tuple[int | None, ...] = (
                (None, *self._data.shape[1:]) if self.ragged else tuple(self._data.shape[1:])
            )
            self._row = {item_id: i for i, item_id in enumerate(self.ids)}
            self._check_rows()
        except StoreError:
            self._file.close()
            raise
        except DAMAGE as error:
            self._file.close()
            raise StoreError(f"{self.path}: group {name!r} is damaged: {error!r}") from None

    def _check_rows(self) -> None:
        """Ids, offsets and data must speak of the same rows."""
        n_rows = n_values = len(self._data)
        if self._offsets is not None:
            n_rows = len(self._offsets) - 1
            ends = [int(self._offsets[0]), int(self._offsets[-1])]
            if ends != [0, n_values] or (np.diff(self._offsets) < 0).any():
                raise StoreError(f"{self.path}: /{self.name}: offsets do not fit the data")
        if n_rows != len(self.ids) or len(self._row) != len(self.ids):
            raise StoreError(f"{self.path}: {n_rows} rows but {len(self._row)} distinct ids")

    def __enter__(self) -> FeatureStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.ids)

    def __contains__(self, item_id: str) -> bool:
        """Whether a row of that id is there."""
        return item_id in self._row

    @property
    def ragged(self) -> bool:
        """Whether the first axis of a row varies."""
        return self._offsets is not None

    def rows_of(self, ids: Sequence[str]) -> NDArray[np.intp]:
        """Positions of ids, (n,).

        Raises:
            StoreError: ids are missing; says how many, and the first.
        """
        missing = [i for i in ids if i not in self._row]
        if missing:
            raise StoreError(
                f"{self.path}: {len(missing):,} of {len(ids):,} ids are missing in /{self.name} "
                f"(first: {missing[0]!r}); was it made from another manifest? "
                "Run: mmgenre extract-features"
            )
        return np.array([self._row[i] for i in ids], dtype=np.intp)

    def take(self, ids: Sequence[str]) -> NDArray[Any]:
        """Rows of fixed shape by id, (n, *row_shape)."""
        if self.ragged:
            raise StoreError(f"{self.path}: /{self.name} is ragged; take its rows one by one")
        rows = self.rows_of(ids)
        # HDF5 wants each row once and in rising order; picking many is slower than reading all.
        distinct, inverse = np.unique(rows, return_inverse=True)
        if _row_bytes(self._data) >= WIDE_BYTES:
            # Of wide rows as covers each is a chunk or more, and one by one is 70 times as fast.
            return np.stack([self._values(int(row)) for row in distinct])[inverse]
        if 2 * len(distinct) >= len(self._data):
            return self._values(slice(None))[rows]
        return self._values(distinct)[inverse]

    def length(self, item_id: str) -> int:
        """Length of a ragged row's first axis."""
        low, high = self._bounds(item_id)
        return high - low

    def read(self, item_id: str, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """One row, or a window of a ragged row's first axis, clipped to the row."""
        if not self.ragged and start == 0 and stop is None:
            return self._values(int(self.rows_of([item_id])[0]))
        low, high = self._bounds(item_id)
        if start < 0 or (stop is not None and stop < start):
            raise ValueError(f"window {start}:{stop} of row {item_id!r}: 0 <= start <= stop")
        end = high if stop is None else min(low + stop, high)
        return self._values(slice(min(low + start, high), end))

    def _bounds(self, item_id: str) -> tuple[int, int]:
        i = int(self.rows_of([item_id])[0])
        if self._offsets is None:
            raise StoreError(f"{self.path}: /{self.name} is not ragged; its rows have no length")
        return int(self._offsets[i]), int(self._offsets[i + 1])

    def _values(self, where: int | slice | NDArray[np.intp]) -> NDArray[Any]:
        try:
            return np.asarray(self._data[where])
        except DAMAGE as error:  # above all a chunk whose checksum differs
            raise StoreError(f"{self.path}: /{self.name} cannot be read: {error}") from None

    def read_text(self, item_id: str) -> str:
        """A row of UTF-8 bytes as text."""
        return self.read(item_id).tobytes().decode()

    def verify(self) -> None:
        """Reads everything and compares it with the checksum.

        Raises:
            StoreError: the content is not what was written.
        """
        digest = hashlib.sha256()
        for _, values in self._blocks():
            digest.update(np.ascontiguousarray(values).data)
        if _finish_hash(digest, self.ids, self._data, self._offsets) != self.sha256:
            raise StoreError(f"{self.path}: /{self.name} is damaged: its checksum differs")

    def copy_into(self, file: h5py.File) -> None:
        """Copies the group, checksum and all, into another file that lacks it."""
        target = _create_group(file, self.name)
        data = _create_data(target, self._data)
        data.resize(len(self._data), axis=0)
        for start, values in self._blocks():
            data[start : start + len(values)] = values
        for key in ("ids", "offsets", "meta"):
            if key in self._file[self.name]:
                _put(target, key, self._file[self.name][key][:])

    def _blocks(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """All values in order, with the position of each block, some 16 MiB at once."""
        step = max(1, (1 << 24) // _row_bytes(self._data))
        for start in range(0, len(self._data), step):
            yield start, self._values(slice(start, start + step))


def _guard(group: h5py.Group, key: str) -> None:
    """Refuses what our writer never makes: links, external or virtual data, filters, sizes."""
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


def group_names(path: Path | str) -> tuple[str, ...]:
    """Names of the groups of a store file; () if there is no file."""
    if not Path(path).is_file():
        return ()
    try:
        with h5py.File(path, "r") as file:
            return tuple(sorted(file))
    except DAMAGE as error:
        raise StoreError(f"{path}: not a readable HDF5 file ({error})") from None


def fingerprint_of(path: Path | str, name: str) -> str | None:
    """Fingerprint of a complete group; None if it is not there."""
    if name not in group_names(path):
        return None
    with FeatureStore(path, name) as store:
        return store.fingerprint


def content_hash(path: Path | str) -> str:
    """One hash over ids and values of all groups; provenance and layout do not count."""
    digest = hashlib.sha256()
    for name in group_names(path):
        with FeatureStore(path, name) as store:
            store.verify()
            digest.update(f"{name}\0{store.sha256}\n".encode())
    return digest.hexdigest()


def write_store(
    path: Path | str,
    name: str,
    blocks: Iterable[Block],
    provenance: Provenance,
    *,
    refused: Sequence[Refusal] = (),
    ragged: bool = False,
) -> Path:
    """Puts a group into a store file, replacing one of that name; other groups stay.

    Args:
        path: the file; made if it is not there.
        name: the group.
        blocks: (ids, rows) pairs, written one after another, so that memory holds one at a time.
            Rows are an (n, *row_shape) array, or n arrays (ragged: their first axes may differ).
        provenance: kept with the rows.
        refused: what was left out, kept with the rows.
        ragged: whether the first axis of the rows varies.

    Raises:
        StoreError: ids repeat, counts or shapes differ, values are of another type or not finite.
    """
    path = Path(path)
    if not name or "/" in name or name == ".":
        raise StoreError(f"{path}: {name!r} is no name for a group")
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        _copy_other_groups(path, name, file)
        group = _create_group(file, name)
        ids: list[str] = []
        lengths: list[int] = []
        digest = hashlib.sha256()
        data: h5py.Dataset | None = None
        for block_ids, rows in blocks:
            if len(block_ids) != len(rows):
                raise StoreError(f"{path}: /{name}: {len(rows)} rows for {len(block_ids)} ids")
            if not len(rows):
                continue
            try:
                values = np.concatenate(list(rows)) if ragged else np.ascontiguousarray(rows)
            except ValueError as error:
                raise StoreError(f"{path}: /{name}: rows of several shapes: {error}") from None
            if data is None:
                data = _create_data(group, values)
            if values.shape[1:] != data.shape[1:] or values.dtype != data.dtype:
                raise StoreError(f"{path}: /{name}: rows of another shape or type in one store")
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                raise StoreError(f"{path}: /{name} would hold NaN or infinite values")
            start = len(data)
            data.resize(start + len(values), axis=0)
            data[start:] = values
            digest.update(np.ascontiguousarray(values).data)
            ids += block_ids
            lengths += [len(row) for row in rows] if ragged else []
        nul = [i for i in ids if "\0" in i]  # fixed-width ids would lose it
        if nul:
            raise StoreError(f"{path}: /{name}: id {nul[0]!r} holds a NUL")
        if len(set(ids)) != len(ids):
            raise StoreError(f"{path}: /{name}: {len(ids) - len(set(ids))} ids appear twice")
        if data is None:
            data = group.create_dataset("data", data=np.zeros(0, np.float16))
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64) if ragged else None
        if offsets is not None:
            _put(group, "offsets", offsets)
        _put(group, "ids", np.array([i.encode() for i in ids], dtype="S"))
        meta = {
            "provenance": provenance.as_dict(),
            "refused": [asdict(r) for r in refused],
            "sha256": _finish_hash(digest, ids, data, offsets),
        }
        _put(group, "meta", np.frombuffer(json.dumps(meta).encode(), np.uint8))
    return path


def _put(group: h5py.Group, key: str, values: NDArray[Any]) -> None:
    # With HDF5's own checksum, so that damage shows when the file is opened.
    group.create_dataset(key, data=values, fletcher32=len(values) > 0)


def _row_bytes(rows: h5py.Dataset | NDArray[Any]) -> int:
    return max(1, math.prod(rows.shape[1:]) * rows.dtype.itemsize)


def _create_group(file: h5py.File, name: str) -> h5py.Group:
    group = file.create_group(name)
    group.attrs["format"] = np.bytes_(FORMAT)
    return group


def _has_format(group: h5py.Group) -> bool:
    # Fixed width: a damaged heap of variable strings sends HDF5 into an endless loop.
    fixed = "format" in group.attrs and group.attrs.get_id("format").dtype.kind == "S"
    return fixed and group.attrs["format"] == FORMAT.encode()


def _create_data(group: h5py.Group, first: NDArray[Any] | h5py.Dataset) -> h5py.Dataset:
    """An empty, growing dataset for rows like those of `first`."""
    if first.dtype.name not in DTYPES:
        raise StoreError(f"dtype {first.dtype}; stores hold {', '.join(DTYPES)}")
    if 0 in first.shape[1:]:
        raise StoreError(f"rows of shape {first.shape[1:]} hold nothing")
    chunk = (max(1, CHUNK_BYTES // _row_bytes(first)), *first.shape[1:])
    return group.create_dataset(
        "data",
        shape=(0, *first.shape[1:]),
        maxshape=(None, *first.shape[1:]),
        dtype=first.dtype,
        chunks=chunk,
        fletcher32=True,
    )


def _copy_other_groups(path: Path, name: str, target: h5py.File) -> None:
    """Copies what our own reader accepts; HDF5's copy follows links and crashes on damage."""
    for other in group_names(path):
        if other != name:
            with FeatureStore(path, other) as source:
                source.copy_into(target)


def _finish_hash(
    digest: Any, ids: Sequence[str], data: h5py.Dataset, offsets: NDArray[np.int64] | None
) -> str:
    """Adds to a hash over the data bytes what gives them their meaning."""
    digest.update(f"\0{data.dtype.str}{data.shape}\0".encode() + "\n".join(ids).encode())
    if offsets is not None:
        digest.update(offsets.tobytes())
    return str(digest.hexdigest())
