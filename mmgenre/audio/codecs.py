"""AAC, ALAC, WMA, APE and others that libsndfile does not decode: by PyAV, or by ffmpeg.

The content of a file names its format, out of a closed list: left to guess, FFmpeg would also take
playlists, and open whatever files and addresses these name.
"""

from __future__ import annotations

import math
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import numpy as np
import soundfile
from numpy.typing import NDArray

from mmgenre.errors import InputError

# FFmpeg's name of a format, where in a file it shows, and how.
SIGNS: tuple[tuple[str, int, bytes], ...] = (
    *(("mov", 4, name) for name in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")),
    ("asf", 0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),
    ("ape", 0, b"MAC "),
    ("wv", 0, b"wvpk"),
    ("tta", 0, b"TTA1"),
    ("matroska", 0, b"\x1a\x45\xdf\xa3"),
    ("ac3", 0, b"\x0b\x77"),
)
HEADERLESS = ("aac", "ac3")  # FFmpeg guesses how long they are from their first bit rate
HEAD_BYTES = 16
ID3_HEAD_BYTES = 10  # of tags before a stream of AAC
LEAST_HELD = 0.98  # of the length that the header declares
PREROLL_S = 1.0  # decoded before the place that is sought: codecs need what was before
FFMPEG_S = 600
ADVICE = "install mmgenre[codecs] (PyAV), or ffmpeg"


def format_of(path: Path) -> str | None:
    """FFmpeg's name of the format of a file; None if it is none of those that are decoded here."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        if head[:3] == b"ID3" and len(head) >= ID3_HEAD_BYTES:
            size = 0
            for byte in head[6:10]:  # seven bits each
                size = size << 7 | byte & 0x7F
            file.seek(ID3_HEAD_BYTES + size)
            head = file.read(HEAD_BYTES)
    for name, at, sign in SIGNS:
        if head[at : at + len(sign)] == sign:
            return name
    is_adts = len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0
    return "aac" if is_adts else None


def decoder() -> str | None:
    """What decodes such files here: "PyAV", "ffmpeg", or nothing."""
    if find_spec("av") is not None:
        return "PyAV"
    return "ffmpeg" if shutil.which("ffmpeg") else None


def open_decoded(path: Path, name: str) -> Decoded | soundfile.SoundFile:
    """Opens a file of a format that `format_of` named.

    InputError: truncated, or unreadable, for instance as no decoder is installed.
    """
    how = decoder()
    if how is None:
        detail = f"a file of the format {name}, which soundfile does not decode; {ADVICE}"
        raise InputError("unreadable", str(path), detail)
    return Decoded(path, name) if how == "PyAV" else by_ffmpeg(path, name)


class Decoded:
    """A file that PyAV decodes, as soundfile's `SoundFile`, as far as that is needed here."""

    def __init__(self, path: Path, name: str) -> None:
        import av  # an extra

        self._errors = (av.FFmpegError, ValueError, OSError)
        self._path, self._is_headerless = path, name in HEADERLESS
        try:
            self._container = av.open(str(path.absolute()), format=name)
            streams = self._container.streams.audio
            if not streams or streams[0].codec_context is None:
                raise InputError("unreadable", str(path), f"no audio in a file of format {name}")
            self._stream = streams[0]
            self._stream.codec_context.thread_count = 1  # files are decoded beside each other
            # A header of HE-AAC states half the rate, and not always the channels.
            first = next(self._container.decode(self._stream))
            self.samplerate: int = first.sample_rate
            self.channels: int = first.layout.nb_channels
            self._resampler = av.AudioResampler(format="fltp")
            self.frames = self._count()
        except StopIteration:
            detail = f"no samples in a file of format {name}"
            raise InputError("unreadable", str(path), detail) from None
        except self._errors as error:
            raise InputError("unreadable", str(path), _plain(error)) from None
        self._left = np.empty((0, self.channels), np.float32)
        self._blocks = self._decode(0)

    def _count(self) -> int:
        """Samples by the lengths of all packets, which are read and not decoded."""
        self._container.seek(0)
        base = float(self._stream.time_base or 0)
        times = [
            (packet.pts, packet.duration or 0)
            for packet in self._container.demux(self._stream)
            if packet.pts is not None
        ]
        held = sum(duration for _, duration in times) * base
        # Matroska rounds each length down to a millisecond; without gaps, first and last tell more,
        # but for the millisecond of the last.
        spanned = base * (times[-1][0] + times[-1][1] - times[0][0]) if times else 0.0
        spanned += max(0.0, base - 1 / self.samplerate)
        if held >= LEAST_HELD * spanned:
            held = max(held, spanned)
        declared = 0.0 if self._is_headerless else (self._stream.duration or 0) * base
        self._container.seek(0)
        if declared and held < LEAST_HELD * declared:
            detail = f"{held:.1f} of {declared:.1f} s that its header declares"
            raise InputError("truncated", str(self._path), detail)
        return math.floor((held or declared) * self.samplerate)

    def _decode(self, first: int) -> Iterator[NDArray[np.float32]]:
        """All samples from the one with a number, in blocks (n, channels)."""
        at: int | None = None if first else 0
        for frame in self._container.decode(self._stream):
            if at is None:
                base = float(self._stream.time_base or 0)
                start = float(self._stream.start_time or 0)
                at = round(((frame.pts or 0) - start) * base * self.samplerate)
            for part in self._resampler.resample(frame):
                block = np.ascontiguousarray(part.to_ndarray().T, np.float32)
                skipped = min(max(first - at, 0), len(block))
                at += len(block)
                if skipped < len(block):
                    yield block[skipped:]

    def seekable(self) -> bool:
        return True

    def seek(self, n_samples: int) -> int:
        """Goes on with the sample of a number."""
        self._left = self._left[:0]
        first_s = max(0.0, n_samples / self.samplerate - PREROLL_S)
        try:
            base = float(self._stream.time_base or 0)
            start = self._stream.start_time or 0
            self._container.seek(start + int(first_s / base), stream=self._stream)
        except self._errors as error:
            raise RuntimeError(_plain(error)) from None
        self._blocks = self._decode(n_samples)
        return n_samples

    def read(
        self, n_samples: int, *, out: NDArray[np.float32], **how: object
    ) -> NDArray[np.float32]:
        """The next samples, (n, channels), in `out`; fewer at the end."""
        del how  # dtype and always_2d, which are as they are
        filled = 0
        try:
            while filled < n_samples:
                if not len(self._left):
                    block = next(self._blocks, None)
                    if block is None:
                        break
                    self._left = block
                n = min(n_samples - filled, len(self._left))
                out[filled : filled + n] = self._left[:n]
                self._left, filled = self._left[n:], filled + n
        except self._errors as error:
            raise RuntimeError(_plain(error)) from None
        return out[:filled]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._container.close()


def _plain(error: BaseException) -> str:
    text: Any = getattr(error, "strerror", None) or error
    return str(text)


def by_ffmpeg(path: Path, name: str) -> soundfile.SoundFile:
    """Has ffmpeg decode a file into a temporary one, which vanishes when it is closed."""
    with tempfile.TemporaryDirectory(prefix="mmgenre-") as folder:
        decoded = Path(folder) / "decoded.w64"
        command = [
            *("ffmpeg", "-nostdin", "-v", "error", "-xerror", "-protocol_whitelist", "file"),
            *("-f", name, "-i", f"file:{path.absolute()}", "-map", "0:a:0", "-threads", "1"),
            *("-c:a", "pcm_f32le", "-f", "w64", str(decoded)),
        ]
        try:
            done = subprocess.run(
                command, check=False, capture_output=True, text=True, timeout=FFMPEG_S
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise InputError("unreadable", str(path), f"ffmpeg: {error}") from None
        if done.returncode or not decoded.is_file():
            said = " ".join(done.stderr.split())[-300:] or f"exit code {done.returncode}"
            raise InputError("unreadable", str(path), f"ffmpeg: {said}")
        return soundfile.SoundFile(decoded)
