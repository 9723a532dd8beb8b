"""Writing a group of a store file: whole or not at all, by one process at a time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from mmgenre.disk.files import replacing
from mmgenre.disk.locks import claimed
from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store.disk import Disk, cannot_write
from mmgenre.disk.store.inspecting import group_names
from mmgenre.disk.store.layout import Block, Rows, content_digest, create_data, create_group, put
from mmgenre.disk.store.reading import FeatureStore
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
    """Puts a group into a store file, replacing one of that name; other groups stay.

    Args:
        path: the file; made if it is not there.
        name: the group.
        blocks: (ids, rows) pairs, written one after another, so that memory holds one at a time.
            Rows are an (n, *row_shape) array, or n arrays (ragged: their first axes may differ).
        provenance: kept with the rows.
        refused: what was left out, kept with the rows; read after the last block.
        ragged: whether the first axis of the rows varies.

    Raises:
        StoreError: ids repeat, counts or shapes differ, values are of another type or not finite;
            another process writes the file; the disk is full. The earlier file stays as it was.
    """
    path = Path(path)
    if not name or "/" in name or name == ".":
        raise StoreError(f"{path}: {name!r} is no name for a group")
    with _new_file(path) as (file, disk):
        for other in group_names(path):
            if other != name:  # through our own reader: HDF5's copy follows links and damage
                with FeatureStore(path, other) as store:
                    writer = _GroupWriter(disk, file, other, ragged=store.ragged)
                    for ids, rows in store.blocks():
                        writer.add(ids, rows)
                    writer.finish(store.provenance, store.refused)
        writer = _GroupWriter(disk, file, name, ragged=ragged)
        for ids, rows in blocks:
            writer.add(ids, rows)
        writer.finish(provenance.as_dict(), refused)
    return path


class _GroupWriter:
    """Rows into a group, block by block; `finish` makes it one that a reader accepts."""

    def __init__(self, disk: Disk, file: h5py.File, name: str, *, ragged: bool) -> None:
        self.disk, self.ragged = disk, ragged
        self.where = f"{disk.target}: /{name}"
        self.group = create_group(file, name)
        self.data: h5py.Dataset | None = None
        self.ids: list[str] = []
        self.lengths: list[int] = []
        self.digest = hashlib.sha256()

    def add(self, ids: Sequence[str], rows: Rows) -> None:
        """Writes a block."""
        if len(ids) != len(rows):
            raise StoreError(f"{self.where}: {len(rows)} rows for {len(ids)} ids")
        if not len(rows):
            return
        values = self._checked(rows)
        if self.data is None:
            self.data = create_data(self.group, values)
        if values.shape[1:] != self.data.shape[1:] or values.dtype != self.data.dtype:
            raise StoreError(f"{self.where}: rows of another shape or type in one store")
        start = len(self.data)
        self.data.resize(start + len(values), axis=0)
        self.data[start:] = values
        self.disk.check()
        self.digest.update(values.data)
        self.ids += ids
        self.lengths += [len(row) for row in rows] if self.ragged else []

    def _checked(self, rows: Rows) -> NDArray[Any]:
        """The values of a block end to end."""
        try:
            values = np.concatenate(list(rows)) if self.ragged else np.ascontiguousarray(rows)
        except ValueError as error:
            raise StoreError(f"{self.where}: rows of several shapes: {error}") from None
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise StoreError(f"{self.where} would hold NaN or infinite values")
        return values

    def finish(self, provenance: Mapping[str, Any], refused: Sequence[Refusal]) -> None:
        """Writes ids, offsets, provenance and checksum."""
        nul = [i for i in self.ids if "\0" in i]  # fixed-width ids would lose it
        if nul:
            raise StoreError(f"{self.where}: id {nul[0]!r} holds a NUL")
        distinct = len(set(self.ids))
        if distinct != len(self.ids):
            raise StoreError(f"{self.where}: {len(self.ids) - distinct} ids appear twice")
        offsets = np.cumsum([0, *self.lengths]).astype(np.int64) if self.ragged else None
        if self.data is None:
            self.data = self.group.create_dataset("data", data=np.zeros(0, np.float16))
        if offsets is not None:
            put(self.group, "offsets", offsets)
        put(self.group, "ids", np.array([i.encode() for i in self.ids], dtype="S"))
        meta = {
            "provenance": provenance,
            "refused": [asdict(r) for r in refused],
            "sha256": content_digest(self.digest, self.ids, self.data, offsets),
        }
        put(self.group, "meta", np.frombuffer(json.dumps(meta).encode(), np.uint8))


@contextmanager
def _new_file(path: Path) -> Iterator[tuple[h5py.File, Disk]]:
    """An empty file that takes the place of `path` if all goes well."""
    among_blocks = False
    try:
        with claimed(path), replacing(path) as temporary, Disk(temporary, path) as disk:
            # HDF5 1.10 puts checksums on its own tables, too. In those of older files one changed
            # byte can send every reader into an endless loop.
            with h5py.File(disk, "w", libver="v110") as file:
                among_blocks = True
                yield file, disk
                among_blocks = False
            disk.check()
    except OSError as error:
        if among_blocks:  # of the caller's reading, not of our writing
            raise
        raise cannot_write(path, error) from error
