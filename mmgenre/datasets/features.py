"""Vectors made elsewhere (CLAP, MERT, Essentia, published ones) -> groups of a feature store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmgenre.datasets.arrays import NUMBERS, Array, dense, read_npy, read_npz, row_faults
from mmgenre.datasets.parquet import read_parquet
from mmgenre.disk.provenance import Provenance, sha256_file
from mmgenre.disk.store import FeatureStore, group_names, write_groups
from mmgenre.disk.store.plain import is_plain, read_plain
from mmgenre.errors import StoreError, fault_list
from mmgenre.items.item import TRACK_SEPARATOR

STAGE, STAGE_VERSION = "features", 1
IDS = "ids"
VECTORS = ("x", "features", "embeddings")
ID_FILES = ("{}.ids.txt", "{}.ids.tsv", "{}_ids.txt")  # beside {}.npy or {}.npz
BLOCK_ROWS = 1024
HDF5 = (".h5", ".hdf5")
IdRows = tuple[Sequence[str], NDArray[Any]]  # n ids, (n, width) of float32 or float16


class StoredRows:
    """The rows of a store, which are read as they are asked for."""

    def __init__(self, path: Path, group: str) -> None:
        self.store = FeatureStore(path, group)
        self.shape = (len(self.store), *(width or 0 for width in self.store.row_shape))
        self.dtype = self.store.dtype

    def __getitem__(self, at: slice) -> NDArray[Any]:
        return self.store.rows_at(np.arange(*at.indices(len(self.store))))


@dataclass(frozen=True)
class Features:
    """Vectors by id; a StoreError lists the faults of ids, shape, type and counts.

    Those in half precision stay so: to write them wider would take twice the disk and say no more.
    """

    source: Path
    ids: tuple[str, ...]
    x: Array | StoredRows  # (n, width), dense (perhaps still on disk) or sparse

    def __post_init__(self) -> None:
        faults = row_faults(self.x)
        if not faults and self.x.shape[0] != len(self.ids):
            faults.append(f"{self.x.shape[0]} rows for {len(self.ids)} ids")
        first: dict[str, int] = {}
        for row, item_id in enumerate(self.ids):
            item, mark, track = item_id.partition(TRACK_SEPARATOR)
            if not item or item_id != item_id.strip() or (mark and not track):
                faults.append(f"row {row}: {item_id!r} is no id; expected ID, or ID#0 for a track")
            elif first.setdefault(item_id, row) != row:
                faults.append(f"row {row}: id {item_id!r} is already in row {first[item_id]}")
        if faults:
            raise StoreError(fault_list(str(self.source), faults))

    def blocks(self) -> Iterator[IdRows]:
        """Blocks of ids and rows; a StoreError lists all rows that are not finite."""
        for ids, rows, bad in self._blocks():
            if bad.size:
                raise StoreError(fault_list(str(self.source), self._not_finite()))
            yield ids, rows

    def _blocks(self) -> Iterator[tuple[Sequence[str], NDArray[Any], NDArray[np.intp]]]:
        """Blocks of ids, rows, and the positions of those that are not finite."""
        for start in range(0, len(self.ids), BLOCK_ROWS):
            at = slice(start, start + BLOCK_ROWS)
            with np.errstate(over="ignore"):  # becomes infinite
                rows = np.asarray(dense(self.x[at]), self.dtype)
            yield self.ids[at], rows, np.flatnonzero(~np.isfinite(rows).all(axis=1))

    @property
    def dtype(self) -> np.dtype[Any]:
        """As rows are stored."""
        return np.dtype(np.float16 if self.x.dtype == np.float16 else np.float32)

    def _not_finite(self) -> list[str]:
        return [
            f"id {ids[k]!r} has NaN, infinity, or a number too large for float32"
            for ids, _, bad in self._blocks()
            for k in bad
        ]


def read_features(path: Path, ids: Path | None = None) -> Features:
    """Reads vectors of any width and their ids; a StoreError names the file and its faults.

    The file is `.npz` or `.h5` with arrays `ids` and `x`, `features` or `embeddings`, or with
    exactly two arrays, one of them ids; a `.parquet` table (`read_parquet`); a sparse `.npz` as
    scipy writes it; or `.npy`. For arrays without ids, the file `ids` has one id per line; if it is
    None, X.npy is read with X.ids.txt, X.ids.tsv or X_ids.txt beside it.
    """
    if path.suffix not in READERS:
        raise StoreError(f"{path}: not one of {', '.join(READERS)}")
    held = READERS[path.suffix](path)
    if not isinstance(held, dict):
        return Features(path, _read_id_file(path, ids), held)
    features = _from_arrays(path, held)
    if ids is not None:
        raise StoreError(f"{path}: it has its own ids; leave out {ids}")
    return features


def import_features(
    sources: Mapping[str, Path], target: Path, *, ids: Mapping[str, Path] | None = None
) -> Path:
    """Puts vectors made elsewhere into a feature store, one group per name; other groups stay.

    Files are as in `read_features`, or feature stores.
    Rows of tracks (`ID#0`, `ID#1`) are replaced by their mean for the item. From a feature store,
    a single group gets the name given; several are called `NAME-GROUP`, or keep their own names
    if the name given is empty. `ids` are files of ids, by name of the group, where they do not lie
    beside the vectors. A StoreError lists every source that cannot be read.
    """
    ids = ids or {}
    faults = [f"ids are given for {name!r}, which is no source" for name in ids.keys() - sources]
    groups: dict[str, tuple[Features, ...]] = {}
    for name, path in sources.items():
        try:
            if path.suffix in HDF5 and not is_plain(path):
                read = _from_store(name, path)
            else:
                read = {name: read_features(path, ids.get(name))}
        except StoreError as error:
            faults.append(str(error))
        else:
            faults += [f"{path}: group {key!r} is given twice" for key in read if key in groups]
            groups |= {key: (part,) for key, part in read.items()}
    if not sources:
        faults.append("no sources")
    faults += [
        f"group {key!r} cannot name an input: it is empty or contains '.' or '/'"
        for key in groups
        if not key or "." in key or "/" in key
    ]
    if faults:
        raise StoreError(fault_list(str(target), faults))
    return write_features(groups, target)


def write_features(groups: Mapping[str, Sequence[Features]], target: Path) -> Path:
    """Writes groups of parts with distinct ids and one width, as the mean of each item's rows."""
    new = {}
    for name, parts in groups.items():
        sources = {part.source.name: sha256_file(part.source) for part in parts}
        if any(TRACK_SEPARATOR in row_id for part in parts for row_id in part.ids):
            rows = iter([_mean_by_item(parts)])
        else:
            rows = _all_blocks(parts)
        new[name] = rows, Provenance(STAGE, STAGE_VERSION, {"sources": sources})
    write_groups(target, new)
    return target


def _all_blocks(parts: Sequence[Features]) -> Iterator[IdRows]:
    """The blocks of all parts, in the precision of the first one with more."""
    dtype = max((part.dtype for part in parts), key=lambda own: own.itemsize)
    for part in parts:
        for ids, rows in part.blocks():
            yield ids, rows.astype(dtype, copy=False)


def _mean_by_item(parts: Sequence[Features]) -> IdRows:
    """Rows of tracks -> (item ids, the mean over the tracks of each)."""
    item_of = {i: i.split(TRACK_SEPARATOR)[0] for part in parts for i in part.ids}
    both = [i for i, item in item_of.items() if i != item and item in item_of]
    if both:
        several = f"{len(both)} items have a row of their own and rows of tracks"
        raise StoreError(f"{parts[0].source}: {several} (first: {both[0]!r}); keep one kind")
    place = {item: k for k, item in enumerate(dict.fromkeys(item_of.values()))}
    sums = np.zeros((len(place), parts[0].x.shape[1]), np.float64)
    counts = np.zeros(len(place))
    for ids, rows in (block for part in parts for block in part.blocks()):
        at = [place[item_of[i]] for i in ids]
        np.add.at(sums, at, rows)
        np.add.at(counts, at, 1.0)
    return tuple(place), (sums / counts[:, None]).astype(np.float32)


def _from_arrays(path: Path, arrays: dict[str, NDArray[Any]]) -> Features:
    named = [name for name in VECTORS if name in arrays]
    matrices = [name for name, a in arrays.items() if a.ndim == 2 and a.dtype.kind in NUMBERS]
    if IDS in arrays and len(named) == 1:
        names, x = arrays[IDS], arrays[named[0]]
    elif len(arrays) == 2 and len(matrices) == 1:
        x = arrays.pop(matrices[0])
        (names,) = arrays.values()
    else:
        held = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        allowed = f"ids and one of {', '.join(VECTORS)}, or exactly two arrays, ids and vectors"
        raise StoreError(f"{path}: expected {allowed}; got {held or 'nothing'}")
    if names.ndim != 1 or names.dtype.kind not in "USiu":
        got = f"{names.dtype} {names.shape}"
        raise StoreError(f"{path}: ids must be a one-dimensional array of text, got {got}")
    try:
        texts = names.astype(np.str_) if names.dtype.kind != "S" else np.char.decode(names, "utf-8")
        ids = tuple(texts.tolist())
        "".join(ids).encode()  # a NumPy text may hold what no text of Python's can
    except (UnicodeError, SystemError) as error:
        raise StoreError(f"{path}: ids are not UTF-8: {error}") from None
    return Features(path, ids, x)


def _read_id_file(path: Path, ids: Path | None) -> tuple[str, ...]:
    expected = [ids] if ids else [path.with_name(name.format(path.stem)) for name in ID_FILES]
    found = [file for file in expected if file.is_file()]
    if len(found) != 1:
        allowed = str(ids) if ids else " or ".join(file.name for file in expected)
        state = "several files of ids" if found else "no ids"
        raise StoreError(f"{path}: {state}; expected {allowed}, with one id per line")
    try:
        text = found[0].read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise StoreError(f"{found[0]}: not UTF-8: {error}") from None
    return tuple(line.split("\t")[0].strip() for line in text.removesuffix("\n").split("\n"))


READERS: Mapping[str, Callable[[Path], Array | dict[str, NDArray[Any]]]] = {
    ".npz": read_npz,
    ".npy": read_npy,
    **dict.fromkeys(HDF5, read_plain),
    ".parquet": read_parquet,
}


def _from_store(name: str, path: Path) -> dict[str, Features]:
    groups = group_names(path)
    if not groups:
        raise StoreError(f"{path}: no such file, or a store without groups")
    read = {}
    for group in groups:
        with FeatureStore(path, group) as store:
            store.verify()
            key = name or group if len(groups) == 1 or not name else f"{name}-{group}"
            read[key] = Features(path, store.ids, StoredRows(path, group))
    return read
