"""Rows of an input store -> vectors of their items, in parts, by one job or many.

One process embeds in the same parts as many jobs do, so that the numbers are the same to the last
bit: batches hold the same rows. A part of a job is a file, whole or not there. Its name is a hash
of the encoder's files, the inputs, the precision and its rows: no part of anything else is used.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmgenre.disk.bundle import SUMS
from mmgenre.disk.locks import claimed, made_once
from mmgenre.disk.provenance import Provenance, sha256_file
from mmgenre.disk.store import Block, FeatureStore, parts_folder, write_store
from mmgenre.errors import MmgenreError, Refusal, StoreError
from mmgenre.kinds import kind_of
from mmgenre.learning.rows import Source, item_of, known_rows, mean_by_item
from mmgenre.progress import Progress, silent
from mmgenre.reading.engines import on_dask
from mmgenre.reading.extraction import Shard
from mmgenre.reading.parts import part_name
from mmgenre.workers import WorkerLostError

PART_ITEMS = 512  # what a job that is killed has to do again, at most


@dataclass(frozen=True)
class Work:
    """What is embedded by what; plain data, since it is sent to other processes."""

    view: str  # the group in stores of vectors
    modality: str
    inputs: Path
    encoder: Path
    names: frozenset[str]  # what the user has named of code and files
    precision: str
    dtype: str  # of the vectors
    provenance: Provenance  # of the vectors
    target: Path  # the store that they belong into

    @property
    def folder(self) -> Path:
        """Where the parts lie until they are merged."""
        return parts_folder(self.target.absolute()) / self.view

    def parts(self, without: Set[str] = frozenset()) -> list[Part]:
        """All items of the inputs but those `without`, in the order of their ids."""
        with FeatureStore(self.inputs, self.modality) as store:
            rows = sorted((r for r in store.ids if item_of(r) not in without), key=item_of)
        shares: list[list[str]] = []
        n_items, last = 0, None
        for row in rows:
            if (item := item_of(row)) != last:
                if n_items % PART_ITEMS == 0:
                    shares.append([])
                n_items, last = n_items + 1, item
            shares[-1].append(row)
        # By the same settings another training may give other weights: their hash counts, too.
        made_by = f"{self.provenance.fingerprint} {sha256_file(self.encoder / SUMS)}"
        names = (part_name(n, made_by, [(r, ()) for r in own]) for n, own in enumerate(shares))
        return [
            Part(self.folder / name, tuple(own)) for name, own in zip(names, shares, strict=True)
        ]


@dataclass(frozen=True)
class Part:
    """Rows of some items, and the file that the items' vectors are written to."""

    path: Path  # named by `part_name`
    rows: tuple[str, ...]

    def discard_if_damaged(self, work: Work) -> None:
        """Reads all of the file, if there is one; removes it if it is not what its name says."""
        with suppress(StoreError), FeatureStore(self.path, work.view) as store:
            store.verify()
            found = {*store.ids, *(refusal.id for refusal in store.refused)}
            same = store.fingerprint == work.provenance.fingerprint
            if same and found == {item_of(row) for row in self.rows}:
                return
        self.path.unlink(missing_ok=True)


class Embedder:
    """The encoder of some work, loaded once."""

    def __init__(self, work: Work, store: FeatureStore) -> None:
        # Here, since torch takes seconds to import, which a no-op saves.
        from mmgenre.learning.encoder import load_encoder

        self.work = work
        self._network, _ = load_encoder(
            work.encoder, work.modality, kind_of(work.modality), work.names
        )
        self._source: Source = self._network.source(store)

    def embed(self, rows: Sequence[str], progress: Progress) -> tuple[list[Block], list[Refusal]]:
        """The vectors of the rows' items, sorted by id, and the items of which nothing is known."""
        from mmgenre.learning.devices import embedding_device
        from mmgenre.learning.embedding import embed

        work = self.work
        ids, unknown = known_rows(self._source, rows, work.modality, work.view)
        if not ids:
            return [], unknown
        how: dict[str, Any] = {"precision": work.precision, "device": embedding_device()}
        how["task"] = f"embedding {work.view}"
        vectors = embed(self._network, self._source, ids, **how, progress=progress)
        items, means = mean_by_item(ids, vectors)
        return [(items, rounded(means, work.dtype, work.modality))], unknown


def rounded(rows: NDArray[np.float32], dtype: str, modality: str) -> NDArray[Any]:
    """Vectors as they are stored. MmgenreError: one is too large for float16."""
    with np.errstate(over="ignore"):
        stored = rows.astype(dtype)
    if np.isinf(stored).any() and not np.isinf(rows).any():
        raise MmgenreError(
            f"{modality}.embedding_dtype float16: holds numbers up to 65 504, and a vector has "
            f"{np.abs(rows).max():,.0f}; --set {modality}.embedding_dtype=float32"
        )
    return stored


def make_parts(work: Work, parts: Sequence[Part], progress: Progress = silent) -> bool:
    """Writes the files of parts that have none; False if another process is at one of them."""
    todo = [part for part in parts if not part.path.is_file()]
    if not todo:
        return True
    all_there, total = True, sum(len(part.rows) for part in parts)
    done = total - sum(len(part.rows) for part in todo)
    with FeatureStore(work.inputs, work.modality) as store:
        embedder = Embedder(work, store)
        for part in todo:
            own = _shifted(progress, done, total)

            def write(part: Part = part, own: Progress = own) -> None:
                blocks, refused = embedder.embed(part.rows, own)
                write_store(part.path, work.view, blocks, work.provenance, refused=refused)

            all_there &= made_once(part.path, write)
            done += len(part.rows)
    return all_there


def embed_shard(
    work: Work, without: Set[str], shard: Shard, *, progress: Progress = silent
) -> tuple[int, int]:
    """Embeds every n-th part; returns the number of parts that are there, of all shards, and all.

    StoreError if another process is at the same shard.
    """
    parts = work.parts(without)
    alone = work.folder / f"shard-{shard.number}-of-{shard.of}"
    with claimed(alone):
        make_parts(work, parts[shard.number - 1 :: shard.of], progress)
    return sum(part.path.is_file() for part in parts), len(parts)


def all_blocks(
    work: Work,
    parts: Sequence[Part],
    refused: list[Refusal],
    *,
    dask: str | None = None,
    workers: int = 1,
    progress: Progress = silent,
) -> Iterator[Block]:
    """The vectors of all parts, in their order; of those that have no file, embedded now.

    `refused` is filled as they are read. `dask`: the workers of this cluster embed what has no
    file, or "local": so many workers here.
    """
    for part in parts:
        part.discard_if_damaged(work)
    if dask is not None:
        _by_dask(work, parts, dask, workers, progress)
    total = sum(len(part.rows) for part in parts)
    done, embedder = 0, None
    with FeatureStore(work.inputs, work.modality) as store:
        for part in parts:
            if part.path.is_file():
                with FeatureStore(part.path, work.view) as held:
                    refused += held.refused
                    yield from held.blocks()
            else:
                embedder = embedder or Embedder(work, store)
                blocks, own = embedder.embed(part.rows, _shifted(progress, done, total))
                refused += own
                yield from blocks
            done += len(part.rows)


def _by_dask(
    work: Work, parts: Sequence[Part], address: str, workers: int, progress: Progress
) -> None:
    """Lets a cluster make the parts that have no file; those it fails at stay without one."""
    jobs = [(work, part) for part in parts if not part.path.is_file()]
    n_done, task = len(parts) - len(jobs), f"embedding parts of {work.view}"
    if not jobs:
        return
    with suppress(WorkerLostError):  # what it was at is embedded here
        for _ in on_dask(jobs, address, min(workers, len(jobs)), _one_part):
            n_done += 1
            progress(task, n_done, len(parts))


def _one_part(job: tuple[Work, Part]) -> bool:
    work, part = job
    return make_parts(work, [part])


def remove_parts(work: Work) -> None:
    """Removes the parts of a view, and the folder of all views' if it was the last one."""
    shutil.rmtree(work.folder, ignore_errors=True)
    with suppress(OSError):
        work.folder.parent.rmdir()


def _shifted(progress: Progress, done: int, total: int) -> Progress:
    """Progress of a part as that of all parts."""

    def shifted(task: str, n: int, of: int) -> None:
        del of  # rows of the part
        progress(task, done + n, total)

    return shifted
