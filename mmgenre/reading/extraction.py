"""The input stage: media of a manifest -> one feature store per modality; it can be killed.

Rows are read in parts of `PART_ROWS`. A finished part is a store file of its own, committed by
rename, and is not read again. At the end the parts are merged into one file and removed; the merge
checks all of it against checksums and against the requested rows.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mmgenre.config import Settings
from mmgenre.disk.files import as_on_disk, is_machine_fault, set_damaged_aside, unreachable
from mmgenre.disk.locks import claimed
from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import FeatureStore, fingerprint_of, group_names, merge_stores
from mmgenre.errors import MmgenreError, StoreError
from mmgenre.items.manifest import Manifest
from mmgenre.items.media import check_files, check_folders
from mmgenre.items.modalities import MODALITIES, Modality
from mmgenre.kinds import kind_of
from mmgenre.progress import Progress, silent
from mmgenre.reading.engines import files_beside, read_parts
from mmgenre.reading.parts import Part, Row, part_name

STAGE_VERSION = 3
PART_ROWS = 16


def media_digest(work: Iterable[Row]) -> str:
    """Hash over row ids, file names, sizes and modification times, and inline texts."""
    digest = hashlib.sha256()
    for row_id, media in work:
        for source in media:
            if isinstance(source, str):
                mark = f"text\0{source}"
            elif (state := _state(source)) is not None:
                mark = f"{source.name}\0{state.st_size}\0{state.st_mtime_ns}"
            else:
                mark = f"{source.name}\0missing"
            digest.update(f"{row_id}\0{mark}\n".encode())
    return digest.hexdigest()


def _state(file: Path) -> os.stat_result | None:
    """Size and times of a file; None if it is not there, or may not be looked at.

    UnreachableError if the machine is at fault.
    """
    try:
        return as_on_disk(file).stat()
    except ValueError:  # a NUL in its name
        return None
    except OSError as error:
        if is_machine_fault(error) and error.errno not in (errno.EACCES, errno.EPERM):
            raise unreachable(file, error) from None
        return None


def check_sources(manifest: Manifest, modality: Modality, target: Path) -> None:
    """MmgenreError if files are gone that `target`, or parts of it, have rows of.

    Without this check, reading again would replace these rows by refusals.
    """
    rows = [
        (row_id, source)
        for row_id, media in manifest.rows(modality)
        for source in media
        if isinstance(source, Path)
    ]
    gone = {row_id: file for row_id, file in rows if _state(file) is None}
    if not gone:
        return
    held: set[str] = set()
    for path in (target, *parts_folder(target).glob("*.h5")):
        with suppress(StoreError), FeatureStore(path, modality) as store:
            held.update(store.ids)
    if lost := sorted(gone.keys() & held):
        n_read = sum(row_id in held for row_id, _ in rows)
        raise MmgenreError(
            f"{target}: {len(lost):,} of {n_read:,} files that this was read from are gone (first: "
            f"{gone[lost[0]]}): is a drive missing? It stays as it is; mmgenre extract-features "
            "--accept-missing goes on without them"
        )


def inputs_provenance(
    manifest: Manifest, modality: Modality, config: Settings, media: str | None = None
) -> Provenance:
    """What a modality's inputs are made from: the media in their present state, and the settings.

    Of files that the settings name, the content counts and not the path. `media` is the digest of
    the media; None: they are looked at. ManifestError if they lie where they may not.
    """
    if media is None:
        check_folders(manifest, modality)
    kind = kind_of(modality)
    parameters = {
        modality: config.model_dump(exclude=kind.input_paths),
        "media": media or media_digest(manifest.rows(modality)),
        **kind.input_content(config),
    }
    return Provenance("inputs", STAGE_VERSION, parameters)


def extract_inputs(
    manifest: Manifest,
    modality: Modality,
    config: Settings,
    target: Path,
    *,
    workers: int | None = None,
    dask: str | None = None,
    progress: Progress = silent,
) -> Path:
    """Reads one modality of every item that has it into the store file `target`.

    Damaged items are refused and listed in the store; they never end the run. Neither does an item
    whose decoder crashes, unless it is read in this process. After a kill, the next call resumes
    with the parts in a folder beside `target`. If the store is current, nothing is done.

    `workers` is the number of processes: 1: this one only; default: one per core. `dask` is the
    address of a Dask scheduler whose workers read, or "local". Progress counts rows. Raises
    StoreError if another process writes `target`.
    """
    provenance = inputs_provenance(manifest, modality, config)
    folder = parts_folder(target)
    if _is_current(target, modality, provenance) and not folder.exists():
        return target
    with claimed(target):
        if not _is_current(target, modality, provenance):
            parts = parts_of(manifest, modality, config, target, provenance)
            merge = partial(
                merge_stores,
                [part.path for part in parts],
                target,
                modality,
                provenance=provenance,
                ragged=kind_of(modality).is_ragged(config),
                asked_for=set().union(*(part.ids for part in parts)),
            )

            def read() -> None:
                while elsewhere := read_parts(parts, workers=workers, dask=dask, progress=progress):
                    with claimed(elsewhere[0].path):  # refused while another process reads it
                        pass  # no shard, but the rest of a killed run, which has ended

            read()
            if target.exists():
                try:
                    group_names(target)
                except StoreError:
                    set_damaged_aside(target)
            try:
                merge()
            except StoreError:
                if not [part for part in parts if part.discard_if_damaged()]:
                    raise
                read()
                merge()
        shutil.rmtree(folder, ignore_errors=True)  # also after a kill between merge and removal
    return target


def _is_current(target: Path, modality: Modality, provenance: Provenance) -> bool:
    """Whether the store exists, is not damaged, and has this provenance."""
    try:
        return fingerprint_of(target, modality) == provenance.fingerprint
    except StoreError:
        return False


def extract_shard(
    manifest: Manifest,
    modality: Modality,
    config: Settings,
    target: Path,
    shard: Shard,
    *,
    workers: int | None = None,
    progress: Progress = silent,
) -> tuple[int, int]:
    """Reads every n-th part of what `extract_inputs` would read, without merging.

    Shards run in parallel, on one or several machines that see the same files, and may be repeated;
    `extract_inputs` then merges their parts. Shards may be counted differently (1/4 beside 1/8): a
    shard skips a part that another one is reading. Returns the number of finished parts of all
    shards, and the number of all parts. Raises StoreError if another process reads the same shard,
    or runs `extract_inputs`.
    """
    provenance = inputs_provenance(manifest, modality, config)
    parts = parts_of(manifest, modality, config, target, provenance)
    own = parts_folder(target) / f"shard-{shard.number}-of-{shard.of}"
    with claimed(target, shared=True):
        if _is_current(target, modality, provenance):  # inside: it may just have been merged
            return len(parts), len(parts)
        with claimed(own):
            read_parts(parts[shard.number - 1 :: shard.of], workers=workers, progress=progress)
        found = files_beside(parts[0]) if parts else set()
    return sum(part.path.name in found for part in parts), len(parts)


@dataclass(frozen=True)
class Shard:
    """The `number`-th of `of` shares of the work, counted from 1.

    >>> Shard.parse("2/8")
    Shard(number=2, of=8)
    """

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @classmethod
    def parse(cls, text: str) -> Shard:
        """`I/N`. Raises ValueError for another form, or if I is not from 1 to N."""
        number, _, of = text.partition("/")
        if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
            raise ValueError(f"{text!r}: give I/N with I from 1 to N, for instance 1/4")
        return cls(int(number), int(of))


def parts_folder(target: Path) -> Path:
    """The folder with the parts of a store until they are merged."""
    return target.with_name(target.name + ".parts")


def parts_of(
    manifest: Manifest, modality: Modality, config: Settings, target: Path, provenance: Provenance
) -> list[Part]:
    """All rows of a modality in parts of `PART_ROWS`."""
    folder, fingerprint = parts_folder(target).absolute(), provenance.fingerprint
    medium = MODALITIES[modality].medium
    work = [
        (row_id, tuple(as_on_disk(s.absolute()) if isinstance(s, Path) else s for s in media))
        for row_id, media in manifest.rows(modality)
    ]
    check_files(manifest, (s for _, media in work for s in media if isinstance(s, Path)))
    shares = [tuple(work[k : k + PART_ROWS]) for k in range(0, len(work), PART_ROWS)]
    return [
        Part(folder / part_name(n, fingerprint, rows), modality, medium, config, rows, provenance)
        for n, rows in enumerate(shares)
    ]
