"""Whether the data of a JPEG file give the picture that its header declares.

Where data are missing, libjpeg fills the rest with grey and warns; where there are too many, it
skips them and warns. Pillow does not pass these warnings on. So the data are handed over in pieces,
and before and after the last one it is seen whether the last row of the picture is there. A picture
of several scans has no row before the end: it is decoded once more, with longer scans.
"""

from __future__ import annotations

import io
import re

import numpy as np
from PIL import Image, ImageFile

MARKER_IN_SCAN = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]")
SCAN_HEADER = re.compile(rb"\xff\xda\0.[\x01-\x04]", re.DOTALL)
RESTART = re.compile(rb"\xff([\xd0-\xd7])")
START, END, SCAN = 0xD8, 0xD9, 0xDA
SEQUENTIAL = {0xC0, 0xC1}  # begin a picture of one scan; progressive ones have several
BETWEEN_SCANS = {0xC4, 0xCC, 0xDA, 0xDB, 0xDC, 0xDD, 0xFE}  # tables, a further scan, a comment
APPLICATION = range(0xE0, 0xF0)
METADATA = {*APPLICATION, 0xFE} - {0xE0, 0xEE}  # the latter two tell the colour space
# Behind the data, as a decoder looks ahead; and what may be left over at their end.
PADDING, OTHER_PADDING, SPARE_BYTES = bytes(16), b"\x55" * 64, 256


class Watched(io.BytesIO):
    """A file's bytes; of a JPEG picture of one scan, it is seen whether they suffice.

    Of other files, also progressive JPEGs, no row is ready before the end.
    """

    def __init__(self, data: bytes) -> None:
        scan = _only_scan(data)
        self._canvas: Image.Image | None = None
        self._stops: tuple[int, ...] = ()
        self._is_whole = True
        if scan is not None:
            start, stop = scan
            data = data[:stop] + PADDING + data[stop:]
            self._stops = max(start, stop - SPARE_BYTES), stop + len(PADDING)
            numbers = [number[0] & 7 for number in RESTART.findall(data, start, stop)]
            self._is_whole = numbers == [n % 8 for n in range(len(numbers))]
        super().__init__(data)

    @property
    def is_whole(self) -> bool:
        """Whether the image, now decoded, had all of its data, and needed all of them."""
        return self._is_whole and (self._canvas is None or self.tell() > self._stops[0])

    def watch(self, image: ImageFile.ImageFile) -> None:
        """To be called when the image is about to be decoded, at its final size."""
        if self._stops:
            self._canvas = Image.new(image.mode, image.size, None)
            self._paint = np.random.default_rng(0).bytes(len(self._last_row()))
            row = Image.frombytes(image.mode, (image.width, 1), self._paint)
            self._canvas.paste(row, (0, image.height - 1))
            image.im = self._canvas.im

    def read(self, size: int | None = -1, /) -> bytes:
        """At most `size` bytes, never beyond one of the places where the last row is looked at."""
        at = self.tell()
        if self._canvas is not None and at in self._stops:
            is_there = self._last_row() != self._paint
            self._is_whole &= is_there == (at == self._stops[1])
        left = [stop - at for stop in self._stops if stop > at]
        if left and (size is None or size < 0 or size > left[0]):
            size = left[0]
        return super().read(size)

    def _last_row(self) -> bytes:
        assert self._canvas is not None
        width, height = self._canvas.size
        return self._canvas.crop((0, height - 1, width, height)).tobytes()


def _segments(data: bytes) -> list[tuple[int, int, int]]:
    """Marker, first byte and end of each segment up to the first scan's header, which is last."""
    found = []
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        if data[at + 1] == 0xFF:  # filling
            at += 1
            continue
        stop = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        found.append((data[at + 1], at, stop))
        if data[at + 1] == SCAN:
            break
        at = stop
    return found


def _only_scan(data: bytes) -> tuple[int, int] | None:
    """Where the data of a picture of one scan begin and end; None for other files."""
    if not data.startswith(bytes([0xFF, START])):
        return None
    segments = _segments(data)
    markers = {marker for marker, _, _ in segments}
    if SCAN not in markers or not markers & SEQUENTIAL:
        return None
    start = segments[-1][2]
    end = MARKER_IN_SCAN.search(data, start)
    return None if end is None or data[end.end() - 1] in BETWEEN_SCANS else (start, end.start())


def with_longer_scans(data: bytes) -> bytes | None:
    """The same file with further bytes at the end of each scan; None unless it has several.

    A decoder comes to these bytes, and to another picture, only where data are missing.
    """
    if not data.startswith(bytes([0xFF, START])) or _only_scan(data) is not None:
        return None
    parts = []
    at = 0
    for segment in SCAN_HEADER.finditer(data, _segments(data)[-1][1]):
        end = MARKER_IN_SCAN.search(data, segment.end())
        if segment.start() >= at and end is not None:
            parts += [data[at : end.start()], OTHER_PADDING]
            at = end.start()
    return b"".join([*parts, data[at:]])


def picture(data: bytes) -> bytes | None:
    """A JPEG file without its metadata; None for other files."""
    segments = _segments(data)
    if not data.startswith(bytes([0xFF, START])) or not segments:
        return None
    kept = [data[at:stop] for marker, at, stop in segments if marker not in METADATA]
    return data[:2] + b"".join(kept) + data[segments[-1][2] :]
