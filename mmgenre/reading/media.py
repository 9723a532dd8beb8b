"""Which media each row is read from, and whether they are still the same.

A row has a mark: a hash of the names, sizes and times of its files, or of its text, when they are
first seen. It stays as long as their bytes do, wherever they are copied to, and a hash over the
marks of all rows is part of the fingerprint of what is read from them.

A record, a small store beside the inputs, holds for each row of files their identity (path, size,
times, inode), the mark, and the sha256 of the bytes. Where identities are as recorded, nothing is
opened; a file whose identity differs is hashed, and has changed only if its bytes have.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmgenre.disk.files import as_on_disk, set_damaged_aside
from mmgenre.disk.locks import ClaimedError
from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import FeatureStore, group_names, provenance_of, write_store
from mmgenre.errors import StoreError
from mmgenre.items.manifest import Manifest
from mmgenre.items.media import check_files, check_folders
from mmgenre.items.modalities import Modality
from mmgenre.learning.processes import is_main
from mmgenre.progress import Progress, silent
from mmgenre.reading.marks import (
    MARK,
    SHA,
    UNKNOWN,
    Identity,
    Source,
    content_of,
    first_mark,
    short_hash,
    text_mark,
)

RECORD_VERSION = 1
EARLIER = "#"  # before a row's id: what was known of it before its files went away
HASHED_AT_ONCE = 256  # files between two calls of the progress callback
HASHED_TOGETHER = 10_000  # inline texts

Marks = Mapping[str, bytes]  # row id -> mark


@dataclass(frozen=True)
class Media:
    """The media of a modality: a hash over the marks of all rows, and these marks."""

    digest: str
    read: Callable[[], Marks]  # of the rows with files at least
    save: Callable[[], None] = lambda: None  # writes the record, unless `look` has done so

    @cached_property
    def files(self) -> Marks:
        """The marks of all rows with files."""
        return self.read()

    def of(self, manifest: Manifest, modality: Modality) -> Iterator[tuple[str, bytes]]:
        """The rows of some items, and their marks. StoreError if the record has lost one."""
        for row_id, media in manifest.rows(modality):
            mark = self.files.get(row_id) or text_mark(media)
            if mark is None:
                raise StoreError(
                    f"{manifest.where}: the record of its {modality} (*.media.h5, beside inputs) "
                    f"is damaged, or was changed meanwhile: it lacks {row_id!r}. Run this again; "
                    "if that does not help, remove it: files are then compared with what was read"
                )
            yield row_id, mark


class Known(NamedTuple):
    """What a record says of a row."""

    identity: bytes
    mark: bytes
    sha256: bytes


def digest_of(marks: Iterable[tuple[str, bytes]]) -> str:
    """Hash over rows and their marks."""
    digest = hashlib.sha256()
    for row_id, mark in marks:
        digest.update(f"{row_id}\0".encode() + mark)
    return digest.hexdigest()


def record_beside(target: Path) -> Path:
    """Where the record of a store of inputs lies, unless several stores share one."""
    return target.with_name(f"{target.stem}.media.h5")


def look(
    manifest: Manifest,
    modality: Modality,
    record: Path,
    *,
    base: Path = Path("/"),
    store: Path | None = None,
    check_content: bool = False,
    progress: Progress = silent,
) -> Media:
    """The media of a modality as they are now.

    Files are opened only where the record does not know them as they are, or all of them with
    `check_content`. Then a new record is written; the first one is left to `Media.save`. `base`:
    the folder below which paths count, so that it may move. `store`: inputs, whose rows tell what
    bytes they were read from where the record does not. UnreachableError if the machine is at
    fault, ManifestError if media lie where they may not.
    """
    check_folders(manifest, modality)
    identity = Identity(base)
    now = hashlib.sha256()
    for row_id, media in manifest.rows(modality, inline=False):
        now.update(f"{row_id}\0{identity(media)}\n".encode())
    ids, texts = manifest.inline(modality)
    for k in range(0, len(ids), HASHED_TOGETHER):
        for cells in (ids[k : k + HASHED_TOGETHER], texts[k : k + HASHED_TOGETHER]):
            now.update((",".join(map(str, map(len, cells))) + "\n" + "".join(cells)).encode())
    before = None
    with suppress(StoreError):
        before = provenance_of(record, modality)
    if before is not None and before["stage_version"] == RECORD_VERSION and not check_content:
        parameters = before["parameters"]
        if parameters["identities"] == now.hexdigest():
            return Media(parameters["media"], partial(_recorded_marks, record, modality))
    then = _with_contents(_read_record(record, modality), modality, store)
    marks, known = _compare(manifest, modality, then, identity, check_content, progress)
    parameters = {"identities": now.hexdigest(), "rows": rows_digest(manifest, modality)}
    parameters["media"] = digest_of(marks.items())
    save = partial(_write, record, modality, known, parameters)
    if record.is_file() or (store is not None and store.is_file()):
        save()
        return Media(parameters["media"], lambda: marks)
    return Media(parameters["media"], lambda: marks, save)


def recorded(manifest: Manifest, modality: Modality, record: Path) -> Media | None:
    """The media as recorded, without a look at them; None if the record is of other rows."""
    with suppress(StoreError):
        kept = provenance_of(record, modality)
        if kept is not None and kept["stage_version"] == RECORD_VERSION:
            parameters = kept["parameters"]
            if parameters["rows"] == rows_digest(manifest, modality):
                return Media(parameters["media"], partial(_recorded_marks, record, modality))
    return None


def record_contents(record: Path, modality: Modality, store: Path) -> None:
    """Adds to the record what the bytes of files were when the rows of a store were read."""
    before = _read_record(record, modality)
    provenance = provenance_of(record, modality)
    after = _with_contents(before, modality, store) if before else before
    if after != before and provenance is not None:
        _write(record, modality, after, provenance["parameters"])


def rows_digest(manifest: Manifest, modality: Modality) -> str:
    """Hash over the ids of a modality's rows."""
    digest = hashlib.sha256()
    for row_id, _ in manifest.rows(modality):
        digest.update(f"{row_id}\n".encode())
    return digest.hexdigest()


def _compare(
    manifest: Manifest,
    modality: Modality,
    before: Mapping[str, Known],
    identity: Identity,
    check_content: bool,
    progress: Progress,
) -> tuple[dict[str, bytes], dict[str, Known]]:
    """The marks of all rows, and what the record shall say of those with files."""
    marks: dict[str, bytes] = {}
    known: dict[str, Known] = {}
    doubtful: dict[str, Sequence[Source]] = {}
    for row_id, media in manifest.rows(modality):
        own = text_mark(media)
        if own is None:
            now = short_hash(identity(media).encode())
            then = before.get(EARLIER + row_id) or before.get(row_id)
            if then is None:
                known[row_id] = Known(now, first_mark(media), UNKNOWN)
            elif then.identity == now and not check_content:
                known[row_id] = then
            else:
                doubtful[row_id] = media
                known[row_id] = then._replace(identity=now)
            own = known[row_id].mark
        marks[row_id] = own
    opened = (s for media in doubtful.values() for s in media if isinstance(s, Path))
    check_files(manifest, map(as_on_disk, opened))
    hashed = _hashed(list(doubtful.values()), progress)
    for (row_id, sources), sha256 in zip(doubtful.items(), hashed, strict=True):
        then = before.get(EARLIER + row_id) or before[row_id]
        known[row_id] = _compared(sources, then, known[row_id].identity, sha256)
        marks[row_id] = known[row_id].mark
        if sha256 == UNKNOWN:
            known[EARLIER + row_id] = then
    return marks, known


def _compared(media: Sequence[Source], then: Known, now: bytes, sha256: bytes | None) -> Known:
    """What is known of a row whose bytes were hashed."""
    if sha256 is None:  # to be compared when it may be read again
        return then
    if sha256 == then.sha256 != UNKNOWN:
        return Known(now, then.mark, sha256)
    if then.sha256 == UNKNOWN and (mark := first_mark(media)) == then.mark:
        # Nobody knows the bytes that were read, and sizes and times are the same.
        return Known(now, mark, UNKNOWN)
    mark = first_mark(media) if sha256 == UNKNOWN else short_hash(b"bytes\0" + sha256)
    return Known(now, mark, sha256)


def _hashed(work: Sequence[Sequence[Source]], progress: Progress) -> list[bytes | None]:
    found: list[bytes | None] = []
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for start in range(0, len(work), HASHED_AT_ONCE):
            progress("comparing files", start, len(work))
            found += threads.map(content_of, work[start : start + HASHED_AT_ONCE])
    if work:
        progress("comparing files", len(work), len(work))
    return found


def _with_contents(
    kept: dict[str, Known], modality: Modality, store: Path | None
) -> dict[str, Known]:
    """What is known, and instead of unknown bytes those that the rows of a store were read from.

    Without a record, what the store says of its rows; their files were then nowhere seen.
    """
    if store is None or (kept and all(known.sha256 != UNKNOWN for known in kept.values())):
        return kept
    made_from: Mapping[str, bytes] = {}
    with suppress(StoreError), FeatureStore(store, modality) as read:
        made_from = read.made_from()
    if not kept:
        return {i: Known(b"", made[:MARK], made[MARK:]) for i, made in made_from.items()}
    return {
        row_id: known._replace(sha256=made_from[row_id][MARK:])
        if known.sha256 == UNKNOWN and made_from.get(row_id, b"")[:MARK] == known.mark
        else known
        for row_id, known in kept.items()
    }


def _recorded_marks(record: Path, modality: Modality) -> Marks:
    return {row_id: known.mark for row_id, known in _read_record(record, modality).items()}


def _read_record(record: Path, modality: Modality) -> dict[str, Known]:
    """{} if there is no record, or it is damaged: then media count as seen for the first time."""
    with suppress(StoreError), FeatureStore(record, modality) as store:
        if store.provenance["stage_version"] == RECORD_VERSION and len(store):
            rows = store.take(store.ids).view(f"V{store.row_shape[0]}")[:, 0].tolist()
            cuts = MARK, 2 * MARK
            known = (Known(r[: cuts[0]], r[cuts[0] : cuts[1]], r[cuts[1] :]) for r in rows)
            return dict(zip(store.ids, known, strict=True))
    return {}


def _write(
    record: Path, modality: Modality, known: Mapping[str, Known], parameters: Mapping[str, str]
) -> None:
    """Writes the record, unless nothing can be written here, or another process is doing so."""
    folder = next(p for p in (record.parent, *record.parent.parents) if p.is_dir())
    if not is_main() or not os.access(folder, os.W_OK):
        return
    rows = np.frombuffer(b"".join(b"".join(k) for k in known.values()), np.uint8)
    block = list(known), rows.reshape(len(known), 2 * MARK + SHA)
    try:
        group_names(record)
    except StoreError:
        set_damaged_aside(record)
    with suppress(ClaimedError):
        write_store(record, modality, [block], Provenance("media", RECORD_VERSION, parameters))
