"""Windows of a track: where they lie in the file, and what a row without one holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mmgenre.audio.kind import read
from mmgenre.audio.pieces import MOST, PIECES
from mmgenre.audio.settings import AudioInput

RATE_HZ = 22_050


def noise(path: Path, seconds: float) -> Path:
    rng = np.random.default_rng(0)
    soundfile.write(path, 0.1 * rng.standard_normal(int(seconds * RATE_HZ)), RATE_HZ)
    return path


def test_windows_are_of_the_file_and_not_of_the_excerpt(tmp_path: Path) -> None:
    file, config = noise(tmp_path / "a.wav", 20), AudioInput(excerpt_s=8)
    row = read([file], config, "a#0")
    windows = PIECES.of([(row, config)], [file], 1)
    assert len(windows) == 7
    assert windows[0].start_s == pytest.approx(6, abs=0.1)
    assert windows[-1].end_s == pytest.approx(14, abs=0.1)
    for k, window in enumerate(windows):
        assert window.end_s - window.start_s == pytest.approx(2, abs=0.1)
        without = PIECES.without(row, config, (window,))
        assert without.shape == row.shape
        changed = np.flatnonzero((without != row).any(axis=1)) / len(row)
        assert (changed.min(), changed.max()) == pytest.approx((k / 8, (k + 2) / 8), abs=0.02)


def test_what_is_around_a_window_is_mirrored_into_it() -> None:
    row, config = np.arange(8 * 22, dtype=np.float16)[:, None].repeat(96, 1), AudioInput()
    windows = PIECES.of([(row, config)], [], 1)
    found = [PIECES.without(row, config, (window,))[:, 0].tolist() for window in windows]
    start, end = (round(t * 22_050 / 1024) for t in (windows[2].start_s, windows[2].end_s))
    half = (end - start + 1) // 2
    frames = row[:, 0].tolist()
    mirrored = frames[start - half : start][::-1] + frames[end : end + (end - start) // 2][::-1]
    assert found[2] == frames[:start] + mirrored + frames[end:]
    first = round(windows[0].end_s * 22_050 / 1024)
    assert found[0] == frames[first : 2 * first][::-1] + frames[first:]
    last = round(windows[-1].start_s * 22_050 / 1024)
    assert found[-1] == frames[:last] + frames[2 * last - len(row) : last][::-1]


def test_a_longer_and_a_shorter_row_of_a_track_share_its_windows(tmp_path: Path) -> None:
    file, whole, middle = noise(tmp_path / "a.wav", 20), AudioInput(), AudioInput(excerpt_s=8)
    rows = [(read([file], config, "a#0"), config) for config in (whole, middle)]
    windows = PIECES.of(rows, [file], 1)
    assert len(windows) == 19
    at_start = windows[0]
    assert (PIECES.without(*rows[0], (at_start,)) != rows[0][0]).any()
    assert (PIECES.without(*rows[1], (at_start,)) == rows[1][0]).all()  # it does not hold these
    assert (PIECES.without(*rows[1], (windows[9],)) != rows[1][0]).any()
    everything = replace(windows[0], start_s=0, end_s=20)
    assert np.ptp(PIECES.without(*rows[1], (everything,)), axis=0).max() == 0


def test_a_short_track_has_three_windows_and_a_long_album_not_too_many() -> None:
    config = AudioInput()
    short, long = (np.zeros((n, 96), np.float16) for n in (22, 6400))
    assert len(PIECES.of([(short, config)], ["a"], 1)) == 3
    assert len(PIECES.of([(long, config)], ["a"], 1)) == MOST
    assert len(PIECES.of([(long, config)], ["a"], 15)) == MOST // 15


def test_a_summary_has_no_seconds() -> None:
    assert not PIECES.divides(AudioInput(features="timbre"))
    assert PIECES.divides(AudioInput())
