"""Items of a manifest -> predictions, by one job or many: in parts, each of which is a file.

A part is whole or not there, and one that is there is not done again: its name is a hash of the
model, of what is asked, and of its items' ids and media, so that no part of anything else is taken
for it. The parts of a file OUT lie in the folder OUT.parts until they are merged. Memory holds one
part, whatever the number of items.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import loky

from mmgenre.disk.bundle import SUMS
from mmgenre.disk.locks import claimed, made_once
from mmgenre.disk.provenance import Provenance, sha256_files
from mmgenre.disk.store import FeatureStore, parts_folder
from mmgenre.errors import INTERRUPTS, MmgenreError, Refusal
from mmgenre.fusion.built_in import is_name
from mmgenre.fusion.embedded import Vectors, given_rows
from mmgenre.fusion.part_files import read_part, refused_in, write_part
from mmgenre.fusion.prediction import Prediction
from mmgenre.fusion.ranking import Asked
from mmgenre.fusion.tagger import GenreTagger
from mmgenre.items.manifest import Manifest
from mmgenre.progress import Progress, silent
from mmgenre.reading.engines import on_dask
from mmgenre.reading.extraction import Shard
from mmgenre.reading.marks import first_mark
from mmgenre.workers import WorkerLostError

PART_ITEMS = 256  # what a job that is killed has to do again, at most
SUFFIX = ".jsonl"
VERSION = 1  # rises when the code changes what parts hold


@dataclass(frozen=True)
class Work:
    """Predictions of items, in parts of `PART_ITEMS` in the order of their ids."""

    tagger: GenreTagger
    items: Manifest
    given: Mapping[str, FeatureStore]  # vectors made elsewhere, by input
    asked: Asked
    target: Path
    fingerprint: str  # of all that the parts are made from, but their items

    @cached_property
    def ids(self) -> tuple[str, ...]:
        return self.items.ids()

    @property
    def folder(self) -> Path:
        return parts_folder(self.target)

    @property
    def n_parts(self) -> int:
        return -(-len(self.ids) // PART_ITEMS)

    @property
    def n_done(self) -> int:
        """How many parts are there, by their names alone."""
        return len({path.name[:6] for path in self.folder.glob(f"*-{self.fingerprint}-*{SUFFIX}")})

    def part(self, number: int) -> Part:
        """The n-th part, counted from 0; looks at the media of its items."""
        start = number * PART_ITEMS
        ids = self.ids[start : start + PART_ITEMS]
        digest, given = hashlib.sha256(), given_rows(ids, self.given)
        for item_id in ids:
            media = self.items[item_id].media
            own = {m: first_mark(media[m]).hex() for m in self.tagger.modalities if m in media}
            digest.update(json.dumps([item_id, own]).encode())
            for name, vectors in given.items():
                if item_id in vectors:
                    digest.update(name.encode() + vectors[item_id].tobytes())
        name = f"{number:06d}-{self.fingerprint}-{digest.hexdigest()[:16]}{SUFFIX}"
        return Part(self.folder / name, start, ids)

    def make(self, part: Part, workers: int | None, progress: Progress = silent) -> bool:
        """Predicts the items of a part that is not there; False if another process is at it."""

        def write() -> None:
            own = self._inputs(part)
            how: dict[str, Any] = {"workers": workers, "progress": progress}
            write_part(part.path, *self.tagger.predict_items(*own, self.asked, **how))

        return made_once(part.path, write)

    def job(self, part: Part, loading: Loading) -> Job:
        """A part as another process makes it."""
        return Job(loading, model_digest(self.tagger), *self._inputs(part), self.asked, part)

    def _inputs(self, part: Part) -> tuple[Manifest, dict[str, Vectors]]:
        """The items of a part, and the vectors made elsewhere that they have."""
        items = self.items.only_rows(part.start, part.start + len(part.ids))
        return items, given_rows(part.ids, self.given)


@dataclass(frozen=True)
class Loading:
    """How another process loads the model: arguments of `GenreTagger.from_pretrained`."""

    run: str  # or a model folder
    fusion: str | None = None
    entities_url: str | None = None
    allow: tuple[str, ...] = ()

    def for_others(self) -> Loading:
        """The same, for processes that work in another folder."""
        return self if is_name(self.run) else replace(self, run=str(Path(self.run).absolute()))

    def load(self) -> GenreTagger:
        how: dict[str, Any] = {"entities_url": self.entities_url, "allow": self.allow}
        return GenreTagger.from_pretrained(self.run, self.fusion, **how)


class Job(NamedTuple):
    """A part with all that is needed to make it; plain data, since it is sent."""

    loading: Loading
    model: str  # `model_digest`
    items: Manifest
    given: Mapping[str, Vectors]
    asked: Asked
    part: Part

    def make(self) -> bool:
        """Predicts the items; False if another process is at it, or the model is another one."""
        tagger = _loaded(self.loading, self.model)
        if model_digest(tagger) != self.model:
            return False

        def write() -> None:
            # By this process alone: the workers of a cluster may start no others.
            write_part(
                self.part.path, *tagger.predict_items(self.items, self.given, self.asked, workers=1)
            )

        return made_once(self.part.path, write)


@lru_cache(maxsize=1)
def _loaded(loading: Loading, model: str) -> GenreTagger:
    del model  # part of the cache's key: another one may have taken its place
    return loading.load()


def model_digest(tagger: GenreTagger) -> str:
    """A hash of the model that a tagger was loaded from: its lists of files have their hashes.

    MmgenreError if it was not loaded from a folder.
    """
    if tagger.folder is None:
        raise MmgenreError(f"{tagger.name}: was not loaded from a folder")
    return sha256_files(tagger.folder, sorted(tagger.folder.rglob(SUMS)))


@dataclass(frozen=True)
class Part:
    """Some items, and the file that their predictions are written to."""

    path: Path
    start: int  # the place of the first one among all items
    ids: tuple[str, ...]


@dataclass(frozen=True)
class ShardPredicted:
    """What is there after a shard: parts of all shards, and the refused media of its own."""

    target: Path
    shard: Shard
    done: int
    of: int
    refused: tuple[Refusal, ...]

    @property
    def is_all_there(self) -> bool:
        """Whether no shard has anything left to predict."""
        return self.done == self.of

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        parts = {"done": self.done, "of": self.of}
        listed = [asdict(refusal) for refusal in self.refused]
        return {
            "out": str(self.target),
            "shard": str(self.shard),
            "parts": parts,
            "refused": listed,
        }


@contextmanager
def work_of(
    tagger: GenreTagger,
    manifest: Manifest | None,
    target: Path,
    *,
    features: Mapping[str, Path] | None = None,
    asked: Asked | None = None,
) -> Iterator[Work]:
    """Plans the parts of the file `target`; arguments as of `GenreTagger.predict_manifest`.

    The files of `features` are read once, and of their vectors each part reads its own, until the
    end of the block.

    MmgenreError if the tagger was not loaded from a folder, by whose content parts are named.
    """
    asked = asked or Asked()
    parameters = {"asked": asdict(asked), "by": version("mmgenre")}
    provenance = Provenance("predictions", VERSION, parameters, {"model": model_digest(tagger)})
    with tagger.asked_for(manifest, features or {}) as (items, given):
        yield Work(tagger, items, given, asked, target.absolute(), provenance.fingerprint)


def predict_shard(
    work: Work, shard: Shard, *, workers: int | None = None, progress: Progress = silent
) -> ShardPredicted:
    """Predicts every n-th part; `predicted` then finds them done.

    Shards run in parallel, on one or several machines that see the same files, and may be repeated
    or counted differently: a shard skips a part that another one is at.

    StoreError if another process is at the same shard, or merges.
    """
    own = [work.part(k) for k in range(shard.number - 1, work.n_parts, shard.of)]
    refused: list[Refusal] = []
    alone = work.folder / f"shard-{shard.number}-of-{shard.of}"
    with claimed(work.target, shared=True), claimed(alone):
        _make_all(work, own, workers, progress)
        for part in own:
            with suppress(FileNotFoundError):  # another process is at it, and lists them
                refused += refused_in(part.path)
        return ShardPredicted(work.target, shard, work.n_done, work.n_parts, tuple(refused))


@contextmanager
def predicted(
    work: Work,
    *,
    workers: int | None = None,
    dask: str | None = None,
    loading: Loading | None = None,
    progress: Progress = silent,
) -> Iterator[tuple[Iterator[Prediction], list[Refusal]]]:
    """All predictions, one after another, and all refusals; those that are missing are made.

    The parts are removed when the caller is done with them, unless it fails. `dask`: the workers of
    this cluster predict, or "local": so many `workers` here; they load the model by `loading`.

    StoreError if shards are at work.
    """
    with claimed(work.target):
        parts = [work.part(k) for k in range(work.n_parts)]
        for part in parts:
            _discard_if_damaged(part)
        if dask is not None and loading is not None:
            _by_dask(work, parts, loading, dask, workers, progress)
        _make_all(work, parts, workers, progress)
        refused = [refusal for part in parts for refusal in refused_in(part.path)]
        yield (found for part in parts for found in read_part(part.path)), refused
        shutil.rmtree(work.folder, ignore_errors=True)


def _make_all(work: Work, parts: list[Part], workers: int | None, progress: Progress) -> None:
    """Makes the parts that are not there, except those that other processes are at."""
    total, done = sum(len(part.ids) for part in parts), 0
    for part in parts:
        # Of a single part the bars of its steps say more.
        alone = len(parts) == 1
        if not alone:
            progress("predicting", done, total)
        try:
            work.make(part, workers, progress if alone else silent)
        except INTERRUPTS as stop:
            stop.add_note(f"predicting: {done:,} of {total:,} items are kept in {work.folder}")
            raise
        done += len(part.ids)
    if len(parts) > 1:
        progress("predicting", total, total)


def _by_dask(
    work: Work,
    parts: list[Part],
    loading: Loading,
    address: str,
    workers: int | None,
    progress: Progress,
) -> None:
    """Lets a cluster make the parts that are not there; those it fails at stay so."""
    todo = [part for part in parts if not part.path.is_file()]
    if not todo:
        return
    done, total = len(work.ids) - sum(len(part.ids) for part in todo), len(work.ids)
    jobs = (work.job(part, loading.for_others()) for part in todo)
    workers = min(workers or loky.cpu_count(), len(todo))
    with suppress(WorkerLostError):  # what it was at is predicted here
        for job in on_dask(jobs, address, workers, Job.make):
            done += len(job.part.ids)
            progress("predicting", done, total)


def _discard_if_damaged(part: Part) -> None:
    try:
        refused_in(part.path)
    except FileNotFoundError:
        pass
    except ValueError:
        part.path.unlink()
