"""Reading a store file: what it holds, rows by id, windows of long rows, everything in order."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, repeat
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmgenre.disk.store import layout
from mmgenre.disk.store.apart import ApartValues, PartFile
from mmgenre.disk.store.chunks import Chunks
from mmgenre.disk.store.layout import NO_PRINT, Block, Prints, damage_as_error, row_bytes
from mmgenre.errors import Refusal, StoreError, UnreachableError
from mmgenre.progress import Progress, silent

PICK_BYTES = 1 << 13  # reading one row by position costs as much as so many bytes in order


class FeatureStore(AbstractContextManager["FeatureStore"]):
    """One group of a store file, opened for reading. A handle is not shared between processes.

    Opening costs little however many rows there are: ids are decoded at their first use. Methods
    raise StoreError for ids that are missing, and for damage.
    """

    def __init__(self, path: Path | str, name: str) -> None:
        """StoreError: no such file or group; a group that is damaged or not ours."""
        self.path, self.name = Path(path), name
        self._where = f"{path}: /{name}"
        self._apart: ApartValues | None = None
        self._file = layout.open_file(self.path)
        with ExitStack() as failing, damage_as_error(path, f"{path}: group {name!r} is damaged"):
            failing.callback(self.close)
            group = layout.guarded_group(self._file, name)
            meta = json.loads(group["meta"][:].tobytes())
            self.provenance: dict[str, Any] = meta["provenance"]
            self.fingerprint: str = meta["provenance"]["fingerprint"]
            self.refused = tuple(Refusal(**row) for row in meta["refused"])
            self.sha256: str = meta["sha256"]
            self._encoded_ids = group["ids"][:]
            if "parts" in group:
                self._apart = ApartValues(self.path, name, group["parts"], group["runs"])
            self._data: Any = group["data"] if self._apart is None else self._apart
            self._offsets = group["offsets"][:] if "offsets" in group else None
            self._made_from = group.get("made_from")
            self._prints = group.get("prints")
            self.prints_by: str | None = meta.get("prints_by")  # names what made them, if any are
            self._prints_sha256 = meta.get("prints_sha256")
            self.dtype = self._data.dtype
            self.row_shape: tuple[int | None, ...] = tuple(self._data.shape[1:])
            if self._encoded_ids.dtype.kind != "S" or self._encoded_ids.ndim != 1:
                raise ValueError(f"ids are {self._encoded_ids.dtype} {self._encoded_ids.shape}")
            n_rows = n_values = len(self._data)
            if self._offsets is not None:
                self.row_shape = (None, *self.row_shape)
                n_rows = len(self._offsets) - 1
                ends = [int(self._offsets[0]), int(self._offsets[-1])]
                if ends != [0, n_values] or (np.diff(self._offsets) < 0).any():
                    raise StoreError(f"{self._where}: offsets do not fit the data")
            if n_rows != len(self):
                raise StoreError(f"{self._where}: {n_rows} rows but {len(self)} ids")
            failing.pop_all()

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Ids of the rows, in order."""
        with damage_as_error(self.path, f"{self.path}: group {self.name!r} is damaged"):
            return tuple(item_id.decode() for item_id in self._encoded_ids.tolist())

    @cached_property
    def _row(self) -> dict[str, int]:
        """Position of each id; StoreError if ids repeat."""
        row = {item_id: i for i, item_id in enumerate(self.ids)}
        if len(row) != len(self):
            raise StoreError(f"{self._where}: {len(self)} rows but {len(row)} distinct ids")
        return row

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()
        if self._apart is not None:
            self._apart.close()

    def __len__(self) -> int:
        return len(self._encoded_ids)

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._row

    @property
    def ragged(self) -> bool:
        """Whether the first axis of a row varies."""
        return self._offsets is not None

    def rows_of(self, ids: Sequence[str]) -> NDArray[np.intp]:
        """Positions of ids, (n,)."""
        if missing := [i for i in ids if i not in self._row]:
            raise StoreError(
                f"{self.path}: {len(missing):,} of {len(ids):,} ids are missing in /{self.name} "
                f"(first: {missing[0]!r}); was it made from another manifest? "
                "Run: mmgenre extract-features"
            )
        return np.array([self._row[i] for i in ids], dtype=np.intp)

    def take(self, ids: Sequence[str]) -> NDArray[Any]:
        """Rows of fixed shape by id, (n, *row_shape)."""
        if self.ragged:
            raise StoreError(f"{self._where} is ragged; take its rows one by one")
        rows = self.rows_of(ids)
        if len(rows) * PICK_BYTES >= len(self._data) * row_bytes(self._data):
            return self._in_order(0, len(self._data))[rows]
        out = np.empty((len(rows), *self._data.shape[1:]), self.dtype)
        with damage_as_error(self.path, f"{self._where} cannot be read"):
            for k, row in enumerate(rows.tolist()):
                self._chunks.read_into(out[k : k + 1], row)
        return out

    def read_rows(self, start: int, out: NDArray[Any]) -> None:
        """Fills `out`, (n, *row_shape) of the store's type, with rows in order from `start` on.

        As fast as copying, once they have been read; threads may read at the same time.
        """
        if self.ragged or out.dtype != self.dtype or not 0 <= start <= len(self) - len(out):
            raise ValueError(
                f"{self._where}: {len(self):,} rows {self.row_shape} of {self.dtype}; asked for "
                f"{len(out):,} from {start:,} on as {out.dtype}"
            )
        with damage_as_error(self.path, f"{self._where} cannot be read"):
            self._chunks.read_into(out, start)

    def rows_at(self, rows: NDArray[np.intp]) -> NDArray[Any]:
        """Rows of fixed shape by position, in any order, (n, *row_shape)."""
        if self.ragged or (len(rows) and not 0 <= rows.min() <= rows.max() < len(self)):
            raise ValueError(
                f"{self._where}: {len(self):,} rows {self.row_shape}; asked for {rows}"
            )
        out = np.empty((len(rows), *self._data.shape[1:]), self.dtype)
        if len(rows):
            with damage_as_error(self.path, f"{self._where} cannot be read"):
                self._chunks.take_into(out, rows)
        return out

    def positions(self, ids: Sequence[str]) -> NDArray[np.intp]:
        """Where ids lie, (n,); -1: nowhere. A million ids take little memory, unlike `rows_of`."""
        wanted = np.array([item_id.encode() for item_id in ids], dtype="S")
        if not len(self) or not len(wanted):
            return np.full(len(wanted), -1, np.intp)
        order, own = self._sorted_ids
        place = np.minimum(np.searchsorted(own, wanted), len(own) - 1)
        found = place if order is None else order[place]
        return np.where(own[place] == wanted, found, -1)

    @cached_property
    def _sorted_ids(self) -> tuple[NDArray[np.intp] | None, NDArray[np.bytes_]]:
        """Positions by id, None if they are in order, and the ids so; StoreError if ids repeat."""
        own, order = self._encoded_ids, None
        if not (own[1:] > own[:-1]).all():
            order = np.argsort(own)
            own = own[order]
        if repeated := int((own[1:] == own[:-1]).sum()):
            n = len(own) - repeated
            raise StoreError(f"{self._where}: {len(self)} rows but {n} distinct ids")
        return order, own

    def ids_at(self, rows: Sequence[int]) -> list[str]:
        """Ids by position, without decoding all."""
        with damage_as_error(self.path, f"{self.path}: group {self.name!r} is damaged"):
            return [self._encoded_ids[row].decode() for row in rows]

    def has_same_ids(self, other: FeatureStore) -> bool:
        """Whether two groups have rows of the same ids in the same order."""
        return bool(np.array_equal(self._encoded_ids, other._encoded_ids))

    def windows(
        self, ids: Sequence[str], starts: Sequence[int], length: int, *, fill: float
    ) -> NDArray[Any]:
        """A window of each of n ragged rows, (n, length, *row_shape[1:]).

        Past the end of a row it is `fill`. Faster than n calls of `read`.
        """
        if len(starts) != len(ids) or min(starts, default=0) < 0:
            raise ValueError(f"expected {len(ids)} starts >= 0, one for each id; got {starts}")
        out = np.empty((len(ids), length, *self._data.shape[1:]), self.dtype)
        lows, highs = self._bounds(ids)
        with damage_as_error(self.path, f"{self._where} cannot be read"):
            for k, (low, high, start) in enumerate(zip(lows, highs, starts, strict=True)):
                n = min(length, max(high - low - start, 0))
                self._chunks.read_into(out[k, :n], low + start)
                out[k, n:] = fill
        return out

    def lengths(self, ids: Sequence[str]) -> list[int]:
        """Lengths of the first axes of ragged rows."""
        return [high - low for low, high in zip(*self._bounds(ids), strict=True)]

    def read(self, item_id: str, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """One row, or a window of a ragged row's first axis, clipped to the row."""
        if not self.ragged and start == 0 and stop is None:
            return np.asarray(self.take([item_id])[0])
        (length,) = self.lengths([item_id])
        if start < 0 or (stop is not None and stop < start):
            raise ValueError(f"window {start}:{stop} of row {item_id!r}: 0 <= start <= stop")
        n = max(0, min(length, length if stop is None else stop) - start)
        return np.asarray(self.windows([item_id], [start], n, fill=0)[0])

    def _bounds(self, ids: Sequence[str]) -> tuple[list[int], list[int]]:
        rows = self.rows_of(ids)
        if self._offsets is None:
            raise StoreError(f"{self._where} is not ragged; its rows have no length")
        return self._offsets[rows].tolist(), self._offsets[rows + 1].tolist()

    def _in_order(self, start: int, stop: int) -> NDArray[Any]:
        """Values in order, through HDF5, which compares checksums each time."""
        with damage_as_error(self.path, f"{self._where} cannot be read"):
            return np.ascontiguousarray(self._data[start:stop])

    @cached_property
    def _chunks(self) -> Any:  # with `read_into` and `take_into`
        return Chunks(self._data) if self._apart is None else self._apart

    @property
    def apart(self) -> ApartValues | None:
        """The values, if they lie in parts."""
        return self._apart

    @property
    def firsts(self) -> NDArray[np.intp]:
        """The place of the first value of each row, and the end of the last one."""
        return np.arange(len(self) + 1) if self._offsets is None else self._offsets

    @property
    def n_bytes(self) -> int:
        """Size of the values, wherever they lie."""
        if self._apart is not None:
            return self._apart.n_bytes
        return int(self._data.id.get_storage_size())

    def read_text(self, item_id: str) -> str:
        """A row of UTF-8 bytes as text."""
        return self.read(item_id).tobytes().decode()

    def blocks(self, prints: Prints | None = None) -> Iterator[Block]:
        """All rows in order, in blocks for `write_store` of some 16 MiB.

        Before each block, its fingerprints are put into `prints`, if they were made by the same.
        StoreError after the last block if the content is not what was written.
        """
        ends = self.firsts
        step = max(1, layout.BLOCK_BYTES // row_bytes(self._data))
        digest = hashlib.sha256()
        own = None if prints is None else self.prints(prints.by)
        first = 0
        while first < len(self):
            # Whole rows only, and one at least: a single row may be longer than a block.
            last = int(np.searchsorted(ends, ends[first] + step, side="right")) - 1
            last = max(first + 1, last)
            values = self._in_order(int(ends[first]), int(ends[last]))
            digest.update(values.data)
            ids = self.ids_at(range(first, last))
            if prints is not None and own is not None:
                known = zip(ids, islice(own, last - first), strict=True)
                prints.of.update((i, found) for i, found in known if found is not None)
            cuts = ends[first + 1 : last] - ends[first]
            yield ids, np.split(values, cuts) if self.ragged else values
            first = last
        what = self._data.dtype, tuple(self._data.shape), self._offsets
        if layout.content_digest(digest, self.ids, *what) != self.sha256:
            raise StoreError(
                f"{self._where} is damaged: its checksum differs, so ids or rows are not those "
                "that were written"
            )
        for _ in own or ():
            pass  # to its end, where it is compared with its checksum

    def prints(self, by: str) -> Iterator[bytes | None]:
        """The fingerprint of each row in order; None where none was stored, or by something else.

        StoreError after the last one if they are not what was written.
        """
        data = self._prints
        if self.prints_by != by or data is None:
            yield from repeat(None, len(self))
            return
        digest, at, block, place = hashlib.sha256(), 0, b"", 0

        def take(n: int) -> bytes:
            nonlocal at, block, place
            while len(block) < place + n:
                with damage_as_error(self.path, f"{self._where}: fingerprints cannot be read"):
                    more = data[at : at + layout.BLOCK_BYTES].tobytes()
                if not more:
                    raise StoreError(f"{self._where} is damaged: it lacks fingerprints")
                digest.update(more)
                at, block, place = at + len(more), block[place:] + more, 0
            place += n
            return block[place - n : place]

        for _ in range(len(self)):
            size = take(4)
            yield None if size == NO_PRINT else take(int.from_bytes(size, "little"))
        if place < len(block) or at < len(data) or digest.hexdigest() != self._prints_sha256:
            raise StoreError(f"{self._where} is damaged: the checksum of its fingerprints differs")

    def made_from(self) -> dict[str, bytes]:
        """What each row, and each refusal, was made from, as its writer said; {} if it did not."""
        if self._made_from is None:
            return {}
        with damage_as_error(self.path, f"{self._where} cannot be read"):
            found = self._made_from[:]
            values = found.view(f"V{found.shape[1]}")[:, 0].tolist() if len(found) else []
            ids = (*self.ids, *(refusal.id for refusal in self.refused))
            return dict(zip(ids, values, strict=True))

    def verify(self, progress: Progress = silent) -> None:
        """Reads everything; StoreError if the content is not what was written."""
        _ = self._sorted_ids  # finds ids that repeat
        self.made_from()
        if self.prints_by is not None:
            for _ in self.prints(self.prints_by):
                pass
        done = 0
        for ids, _ in self.blocks():
            progress(f"checking {self.name}", done, len(self))
            done += len(ids)
        progress(f"checking {self.name}", done, len(self))


def group_names(path: Path | str) -> tuple[str, ...]:
    """Names of the groups of a store file; () if there is no file."""
    if not Path(path).is_file():
        return ()
    with (
        layout.open_file(Path(path)) as file,
        damage_as_error(path, f"{path}: not a readable HDF5 file"),
    ):
        names = tuple(sorted(file))
        "".join(names).encode()  # a damaged name may not be text, and could not be printed
        return names


def provenance_of(path: Path | str, name: str) -> dict[str, Any] | None:
    """How a group was made, as `Provenance.as_dict` gives it; None if there is no such group.

    Cheap however many rows there are: ids and values are not read, nor found to be damaged.
    StoreError if the file or the group is damaged where it describes itself.
    """
    if not Path(path).is_file():
        return None
    damaged = f"{path}: group {name!r} is damaged"
    with layout.open_file(Path(path)) as file, damage_as_error(path, damaged):
        if name not in list(file):
            return None
        meta = json.loads(layout.guarded_group(file, name)["meta"][:].tobytes())
        provenance: dict[str, Any] = meta["provenance"]
        provenance["fingerprint"]  # every provenance has one
        return provenance


def part_names(path: Path | str, name: str) -> frozenset[str]:
    """Files in `parts_folder` that a group's values lie in; none if they lie in the store itself.

    As cheap as `provenance_of`.
    """
    if not Path(path).is_file():
        return frozenset()
    damaged = f"{path}: group {name!r} is damaged"
    with layout.open_file(Path(path)) as file, damage_as_error(path, damaged):
        group = layout.guarded_group(file, name) if name in list(file) else {}
        listed = json.loads(group["parts"][:].tobytes())["files"] if "parts" in group else []
        return frozenset(str(PartFile(*own).name) for own in listed)


def fingerprint_of(path: Path | str, name: str) -> str | None:
    """Fingerprint of a group; None if there is no such group. As cheap as `provenance_of`."""
    provenance = provenance_of(path, name)
    return None if provenance is None else str(provenance["fingerprint"])


def content_hash(path: Path | str) -> str:
    """One hash over ids and values of all groups; provenance and layout do not count."""
    digest = hashlib.sha256()
    for name in group_names(path):
        with FeatureStore(path, name) as store:
            store.verify()
            digest.update(f"{name}\0{store.sha256}\n".encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class GroupInfo:
    """A group as its file describes it; values are not read."""

    name: str
    rows: int
    row_shape: tuple[int | None, ...]  # begins with None if the first axis varies
    dtype: str
    n_bytes: int  # size of the values
    n_parts: int  # files that hold them; 0: the store itself
    fingerprint: str
    stage: str
    stage_version: int
    made_by: str
    parents: Mapping[str, str]  # name -> fingerprint
    refused: tuple[Refusal, ...]


def store_info(path: Path | str) -> tuple[GroupInfo, ...]:
    """Describes the groups of a file.

    StoreError: no such file, or a group that is not ours or damaged where it describes itself.
    """
    if not Path(path).is_file():
        raise StoreError(f"{path}: no such file")
    groups = []
    for name in group_names(path):
        with (
            FeatureStore(path, name) as store,
            damage_as_error(path, f"{path}: /{name}: odd provenance"),
        ):
            made = store.provenance
            info = GroupInfo(
                name=name,
                rows=len(store),
                row_shape=store.row_shape,
                dtype=store.dtype.name,
                n_bytes=store.n_bytes,
                n_parts=0 if store.apart is None else len(store.apart.files),
                fingerprint=store.fingerprint,
                stage=str(made["stage"]),
                stage_version=int(made["stage_version"]),
                made_by=str(made["made_by"]),
                parents={str(k): str(v) for k, v in made["parents"].items()},
                refused=store.refused,
            )
        groups.append(info)
    return tuple(groups)


@dataclass(frozen=True)
class Verdict:
    """A group is whole if `damage` and `unreachable` are None.

    `group` is None if the file cannot be opened; `unreachable` says why nothing is known of it now.
    """

    path: str
    group: str | None
    damage: str | None
    unreachable: str | None = None


def verify_stores(
    paths: Sequence[Path | str], *, progress: Progress = silent
) -> tuple[Verdict, ...]:
    """Reads every value of every group of every file, and compares the checksums.

    Continues after damage. A file that cannot be opened, or holds nothing, gives one verdict.
    """
    verdicts: list[Verdict] = []
    for k, path in enumerate(paths):
        progress("verifying", k, len(paths))
        try:
            names = group_names(path)
            if not names:
                there = "it holds no group" if Path(path).is_file() else "no such file"
                raise StoreError(f"{path}: {there}")
        except StoreError as error:
            verdicts.append(Verdict(str(path), None, str(error)))
            continue
        except (UnreachableError, OSError) as error:
            verdicts.append(Verdict(str(path), None, None, str(error)))
            continue
        for name in names:
            damage = elsewhere = None
            try:
                with FeatureStore(path, name) as store:
                    store.verify()
            except StoreError as error:
                damage = str(error)
            except (UnreachableError, OSError) as error:
                elsewhere = str(error)
            verdicts.append(Verdict(str(path), name, damage, elsewhere))
    progress("verifying", len(paths), len(paths))
    return tuple(verdicts)
