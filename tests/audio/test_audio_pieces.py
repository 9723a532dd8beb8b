"""Windows of a track: where they lie in the file, and what a row without one holds."""

from __future__ import annotations

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
    assert len(windows) == 4
    assert windows[0].start_s == pytest.approx(6, abs=0.1)
    assert windows[-1].end_s == pytest.approx(14, abs=0.1)
    for k, window in enumerate(windows):
        without = PIECES.without(row, config, window)
        changed = np.flatnonzero((without != row).any(axis=1)) / len(row)
        assert (changed.min(), changed.max()) == pytest.approx((k / 4, (k + 1) / 4), abs=0.02)
        np.testing.assert_allclose(
            without[int((k + 0.5) / 4 * len(row))], row.mean(axis=0, dtype="f4"), atol=0.05
        )


def test_a_longer_and_a_shorter_row_of_a_track_share_its_windows(tmp_path: Path) -> None:
    file, whole, middle = noise(tmp_path / "a.wav", 20), AudioInput(), AudioInput(excerpt_s=8)
    rows = [(read([file], config, "a#0"), config) for config in (whole, middle)]
    windows = PIECES.of(rows, [file], 1)
    assert len(windows) == 10
    at_start = windows[0]
    assert (PIECES.without(*rows[0], at_start) != rows[0][0]).any()
    assert (PIECES.without(*rows[1], at_start) == rows[1][0]).all()  # it does not hold these
    assert (PIECES.without(*rows[1], windows[5]) != rows[1][0]).any()


def test_a_short_track_has_two_windows_and_a_long_album_not_too_many() -> None:
    config = AudioInput()
    short, long = (np.zeros((n, 96), np.float16) for n in (22, 6400))
    assert len(PIECES.of([(short, config)], ["a"], 1)) == 2
    assert len(PIECES.of([(long, config)], ["a"], 1)) == MOST
    assert len(PIECES.of([(long, config)], ["a"], 15)) == MOST // 15


def test_a_summary_has_no_seconds() -> None:
    assert not PIECES.divides(AudioInput(features="timbre"))
    assert PIECES.divides(AudioInput())
