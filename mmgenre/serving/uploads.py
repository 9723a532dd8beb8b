"""What a browser sends, streamed into files of one folder, within limits.

Names that the browser gives are shown again and never used as paths.
"""

from __future__ import annotations

import asyncio
import errno
import re
import unicodedata
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header
from starlette.requests import Request

from mmgenre.disk.files import FULL
from mmgenre.errors import MmgenreError

MB = 1_000_000
FILE_MB = MappingProxyType({"audio": 200, "image": 30, "text": 1})
FILES = MappingProxyType({"audio": 30, "image": 1, "text": 1})
LONGEST_NAME = 80  # characters of a file's name that are shown
ENVELOPE_BYTES = 100_000  # boundaries and headers of a whole upload


@dataclass(frozen=True)
class Limits:
    """What one upload may be, and how many are served at once."""

    file_mb: Mapping[str, int] = field(default_factory=lambda: FILE_MB)  # by field of the form
    files: Mapping[str, int] = field(default_factory=lambda: FILES)
    whole_mb: int = 300
    at_once: int = 32  # uploads that arrive, wait or are judged; others are asked to come again
    stalled_s: float = 30.0  # an upload of which nothing arrives for so long is given up
    reading_s: float = 60.0  # until the reading of a file is given up


@dataclass(frozen=True)
class Upload:
    """The media of one item, and the names that the browser has given them."""

    audio: list[Path] = field(default_factory=list)
    image: list[Path] = field(default_factory=list)
    text: list[Path | str] = field(default_factory=list)  # a file, or what was typed
    names: dict[Path, str] = field(default_factory=dict)


class UploadError(MmgenreError):
    """An upload that is not accepted: an HTTP status, and a sentence for the page."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        super().__init__(text)


async def body(request: Request, limits: Limits) -> AsyncIterator[bytes]:
    """The chunks of a request. UploadError: it is too large, or nothing arrives for too long."""
    too_large = UploadError(413, f"The upload is larger than {limits.whole_mb} MB. Send less.")
    most, n = limits.whole_mb * MB + ENVELOPE_BYTES, 0
    if int(request.headers.get("content-length", 0)) > most:
        raise too_large
    chunks = aiter(request.stream())
    while True:
        try:
            async with asyncio.timeout(limits.stalled_s):
                chunk = await anext(chunks, None)
        except TimeoutError:
            waited = f"{limits.stalled_s:g} s"
            raise UploadError(408, f"Nothing arrived for {waited}. Send it again.") from None
        if chunk is None:
            return
        n += len(chunk)
        if n > most:
            raise too_large
        yield chunk


async def receive(
    chunks: AsyncIterator[bytes], content_type: str, folder: Path, limits: Limits
) -> Upload:
    """Writes the files of a multipart form into a folder, as they arrive.

    Raises:
        UploadError: no form, a damaged one, unknown fields, too many files or too large ones, no
            file at all, or no room on the disk.
    """
    kind, options = parse_options_header(content_type)
    if kind != "multipart/form-data" or not options.get("boundary"):
        raise UploadError(415, "This is no form with files (multipart/form-data).")
    upload, part = Upload(), None
    try:
        # Of all fields one more than allowed: `_Part` says which has too many.
        most = sum(limits.files.values()) + 1
        with PushMultipartParser(options["boundary"], max_segment_count=most, strict=True) as form:
            async for chunk in chunks:
                for event in form.parse(chunk):
                    if isinstance(event, MultipartSegment):
                        part = _Part(event, upload, folder, limits)
                    elif part is not None and event is not None:
                        part.write(event)
                    elif part is not None:
                        part.finish()
                        part = None
    except MultipartError as error:
        raise UploadError(400, f"The upload is damaged ({error}). Send it again.") from None
    except OSError as error:
        if error.errno not in (*FULL, errno.EROFS):
            raise
        raise UploadError(507, "The disk of the server is full.") from None
    finally:
        if part is not None:
            part.close()
    if not (upload.audio or upload.image or upload.text):
        raise UploadError(400, "Nothing was sent. Drop a song, a cover or a text.")
    return upload


class _Part:
    """One field of a form, while it arrives."""

    def __init__(
        self, segment: MultipartSegment, upload: Upload, folder: Path, limits: Limits
    ) -> None:
        self._field = segment.name or ""
        if self._field not in limits.files:
            fields = ", ".join(limits.files)
            raise UploadError(400, f"A field {self._field[:40]!r} is not known; known: {fields}.")
        self._media: list[Path | str] = getattr(upload, self._field)
        if len(self._media) == limits.files[self._field]:
            raise UploadError(413, f"Of {self._field} at most {len(self._media)} can be sent.")
        if segment.filename is None and self._field != "text":
            raise UploadError(400, f"The field {self._field} is no file.")
        # Decoders go by what is in a file: it needs no suffix.
        path = folder / f"{self._field}-{len(upload.names)}"
        self._path, self._is_typed = path, segment.filename is None
        self._name = "your text" if self._is_typed else shown_name(segment.filename or "")
        upload.names[path] = self._name
        self._left, self._mb = limits.file_mb[self._field] * MB, limits.file_mb[self._field]
        self._file: BinaryIO = path.open("xb")

    def write(self, data: bytes | bytearray) -> None:
        self._left -= len(data)
        if self._left < 0:
            raise UploadError(413, f"{self._name}: larger than {self._mb} MB. Send less.")
        self._file.write(data)

    def finish(self) -> None:
        self.close()
        if not self._is_typed:
            self._media.append(self._path)
            return
        try:
            typed = self._path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise UploadError(400, "The text that was sent is not UTF-8.") from None
        if typed.strip():
            self._media.append(typed)

    def close(self) -> None:
        self._file.close()


def shown_name(given: str) -> str:
    r"""The last part of a file's name, shortened, without what is no visible character.

    >>> shown_name("../../etc/passwd"), shown_name("C:\\music\\a\nb.mp3"), shown_name("..")
    ('passwd', 'ab.mp3', 'a file')
    """
    last = re.split(r"[/\\]", given)[-1]
    visible = "".join(c for c in last if unicodedata.category(c)[0] != "C").strip()
    name = visible if len(visible) <= LONGEST_NAME else f"{visible[: LONGEST_NAME - 1]}…"
    return name if name.strip(".") else "a file"
