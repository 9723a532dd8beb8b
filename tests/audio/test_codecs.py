"""AAC, ALAC, WMA and others: by PyAV as soundfile decodes the rest, by ffmpeg, or refused whole."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from coded import RATE_HZ, encode
from numpy.typing import NDArray

from mmgenre.audio import codecs
from mmgenre.audio.decoding import load_audio, open_excerpt
from mmgenre.audio.settings import SAMPLE_RATE_HZ, AudioInput
from mmgenre.errors import InputError

FORMATS = {"aac": ".m4a", "alac": ".m4a", "wmav2": ".wma", "wavpack": ".wv", "tta": ".tta"}
FORMATS |= {"pcm_s16le": ".mka", "ac3": ".ac3"}
LOSSLESS = ("alac", "tta", "pcm_s16le")


def steps(seconds: float) -> NDArray[np.int16]:
    """A tone that is 100 Hz higher every second, so that every place sounds unlike others."""
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    phase = 2 * np.pi * np.cumsum(300 + 100 * np.floor(t)) / RATE_HZ
    return (8000 * np.sin(phase)).astype(np.int16)


def hz_at(samples: NDArray[np.floating], second: float) -> float:
    part = samples[round(second * SAMPLE_RATE_HZ) :][: SAMPLE_RATE_HZ // 2]
    return float(np.abs(np.fft.rfft(part * np.hanning(len(part)))).argmax() * 2)


@pytest.mark.parametrize("codec", FORMATS)
def test_decoded_as_soundfile_decodes_the_same_samples(tmp_path: Path, codec: str) -> None:
    samples = steps(6)
    soundfile.write(tmp_path / "a.wav", samples, RATE_HZ)
    path = encode(tmp_path / f"a{FORMATS[codec]}", codec, samples)
    found, wanted = load_audio(path), load_audio(tmp_path / "a.wav")
    # Lossy codecs pad the last frame.
    assert abs(len(found) - len(wanted)) < 0.06 * SAMPLE_RATE_HZ
    assert hz_at(found, 3.2) == pytest.approx(600, abs=4)
    if codec in LOSSLESS:
        assert np.abs(found[: len(wanted)] - wanted).max() < 1e-4


@pytest.mark.parametrize("codec", ["aac", "alac"])
def test_the_middle_of_a_long_file_is_sought(tmp_path: Path, codec: str) -> None:
    path = encode(tmp_path / "a.m4a", codec, steps(30))
    middle = load_audio(path, AudioInput(excerpt_s=4.0))
    assert len(middle) == 4 * SAMPLE_RATE_HZ
    assert [hz_at(middle, s + 0.2) for s in range(4)] == pytest.approx(
        [300 + 100 * (13 + s) for s in range(4)], abs=4
    )


def test_a_stream_without_a_header(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.aac", "aac", steps(5), "adts")
    path.write_bytes(b"ID3\4\0\0\0\0\0\x0a" + bytes(10) + path.read_bytes())
    assert len(load_audio(path)) == pytest.approx(5 * SAMPLE_RATE_HZ, rel=0.02)


def test_a_guessed_length_refuses_nothing(tmp_path: Path) -> None:
    """Silent, then loud: by its first bit rate the stream would be far longer than it is."""
    loud = np.random.default_rng(0).integers(-20_000, 20_000, RATE_HZ).astype(np.int16)
    sound = np.concatenate([np.zeros(9 * RATE_HZ, np.int16), loud])
    path = encode(tmp_path / "a.aac", "aac", sound, "adts")
    assert len(load_audio(path)) == pytest.approx(10 * SAMPLE_RATE_HZ, rel=0.02)


def test_the_content_decides_and_not_the_name(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.m4a", "aac", steps(2))
    assert len(load_audio(path.rename(tmp_path / "a.mp3"))) > SAMPLE_RATE_HZ
    soundfile.write(tmp_path / "b.wav", steps(2), RATE_HZ)
    assert codecs.format_of(tmp_path / "b.wav") is None
    assert len(load_audio((tmp_path / "b.wav").rename(tmp_path / "b.m4a"))) > SAMPLE_RATE_HZ


def test_cut_and_damaged_files_are_refused(tmp_path: Path) -> None:
    data = encode(tmp_path / "a.wma", "wmav2", steps(20)).read_bytes()
    (tmp_path / "cut.wma").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="truncated"):
        load_audio(tmp_path / "cut.wma")
    head = encode(tmp_path / "a.m4a", "aac", steps(5)).read_bytes()[:2000]
    (tmp_path / "head.m4a").write_bytes(head)
    with pytest.raises(InputError) as caught:
        load_audio(tmp_path / "head.m4a")
    assert caught.value.code in ("unreadable", "truncated")


def test_playlists_open_nothing(tmp_path: Path) -> None:
    """FFmpeg, left to guess, would read what a playlist names."""
    soundfile.write(tmp_path / "secret.wav", steps(3), RATE_HZ)
    for text in (
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:3,\nsecret.wav\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile secret.wav\n",
    ):
        (tmp_path / "list.m4a").write_text(text)
        with pytest.raises(InputError, match="unreadable"):
            open_excerpt(tmp_path / "list.m4a", AudioInput())


def test_without_any_decoder_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = encode(tmp_path / "a.m4a", "aac", steps(2))
    monkeypatch.setattr(codecs, "decoder", lambda: None)
    with pytest.raises(InputError, match=r"install mmgenre\[codecs\] \(PyAV\), or ffmpeg"):
        load_audio(path)


def stub_ffmpeg(folder: Path, script: str) -> None:
    folder.mkdir()
    (folder / "ffmpeg").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "ffmpeg").chmod(0o755)


def test_the_command_line_of_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stub stands for ffmpeg, which this machine lacks: it notes its arguments and copies."""
    path = encode(tmp_path / "a;b's.m4a", "aac", steps(2))
    soundfile.write(tmp_path / "decoded.w64", steps(2), RATE_HZ, subtype="FLOAT")
    noted = tmp_path / "arguments"
    script = (
        f'printf "%s\\n" "$@" > {noted}; for last; do :; done; cp {tmp_path}/decoded.w64 "$last"'
    )
    stub_ffmpeg(tmp_path / "bin", script)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(codecs, "find_spec", lambda name: None)
    assert codecs.decoder() == "ffmpeg"
    assert len(load_audio(path)) == 2 * SAMPLE_RATE_HZ
    given = noted.read_text().splitlines()
    assert given[given.index("-f") + 1] == "mov"
    assert given[given.index("-i") + 1] == f"file:{path}"
    assert given[given.index("-protocol_whitelist") + 1] == "file"


def test_what_ffmpeg_says_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = encode(tmp_path / "a.m4a", "aac", steps(2))
    stub_ffmpeg(tmp_path / "bin", "echo moov atom not found >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(codecs, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="ffmpeg: moov atom not found"):
        load_audio(path)
