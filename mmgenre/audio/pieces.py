"""Seconds of a track, and the track without some of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmgenre.audio.settings import HOP_SAMPLES, SAMPLE_RATE_HZ, AudioInput
from mmgenre.learning.kind import Pieces

Row = NDArray[Any]  # log CQT (frames, 96), or samples for a frozen model (n,)
WINDOW_S = 2.0
MOST, MOST_BY_MODEL = 60, 10  # windows of an item; a frozen model takes longer for each


@dataclass(frozen=True)
class Window:
    """A part of a track. Rows hold the middle of the track, whatever their lengths."""

    start_s: float
    end_s: float
    middle_s: float  # of the track


def _windows_of(
    rows: Sequence[tuple[Row, AudioInput]], media: Sequence[Path | str], n_tracks: int
) -> list[Window]:
    """Windows of about `WINDOW_S` that cover what was read of a track, at least three.

    Each begins in the middle of the one before, so that what is shorter than half a window is whole
    in one of them. InputError: the file is no longer there.
    """
    lengths = [len(row) / _rate_hz(reads) for row, reads in rows]
    longest_s = max(lengths)
    is_cut = any(s > reads.excerpt_s - 0.5 for s, (_, reads) in zip(lengths, rows, strict=True))
    track_s = max(longest_s, _length_s(Path(media[0]))) if is_cut else longest_s
    most = MOST if all(reads.frozen is None for _, reads in rows) else MOST_BY_MODEL
    n = max(3, min(round(2 * longest_s / WINDOW_S) - 1, most // n_tracks))
    edges = ((track_s - longest_s) / 2 + np.linspace(0, longest_s, n + 2)).tolist()
    return [Window(a, b, track_s / 2) for a, b in zip(edges, edges[2:], strict=False)]


def _without(row: Row, reads: AudioInput, windows: Sequence[Window]) -> Row:
    """The row in which what is before and after a window is mirrored into it.

    The rest stays where it is, so that patches of encoders do not move. Silence, or the mean, would
    be a sound of its own: statistics of change and rhythm would see nothing but that.
    """
    [window] = windows
    rate_hz, n = _rate_hz(reads), len(row)
    first_s = window.middle_s - n / rate_hz / 2
    start, end = (
        min(n, max(0, round((t - first_s) * rate_hz))) for t in (window.start_s, window.end_s)
    )
    if end - start == n:  # of the whole track there is more, of this row nothing
        return np.broadcast_to(row.mean(axis=0, dtype=np.float32), row.shape).astype(row.dtype)
    after = 0 if end == n else end - start if start == 0 else (end - start) // 2
    flat = [(0, 0)] * (row.ndim - 1)
    parts = []
    if start:
        parts.append(np.pad(row[:start], [(0, end - start - after), *flat], "symmetric"))
    if end < n:
        parts.append(np.pad(row[end:], [(after, 0), *flat], "symmetric"))
    return np.concatenate(parts)


def _rate_hz(reads: AudioInput) -> float:
    """Frames or samples of a row in a second."""
    if reads.frozen is None:
        return SAMPLE_RATE_HZ / HOP_SAMPLES
    from mmgenre.frozen.models import load_model  # imports torch

    return float(load_model(reads.frozen, "audio").rate_hz)


def _length_s(path: Path) -> float:
    """The length of a file."""
    from mmgenre.audio.files import open_audio  # and with it a decoder
    from mmgenre.disk.files import check_file

    check_file(path)
    audio = open_audio(path)
    for part in audio.parts:
        with part:
            pass  # closed
    return audio.n_samples / audio.rate_hz


PIECES = Pieces(
    of=_windows_of,
    without=_without,
    divides=lambda reads: reads.frozen is not None or reads.features == "cqt",
)
