"""The nearest of many millions of vectors, nearly always: an index of usearch beside the store.

The index proposes rows, and the store says how near they are: similarities are exact, and only an
item that the index does not propose can be missed.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmgenre.disk.files import swap, temporary_name
from mmgenre.disk.locks import claimed
from mmgenre.disk.provenance import sha256_file
from mmgenre.disk.records import read_record, write_record
from mmgenre.disk.store import FeatureStore
from mmgenre.errors import MmgenreError, StoreError
from mmgenre.fusion.nearest import Match, highest
from mmgenre.fusion.table import lengths
from mmgenre.progress import Progress, silent

RECORD, SUFFIX = "index.json", ".usearch"
AGAIN = "build it again: mmgenre search RUN --build-index"
PROPOSED = 10  # rows that each index proposes for one that is wanted
FEWEST = 100  # that it proposes


def index_folder(store: Path) -> Path:
    """Where the index of a store of vectors lies: beside it."""
    return store.with_name(f"{store.stem}.index")


def write_index(store: Path, names: Sequence[str], *, progress: Progress = silent) -> Path:
    """Writes an index of each of the groups; returns their folder.

    Raises:
        MmgenreError: usearch is not installed.
        StoreError: the store is damaged.
    """
    make, folder, about = _usearch(), index_folder(store), {}
    temporary = temporary_name(folder)
    with claimed(folder):
        try:
            temporary.mkdir()
            for name in names:
                with FeatureStore(store, name) as vectors:
                    index, done = make(ndim=vectors.row_shape[0], metric="cos", dtype="f16"), 0
                    for ids, rows in vectors.blocks():
                        progress(f"index of {name}", done, len(vectors))
                        x = np.asarray(rows, np.float32)
                        here = np.flatnonzero(x.any(axis=1))
                        unit = x[here] / lengths(x[here])[:, None]
                        index.add(here.astype(np.uint64) + done, unit.astype(np.float32))
                        done += len(ids)
                    progress(f"index of {name}", done, len(vectors))
                    file = temporary / f"{name}{SUFFIX}"
                    index.save(str(file))
                    about[name] = {"vectors": vectors.sha256, "sha256": sha256_file(file)}
                    about[name]["fingerprint"] = vectors.fingerprint
            write_record(temporary / RECORD, {"groups": about})
            swap(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return folder


class IndexedViews:
    """The vectors of one modality by one encoder or several, searched by their indexes."""

    def __init__(self, folder: Path, stores: Sequence[FeatureStore]) -> None:
        """StoreError if an index is not of these vectors, or was damaged."""
        self.stores = tuple(stores)
        if not (folder / RECORD).is_file():
            raise StoreError(f"{folder}: no index; build one: mmgenre search RUN --build-index")
        make = _usearch()
        try:
            about = read_record(folder / RECORD)["groups"]
            known = [about.get(store.name, {}) for store in stores]
        except (ValueError, LookupError, AttributeError) as error:
            raise StoreError(f"{folder / RECORD}: damaged ({error}); {AGAIN}") from None
        first, *others = stores
        self._have_same_ids = all(first.has_same_ids(other) for other in others)
        self._indexes = []
        for store, own in zip(stores, known, strict=True):
            if (own.get("fingerprint"), own.get("vectors")) != (store.fingerprint, store.sha256):
                raise StoreError(
                    f"{folder}: is of other vectors than {store.path}: /{store.name} now "
                    f"has; {AGAIN}"
                )
            file = folder / f"{store.name}{SUFFIX}"
            if not file.is_file() or sha256_file(file) != own.get("sha256"):
                raise StoreError(f"{file}: missing or damaged; {AGAIN}")
            self._indexes.append(make.restore(str(file), view=True))

    def nearest(self, query: NDArray[np.floating], top: int) -> list[Match]:
        """As `Views.nearest`, of the items that an index proposes for the query (width,)."""
        if top < 1:
            raise ValueError(f"top {top}: at least 1")
        unit = query.astype(np.float32) / np.float32(np.linalg.norm(query))
        n = max(FEWEST, PROPOSED * top)
        proposed = [
            np.sort(index.search(unit, min(len(index), n)).keys.astype(int)) if len(index) else []
            for index in self._indexes
        ]
        if self._have_same_ids:
            rows = sorted({int(row) for own in proposed for row in own})
            ids, places = self.stores[0].ids_at(rows), [dict(enumerate(rows))] * len(self.stores)
        else:
            by_id = zip(self.stores, proposed, strict=True)
            ids = list(dict.fromkeys(i for s, own in by_id for i in s.ids_at(list(own))))
            places = [
                {k: int(store.rows_of([i])[0]) for k, i in enumerate(ids) if i in store}
                for store in self.stores
            ]
        sums, counts = np.zeros(len(ids)), np.zeros(len(ids), int)
        for store, place in zip(self.stores, places, strict=True):
            x = np.empty((1, len(unit)), store.dtype)
            for k, row in place.items():
                store.read_rows(row, x)
                sums[k] += float(x[0].astype(np.float32) @ unit / lengths(x)[0])
                counts[k] += bool(x.any())
        means = sums / np.maximum(counts, 1)
        return [Match(ids[k], float(means[k])) for k in highest(means, top)]


def _usearch() -> Any:
    try:
        from usearch.index import Index
    except ImportError:
        raise MmgenreError(
            "an index needs usearch: pip install 'mmgenre[search]'; without one the search is exact"
        ) from None
    return Index
