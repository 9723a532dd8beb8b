"""Files whose headers do not say how long they are, or say it wrongly; joined parts."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from mmgenre.audio import mpeg
from mmgenre.audio.decoding import load_audio
from mmgenre.audio.settings import SAMPLE_RATE_HZ, AudioInput
from mmgenre.errors import InputCode, InputError

RATE_HZ = 44_100
Samples = NDArray[np.float64]


def tone(hz: float, seconds: float, rate_hz: int = RATE_HZ) -> Samples:
    return 0.3 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)


def loud_then_tones() -> Samples:
    """Noise needs a high bit rate and tones a low one: 2 s, then 4 s of 500 Hz, 4 s of 2000 Hz."""
    noise = np.random.default_rng(0).uniform(-0.6, 0.6, 2 * RATE_HZ)
    return np.concatenate([noise, tone(500, 4), tone(2000, 4)])


def loudest_hz(samples: NDArray[np.floating]) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * SAMPLE_RATE_HZ / len(samples))


def mp3(path: Path, samples: Samples, *, rate_hz: int = RATE_HZ) -> bytes:
    mode = {"bitrate_mode": "VARIABLE", "compression_level": 0.2}
    soundfile.write(path, samples, rate_hz, format="MP3", **mode)
    return path.read_bytes()


def without_tag(mp3_file: bytes) -> bytes:
    return mp3_file[mpeg._size(mp3_file, 0) :]


def refused(path: Path, code: InputCode, match: str) -> None:
    with pytest.raises(InputError, match=match) as caught:
        load_audio(path)
    assert (caught.value.code, caught.value.where) == (code, str(path))


@pytest.mark.parametrize("reverse", [False, True])
def test_variable_bit_rates_without_a_count_are_read_whole(tmp_path: Path, reverse: bool) -> None:
    path = tmp_path / "x.mp3"
    samples = loud_then_tones()
    path.write_bytes(without_tag(mp3(path, samples[::-1] if reverse else samples)))
    assert soundfile.info(path).duration != pytest.approx(10, rel=0.1)  # what its header lets guess
    assert len(load_audio(path)) == pytest.approx(10 * SAMPLE_RATE_HZ, rel=0.01)
    # The middle 2 s of 10 s lie within 500 Hz, or, from the end, at its border.
    middle = load_audio(path, AudioInput(excerpt_s=2.0))
    assert len(middle) == 2 * SAMPLE_RATE_HZ
    assert loudest_hz(middle) == pytest.approx(500, abs=1)


def test_a_count_that_is_wrong_does_not_shorten(tmp_path: Path) -> None:
    path = tmp_path / "x.mp3"
    data = bytearray(mp3(path, loud_then_tones()))
    at = data.index(b"Xing") + 8
    for n_frames in (40, 4_000_000):
        data[at : at + 4] = struct.pack(">I", n_frames)
        path.write_bytes(data)
        assert len(load_audio(path)) == pytest.approx(10 * SAMPLE_RATE_HZ, rel=0.01)


def test_joined_mp3_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.mp3"
    first, second = mp3(path, tone(500, 3)), mp3(path, tone(2000, 9))
    tag = b"ID3\x04\0\0" + bytes([0, 0, 40, 0]) + bytes(np.random.default_rng(1).bytes(40 << 7))
    path.write_bytes(first + tag + second + b"TAG" + bytes(125))
    samples = load_audio(path)
    assert len(samples) == pytest.approx(12 * SAMPLE_RATE_HZ, rel=0.02)
    assert loudest_hz(samples[: 2 * SAMPLE_RATE_HZ]) == pytest.approx(500, abs=1)
    assert loudest_hz(samples[-8 * SAMPLE_RATE_HZ :]) == pytest.approx(2000, abs=1)


def test_joined_parts_of_other_rates_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.mp3"
    path.write_bytes(mp3(path, tone(500, 3)) + mp3(path, tone(500, 3, 48_000), rate_hz=48_000))
    refused(path, "unreadable", "joined from parts of 44100 Hz and 48000 Hz")
    path = tmp_path / "x.ogg"
    soundfile.write(path, tone(500, 3), RATE_HZ)
    first = path.read_bytes()
    soundfile.write(path, tone(500, 3, 48_000), 48_000)
    path.write_bytes(first + path.read_bytes())
    refused(path, "unreadable", r"joined from parts of 1 channel\(s\) at 44100 Hz and 1 channel")


def test_an_mp3_with_a_hole_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.mp3"
    data = without_tag(mp3(path, loud_then_tones()))
    third = len(data) // 3
    path.write_bytes(data[:third] + bytes(third) + data[2 * third :])
    refused(path, "truncated", "bytes where frames should be")
    path.write_bytes(data[:third] + bytes(2 * third))
    refused(path, "truncated", "bytes where frames should be")


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_chained_ogg_is_read_whole(tmp_path: Path, subtype: str) -> None:
    path, rate_hz = tmp_path / "x.ogg", 48_000
    links = []
    for hz, seconds in ((500, 3), (1000, 3), (2000, 6)):
        soundfile.write(path, tone(hz, seconds, rate_hz), rate_hz, format="OGG", subtype=subtype)
        links.append(path.read_bytes())
    path.write_bytes(b"".join([*links, links[0]]))  # also one that is there twice
    samples = load_audio(path)
    assert len(samples) == pytest.approx(15 * SAMPLE_RATE_HZ, rel=0.01)
    for start_s, hz in ((0, 500), (3, 1000), (6, 2000), (12, 500)):
        part = samples[start_s * SAMPLE_RATE_HZ :][SAMPLE_RATE_HZ // 2 : 2 * SAMPLE_RATE_HZ]
        assert loudest_hz(part) == pytest.approx(hz, abs=2)
    middle = load_audio(path, AudioInput(excerpt_s=5.0))  # 5 s to 10 s
    assert len(middle) == 5 * SAMPLE_RATE_HZ
    assert loudest_hz(middle[: SAMPLE_RATE_HZ // 2]) == pytest.approx(1000, abs=3)
    assert loudest_hz(middle[2 * SAMPLE_RATE_HZ :]) == pytest.approx(2000, abs=2)


def test_flac_without_a_length_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.flac"
    values = np.random.default_rng(2).integers(-9000, 9000, 10 * SAMPLE_RATE_HZ).astype(np.int16)
    soundfile.write(path, values, SAMPLE_RATE_HZ)
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0
    data[22:26] = bytes(4)  # as of a file that was written to a pipe
    path.write_bytes(data)
    expected = values.astype(np.float32) / 32_768
    np.testing.assert_array_equal(load_audio(path), expected)
    start, n = round(3.5 * SAMPLE_RATE_HZ), 3 * SAMPLE_RATE_HZ
    middle = load_audio(path, AudioInput(excerpt_s=3.0))
    np.testing.assert_array_equal(middle, expected[start : start + n])


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFF000, 0x80000000])
def test_wav_without_a_length_is_read_whole(tmp_path: Path, size: int) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, tone(500, 3), RATE_HZ)
    data = bytearray(path.read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = struct.pack("<I", size)
    path.write_bytes(data)
    assert len(load_audio(path)) == 3 * SAMPLE_RATE_HZ


@pytest.mark.parametrize(
    ("name", "format_name", "subtype", "code"),
    [
        ("x.wav", "WAV", "PCM_16", "truncated"),
        ("x.wav", "WAV", "MS_ADPCM", "truncated"),
        ("x.aiff", "AIFF", "PCM_16", "truncated"),
        ("x.au", "AU", "PCM_16", "truncated"),
        ("x.w64", "W64", "PCM_16", "truncated"),
        ("x.rf64", "RF64", "PCM_16", "truncated"),
        ("x.caf", "CAF", "PCM_16", "unreadable"),
        ("x.ogg", "OGG", "VORBIS", "truncated"),
        ("x.opus", "OGG", "OPUS", "truncated"),
        ("x.mp3", "MP3", "MPEG_LAYER_III", "truncated"),
        ("x.flac", "FLAC", "PCM_16", "truncated"),
    ],
)
@pytest.mark.parametrize("share", [0.2, 0.9])
def test_a_file_that_was_cut_is_refused(
    tmp_path: Path, name: str, format_name: str, subtype: str, code: InputCode, share: float
) -> None:
    path = tmp_path / name
    noise = np.random.default_rng(3).uniform(-0.3, 0.3, 20 * 16_000)
    soundfile.write(path, noise, 16_000, format=format_name, subtype=subtype)
    assert len(load_audio(path)) == pytest.approx(20 * SAMPLE_RATE_HZ, rel=0.01)
    data = path.read_bytes()
    path.write_bytes(data[: round(share * len(data))])
    with pytest.raises(InputError) as caught:
        load_audio(path)
    assert caught.value.code in (code, "unreadable" if format_name == "FLAC" else code)


def test_a_little_less_than_declared_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, tone(500, 3), RATE_HZ)
    path.write_bytes(path.read_bytes()[:-100])
    assert len(load_audio(path)) == pytest.approx(3 * SAMPLE_RATE_HZ, abs=30)


# Offsets of the header's fields, with what they lie about.
@pytest.mark.parametrize(
    ("at", "lie"),
    [
        (22, struct.pack("<H", 2)),  # channels
        (24, struct.pack("<I", 4)),  # Hz
        (24, struct.pack("<I", 22_050)),
        (32, struct.pack("<H", 4)),  # bytes of a sample of all channels
        (34, struct.pack("<H", 8)),  # bits
        (34, struct.pack("<H", 24)),
    ],
)
def test_a_header_that_contradicts_itself_is_refused(tmp_path: Path, at: int, lie: bytes) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, tone(500, 3), RATE_HZ)
    data = bytearray(path.read_bytes())
    data[at : at + len(lie)] = lie
    path.write_bytes(data)
    refused(path, "unreadable", "its header contradicts itself: ")


@pytest.mark.parametrize("rate_hz", [4, 3_999, 800_000])
def test_an_impossible_sampling_rate_is_refused(tmp_path: Path, rate_hz: int) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, np.random.default_rng(4).uniform(-1, 1, 50_000), rate_hz)
    refused(path, "unreadable", f"a sampling rate of {rate_hz} Hz; allowed: 4000 to 768000")


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW"])
@pytest.mark.parametrize("format_name", ["WAV", "WAVEX"])
def test_every_width_of_sample_is_read(tmp_path: Path, subtype: str, format_name: str) -> None:
    path = tmp_path / "x.wav"
    stereo = np.stack([tone(500, 2)] * 2, axis=1)
    soundfile.write(path, stereo, RATE_HZ, format=format_name, subtype=subtype)
    assert loudest_hz(load_audio(path)) == pytest.approx(500, abs=1)


@pytest.mark.realdata
def test_real_files_are_as_long_as_they_say(real_data: Path) -> None:
    counted: Callable[[Path, int], object] = mpeg.with_true_count
    paths = sorted((real_data / "real" / "audio").glob("*.mp3"))
    assert len(paths) == 20
    for path in paths:
        n_samples = soundfile.info(path).frames
        assert counted(path, n_samples) is None
        assert counted(path, n_samples // 2) is not None


def test_only_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "s.wav"))
        refused(tmp_path, "unreadable", "a folder and no file")
        refused(tmp_path / "pipe.wav", "unreadable", "a named pipe and no file")
        refused(tmp_path / "s.wav", "unreadable", "a socket and no file")
        refused(Path("/dev/zero"), "unreadable", "a device and no file")
        refused(tmp_path / "pipe.wav" / "x.wav", "missing", "no such file")


def test_samples_without_a_header_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.RAW"
    soundfile.write(path, tone(500, 2), RATE_HZ, format="WAV")
    refused(path, "unreadable", "samples without a header, by its name")
