"""A part of the input stage's work: some rows, read into a store file of their own.

A part whose file exists is not read again: the file's name contains a hash of settings, media and
rows, so that no file must be opened to know. While a part is being read, a file beside it holds the
id of the current row, so that after a crash it is known which row caused it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from errno import EIO, EMFILE, ENFILE, ENOMEM, ESTALE, ETIMEDOUT
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from numpy.typing import NDArray

from mmgenre.config import Settings
from mmgenre.disk.files import append_line, open_marker, without_steps_up
from mmgenre.disk.locks import made_once
from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import FeatureStore, Prints, write_store
from mmgenre.errors import InputCode, InputError, MmgenreError, Refusal, StoreError
from mmgenre.items.modalities import Modality
from mmgenre.kinds import KINDS
from mmgenre.learning.kind import resolve
from mmgenre.reading.marks import UNKNOWN, content_of, content_of_bytes, read_whole
from mmgenre.workers import WorkerLostError, limit_s_of

DECODED_AT_ONCE = 1 << 26  # bytes; larger files are hashed before they are opened to be decoded
EMBEDDED_AT_ONCE = 1 << 26  # bytes of rows that wait for a model
TOGETHER = "(together)"  # stands for the row while a model embeds several
# Errors that may not occur at the next attempt: a refusal would be permanent.
MACHINE_FAULTS = {EIO, ESTALE, EMFILE, ENFILE, ENOMEM, ETIMEDOUT}

T = TypeVar("T")
Media = tuple[Path | str, ...]
Row = tuple[str, Media]  # its id, and what it is read from


@dataclass(frozen=True)
class Part:
    """Some rows, and the store file that they are read into; all paths are absolute."""

    path: Path  # named by `part_name`
    modality: Modality  # the group in the store
    medium: str  # names the kind, since parts are sent to other processes by pickle
    config: Settings
    rows: tuple[Row, ...]
    provenance: Provenance
    marks: Mapping[str, bytes] = field(default_factory=dict)  # of the media of each row
    limit_s: float | None = None  # how long a row may be read; None: `workers.limit_s_of`

    @property
    def ids(self) -> set[str]:
        return {row_id for row_id, _ in self.rows}

    @property
    def being_read(self) -> Path:
        """A file with the id of the row that is being read; it stays after a crash."""
        return self.path.with_suffix(".reading")

    @property
    def crashes(self) -> Path:
        """A file with the rows that ended their reader, one JSON list [id, code, why] per line.

        Its name is of these settings and media, as the part's: with others, a row is tried again.
        """
        return self.path.with_suffix(".crashes")

    def discard_if_damaged(self) -> bool:
        """Reads all of the file; removes it, and returns True, if it is not what its name says."""
        with suppress(StoreError), FeatureStore(self.path, self.modality) as store:
            store.verify()
            found = {*store.ids, *(refusal.id for refusal in store.refused)}
            if store.fingerprint == self.provenance.fingerprint and found == self.ids:
                return False
        self.path.unlink(missing_ok=True)
        return True

    def limit_s_of(self, media: Media) -> float:
        """How long a row of these media may be read."""
        if self.limit_s is not None:
            return self.limit_s
        return limit_s_of(source for source in media if isinstance(source, Path))

    def blame(self, lost: WorkerLostError) -> bool:
        """Records that the row being read ended its reader; False if no row was being read."""
        if not self.being_read.is_file():
            return False
        row_id = self.being_read.read_text(encoding="utf-8")
        error = lost.of_item(row_id, self.limit_s_of(dict(self.rows).get(row_id, ())))
        append_line(self.crashes, json.dumps([row_id, error.code, error.detail]))
        self.being_read.unlink()
        return row_id == TOGETHER or row_id in self.ids  # a full disk may cut the id short

    def crashed(self) -> dict[str, tuple[InputCode, str]]:
        """Rows that ended their reader: code and reason of their refusal."""
        found: dict[str, tuple[InputCode, str]] = {}
        if self.crashes.is_file():
            for line in self.crashes.read_text(encoding="utf-8").splitlines():
                with suppress(ValueError):  # cut short: the row will end its reader again
                    row_id, *code, why = json.loads(line)  # earlier versions wrote no code
                    found[row_id] = ("too_slow" if code == ["too_slow"] else "crashed"), why
        return found


def part_name(number: int, fingerprint: str, rows: Sequence[Row]) -> str:
    """The file name of the n-th part: its number, and a hash over fingerprint and row ids.

    >>> part_name(3, "8d96c4f1a2b3e5d7", [("a#0", ("a.mp3",)), ("b#0", ("b.mp3",))])
    '000003-6c1c8fc4fce0db5a.h5'
    """
    identity = json.dumps([fingerprint, [row_id for row_id, _ in rows]])
    return f"{number:06d}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}.h5"


def read_part(part: Part, end_after: Callable[[float], object] = lambda _: None) -> bool:
    """Reads a part's rows and writes its store file, unless the file exists.

    `end_after` is told before each row in how many seconds this process is to be ended, and in the
    end 0. Returns False if another process is reading the part. Raises StoreError if it cannot be
    written, MmgenreError if the machine and no file is at fault: too little memory, a disk that
    fails.
    """
    return made_once(part.path, partial(_read, part, end_after))


def _read(part: Part, end_after: Callable[[float], object]) -> None:
    crashed = part.crashed()
    made, refused = _Rows(part, TOGETHER not in crashed), list[Refusal]()
    made_from: dict[str, bytes] = {}
    try:
        # Kept open: opening it for each row would take as long as some transforms.
        with open_marker(part.being_read, "w") as note:

            def about_to_read(row_id: str, seconds: float) -> None:
                note.seek(0)
                note.write(row_id)
                note.truncate()
                end_after(seconds)

            for row_id, media in part.rows:
                where = _where(row_id, media)
                try:
                    made_from[row_id] = part.marks.get(row_id, b"") + UNKNOWN
                    if row_id in crashed:
                        code, why = crashed[row_id]
                        raise InputError(code, where, why)
                    about_to_read(row_id, part.limit_s_of(media))
                    # Before they are decoded: of files that change meanwhile, the old bytes count.
                    content, read = _opened(part, row_id, media)
                    made_from[row_id] = part.marks.get(row_id, b"") + content
                    made.add(row_id, _read_row(read, where))
                except InputError as error:
                    refused.append(_refusal(row_id, part.modality, media, error))
                if made.n_bytes > EMBEDDED_AT_ONCE or row_id == part.rows[-1][0]:
                    refused += made.embed(about_to_read)
    finally:
        end_after(0)
        part.being_read.unlink(missing_ok=True)
    kind, prints = KINDS[part.medium], None
    if (module := kind.twins(part.config)) is not None:
        own = resolve(f"{module}:prints_of")(made.rows)
        prints = Prints(resolve(f"{module}:PRINTS"), dict(zip(made.ids, own, strict=True)))
    how: dict[str, Any] = {"ragged": kind.is_ragged(part.config), "prints": prints}
    how |= {"refused": refused, "made_from": made_from if part.marks else {}}
    write_store(part.path, part.modality, [(made.ids, made.rows)], part.provenance, **how)


class _Rows:
    """The rows of a part that are read; those that a model embeds wait to do so together."""

    def __init__(self, part: Part, together: bool) -> None:
        self.part, self.media, self.together = part, dict(part.rows), together
        name = KINDS[part.medium].embed(part.config)
        self._model = None if name is None else resolve(name)
        self.ids: list[str] = []
        self.rows: list[NDArray[Any]] = []
        self._waiting: dict[str, NDArray[Any]] = {}
        self.n_bytes = 0  # of those that wait

    def add(self, row_id: str, row: NDArray[Any]) -> None:
        if self._model is None:
            self.ids.append(row_id)
            self.rows.append(row)
        else:
            self._waiting[row_id] = row
            self.n_bytes += row.nbytes

    def embed(self, about_to_read: Callable[[str, float], object]) -> list[Refusal]:
        """Embeds those that wait; if that fails, one by one, of which those that fail are refused.

        `about_to_read` is told before, as if a row was read.
        """
        waiting, self._waiting, self.n_bytes = self._waiting, {}, 0
        if self._model is None or not waiting:
            return []
        limits = {i: self.part.limit_s_of(self.media[i]) for i in waiting}
        if self.together:
            about_to_read(TOGETHER, sum(limits.values()))
            with suppress(Exception):  # of one of the rows, or of the machine: seen below
                self.rows += self._model(list(waiting.values()), self.part.config)
                self.ids += waiting
                return []
        refused = []
        for row_id, row in waiting.items():
            about_to_read(row_id, limits[row_id])
            where = _where(row_id, self.media[row_id])
            try:
                self.rows += _read_row(partial(self._model, [row], self.part.config), where)
                self.ids.append(row_id)
            except InputError as error:
                refused.append(_refusal(row_id, self.part.modality, self.media[row_id], error))
        return refused


def _refusal(row_id: str, modality: Modality, media: Media, error: InputError) -> Refusal:
    told = str(error)
    for file in media:
        if isinstance(file, Path):
            told = told.replace(str(file), str(without_steps_up(file)))
    return Refusal(row_id, modality, error.code, told)


def _where(row_id: str, media: Media) -> str:
    """What messages call a row: its first file."""
    files = [str(source) for source in media if isinstance(source, Path)]
    return files[0] if files else f"inline text of {row_id}"


def _opened(part: Part, row_id: str, media: Media) -> tuple[bytes, Callable[[], NDArray[Any]]]:
    """sha256 of a row's media, and what reads the row; their bytes are read once if possible."""
    kind, config = KINDS[part.medium], part.config
    decode = kind.decode(config)
    if decode is not None and len(media) == 1 and isinstance(file := media[0], Path):
        content = read_whole(file, DECODED_AT_ONCE)
        if content is not None:
            return content_of_bytes(content), partial(decode, file, content, config)
    return content_of(media) or UNKNOWN, partial(kind.read, media, config, row_id)


def _read_row(read: Callable[[], T], where: str) -> T:
    try:
        return read()
    except InputError:
        raise
    except MemoryError as error:
        raise MmgenreError(
            f"{where}: too little memory to read it ({error}); use fewer --workers and run this "
            "again: parts that are read are kept"
        ) from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno in MACHINE_FAULTS:
            raise MmgenreError(
                f"{where}: {error}: a fault of this machine or its disk and not of the file; "
                "repair it and run this again: parts that are read are kept"
            ) from None
        # Damage that a library did not expect must not end the run.
        raise InputError("unexpected", where, f"{type(error).__name__}: {error}") from None
