"""The input stage: media of a manifest -> one feature store per modality; it can be killed.

Rows that the store has already, of the same media and settings, are taken over. The others are read
in parts of `PART_ROWS` or more. A finished part is a store file of its own, committed by rename,
and is not read again. At the end the parts are merged into one file and removed, or stay and are
listed by it; either way all of them are checked against checksums and against the requested rows.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mmgenre.config import Settings
from mmgenre.disk.files import as_on_disk, discard, set_damaged_aside, without_steps_up
from mmgenre.disk.locks import claimed
from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import (
    FeatureStore,
    fingerprint_of,
    group_names,
    merge_stores,
    part_names,
    parts_folder,
)
from mmgenre.errors import MmgenreError, StoreError
from mmgenre.items.manifest import Manifest
from mmgenre.items.media import check_files, check_folders
from mmgenre.items.modalities import MODALITIES, Modality
from mmgenre.kinds import kind_of
from mmgenre.progress import Progress, silent
from mmgenre.reading.engines import files_beside, read_parts
from mmgenre.reading.marks import MARK, first_mark, state_of
from mmgenre.reading.media import (
    Marks,
    Media,
    digest_of,
    look,
    record_beside,
    record_contents,
)
from mmgenre.reading.parts import Part, part_name

STAGE_VERSION = 4
PART_ROWS = 16
LARGE_PARTS = 2  # times as many rows if decoding one takes no longer than a part's files,
MANY_ROWS = 512  # or of so many: fewer are shared among all cores
UNFINISHED = "unfinished"  # file among parts that are to stay


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
    gone = {row_id: file for row_id, file in rows if state_of(file) is None}
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
            f"{without_steps_up(gone[lost[0]])}): is a drive missing? It stays as it is; "
            "mmgenre extract-features --accept-missing goes on without them"
        )


def inputs_provenance(
    manifest: Manifest, modality: Modality, config: Settings, media: str | None = None
) -> Provenance:
    """What a modality's inputs are made from: the media, and the settings.

    Of files that the settings name, the content counts and not the path. `media` is the digest of
    the media; None: that of media which are seen for the first time. ManifestError if they lie
    where they may not.
    """
    if media is None:
        check_folders(manifest, modality)
        media = digest_of((i, first_mark(sources)) for i, sources in manifest.rows(modality))
    kind = kind_of(modality)
    parameters = {
        modality: config.model_dump(exclude=kind.input_paths),
        "media": media,
        **kind.input_content(config),
    }
    return Provenance("inputs", STAGE_VERSION, parameters)


def extract_inputs(
    manifest: Manifest,
    modality: Modality,
    config: Settings,
    target: Path,
    *,
    media: Media | None = None,
    record: Path | None = None,
    workers: int | None = None,
    dask: str | None = None,
    limit_s: float | None = None,
    merge: bool = True,
    progress: Progress = silent,
) -> Path:
    """Reads one modality of every item that has it into the store file `target`.

    Rows that it has of the same media and settings are taken over. Damaged items are refused and
    listed in the store; they never end the run. Neither does an item whose decoder crashes, unless
    it is read in this process. After a kill, the next call resumes with the parts in a folder
    beside `target`. If the store is current, nothing is done.

    `media` are those that the caller has looked at, and `record` is where that was recorded; None:
    this function looks, and records it beside `target`.
    `workers` is the number of processes: 1: this one only; default: one per core. `dask` is the
    address of a Dask scheduler whose workers read, or "local". `limit_s` is how long a row may be
    read before it is refused; default: 300 s, and a second more for each MB. It holds in processes
    of this machine: with `dask` or one worker a reader that never ends is waited for. If not
    `merge`, the parts stay where they are and `target` lists them, which takes half the disk.
    Progress counts rows. Raises StoreError if another process writes `target`, or if parts are to
    stay beside rows that were merged.
    """
    record = record or record_beside(target)
    media = media or look(manifest, modality, record, store=target, progress=progress)
    provenance = inputs_provenance(manifest, modality, config, media.digest)
    if _is_current(target, modality, provenance) and is_finished(target, modality):
        return target
    with claimed(target):
        if not _is_current(target, modality, provenance):
            if target.exists():
                try:
                    group_names(target)
                except StoreError:
                    set_damaged_aside(target)
            media.save()
            marks = dict(media.of(manifest, modality))
            made = manifest, modality, config, target, provenance, marks, limit_s
            held = part_names(target, modality)
            how = partial(read_parts, held=held, workers=workers, dask=dask, progress=progress)
            taken = _reusable(target, modality, provenance, marks)
            if taken and not merge and not held:
                raise StoreError(
                    f"{target}: is merged, and {len(taken):,} rows of it are kept, which only a "
                    "merge can do: leave --no-merge out; or move it away, and all are read again"
                )
            try:
                _read_and_merge(*made, taken=taken, read=how, merge=merge)
            except StoreError:
                if not taken or not _set_aside_if_damaged(target, modality):
                    raise
                _read_and_merge(*made, taken=frozenset(), read=how, merge=merge)
        record_contents(record, modality, target)  # also after a kill between merge and record
        _tidy_parts(target, modality)
    return target


def is_finished(target: Path, modality: Modality) -> bool:
    """Whether beside a store lies nothing but parts that it lists: else its writer was killed."""
    folder = parts_folder(target)
    if not folder.is_dir():
        return True
    return {path.name for path in folder.iterdir()} <= part_names(target, modality)


def _tidy_parts(target: Path, modality: Modality) -> None:
    """Removes what lies beside a finished store and is not listed by it."""
    folder, listed = parts_folder(target), part_names(target, modality)
    for path in folder.iterdir() if listed and folder.is_dir() else ():
        if path.name not in listed:
            discard(path)
    if not listed:
        shutil.rmtree(folder, ignore_errors=True)


def _read_and_merge(
    manifest: Manifest,
    modality: Modality,
    config: Settings,
    target: Path,
    provenance: Provenance,
    marks: Marks,
    limit_s: float | None,
    *,
    taken: Set[str],
    read: Callable[[list[Part]], list[Part]],
    merge: bool,
) -> None:
    """Reads all rows but those taken over from `target`, and puts both together."""
    parts = parts_of(manifest, modality, config, target, provenance, marks, taken, limit_s)
    put_together = partial(
        merge_stores,
        [part.path for part in parts],
        target,
        modality,
        provenance=provenance,
        ragged=kind_of(modality).is_ragged(config),
        asked_for=set().union(*(part.ids for part in parts)),
        taken=taken,
        order=list(marks),
        apart=not merge,
    )

    def finish() -> None:
        while elsewhere := read(parts):
            with claimed(elsewhere[0].path):  # refused while another process reads it
                pass  # no shard, but the rest of a killed run, which has ended
        if not merge:  # what `is_finished` sees until the last step
            (parts_folder(target) / UNFINISHED).touch()
        put_together()

    try:
        finish()
    except StoreError:
        if not [part for part in parts if part.discard_if_damaged()]:
            raise
        finish()


def _reusable(target: Path, modality: Modality, provenance: Provenance, marks: Marks) -> Set[str]:
    """The rows, and refusals, that the store has of these media, read with these settings."""

    def of(made: Mapping[str, Any]) -> list[Any]:
        parameters = {key: v for key, v in made["parameters"].items() if key != "media"}
        return [made["stage"], made["stage_version"], parameters]

    with suppress(StoreError), FeatureStore(target, modality) as store:
        if of(store.provenance) == of(provenance.as_dict()):
            made_from = store.made_from().items()
            return {row_id for row_id, made in made_from if marks.get(row_id) == made[:MARK]}
    return frozenset()


def _set_aside_if_damaged(target: Path, modality: Modality) -> bool:
    """Reads all of a store, and renames it if it is not what was written."""
    try:
        with FeatureStore(target, modality) as store:
            store.verify()
    except StoreError:
        set_damaged_aside(target)
        return True
    return False


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
    media: Media | None = None,
    workers: int | None = None,
    limit_s: float | None = None,
    progress: Progress = silent,
) -> tuple[int, int]:
    """Reads every n-th part of what `extract_inputs` would read, without merging.

    Shards run in parallel, on one or several machines that see the same files, and may be repeated;
    `extract_inputs` then merges their parts. Shards may be counted differently (1/4 beside 1/8): a
    shard skips a part that another one is reading. `media` and `limit_s` as in `extract_inputs`.
    Returns the number of finished parts of all shards, and the number of all parts. Raises
    StoreError if another process reads the same shard, or runs `extract_inputs`.
    """
    if media is None:
        media = look(manifest, modality, record_beside(target), store=target, progress=progress)
    provenance = inputs_provenance(manifest, modality, config, media.digest)
    marks = dict(media.of(manifest, modality))
    taken = _reusable(target, modality, provenance, marks)
    parts = parts_of(manifest, modality, config, target, provenance, marks, taken, limit_s)
    own = parts_folder(target) / f"shard-{shard.number}-of-{shard.of}"
    media.save()
    with claimed(target, shared=True):
        if _is_current(target, modality, provenance):  # inside: it may just have been merged
            return len(parts), len(parts)
        with claimed(own):
            how: dict[str, Any] = {"workers": workers, "progress": progress}
            how["held"] = part_names(target, modality)
            read_parts(parts[shard.number - 1 :: shard.of], **how)
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


def parts_of(
    manifest: Manifest,
    modality: Modality,
    config: Settings,
    target: Path,
    provenance: Provenance,
    marks: Marks | None = None,
    without: Set[str] = frozenset(),
    limit_s: float | None = None,
) -> list[Part]:
    """The rows of a modality, but those `without`, in parts of `PART_ROWS` or of twice as many."""
    folder, fingerprint = parts_folder(target).absolute(), provenance.fingerprint
    medium = MODALITIES[modality].medium
    work = [
        (row_id, tuple(as_on_disk(s.absolute()) if isinstance(s, Path) else s for s in media))
        for row_id, media in manifest.rows(modality)
        if row_id not in without
    ]
    check_files(manifest, (s for _, media in work for s in media if isinstance(s, Path)))
    is_quick = kind_of(modality).decode(config) is not None
    n_rows = PART_ROWS * (LARGE_PARTS if is_quick or len(work) >= MANY_ROWS else 1)
    shares = [tuple(work[k : k + n_rows]) for k in range(0, len(work), n_rows)]
    return [
        Part(
            folder / part_name(n, fingerprint, rows),
            modality,
            medium,
            config,
            rows,
            provenance,
            {row_id: marks[row_id] for row_id, _ in rows} if marks else {},
            limit_s,
        )
        for n, rows in enumerate(shares)
    ]
