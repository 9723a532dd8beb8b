"""Audio files as libsndfile decodes them, with their true length and all of their parts.

Lengths in headers are missing (written to a pipe), wrong (joined files), or of the whole file where
only a piece is there (an interrupted download).
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path

import soundfile

from mmgenre.audio.codecs import Decoded, format_of, open_decoded
from mmgenre.audio.decoder_lines import without_decoder_lines
from mmgenre.audio.mpeg import with_true_count
from mmgenre.errors import InputError

UNKNOWN_SAMPLES = 1 << 40  # libsndfile's mark is far above, true lengths are far below
LEAST_HZ, MOST_HZ = 4_000, 768_000
COUNTED_AT_ONCE = 1 << 18
# An mp3 may have a frame or two fewer than its header declares; a truncated file lacks far more.
MIN_HELD_SHARE = 0.98
# Sizes that programs write before they know the length, and cannot correct in a pipe.
SIZE_UNKNOWN = range(0x7FFF0000, 0x80001000), range(0xFFFF0000, 1 << 32)
# From libsndfile's log of what it has read; "riff" is of W64 and "Riff size" of RF64.
SIZES = re.compile(r"^ *(?:data|SSND|Data Size|riff|Riff size) *: (\d+) \(should be (\d+)\)", re.M)
WAV_FIELD = re.compile(r"^  (Channels|Sample Rate|Block Align|Bit Width|Bytes/sec) +: (\d+)", re.M)
WAV_PLAIN = re.compile(r"^  Format +: 0x(1|3|FFFE) ", re.M)
OGG_PAGE, OGG_FIRST_PAGE = b"OggS\0", b"OggS\0\x02"
OGG_LAST = 4  # flag of the last page of a stream


@dataclass(frozen=True)
class Audio:
    """An open file; `parts` follow each other, `n_samples` is the length of all."""

    parts: tuple[soundfile.SoundFile | Decoded, ...]
    rate_hz: int
    channels: int
    n_samples: int


def open_audio(path: Path) -> Audio:
    """Opens a file. InputError: truncated, or unreadable (a header that cannot be true)."""
    with without_decoder_lines():
        return _open(path)


def _open(path: Path) -> Audio:
    if path.suffix.lower() == ".raw":  # for libsndfile samples without a header
        what = "samples without a header, by its name; if it has one, rename it"
        raise InputError("unreadable", str(path), what)
    if (name := format_of(path)) is not None:  # not left to libsndfile, which has odd guesses
        decoded = open_decoded(path, name)
        _check_rate(path, decoded.samplerate)
        return Audio((decoded,), decoded.samplerate, decoded.channels, decoded.frames)
    file = soundfile.SoundFile(path)
    sources = _instead(path, file)
    parts = tuple(soundfile.SoundFile(source) for source in sources) or (file,)
    kinds = sorted({(part.samplerate, part.channels) for part in parts})
    if len(kinds) > 1:
        what = " and ".join(f"{channels} channel(s) at {rate_hz} Hz" for rate_hz, channels in kinds)
        raise InputError("unreadable", str(path), f"joined from parts of {what}; split it")
    rate_hz, channels = kinds[0]
    _check_rate(path, rate_hz)
    if parts[0].frames >= UNKNOWN_SAMPLES:
        return Audio((_Streamed(path),), rate_hz, channels, _count(path))
    return Audio(parts, rate_hz, channels, sum(part.frames for part in parts))


def _check_rate(path: Path, rate_hz: int) -> None:
    if not LEAST_HZ <= rate_hz <= MOST_HZ:
        what = f"its header declares a sampling rate of {rate_hz} Hz"
        raise InputError("unreadable", str(path), f"{what}; allowed: {LEAST_HZ} to {MOST_HZ}")


class _Streamed(soundfile.SoundFile):  # type: ignore[misc]
    """A file that is read without seeking: its length need not be known."""

    def seekable(self) -> bool:
        return False


def skip_samples(file: soundfile.SoundFile | Decoded, n_samples: int) -> int:
    """Skips as many samples, or all there are; returns how many."""
    if isinstance(file, Decoded) or file.seekable():
        n_skipped: int = min(n_samples, file.frames)
        if n_skipped:
            file.seek(n_skipped)
        return n_skipped
    n_left = n_samples
    while n := len(file.read(min(n_left, COUNTED_AT_ONCE), dtype="int16", always_2d=True)):
        n_left -= n
    return n_samples - n_left


def _count(path: Path) -> int:
    """The number of samples, by decoding all of them."""
    n_samples = 0
    with _Streamed(path) as file:
        while n := len(file.read(COUNTED_AT_ONCE, dtype="int16", always_2d=True)):
            n_samples += n
    return n_samples


def _instead(path: Path, file: soundfile.SoundFile) -> list[io.BytesIO]:
    """What must be decoded, one after the other, instead of a file whose own length is wrong."""
    if file.format == "MP3":
        counted = with_true_count(path, file.frames)
        return [] if counted is None else [counted]
    if file.format == "OGG":
        return _links(path)
    _check_sizes(path, file.extra_info)
    if file.format in ("WAV", "WAVEX"):
        _check_fields(path, file.extra_info)
        if not file.frames:
            return [_of_unknown_length(path)]
    return []


def _links(path: Path) -> list[io.BytesIO]:
    """The links of a chained Ogg file, if there are several.

    InputError (truncated): its last page is not there.
    """
    data = path.read_bytes()
    last = data.rfind(OGG_PAGE)
    if not data[last + 5] & OGG_LAST or _end_of_page(data, last) > len(data):
        what = "it ends before the page that is marked as its last; the rest is missing"
        raise InputError("truncated", str(path), what)
    starts: list[int] = []
    end = None  # of the first page before: those of several streams at once follow each other
    at = data.find(OGG_FIRST_PAGE)
    while at >= 0:
        if at != end:
            starts.append(at)
        end = _end_of_page(data, at)
        at = data.find(OGG_FIRST_PAGE, at + 1)
    if len(starts) < 2:
        return []
    stops = [*starts[1:], len(data)]
    return [io.BytesIO(data[a:b]) for a, b in zip(starts, stops, strict=True)]


def _end_of_page(data: bytes, at: int) -> int:
    n_segments = data[at + 26] if at + 26 < len(data) else 255
    first = at + 27 + n_segments
    return first + sum(data[at + 27 : first])


def _check_sizes(path: Path, log: str) -> None:
    for declared, held in (map(int, sizes) for sizes in SIZES.findall(log)):
        known = not any(declared in sizes for sizes in SIZE_UNKNOWN)
        if known and held < MIN_HELD_SHARE * declared:
            what = f"{held:,} of {declared:,} bytes that its header declares"
            raise InputError("truncated", str(path), what)


def _check_fields(path: Path, log: str) -> None:
    """InputError (unreadable) if the fields of uncompressed WAV contradict each other."""
    fields = {name: int(value) for name, value in WAV_FIELD.findall(log)}
    if not WAV_PLAIN.search(log) or len(fields) < 5:
        return
    channels, bits, frame_bytes = fields["Channels"], fields["Bit Width"], fields["Block Align"]
    rate_hz, bytes_per_s = fields["Sample Rate"], fields["Bytes/sec"]
    if frame_bytes != channels * -(-bits // 8) or bytes_per_s != rate_hz * frame_bytes:
        what = f"{channels} channel(s) of {bits} bits at {rate_hz} Hz, but {frame_bytes} bytes a "
        what += f"sample of all channels and {bytes_per_s} a second"
        how = "write it anew with the right values"
        raise InputError("unreadable", str(path), f"its header contradicts itself: {what}; {how}")


def _of_unknown_length(path: Path) -> io.BytesIO:
    """A WAV file whose data begin, by its header, with nothing; here they go on to the end."""
    data = path.read_bytes()
    return io.BytesIO(data.replace(b"data\0\0\0\0", b"data\xff\xff\xff\xff", 1))
