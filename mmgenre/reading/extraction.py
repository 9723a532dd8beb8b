"""The input stage: media of a manifest -> one feature store a modality, safe to kill.

Rows are read in parts of `PART_ROWS`; a finished part is a store file of its own, committed by
rename, and is not done again. At the end the parts are merged into one file and removed; the merge
compares all of it with checksums and with the rows that were asked for.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmgenre.config import Settings
from mmgenre.disk.locks import claimed
from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import fingerprint_of, group_names, merge_stores
from mmgenre.errors import StoreError
from mmgenre.items.manifest import Manifest, Modality
from mmgenre.progress import Progress, silent
from mmgenre.reading.parts import Part, Row, is_ragged, part_name
from mmgenre.reading.workers import files_beside, read_parts
from mmgenre.text.decoding import TextInput
from mmgenre.text.entities import PATHS, entity_provenance

STAGE_VERSION = 2
PART_ROWS = 16


def work_list(manifest: Manifest, modality: Modality) -> list[Row]:
    """(row id, its media): audio has a row a track, the others a row an item."""
    work: list[Row] = []
    for item in manifest:
        if modality in item.media:
            media = item.media[modality]
            if modality == "audio":
                work += [(row, (file,)) for row, file in zip(item.tracks, media, strict=True)]
            else:
                work.append((item.id, media))
    return work


def media_digest(work: Sequence[Row]) -> str:
    """Hash over row ids, file names, sizes and times of change, and texts given inline."""
    digest = hashlib.sha256()
    for row_id, media in work:
        for source in media:
            if isinstance(source, Path):
                try:
                    state = source.stat()
                    mark = f"{source.name}\0{state.st_size}\0{state.st_mtime_ns}"
                except OSError:
                    mark = f"{source.name}\0missing"
            else:
                mark = f"text\0{source}"
            digest.update(f"{row_id}\0{mark}\n".encode())
    return digest.hexdigest()


def inputs_provenance(manifest: Manifest, modality: Modality, config: Settings) -> Provenance:
    """What the inputs of a modality are made from: the media as they are now, and the settings."""
    media = media_digest(work_list(manifest, modality))
    if not isinstance(config, TextInput):
        parameters = {modality: config.model_dump(), "media": media}
        return Provenance("inputs", STAGE_VERSION, parameters)
    # What the files hold counts, not where they lie.
    settings = config.model_dump(exclude={"entities": PATHS})
    tables = entity_provenance(config.entities)
    parameters = {modality: settings, "media": media, "entities": tables}
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

    Damaged items are refused, kept in the store's list of refusals, and never end the run, nor
    does one whose decoder crashes, unless it is read in this process. A call that was killed goes
    on where it was; one with nothing to do does nothing.

    Args:
        manifest: the items.
        modality: which of their media.
        config: what is read of them.
        target: the file; its parts are made in a folder beside it, then merged.
        workers: processes; 1: this one, without others; default: one a core.
        dask: address of a Dask scheduler, or "local"; its workers read instead.
        progress: told what moves.

    Raises:
        StoreError: another process writes `target`.
    """
    provenance = inputs_provenance(manifest, modality, config)
    folder = parts_folder(target)
    if _is_current(target, modality, provenance) and not folder.exists():
        return target
    with claimed(target):
        if not _is_current(target, modality, provenance):
            parts = parts_of(manifest, modality, config, target, provenance)
            _read_all(parts, workers, dask, progress)
            _discard_if_damaged(target)
            try:
                _merge(parts, target, modality, config, provenance)
            except StoreError:
                if not [part for part in parts if part.discard_if_damaged()]:
                    raise
                _read_all(parts, workers, dask, progress)
                _merge(parts, target, modality, config, provenance)
        shutil.rmtree(folder, ignore_errors=True)  # also those left by a kill after the merge
    return target


def _read_all(
    parts: Sequence[Part], workers: int | None, dask: str | None, progress: Progress
) -> None:
    """Reads the parts; refused if others do, who are no shards: left by a reader that was killed.

    Raises:
        StoreError: says who.
    """
    while elsewhere := read_parts(parts, workers=workers, dask=dask, progress=progress):
        with claimed(elsewhere[0].path):
            pass  # it is free by now


def _is_current(target: Path, modality: Modality, provenance: Provenance) -> bool:
    """Whether the store is there; a damaged one is not."""
    try:
        return fingerprint_of(target, modality) == provenance.fingerprint
    except StoreError:
        return False


def _discard_if_damaged(target: Path) -> None:
    try:
        group_names(target)
    except StoreError:
        target.unlink()


def _merge(
    parts: Sequence[Part],
    target: Path,
    modality: Modality,
    config: Settings,
    provenance: Provenance,
) -> None:
    merge_stores(
        [part.path for part in parts],
        target,
        modality,
        provenance=provenance,
        ragged=is_ragged(config),
        asked_for={row_id for part in parts for row_id, _ in part.rows},
    )


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
    """Reads every n-th part of what `extract_inputs` would read, and merges nothing.

    Shards run beside each other, on one machine or on many that see the same files, each once or
    again; `extract_inputs` then finds all of them done. They may be counted differently (1/4 beside
    1/8): a part that another one is just reading is left to it. Returns how many parts are there,
    of all shards, and how many there will be.

    Raises:
        StoreError: another process reads the same shard, or the whole.
    """
    provenance = inputs_provenance(manifest, modality, config)
    parts = parts_of(manifest, modality, config, target, provenance)
    own = parts_folder(target) / f"shard-{shard.number}-of-{shard.of}"
    with claimed(target, shared=True):
        if _is_current(target, modality, provenance):  # asked inside: it may just have been merged
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
        """`I/N`.

        Raises:
            ValueError: it is not, or I is not 1 to N.
        """
        number, _, of = text.partition("/")
        if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
            raise ValueError(f"{text!r}: give I/N with I from 1 to N, for instance 1/4")
        return cls(int(number), int(of))


def parts_folder(target: Path) -> Path:
    """Where the parts of a store are until they are merged."""
    return target.with_name(target.name + ".parts")


def parts_of(
    manifest: Manifest,
    modality: Modality,
    config: Settings,
    target: Path,
    provenance: Provenance,
) -> list[Part]:
    """All of the work, `PART_ROWS` rows a part."""
    folder = parts_folder(target).absolute()
    fingerprint = provenance.fingerprint
    work = [
        (row_id, tuple(s.absolute() if isinstance(s, Path) else s for s in media))
        for row_id, media in work_list(manifest, modality)
    ]
    shares = [tuple(work[k : k + PART_ROWS]) for k in range(0, len(work), PART_ROWS)]
    return [
        Part(folder / part_name(number, fingerprint, rows), modality, config, rows, provenance)
        for number, rows in enumerate(shares)
    ]
