"""Nothing raw on stderr: what libmpg123 prints is not shown, what others write is."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mmgenre.audio.decoder_lines import without_decoder_lines
from mmgenre.audio.decoding import load_audio
from mmgenre.audio.settings import AudioInput

RATE_HZ = 22_050


def test_a_decoder_that_prints_is_not_heard(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.mp3"
    noise = np.random.default_rng(0).uniform(-1, 1, 10 * RATE_HZ)
    # Frames borrow bits of those before, which are not there after a jump.
    soundfile.write(path, noise, RATE_HZ, bitrate_mode="VARIABLE", compression_level=0.5)
    excerpts = np.linspace(2, 8, 13).tolist()
    for seconds in excerpts:
        with soundfile.SoundFile(path) as file:
            file.seek((file.frames - round(seconds * RATE_HZ)) // 2)
            file.read(1000)
    assert "libmpg123" in capfd.readouterr().err  # else there is nothing to be silent about
    for seconds in excerpts:
        load_audio(path, AudioInput(excerpt_s=seconds))
    assert capfd.readouterr().err == ""


def test_what_others_write_meanwhile_comes_after(capfd: pytest.CaptureFixture[str]) -> None:
    with without_decoder_lines():
        os.write(2, b"progress: 1 of 2\n")
        with without_decoder_lines():
            os.write(2, b"[src/libmpg123/layer3.c:INT123_do_layer3():1774] error: too large\n")
        os.write(2, b"progress: 2 of 2\n")
        assert capfd.readouterr().err == ""
    assert capfd.readouterr().err == "progress: 1 of 2\nprogress: 2 of 2\n"
    os.write(2, b"and on\n")
    assert capfd.readouterr().err == "and on\n"


def test_stderr_returns_after_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError), without_decoder_lines():
        raise RuntimeError
    os.write(2, b"here\n")
    assert capfd.readouterr().err == "here\n"


def test_a_closed_stderr_is_no_fault() -> None:
    kept = os.dup(2)
    os.close(2)
    try:
        with without_decoder_lines():
            pass
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(2)
    finally:
        os.dup2(kept, 2)
        os.close(kept)
