"""MPEG layer III (mp3): how many frames a file holds, whatever its header says.

Only an optional first frame, by its tag Xing, Info or VBRI, says how many follow. Without it a
decoder guesses from the first bit rate, and in joined files it counts the first part only. So the
frames are counted, and where a decoder would read another number, it gets them with a new first
frame.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mmgenre.errors import InputError

VERSION_1 = 3  # as in the header's bits; 2: version 2, 0: version 2.5
RATES_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
KBITS = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
KBITS_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)  # versions 2 and 2.5
# The first three bytes of a frame of layer III, of a stated bit rate and a known sampling rate.
START = re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb][\x10-\xef]")
TAGS = re.compile(rb"ID3|TAG|APETAGEX|LYRICSBEGIN")  # what may follow frames, also of a part
MAX_LOST_SHARE = 0.02  # of the bytes
LEAST_RUN = 3  # fewer frames in a row may be other bytes that look like them
# An encoder's delay and padding, at most 4095 samples each, which decoders leave out.
MAX_GAP_SAMPLES = 8192
ROOM_IN_FRAME = 9  # index of a bit rate whose frames have room for the counts, of any version


@dataclass(frozen=True)
class Run:
    """Frames that follow each other without a gap, all of one sampling rate."""

    start: int  # byte of the first frame
    stop: int
    n_frames: int
    rate_hz: int
    samples_per_frame: int


def with_true_count(path: Path, n_samples: int) -> io.BytesIO | None:
    """The frames of a file with their true count; None if `n_samples` is what the file holds.

    `n_samples`: what a decoder expects. InputError: fewer frames than the file declares, or other
    bytes instead of frames (truncated), or parts with different sampling rates (unreadable).
    """
    data = path.read_bytes()
    runs = list(_runs(data))
    if not runs:  # of layers I or II, or without stated bit rates
        return None
    first = runs[0]
    if rates := sorted({run.rate_hz for run in runs} - {first.rate_hz}):
        what = f"joined from parts of {first.rate_hz} Hz and {', '.join(map(str, rates))} Hz"
        raise InputError("unreadable", str(path), f"{what}; split it or convert it to one rate")
    header = data[first.start : first.start + _size(data, first.start)]
    tag = re.search(rb"Xing|Info|VBRI", header[:64])
    n_frames = sum(run.n_frames for run in runs) - (tag is not None)
    held = n_frames * first.samples_per_frame
    if -MAX_GAP_SAMPLES <= n_samples - held <= 2 * first.samples_per_frame:
        return None
    if tag is not None and n_samples > held:
        declared = _declared_bytes(header, tag)
        if declared is None or declared * (1 - MAX_LOST_SHARE) > len(data) - first.start:
            raise InputError("truncated", str(path), f"{held:,} of {n_samples:,} samples")
    gaps = zip(runs, [*(run.start for run in runs[1:]), len(data)], strict=True)
    lost = sum(stop - run.stop for run, stop in gaps if not TAGS.match(data, run.stop))
    if lost > MAX_LOST_SHARE * len(data):
        raise InputError("truncated", str(path), f"{lost:,} bytes where frames should be")
    start = first.start + (len(header) if tag else 0)
    parts = [data[start : first.stop], *(data[run.start : run.stop] for run in runs[1:])]
    return io.BytesIO(_count_frame(data, first.start, n_frames) + b"".join(parts))


def _declared_bytes(header: bytes, tag: re.Match[bytes]) -> int | None:
    if tag[0] == b"VBRI":
        return int.from_bytes(header[tag.end() + 6 : tag.end() + 10], "big")
    flags = int.from_bytes(header[tag.end() : tag.end() + 4], "big")
    at = tag.end() + (8 if flags & 1 else 4)
    return int.from_bytes(header[at : at + 4], "big") if flags & 2 else None


def _count_frame(data: bytes, at: int, n_frames: int) -> bytes:
    """A silent frame like that at `at`, whose tag Info tells the number of frames that follow."""
    header = bytes([0xFF, data[at + 1] | 1, ROOM_IN_FRAME << 4 | data[at + 2] & 0x0C, data[at + 3]])
    is_mono, is_version_1 = header[3] >> 6 == 3, header[1] >> 3 & 3 == VERSION_1
    side_bytes = (17 if is_mono else 32) if is_version_1 else (9 if is_mono else 17)
    counts = b"Info" + (1).to_bytes(4, "big") + n_frames.to_bytes(4, "big")
    return (header + bytes(side_bytes) + counts).ljust(_size(header, 0), b"\0")


def _size(data: bytes, at: int) -> int:
    """Bytes of the frame that begins there; 0 if none does."""
    if not START.match(data, at):
        return 0
    second, third = data[at + 1], data[at + 2]
    version, rate = second >> 3 & 3, third >> 2 & 3
    if rate == 3:
        return 0
    bits, factor = (KBITS, 144_000) if version == VERSION_1 else (KBITS_2, 72_000)
    return factor * bits[third >> 4] // RATES_HZ[version][rate] + (third >> 1 & 1)


def _runs(data: bytes) -> Iterator[Run]:
    found = START.search(data)
    while found:
        run = _run(data, found.start())
        if run is not None:
            yield run
        found = START.search(data, found.start() + 1 if run is None else run.stop)


def _run(data: bytes, start: int) -> Run | None:
    """The frames from `start` on; None if too few follow each other."""
    if not _size(data, start):
        return None
    version, rate = data[start + 1] >> 3 & 3, data[start + 2] >> 2 & 3
    sizes = _sizes(version, rate)
    at, n_frames = start, 0
    while size := sizes.get(data[at : at + 3]):
        at += size
        n_frames += 1
    if n_frames < LEAST_RUN:
        return None
    per_frame = 1152 if version == VERSION_1 else 576
    return Run(start, min(at, len(data)), n_frames, RATES_HZ[version][rate], per_frame)


@cache
def _sizes(version: int, rate: int) -> dict[bytes, int]:
    """Bytes of a frame by its first three: looked up for each of 10 000 frames in a song."""
    second = 0xE2 | version << 3  # the last bit, of a checksum, may vary
    starts = [
        bytes([0xFF, second | i, j]) for i in (0, 1) for j in range(256) if j >> 2 & 3 == rate
    ]
    return {start: size for start in starts if (size := _size(start, 0))}
