"""Whether the data of a JPEG file give the picture that its header declares.

Where data are missing, libjpeg fills the rest with grey and warns; where there are too many, it
skips them and warns. Pillow does not pass these warnings on. So the data are handed over in pieces,
and before and after the last one it is seen whether the last row of the picture is there. A picture
of several scans has no row before the end: it is decoded once more, with longer scans.
"""

from __future__ import annotations

import io
import re

from PIL import Image, ImageFile

MARKER_IN_SCAN = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]")
SCAN_HEADER = re.compile(rb"\xff\xda\0.[\x01-\x04]", re.DOTALL)
RESTART = re.compile(rb"\xff([\xd0-\xd7])")
FORMATS = ("JPEG", "MPO")  # as Pillow names them; it opens both as the first
# Of four pixels of the last row; no picture has these.
PAINT = ((201, 7, 94, 33), (18, 240, 133, 5), (77, 60, 251, 190), (150, 122, 3, 88))
START, END, SCAN, INTERVAL = 0xD8, 0xD9, 0xDA, 0xDD
SEQUENTIAL = {0xC0, 0xC1}  # begin a picture of one scan; progressive ones have several
APPLICATION = range(0xE0, 0xF0)
METADATA = {*APPLICATION, 0xFE} - {0xE0, 0xEE}  # the latter two tell the colour space
# Behind the data, as a decoder looks ahead; and what may be left over at their end.
PADDING, OTHER_PADDING, SPARE_BYTES = bytes(16), b"\x55" * 64, 256


def is_whole(data: bytes, size: tuple[int, int]) -> bool:
    """Whether nothing is missing in the picture of a JPEG file that can be decoded.

    `size`: width and height at which it is decoded, as for `draft`.
    """
    scan = _only_scan(data)
    with Image.open(io.BytesIO(data), formats=FORMATS[:1]) as image:
        image.draft(image.mode, size)
        if scan is not None:
            watched = Watched(data, scan, image)
            image.load()
            return watched.is_whole
        with Image.open(io.BytesIO(_with_longer_scans(data)), formats=FORMATS[:1]) as longer:
            longer.draft(image.mode, size)
            return longer.tobytes() == image.tobytes()


def watched(data: bytes, image: ImageFile.ImageFile) -> Watched | None:
    """Makes an image read its data through a `Watched`; None unless it is a sequential JPEG.

    The end of its data is looked for in the quickest way: if something follows the picture, or it
    has several scans, the picture may not count as whole although it is.
    """
    segments = _segments(data)
    if not SEQUENTIAL & {marker for marker, _, _ in segments}:
        return None
    start, stop = segments[-1][2], data.rfind(bytes([0xFF, END]))
    return Watched(data, (start, stop), image) if stop > start else None


class Watched(io.BytesIO):
    """The data of an image that is about to be decoded, at its final size."""

    def __init__(self, data: bytes, scan: tuple[int, int], image: ImageFile.ImageFile) -> None:
        start, stop = scan
        super().__init__(data[:stop] + PADDING + data[stop:])
        self._stops = max(start, stop - SPARE_BYTES), stop + len(PADDING)
        has_restarts = bytes([0xFF, INTERVAL]) in data[:start]
        numbers = [n[0] & 7 for n in RESTART.findall(data, start, stop)] if has_restarts else []
        self._has_faults = numbers != [n % 8 for n in range(len(numbers))]
        n_bands = len(image.getbands())
        self._canvas = Image.new(image.mode, image.size, None)
        self._places = [(image.width * k // 4, image.height - 1) for k in range(4)]
        for place, colour in zip(self._places, PAINT, strict=True):
            self._canvas.putpixel(place, colour[0] if image.mode == "L" else colour[:n_bands])
        self._painted = self._last_row()
        image.im, image.fp = self._canvas.im, self

    @property
    def is_whole(self) -> bool:
        """Whether the image, now decoded, had all of its data, and needed all of them."""
        return not self._has_faults and self.tell() > self._stops[0]

    def read(self, size: int | None = -1, /) -> bytes:
        """At most `size` bytes, never beyond one of the places where the last row is looked at."""
        at = self.tell()
        if at in self._stops:
            is_there = self._last_row() != self._painted
            self._has_faults |= is_there != (at == self._stops[1])
        left = [stop - at for stop in self._stops if stop > at]
        if left and (size is None or size < 0 or size > left[0]):
            size = left[0]
        return super().read(size)

    def _last_row(self) -> list[object]:
        return [self._canvas.getpixel(place) for place in self._places]


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
    """Where the data of a picture of one scan begin and end; None if it has several."""
    segments = _segments(data)
    if not SEQUENTIAL & {marker for marker, _, _ in segments}:
        return None
    start = segments[-1][2]
    stop = data.find(bytes([0xFF, END]), start)  # in data, 0 follows 0xFF
    has_more = data.find(bytes([0xFF, SCAN]), start, max(stop, start)) >= 0
    return None if stop < 0 or has_more else (start, stop)


def _with_longer_scans(data: bytes) -> bytes:
    """The same file with further bytes at the end of each scan.

    A decoder comes to these bytes, and to another picture, only where data are missing.
    """
    parts: list[bytes] = []
    at, segments = 0, _segments(data)
    for segment in SCAN_HEADER.finditer(data, segments[-1][1] if segments else 0):
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
