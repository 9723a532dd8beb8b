"""Values of a group that lie in other files, its parts, each a store file of a group of its name.

The parts lie in the folder `NAME.parts` beside the file NAME, by which both can be moved together.
Instead of `data` the group holds

    parts  JSON bytes: type and shape of values, and of each part: name, number of values, sha256
    runs   (k, 3) int64, in the order of the rows: a part, its first value, the number of values

A part that is not the one that was listed is refused; HDF5's checksums tell of damage inside.
"""

from __future__ import annotations

import json
import math
import os
from array import array
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from mmgenre.disk.store import layout
from mmgenre.disk.store.chunks import Chunks
from mmgenre.disk.store.layout import damage_as_error
from mmgenre.errors import PartError, StoreError

OPEN_FILES = 64  # parts of a store that are open at once: processes may often open 1024 files
REMEDY = (
    "put the part back; or move the store away (mv {0} {0}.damaged) and extract features again: "
    "parts that are there are not read again"
)


def parts_folder(store: Path) -> Path:
    """The folder with the parts of a store: until they are merged, or for ever if they are not."""
    return store.with_name(store.name + ".parts")


class PartFile(NamedTuple):
    """A part as its store lists it."""

    name: str  # in the folder
    n_values: int  # entries of the first axis
    sha256: str  # of its content


class ApartValues:
    """Values by position, as `Chunks` gives them, of several files, of which few are open at once.

    A file is compared with the list when it is first opened, and later with what it was then.
    Threads may read at the same time, one after another.
    """

    def __init__(self, store: Path, group: str, parts: h5py.Dataset, runs: h5py.Dataset) -> None:
        """StoreError: lists that do not fit each other."""
        self.store, self.group = store, group
        listed = json.loads(parts[:].tobytes())
        self.files = tuple(PartFile(*file) for file in listed["files"])
        self.dtype = np.dtype(listed["dtype"])
        self.runs: NDArray[np.int64] = runs[:]
        odd = [f.name for f in self.files if not f.name or f.name != Path(f.name).name]
        if odd or len({f.name for f in self.files}) < len(self.files):
            raise StoreError(f"{store}: /{group} lists parts {odd or 'twice'}")
        if self.dtype.name not in layout.DTYPES or self.runs.shape[1:] != (3,):
            raise StoreError(f"{store}: /{group}: {self.dtype}, runs {self.runs.shape} of parts")
        numbers, firsts, counts = self.runs.T
        sizes = np.array([file.n_values for file in self.files], np.int64)
        n = len(self.files)
        fits = ((numbers >= 0) & (numbers < n) & (firsts >= 0) & (counts > 0)).all()
        fits = fits and (firsts + counts <= sizes[numbers]).all()
        # No value twice: a small file could declare petabytes.
        if not fits or (np.bincount(numbers, counts, n) > sizes).any():
            raise StoreError(f"{store}: /{group} lists rows that its parts do not have")
        self.ends: NDArray[np.int64] = np.cumsum(counts)
        self.shape: tuple[int, ...] = (int(counts.sum()), *map(int, listed["shape"]))
        self.row_bytes: int = max(1, math.prod(self.shape[1:]) * self.dtype.itemsize)
        self.n_bytes: int = self.shape[0] * self.row_bytes
        self._lock = Lock()
        self._known: dict[int, tuple[Chunks, list[int]]] = {}  # with the state of the file
        self._open: OrderedDict[int, None] = OrderedDict()  # used last: at the end

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, where: slice) -> NDArray[Any]:
        start, stop, _ = where.indices(len(self))
        out = np.empty((max(0, stop - start), *self.shape[1:]), self.dtype)
        self.read_into(out, start)
        return out

    def close(self) -> None:
        """Closes the files."""
        with self._lock:
            while self._open:
                self._close_one()

    def read_into(self, out: NDArray[Any], start: int) -> None:
        """Fills `out`, contiguous (n, *row_shape), with the values from `start` on."""
        done = 0
        run = int(np.searchsorted(self.ends, start, side="right"))
        while done < len(out):
            number, first, count = self.runs[run].tolist()
            skipped = start + done - (int(self.ends[run]) - count)
            n = min(len(out) - done, count - skipped)
            with self._reading(number) as chunks:
                chunks.read_into(out[done : done + n], first + skipped)
            done, run = done + n, run + 1

    def take_into(self, out: NDArray[Any], rows: NDArray[np.intp]) -> None:
        """Fills `out`, contiguous (n, *row_shape), with values at positions in any order."""
        run = np.searchsorted(self.ends, rows, side="right")
        number, first, count = self.runs[run].T
        local = first + rows - (self.ends[run] - count)
        order = np.argsort(number, kind="stable")
        cuts = np.flatnonzero(np.diff(number[order])) + 1
        for own in np.split(order, cuts):
            found = np.empty((len(own), *self.shape[1:]), self.dtype)
            with self._reading(int(number[own[0]])) as chunks:
                chunks.take_into(found, local[own])
            out[own] = found

    @contextmanager
    def _reading(self, number: int) -> Iterator[Chunks]:
        with self._lock:
            path = parts_folder(self.store) / self.files[number].name
            if number not in self._open:
                while len(self._open) >= OPEN_FILES:
                    self._close_one()
                self._open_one(number, path)
            self._open.move_to_end(number)
            with damage_as_error(path, f"{path}: a part of {self.store} cannot be read"):
                yield self._known[number][0]

    def _close_one(self) -> None:
        number, _ = self._open.popitem(last=False)
        chunks, _ = self._known[number]
        os.close(chunks.descriptor)
        chunks.descriptor = -1

    def _open_one(self, number: int, path: Path) -> None:
        listed = self.files[number]
        if path.is_symlink() or not path.is_file():
            what = "a link, and no file" if path.is_symlink() else "no such file"
            raise self._not_it(path, f"is a part of {self.store}, and {what}")
        if number in self._known:
            chunks, before = self._known[number]
            chunks.descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            self._open[number] = None
            if _state(chunks.descriptor) != before:
                raise self._not_it(path, f"has changed while {self.store} was read")
            return
        with (
            layout.open_file(path) as file,
            damage_as_error(path, f"{path}: a part of {self.store} is damaged"),
        ):
            members = layout.guarded_group(file, self.group)
            data, sha256 = members.get("data"), json.loads(members["meta"][:].tobytes())["sha256"]
            own = None if data is None else (sha256, data.dtype, data.shape)
            if own != (listed.sha256, self.dtype, (listed.n_values, *self.shape[1:])):
                raise self._not_it(path, f"is not the part that {self.store} was made of")
            chunks = Chunks(data)
            # HDF5 closes its own with the file, and has buffers that the values do not need.
            chunks.descriptor = os.dup(chunks.descriptor)
            self._known[number] = chunks, _state(chunks.descriptor)
            self._open[number] = None

    def _not_it(self, path: Path, what: str) -> PartError:
        return PartError(f"{path}: {what}; {REMEDY.format(self.store)}")


class Places:
    """Where rows lie that stay in the parts of a store, collected as their blocks are read."""

    def __init__(self, store: Path) -> None:
        self._folder = parts_folder(store)
        self._files: list[PartFile] = []
        self._row: dict[str, int] = {}
        self._part, self._first = array("q"), array("q")

    def add_part(self, path: Path, sha256: str, ids: Sequence[str], firsts: Sequence[int]) -> None:
        """Rows of a part: the place of the first value of each, and at the end of all of them.

        StoreError if it is not in the folder of the store's parts.
        """
        if path.parent.absolute() != self._folder.absolute():
            raise StoreError(f"{path}: not in {self._folder}, so that it cannot stay apart")
        self._files.append(PartFile(path.name, firsts[-1], sha256))
        self._add(ids, [len(self._files) - 1] * len(ids), firsts[:-1])

    def add_rows(self, values: ApartValues, ids: Sequence[str], firsts: NDArray[np.intp]) -> None:
        """Rows of the present version: the places of their first values among all of its values."""
        if not len(values):
            self._add(ids, [0] * len(ids), [0] * len(ids))
            return
        # A row of no values may stand behind the last one.
        run = np.searchsorted(values.ends, np.minimum(firsts, len(values) - 1), side="right")
        number, first, count = values.runs[run].T
        own = first + firsts - (values.ends[run] - count)
        self._add(ids, (number + len(self._files)).tolist(), own.tolist())
        self._files += values.files

    def _add(self, ids: Sequence[str], parts: Sequence[int], firsts: Sequence[int]) -> None:
        self._row.update(zip(ids, range(len(self._part), len(self._part) + len(ids)), strict=True))
        self._part.extend(parts)
        self._first.extend(firsts)

    def lists(
        self, ids: Sequence[str], lengths: Sequence[int] | None, dtype: Any, shape: Sequence[int]
    ) -> Mapping[str, NDArray[Any]]:
        """The members of a group that has these rows, one value each or so many."""
        row = np.array([self._row[item_id] for item_id in ids], np.intp)
        part = np.array(self._part, np.int64)[row]
        first = np.array(self._first, np.int64)[row]
        n = np.ones(len(row), np.int64) if lengths is None else np.array(lengths, np.int64)
        part, first, n = part[n > 0], first[n > 0], n[n > 0]
        goes_on = (part[1:] == part[:-1]) & (first[1:] == first[:-1] + n[:-1])
        starts = np.flatnonzero(np.concatenate([[True], ~goes_on])[: len(n)])
        counts = np.add.reduceat(n, starts) if len(n) else n
        used, number = np.unique(part[starts], return_inverse=True)
        files = [self._files[k] for k in used.tolist()]
        listed = {"dtype": np.dtype(dtype).name, "shape": list(shape), "files": files}
        return {
            "parts": np.frombuffer(json.dumps(listed).encode(), np.uint8),
            "runs": np.stack([number, first[starts], counts], axis=1).astype(np.int64),
        }


def _state(descriptor: int) -> list[int]:
    found = os.fstat(descriptor)
    return [found.st_ino, found.st_size, found.st_mtime_ns]
