"""Whether the data of a JPEG file give the picture that its header declares.

Where data are missing, libjpeg fills the rest with grey and warns; where there are too many, it
skips them and warns. Pillow does not pass these warnings on. So the data are handed over in pieces.
Of a picture of one scan, it is seen before and after the last piece whether the last row is there.
Of one with several scans, a row is there only at the end. But a decoder that is within a scan
leaves bytes that are too few for it, and one that looks for the next scan takes them all: it must
leave some shortly before a scan's data end, and none of the stuffing that is put behind them.
"""

from __future__ import annotations

import io
import re
from bisect import bisect_left
from typing import Any, cast

import numpy as np
from PIL import Image, ImageFile, _imaging

RESTART = re.compile(rb"\xff([\xd0-\xd7])")
FORMATS = ("JPEG", "MPO")  # as Pillow names them; it opens both as the first
# Of four pixels of the last row; no picture has these.
PAINT = ((201, 7, 94, 33), (18, 240, 133, 5), (77, 60, 251, 190), (150, 122, 3, 88))
START, END, SCAN, INTERVAL = 0xD8, 0xD9, 0xDA, 0xDD
SEQUENTIAL, PROGRESSIVE = {0xC0, 0xC1}, {0xC2}  # begin a picture; of one scan, of several
APPLICATION = range(0xE0, 0xF0)
METADATA = {*APPLICATION, 0xFE} - {0xE0, 0xEE}  # the latter two tell the colour space
# Behind the data, as a decoder looks ahead; and what may be left over at their end.
PADDING, SPARE_BYTES = bytes(16), 256
# In a scan a byte of ones, which no code is made of; between scans nothing.
STUFFING, AHEAD = b"\xff\0", 8
BEFORE_END = 12  # bytes: a decoder wants to see eight
DECODER = "mmgenre-jpeg"


def is_whole(data: bytes, size: tuple[int, int]) -> bool:
    """Whether nothing is missing in the picture of a JPEG file that can be decoded.

    `size`: width and height at which it is decoded, as for `draft`. Pictures of arithmetic coding
    count as whole.
    """
    with Image.open(io.BytesIO(data), formats=FORMATS[:1]) as image:
        image.draft(image.mode, size)
        scan = _only_scan(data)
        watch = Fed(data, image) if scan is None else Watched(data, scan, image)
        if not (SEQUENTIAL | PROGRESSIVE) & {marker for marker, _, _ in _segments(data)}:
            return True
        image.load()
        return watch.is_whole


def watched(data: bytes, image: ImageFile.ImageFile) -> Watched | Fed | None:
    """Makes an image read its data through a watch; None if there is none for it.

    The end of the data of one scan is looked for in the quickest way: if something follows the
    picture, or it has several scans that are sequential, the picture may not count as whole
    although it is.
    """
    segments = _segments(data)
    markers = {marker for marker, _, _ in segments}
    if PROGRESSIVE & markers:
        return Fed(data, image)
    start, stop = segments[-1][2] if segments else 0, data.rfind(bytes([0xFF, END]))
    return Watched(data, (start, stop), image) if SEQUENTIAL & markers and stop > start else None


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
        # Pillow's own canvas and not an image around it: a cover is decoded in 0.3 ms.
        self._canvas = _imaging.new(image.mode, image.size)
        self._places = [(image.width * k // 4, image.height - 1) for k in range(4)]
        for place, colour in zip(self._places, PAINT, strict=True):
            self._canvas.putpixel(place, colour[0] if n_bands == 1 else colour[:n_bands])
        self._painted = self._last_row()
        image.im, image.fp = self._canvas, self

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


class Fed:
    """The data of an image that is about to be decoded, handed over to libjpeg scan by scan."""

    pulls_fd = False  # as Pillow asks of its decoders

    def __init__(self, data: bytes, image: ImageFile.ImageFile) -> None:
        self._data, self._left = data, b""
        self._is_given = self._has_faults = False
        self._end: tuple[int, int] | None = None  # of the picture: what Pillow's decoder answers
        tiles: list[Any] = image.tile
        image.tile = [t._replace(codec_name=DECODER, args=(self, *t.args)) for t in tiles]

    @property
    def is_whole(self) -> bool:
        """Whether every scan of the image, now decoded, had all of its data, and needed them."""
        return self._end is not None and not self._has_faults

    def begin(self, mode: str, *args: Any) -> Fed:
        """Itself, in the place of the decoder that Pillow would make."""
        self._decoder = _imaging.jpeg_decoder(mode, *args)
        self.setimage, self.cleanup = self._decoder.setimage, self._decoder.cleanup
        return self

    def decode(self, buffer: bytes) -> tuple[int, int]:
        """Number of bytes used (-1: no more are needed) and fault; takes all data at once."""
        at = 0
        for start, stop in () if self._is_given else _scans(self._data):
            probe = self._behind(max(start, stop - BEFORE_END))
            is_within = self._give(self._data[at:probe])
            while not is_within and probe < stop:  # it may just have taken what it wants to see
                at, probe = probe, min(self._behind(probe + 1), stop)
                is_within = self._give(self._data[at:probe])
            rest = self._data[probe:stop] + AHEAD * STUFFING
            lacks_some = self._give(rest) or self._give(STUFFING)
            self._has_faults |= lacks_some or not is_within
            at = stop
        if not self._is_given:
            self._give(self._data[at:])
            self._is_given = True
        return self._end or (len(buffer), 0)

    def _give(self, data: bytes) -> bool:
        """Whether the decoder leaves some of these data."""
        if self._end is None:
            self._left += data
            n_used, fault = self._decoder.decode(self._left)
            self._end = (n_used, fault) if n_used < 0 else None
            self._left = self._left[max(n_used, 0) :]
        return bool(self._left)

    def _behind(self, at: int) -> int:
        """The place, or the next one if it is within two bytes that stand for one."""
        return at + (self._data[at - 1] == 0xFF)


def _begin(mode: str, fed: Fed, *args: Any) -> Fed:
    return fed.begin(mode, *args)


Image.register_decoder(DECODER, cast(Any, _begin))


def _scans(data: bytes) -> list[tuple[int, int]]:
    """First byte and end of the data of each scan of the first picture."""
    codes = np.frombuffer(data, np.uint8)
    places = np.flatnonzero(codes[:-1] == 0xFF)
    after = codes[places + 1]
    is_marker = (after != 0) & (after != 0xFF) & ((after & 0xF8) != 0xD0)
    markers: list[int] = places[is_marker].tolist()
    segments, found = _segments(data), []
    at = segments[-1][1] if segments else len(data)
    while (k := bisect_left(markers, at)) < len(markers) and data[markers[k] + 1] != END:
        at = markers[k]
        start = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] == SCAN and (k := bisect_left(markers, start)) < len(markers):
            found.append((start, markers[k]))
        at = start
    return found


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


def picture(data: bytes) -> bytes | None:
    """A JPEG file without its metadata; None for other files."""
    segments = _segments(data)
    if not data.startswith(bytes([0xFF, START])) or not segments:
        return None
    kept = [data[at:stop] for marker, at, stop in segments if marker not in METADATA]
    return data[:2] + b"".join(kept) + data[segments[-1][2] :]
