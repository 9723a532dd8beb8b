"""A part of the input stage's work: some rows, read into a store file of their own.

A part that is there is not read again: its name says of which settings, media and rows it is, so
that nothing need be opened to know. While one is being read, a file beside it names the row, so
that whoever goes on after a crash knows what the reader died of.
"""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmgenre.audio.decoding import AudioInput
from mmgenre.config import Settings
from mmgenre.disk.files import append_line
from mmgenre.disk.locks import ClaimedError, claimed
from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import FeatureStore, write_store
from mmgenre.errors import InputError, MmgenreError, Refusal, StoreError
from mmgenre.image.decoding import ImageInput, load_image
from mmgenre.items.manifest import Modality
from mmgenre.text.decoding import TextInput, load_text

# What another try may not meet: a refusal for these would stay.
FAULTS_OF_THE_MACHINE = frozenset(
    {errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ETIMEDOUT}
)

Media = tuple[Path | str, ...]
Row = tuple[str, Media]  # its id, and what it is read from


def read_audio(media: Media, config: AudioInput) -> NDArray[np.float16] | NDArray[np.float32]:
    """One track -> log CQT in dB, (frames, 96), or its timbre, (48,)."""
    if config.features == "cqt":
        from mmgenre.audio.cqt import load_log_cqt  # numba takes its time to import

        return load_log_cqt(Path(media[0]), config).astype(np.float16)
    from mmgenre.audio.timbre import load_timbre

    return load_timbre(Path(media[0]), config)


def read_text(media: Media, config: TextInput, row_id: str | None = None) -> NDArray[np.uint8]:
    """An item's texts -> UTF-8 bytes, (n_bytes,)."""
    return np.frombuffer(load_text(media, config, row_id).encode(), np.uint8)


def read_image(media: Media, config: ImageInput) -> NDArray[np.uint8]:
    """A cover -> (size_px, size_px, 3) bytes."""
    return load_image(Path(media[0]), config)


READERS: dict[Modality, Callable[[Media, Any], NDArray[Any]]] = {
    "audio": read_audio,
    "text": read_text,
    "image": read_image,
}


def is_ragged(config: Settings) -> bool:
    """Whether the rows differ in length: CQTs and texts do, timbres and covers do not."""
    if isinstance(config, AudioInput):
        return config.features == "cqt"
    return isinstance(config, TextInput)


@dataclass(frozen=True)
class Part:
    """Some rows, and the store file that they are read into; all paths are absolute.

    The file is named by `part_name`: one of that name has these settings, media and rows.
    """

    path: Path
    modality: Modality
    config: Settings
    rows: tuple[Row, ...]
    provenance: Provenance

    @property
    def being_read(self) -> Path:
        """Holds the id of the row that is being read; there after a crash."""
        return self.path.with_suffix(".reading")

    @property
    def crashes(self) -> Path:
        """Rows that ended their reader, a JSON list [id, why] a line.

        Of these settings and media, as its name is: with others, a row deserves another try.
        """
        return self.path.with_suffix(".crashes")

    def is_done(self) -> bool:
        """Whether it is there; a damaged one is, too, until the merge looks into it."""
        return self.path.is_file()

    def discard_if_damaged(self) -> bool:
        """Reads it all, and removes it unless it is whole and what its name says; whether it did.

        Takes milliseconds and more, as opposed to `is_done`.
        """
        try:
            with FeatureStore(self.path, self.modality) as store:
                store.verify()
                found = {*store.ids, *(refusal.id for refusal in store.refused)}
                if store.fingerprint == self.provenance.fingerprint and found == self._ids():
                    return False
        except StoreError:
            pass
        self.path.unlink(missing_ok=True)
        return True

    def _ids(self) -> set[str]:
        return {row_id for row_id, _ in self.rows}

    def blame(self, why: str) -> bool:
        """Notes that the row being read ended its reader; False if no row was."""
        if not self.being_read.is_file():
            return False
        row_id = self.being_read.read_text(encoding="utf-8")
        append_line(self.crashes, json.dumps([row_id, why]))
        self.being_read.unlink()
        return row_id in self._ids()  # and not half a name, cut short by a full disk

    def crashed(self) -> dict[str, str]:
        """Rows that ended their reader, and how."""
        if not self.crashes.is_file():
            return {}
        found: dict[str, str] = {}
        for line in self.crashes.read_text(encoding="utf-8").splitlines():
            try:
                row_id, why = json.loads(line)
            except ValueError:
                continue  # cut short; the row will show again what it does
            found[row_id] = why
        return found


def part_name(number: int, fingerprint: str, rows: Sequence[Row]) -> str:
    """The file name of the n-th part: its number, and a hash over fingerprint and row ids.

    >>> part_name(3, "8d96c4f1a2b3e5d7", [("a#0", ("a.mp3",)), ("b#0", ("b.mp3",))])
    '000003-6c1c8fc4fce0db5a.h5'
    """
    identity = json.dumps([fingerprint, [row_id for row_id, _ in rows]])
    return f"{number:06d}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}.h5"


def read_part(part: Part) -> bool:
    """Reads a part's rows and writes its store file; does nothing if it is there.

    Returns whether it is there now: not if another process is just reading it.

    Raises:
        StoreError: it cannot be written.
        MmgenreError: the machine is at fault and no file: too little memory, a disk that fails.
    """
    try:
        with claimed(part.path):
            _read_unless_done(part)
    except ClaimedError:
        return False
    return True


def _read_unless_done(part: Part) -> None:
    if part.is_done():  # by another process, since the work was given out
        return
    crashed = part.crashed()
    outcomes: list[Outcome] = []
    try:
        # Open throughout: to open it for each row would take as long as some of the transform.
        with part.being_read.open("w", encoding="utf-8") as note:
            for row in part.rows:
                if row[0] in crashed:
                    detail = f"{_where(row)}: {crashed[row[0]]} [crashed]"
                    outcomes.append(Refusal(row[0], part.modality, "crashed", detail))
                    continue
                note.seek(0)
                note.write(row[0])
                note.truncate()
                outcomes.append(_read_row(row, part.modality, part.config))
    finally:
        part.being_read.unlink(missing_ok=True)
    _write(part, outcomes)


Outcome = tuple[str, NDArray[Any]] | Refusal


def _read_row(row: Row, modality: Modality, config: Settings) -> Outcome:
    row_id, media = row
    read: Callable[..., NDArray[Any]] = READERS[modality]
    if isinstance(config, TextInput) and config.entities.annotator != "none":
        read = partial(read, row_id=row_id)  # annotations may be listed by item
    try:
        return row_id, read(media, config)
    except InputError as error:
        return Refusal(row_id, modality, error.code, str(error))
    except MemoryError as error:
        raise MmgenreError(
            f"{_where(row)}: too little memory to read it ({error}); give fewer --workers, and run "
            "this again: what is read stays read"
        ) from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno in FAULTS_OF_THE_MACHINE:
            raise MmgenreError(
                f"{_where(row)}: {error}: a fault of this machine or its disk and not of the file; "
                "mend it and run this again: what is read stays read"
            ) from None
        # A library met damage that we did not foresee; the run goes on.
        detail = f"{_where(row)}: {type(error).__name__}: {error} [unexpected]"
        return Refusal(row_id, modality, "unexpected", detail)


def _where(row: Row) -> str:
    files = [str(source) for source in row[1] if isinstance(source, Path)]
    return files[0] if files else f"inline text of {row[0]}"


def _write(part: Part, outcomes: Sequence[Outcome]) -> None:
    rows = [outcome for outcome in outcomes if not isinstance(outcome, Refusal)]
    refused = [outcome for outcome in outcomes if isinstance(outcome, Refusal)]
    block = [row_id for row_id, _ in rows], [values for _, values in rows]
    write_store(
        part.path,
        part.modality,
        [block],
        part.provenance,
        refused=refused,
        ragged=is_ragged(part.config),
    )
