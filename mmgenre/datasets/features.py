"""Vectors made elsewhere (CLAP, MERT, Essentia, published ones) -> groups of a feature store.

They lie in NumPy files, dense or sparse, which are read without ever unpickling.
"""

import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mmgenre.disk.provenance import Provenance, sha256_file
from mmgenre.disk.store import FeatureStore, group_names, write_store
from mmgenre.errors import StoreError, fault_list
from mmgenre.items.manifest import TRACK_SEPARATOR

STAGE, STAGE_VERSION = "features", 1
IDS = "ids"
VECTORS = ("x", "features", "embeddings")
ID_FILES = ("{}.ids.txt", "{}.ids.tsv", "{}_ids.txt")  # beside {}.npy or {}.npz
SPARSE = frozenset({"data", "indices", "indptr", "shape"})
NUMBERS = "fiub"  # dtype kinds: float, int, unsigned, bool
BLOCK_ROWS = 1024
NPY_MAGIC = b"\x93NUMPY"
# What NumPy raises for damaged files and for pickled objects; it has zipfile, the decompressors,
# and Python's own parser read them.
BAD_FILE = (
    OSError, ValueError, EOFError, LookupError, MemoryError, RuntimeError, TypeError, SyntaxError,
    OverflowError, TokenError, struct.error, zipfile.BadZipFile, zlib.error, lzma.LZMAError,
)  # fmt: skip

Array = NDArray[Any] | sparse.csr_array[Any]
IdRows = tuple[Sequence[str], NDArray[np.float32]]  # n ids, (n, width)


@dataclass(frozen=True)
class Features:
    """Vectors by id; a StoreError lists the faults of ids, shape, type and counts."""

    source: Path
    ids: tuple[str, ...]
    x: Array  # (n, width), dense (perhaps still on disk) or sparse

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
        """Blocks of ids and float32 rows; a StoreError names the first row that is not finite."""
        for start in range(0, len(self.ids), BLOCK_ROWS):
            at = slice(start, start + BLOCK_ROWS)
            block, ids = self.x[at], self.ids[at]
            with np.errstate(over="ignore"):  # becomes infinite, and is refused below
                rows = np.asarray(dense(block), dtype=np.float32)
            bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
            if bad.size:
                fault = "has NaN, infinity, or a number too large for float32"
                row = f"row {start + bad[0]} ({ids[bad[0]]!r})"
                raise StoreError(f"{self.source}: {row} {fault}")
            yield ids, rows


def row_faults(x: Array) -> list[str]:
    """Why an array is not (n, width) numbers; none if it is."""
    faults = []
    if len(x.shape) != 2:
        advice = "; pool it to one vector per id first" if len(x.shape) > 2 else ""
        faults.append(f"an array of shape {x.shape}; expected (n, width){advice}")
    elif 0 in x.shape:
        faults.append(f"an array of shape {x.shape} is empty")
    if x.dtype.kind not in NUMBERS:
        faults.append(f"values of type {x.dtype}; expected numbers")
    return faults


def dense(x: Array) -> NDArray[Any]:
    """The array, no longer sparse."""
    return x if isinstance(x, np.ndarray) else x.toarray()


def read_features(path: Path, ids: Path | None = None) -> Features:
    """Reads vectors of any width and their ids; a StoreError names the file and the first bad row.

    The file is `.npz` with arrays `ids` and `x`, `features` or `embeddings`, or with exactly two
    arrays, one of them ids; a sparse `.npz` as scipy writes it; or `.npy`. For arrays without ids,
    the file `ids` has one id per line; if it is None, X.npy is read with X.ids.txt, X.ids.tsv or
    X_ids.txt beside it.
    """
    if path.suffix not in (".npy", ".npz"):
        raise StoreError(f"{path}: not .npy, .npz or a feature store (.h5)")
    held = read_npy(path) if path.suffix == ".npy" else read_npz(path)
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
            if path.suffix in (".h5", ".hdf5"):
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
    for name, parts in groups.items():
        sources = {part.source.name: sha256_file(part.source) for part in parts}
        if any(TRACK_SEPARATOR in row_id for part in parts for row_id in part.ids):
            rows = iter([_mean_by_item(parts)])
        else:
            rows = (block for part in parts for block in part.blocks())
        write_store(target, name, rows, Provenance(STAGE, STAGE_VERSION, {"sources": sources}))
    return target


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


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """A file for NumPy, which would not close it if it is damaged; a StoreError says so."""
    try:
        with path.open("rb") as file:
            yield file
    except FileNotFoundError:
        raise StoreError(f"{path}: no such file") from None
    except BAD_FILE as error:
        fault = f"cannot be read without unpickling, or is damaged ({error})"
        raise StoreError(f"{path}: {fault}") from None


def read_npy(path: Path) -> NDArray[Any]:
    """An array that stays on disk until it is used; StoreError if not a `.npy` of plain values."""
    with _opened(path) as file:
        if file.read(len(NPY_MAGIC)) != NPY_MAGIC:
            raise StoreError(f"{path}: not an array in NumPy's format")
        return np.asanyarray(np.load(path, mmap_mode="r", allow_pickle=False))


def read_npz(path: Path) -> sparse.csr_array[Any] | dict[str, NDArray[Any]]:
    """The sparse array that an archive holds in parts, otherwise all its arrays.

    The code of Oramas 2018 writes data, indices, indptr and shape; scipy adds the format. Raises a
    StoreError if these contradict each other or have another format than csr, or if the file is
    not an archive of plain values.
    """
    with _opened(path) as file:
        archive = np.load(file, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise StoreError(f"{path}: one array, not an archive; rename it to .npy")
        arrays = {name: archive[name] for name in archive.files}
    if others := [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]:
        raise StoreError(f"{path}: {others[0]!r} in it is no array in NumPy's format")
    if not arrays.keys() >= SPARSE:
        return arrays
    form = arrays["format"].item() if "format" in arrays else b"csr"
    if form not in (b"csr", "csr"):
        raise StoreError(f"{path}: a sparse array in format {form!r}; expected csr")
    try:
        parts = (arrays["data"], arrays["indices"], arrays["indptr"])
        array = sparse.csr_array(parts, shape=tuple(arrays["shape"].tolist()))
        # An index out of range would read memory outside the array.
        array.check_format(full_check=True)
    except (ValueError, TypeError, IndexError) as error:
        raise StoreError(f"{path}: not a sparse array: {error}") from None
    return array


def read_array(path: Path) -> Array:
    """The one array of a file, sparse or dense; a StoreError if it contains something else."""
    held = read_npy(path) if path.suffix == ".npy" else read_npz(path)
    if isinstance(held, dict) and len(held) != 1:
        raise StoreError(f"{path}: expected one array, got {', '.join(held) or 'none'}")
    return next(iter(held.values())) if isinstance(held, dict) else held


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


def _from_store(name: str, path: Path) -> dict[str, Features]:
    groups = group_names(path)
    if not groups:
        raise StoreError(f"{path}: no such file, or a store without groups")
    read = {}
    for group in groups:
        with FeatureStore(path, group) as store:
            store.verify()
            key = name or group if len(groups) == 1 or not name else f"{name}-{group}"
            read[key] = Features(path, store.ids, store.take(store.ids))
    return read
