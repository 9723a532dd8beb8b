"""Reading a group of a store file: rows by id, windows of long rows, everything in order."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmgenre.disk.store.chunks import Chunks
from mmgenre.disk.store.guard import guarded_group, open_file
from mmgenre.disk.store.layout import BLOCK_BYTES, DAMAGE, Block, content_digest, row_bytes
from mmgenre.errors import Refusal, StoreError

PICK_BYTES = 1 << 13  # picking a row costs as much as reading so many bytes in order


class FeatureStore:
    """One group of a store file, opened for reading. A handle is not shared between processes."""

    def __init__(self, path: Path | str, name: str) -> None:
        """Opens group `name` of the file.

        Raises:
            StoreError: no such file or group, or one that no mmgenre wrote whole.
        """
        self.path, self.name = Path(path), name
        self._file = open_file(self.path)
        try:
            group = guarded_group(self._file, name)
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

    @property
    def n_bytes(self) -> int:
        """What the values take in the file."""
        return int(self._data.id.get_storage_size())

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
        if len(rows) * PICK_BYTES >= len(self._data) * row_bytes(self._data):
            return self._checked(0, len(self._data))[rows]
        out = np.empty((len(rows), *self._data.shape[1:]), self.dtype)
        with self._damage_told():
            for k, row in enumerate(rows.tolist()):
                self._chunks.read_into(out[k : k + 1], row)
        return out

    def windows(
        self, ids: Sequence[str], starts: Sequence[int], length: int, *, fill: float
    ) -> NDArray[Any]:
        """A window of each of n ragged rows, (n, length, *row_shape[1:]).

        What lies past the end of a row is `fill`. Faster than n calls of `read`.
        """
        if len(starts) != len(ids) or min(starts, default=0) < 0:
            raise ValueError(f"{len(ids)} ids want as many starts from 0 on, not {starts}")
        out = np.empty((len(ids), length, *self._data.shape[1:]), self.dtype)
        lows, highs = self._bounds(ids)
        with self._damage_told():
            for k, (low, high, start) in enumerate(zip(lows, highs, starts, strict=True)):
                n = min(length, max(high - low - start, 0))
                self._chunks.read_into(out[k, :n], low + start)
                if n < length:
                    out[k, n:] = fill
        return out

    def lengths(self, ids: Sequence[str]) -> list[int]:
        """Lengths of the first axes of ragged rows."""
        return [high - low for low, high in zip(*self._bounds(ids), strict=True)]

    def length(self, item_id: str) -> int:
        """Length of a ragged row's first axis."""
        return self.lengths([item_id])[0]

    def read(self, item_id: str, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """One row, or a window of a ragged row's first axis, clipped to the row."""
        if not self.ragged and start == 0 and stop is None:
            row = int(self.rows_of([item_id])[0])
            return np.asarray(self._values(row, row + 1)[0])
        (low,), (high,) = self._bounds([item_id])
        if start < 0 or (stop is not None and stop < start):
            raise ValueError(f"window {start}:{stop} of row {item_id!r}: 0 <= start <= stop")
        end = high if stop is None else min(low + stop, high)
        return self._values(min(low + start, high), end)

    def _bounds(self, ids: Sequence[str]) -> tuple[list[int], list[int]]:
        rows = self.rows_of(ids)
        if self._offsets is None:
            raise StoreError(f"{self.path}: /{self.name} is not ragged; its rows have no length")
        return self._offsets[rows].tolist(), self._offsets[rows + 1].tolist()

    def _values(self, start: int, stop: int) -> NDArray[Any]:
        """Values in order."""
        out = np.empty((stop - start, *self._data.shape[1:]), self.dtype)
        with self._damage_told():
            self._chunks.read_into(out, start)
        return out

    def _checked(self, start: int, stop: int) -> NDArray[Any]:
        """Values in order, through HDF5, which compares its checksums each time."""
        with self._damage_told():
            return np.ascontiguousarray(self._data[start:stop])

    @cached_property
    def _chunks(self) -> Chunks:
        return Chunks(self._data)

    @contextmanager
    def _damage_told(self) -> Iterator[None]:
        try:
            yield
        except DAMAGE as error:  # above all a chunk whose checksum differs
            raise StoreError(f"{self.path}: /{self.name} cannot be read: {error}") from None

    def read_text(self, item_id: str) -> str:
        """A row of UTF-8 bytes as text."""
        return self.read(item_id).tobytes().decode()

    def blocks(self) -> Iterator[Block]:
        """All rows in order, as `write_store` takes them, some 16 MiB at once.

        Raises:
            StoreError: after the last block, if the content is not what was written.
        """
        ends = np.arange(len(self) + 1) if self._offsets is None else self._offsets
        step = max(1, BLOCK_BYTES // row_bytes(self._data))
        digest = hashlib.sha256()
        first = 0
        while first < len(self):
            # Whole rows only, and one at least: a single row may be longer than a block.
            last = int(np.searchsorted(ends, ends[first] + step, side="right")) - 1
            last = max(first + 1, last)
            values = self._checked(int(ends[first]), int(ends[last]))
            digest.update(values.data)
            cuts = ends[first + 1 : last] - ends[first]
            yield self.ids[first:last], np.split(values, cuts) if self.ragged else values
            first = last
        if content_digest(digest, self.ids, self._data, self._offsets) != self.sha256:
            raise StoreError(f"{self.path}: /{self.name} is damaged: its checksum differs")

    def verify(self) -> None:
        """Reads everything and compares it with the checksum.

        Raises:
            StoreError: the content is not what was written.
        """
        for _ in self.blocks():
            pass
