"""A part of the input stage's work: some rows, read into a store file of their own.

A part that is there whole is not read again. While one is being read, a file beside it names the
row, so that whoever goes on after a crash knows what the reader died of.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmgenre.config import Settings
from mmgenre.errors import InputError, Refusal, StoreError
from mmgenre.files import append_line
from mmgenre.inputs.audio import AudioInput
from mmgenre.inputs.image import ImageInput, load_image
from mmgenre.inputs.text import TextInput, load_text
from mmgenre.manifest import Modality
from mmgenre.provenance import Provenance
from mmgenre.store import fingerprint_of, write_store

Media = tuple[Path | str, ...]
Row = tuple[str, Media]  # its id, and what it is read from


def read_audio(media: Media, config: AudioInput) -> NDArray[np.float16] | NDArray[np.float32]:
    """One track -> log CQT in dB, (frames, 96), or its timbre, (48,)."""
    if config.features == "cqt":
        from mmgenre.inputs.cqt import load_log_cqt  # numba takes its time to import

        return load_log_cqt(Path(media[0]), config).astype(np.float16)
    from mmgenre.inputs.timbre import load_timbre

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
    """Some rows, and the store file that they are read into; all paths are absolute."""

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
        """Rows that ended their reader, a JSON list [id, why] a line."""
        return self.path.with_suffix(".crashes")

    def is_done(self) -> bool:
        """Whether it is there, made with these settings; a damaged one is not."""
        try:
            return fingerprint_of(self.path, self.modality) == self.provenance.fingerprint
        except StoreError:
            return False

    def blame(self, why: str) -> bool:
        """Notes that the row being read ended its reader; False if no row was."""
        if not self.being_read.is_file():
            return False
        append_line(self.crashes, json.dumps([self.being_read.read_text(), why]))
        self.being_read.unlink()
        return True


def read_part(part: Part) -> None:
    """Reads a part's rows and writes its store file; does nothing if it is there."""
    if part.is_done():
        return
    crashes: dict[str, str] = {}
    if part.crashes.is_file():
        crashes = dict(json.loads(line) for line in part.crashes.read_text().splitlines())
    outcomes: list[Outcome] = []
    with _naming_the_row(part) as name:
        for row in part.rows:
            if row[0] in crashes:
                detail = f"{_where(row)}: {crashes[row[0]]} [crashed]"
                outcomes.append(Refusal(row[0], part.modality, "crashed", detail))
            else:
                name(row[0])
                outcomes.append(_read_row(row, part.modality, part.config))
    _write(part, outcomes)


Outcome = tuple[str, NDArray[Any]] | Refusal


@contextmanager
def _naming_the_row(part: Part) -> Iterator[Callable[[str], object]]:
    part.path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield part.being_read.write_text
    finally:
        part.being_read.unlink(missing_ok=True)


def _read_row(row: Row, modality: Modality, config: Settings) -> Outcome:
    row_id, media = row
    read: Callable[..., NDArray[Any]] = READERS[modality]
    if isinstance(config, TextInput) and config.entities.annotator != "none":
        read = partial(read, row_id=row_id)  # annotations may be listed by item
    try:
        return row_id, read(media, config)
    except InputError as error:
        return Refusal(row_id, modality, error.code, str(error))
    except Exception as error:  # a library met damage that we did not foresee; the run goes on
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
