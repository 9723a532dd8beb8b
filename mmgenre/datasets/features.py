"""Vectors made elsewhere (CLAP, MERT, Essentia, the authors' own) -> groups of a feature store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmgenre.datasets.arrays import (
    Array,
    float_rows,
    is_matrix,
    open_npy,
    read_npz,
    row_faults,
    sparse_array,
)
from mmgenre.disk.provenance import Provenance, sha256_file
from mmgenre.disk.store import FeatureStore, group_names, write_store
from mmgenre.errors import StoreError
from mmgenre.items.manifest import TRACK_SEPARATOR

STAGE, STAGE_VERSION = "features", 1
IDS = "ids"
VECTORS = ("x", "features", "embeddings")
ID_FILES = ("{}.ids.txt", "{}.ids.tsv", "{}_ids.txt")  # beside {}.npy or {}.npz

Block = tuple[Sequence[str], NDArray[np.float32]]


@dataclass(frozen=True)
class Features:
    """Vectors by id: `x` is (n, width), dense (perhaps still on disk) or sparse."""

    source: Path
    ids: tuple[str, ...]
    x: Array

    def blocks(self) -> Iterator[Block]:
        """(ids, float32 rows), some at a time.

        Raises:
            StoreError: a row holds NaN, infinity, or what float32 cannot hold.
        """
        for start, rows in float_rows(self.x, self.ids, str(self.source)):
            yield self.ids[start : start + len(rows)], rows


def read_features(path: Path, ids: Path | None = None) -> Features:
    """Reads vectors of any width and their ids; nothing is ever unpickled.

    Args:
        path: `.npz` with arrays `ids` and `x`, `features` or `embeddings`, or with exactly two
            arrays, one of them ids; a sparse `.npz` as scipy writes it; or `.npy`.
        ids: file with one id a line, for arrays without ids of their own. Without it X.npy is
            read with X.ids.txt, X.ids.tsv or X_ids.txt beside it.

    Raises:
        StoreError: names the file and the first bad row.
    """
    if path.suffix not in (".npy", ".npz"):
        raise StoreError(f"{path}: not .npy, .npz or a feature store (.h5)")
    x: Array
    if path.suffix == ".npy":
        x, own = open_npy(path), None
    else:
        x, own = _from_npz(path)
    if own is not None and ids is not None:
        raise StoreError(f"{path}: holds ids of its own; leave out {ids}")
    return make_features(path, own if own is not None else _read_id_file(path, ids), x)


def make_features(source: Path, ids: Sequence[str], x: Array) -> Features:
    """Checks that ids and vectors belong together.

    Raises:
        StoreError: lists what is wrong with ids, shape, type and counts.
    """
    faults = row_faults(x)
    if not faults and x.shape[0] != len(ids):
        faults.append(f"{x.shape[0]} rows for {len(ids)} ids")
    first: dict[str, int] = {}
    for row, item_id in enumerate(ids):
        item, mark, track = item_id.partition(TRACK_SEPARATOR)
        if not item or item_id != item_id.strip() or (mark and not track):
            faults.append(f"row {row}: {item_id!r} is no id; it reads ID, or ID#0 for a track")
        elif item_id in first:
            faults.append(f"row {row}: id {item_id!r} stands in row {first[item_id]} already")
        first.setdefault(item_id, row)
    if faults:
        raise StoreError(_listed(str(source), faults))
    return Features(source, tuple(ids), x)


def import_features(
    sources: Mapping[str, Path], target: Path, *, ids: Mapping[str, Path] | None = None
) -> Path:
    """Puts vectors made elsewhere into a feature store, a group a name; other groups stay.

    Rows of tracks (`ID#0`, `ID#1`) become their mean by item. A feature store passes its groups on:
    its only one under the name given, several as `NAME-GROUP`, or as they are called if the name
    is empty.

    Args:
        sources: name of the group -> file that `read_features` or `FeatureStore` reads.
        target: the store; made if it is not there.
        ids: name of the group -> file of ids, where they do not lie beside the vectors.

    Raises:
        StoreError: lists every source that cannot be read.
    """
    ids = ids or {}
    faults = [f"ids are given for {name!r}, which is no source" for name in ids.keys() - sources]
    groups: dict[str, tuple[Features, ...]] = {}
    for name, path in sources.items():
        try:
            if path.suffix in (".h5", ".hdf5"):
                read = {key: (part,) for key, part in _from_store(name, path).items()}
            else:
                read = {name: (read_features(path, ids.get(name)),)}
        except StoreError as error:
            faults.append(str(error))
        else:
            faults += [f"{path}: group {key!r} is given twice" for key in read if key in groups]
            groups |= read
    if not sources:
        faults.append("no sources")
    unfit = [key for key in groups if not key or "." in key or "/" in key]
    faults += [
        f"group {key!r}: is no name for an input: empty, or with '.' or '/'" for key in unfit
    ]
    if faults:
        raise StoreError(_listed(str(target), faults))
    return write_features(groups, target)


def write_features(groups: Mapping[str, Sequence[Features]], target: Path) -> Path:
    """Writes groups, each of several parts with distinct ids, as the mean of each item's rows.

    Raises:
        StoreError: ids repeat, widths differ, or a row is not finite.
    """
    for name, parts in groups.items():
        sources = {part.source.name: sha256_file(part.source) for part in parts}
        provenance = Provenance(STAGE, STAGE_VERSION, {"sources": sources})
        write_store(target, name, _item_blocks(parts), provenance)
    return target


def _item_blocks(parts: Sequence[Features]) -> Iterator[Block]:
    if any(TRACK_SEPARATOR in row_id for part in parts for row_id in part.ids):
        yield _mean_by_item(parts)
    else:
        for part in parts:
            yield from part.blocks()


def _mean_by_item(parts: Sequence[Features]) -> Block:
    """Rows of tracks -> (item ids, the mean over each item's tracks)."""
    row_ids = [row_id for part in parts for row_id in part.ids]
    whole = {row_id for row_id in row_ids if TRACK_SEPARATOR not in row_id}
    both = [i for i in row_ids if i not in whole and _item_of(i) in whole]
    if both:
        raise StoreError(
            f"{parts[0].source}: {len(both)} items have a row of their own and rows of tracks "
            f"(first: {both[0]!r}); keep one kind"
        )
    place = {item: k for k, item in enumerate(dict.fromkeys(map(_item_of, row_ids)))}
    sums = np.zeros((len(place), parts[0].x.shape[1]), np.float64)
    counts = np.zeros(len(place))
    for part in parts:
        for ids, rows in part.blocks():
            at = [place[_item_of(i)] for i in ids]
            np.add.at(sums, at, rows)
            np.add.at(counts, at, 1.0)
    return tuple(place), (sums / counts[:, None]).astype(np.float32)


def _item_of(row_id: str) -> str:
    return row_id.split(TRACK_SEPARATOR)[0]


def _from_npz(path: Path) -> tuple[Array, tuple[str, ...] | None]:
    """The vectors of an archive, and its ids unless it is a sparse array, which has none."""
    arrays = read_npz(path)
    sparse = sparse_array(arrays, str(path))
    if sparse is not None:
        return sparse, None
    named = [arrays[name] for name in VECTORS if name in arrays]
    if IDS in arrays and len(named) == 1:
        names, x = arrays[IDS], named[0]
    elif len(arrays) == 2 and sum(map(is_matrix, arrays.values())) == 1:
        x, names = sorted(arrays.values(), key=lambda array: not is_matrix(array))
    else:
        held = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise StoreError(
            f"{path}: wants ids and one of {', '.join(VECTORS)}, or exactly two arrays, ids and "
            f"vectors; holds {held or 'nothing'}"
        )
    if names.ndim != 1 or names.dtype.kind not in "USiu":
        raise StoreError(f"{path}: ids must be one row of text, got {names.dtype} {names.shape}")
    try:
        texts = names.astype(np.str_) if names.dtype.kind != "S" else np.char.decode(names, "utf-8")
    except UnicodeDecodeError as error:
        raise StoreError(f"{path}: ids are not UTF-8: {error}") from None
    return x, tuple(texts.tolist())


def _read_id_file(path: Path, ids: Path | None) -> list[str]:
    beside = [path.with_name(pattern.format(path.stem)) for pattern in ID_FILES]
    found = [ids] if ids is not None else [file for file in beside if file.is_file()]
    if len(found) != 1 or not found[0].is_file():
        wanted = str(ids) if ids is not None else " or ".join(file.name for file in beside)
        state = "several files of ids" if len(found) > 1 else "no ids"
        raise StoreError(f"{path}: {state}; wants {wanted}, with one id a line")
    try:
        text = found[0].read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise StoreError(f"{found[0]}: not UTF-8: {error}") from None
    return [line.split("\t")[0].strip() for line in text.removesuffix("\n").split("\n")]


def _from_store(name: str, path: Path) -> dict[str, Features]:
    groups = group_names(path)
    if not groups:
        raise StoreError(f"{path}: no such file, or a store without groups")
    read = {}
    for group in groups:
        with FeatureStore(path, group) as store:
            key = name or group if len(groups) == 1 or not name else f"{name}-{group}"
            read[key] = make_features(path, store.ids, store.take(store.ids))
    return read


def _listed(where: str, faults: Sequence[str]) -> str:
    shown = "\n".join(f"  {fault}" for fault in faults[:50])
    more = f"\n  ... and {len(faults) - 50} more" if len(faults) > 50 else ""
    return f"{where}: {len(faults)} fault(s)\n{shown}{more}"
