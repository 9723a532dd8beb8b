"""Audio files of every kind, sound and damaged, through `load_audio`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from mmgenre.audio.cqt import load_log_cqt
from mmgenre.audio.decoding import load_audio, mixdown
from mmgenre.audio.settings import SAMPLE_RATE_HZ, AudioInput
from mmgenre.errors import InputError

Samples = NDArray[np.float64]


def tone(hz: float, seconds: float, rate_hz: int, peak: float = 0.5) -> Samples:
    return peak * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)


def noise(seconds: float, rate_hz: int, peak: float = 0.5) -> Samples:
    n = round(seconds * rate_hz)
    return peak * np.random.default_rng(0).uniform(-1, 1, n)


def loudest_hz(samples: NDArray[np.floating]) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * SAMPLE_RATE_HZ / len(samples))


def code_of(path: Path, config: AudioInput | None = None) -> str:
    with pytest.raises(InputError) as caught:
        load_audio(path, config)
    assert str(path) in str(caught.value)
    return caught.value.code


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
@pytest.mark.parametrize("rate_hz", [8_000, 22_050, 44_100, 48_000, 96_000])
def test_a_tone_keeps_its_frequency_level_and_length(
    tmp_path: Path, suffix: str, rate_hz: int
) -> None:
    if suffix == "mp3" and rate_hz == 96_000:
        rate_hz = 32_000  # mp3 knows no 96 kHz
    path = tmp_path / f"tone.{suffix}"
    soundfile.write(path, tone(1000, 2, rate_hz), rate_hz)
    samples = load_audio(path)
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    assert len(samples) == pytest.approx(2 * SAMPLE_RATE_HZ, abs=2)
    assert loudest_hz(samples) == pytest.approx(1000, abs=1)
    middle = samples[len(samples) // 4 : 3 * len(samples) // 4]
    assert np.abs(middle).max() == pytest.approx(0.5, rel=0.15)


def test_resampling_lets_no_alias_through(tmp_path: Path) -> None:
    path = tmp_path / "high.wav"
    # 15 kHz would fold to 7050 Hz.
    soundfile.write(path, tone(15_000, 2, 44_100) + tone(500, 2, 44_100, 0.1), 44_100)
    assert loudest_hz(load_audio(path)[2000:-2000]) == pytest.approx(500, abs=1)


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_channels_are_averaged(tmp_path: Path, channels: int) -> None:
    path = tmp_path / "channels.wav"
    parts = np.random.default_rng(1).uniform(-0.5, 0.5, (SAMPLE_RATE_HZ, channels))
    soundfile.write(path, parts, SAMPLE_RATE_HZ, subtype="FLOAT")
    expected = parts.astype(np.float32).astype(np.float64).mean(axis=1)
    np.testing.assert_allclose(load_audio(path), expected, atol=1e-7)


def test_mixdown_of_one_channel_is_that_channel() -> None:
    samples = np.arange(5, dtype=np.float32)[:, None]
    np.testing.assert_array_equal(mixdown(samples), samples[:, 0])


def test_the_middle_of_a_long_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    values = np.random.default_rng(2).integers(-20_000, 20_000, 10 * SAMPLE_RATE_HZ)
    soundfile.write(path, values.astype(np.int16), SAMPLE_RATE_HZ)
    start, n = round(3.5 * SAMPLE_RATE_HZ), 3 * SAMPLE_RATE_HZ
    expected = values[start : start + n].astype(np.float32) / 32_768
    np.testing.assert_array_equal(load_audio(path, AudioInput(excerpt_s=3.0)), expected)


@pytest.mark.parametrize("suffix", ["mp3", "ogg", "flac"])
def test_the_middle_of_a_compressed_file_is_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"long.{suffix}"
    parts = [tone(hz, 3, 44_100) for hz in (440, 1000, 3000)]
    soundfile.write(path, np.concatenate(parts), 44_100)
    samples = load_audio(path, AudioInput(excerpt_s=2.0))
    assert len(samples) == 2 * SAMPLE_RATE_HZ
    assert loudest_hz(samples) == pytest.approx(1000, abs=1)


def test_a_file_as_long_as_the_excerpt_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "exact.wav"
    soundfile.write(path, noise(2, SAMPLE_RATE_HZ), SAMPLE_RATE_HZ)
    assert len(load_audio(path, AudioInput(excerpt_s=2.0))) == 2 * SAMPLE_RATE_HZ


def test_silence_is_refused_and_the_faintest_sound_is_not(tmp_path: Path) -> None:
    path = tmp_path / "faint.wav"
    for peak, silent in ((0.0, True), (0.9e-4, True), (1.2e-4, False)):
        soundfile.write(path, noise(2, SAMPLE_RATE_HZ, peak), SAMPLE_RATE_HZ, subtype="FLOAT")
        if silent:
            assert code_of(path) == "silent"
        else:
            assert 1.1e-4 < np.abs(load_audio(path)).max() < 1.2e-4


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_refused(tmp_path: Path, bad: float) -> None:
    path = tmp_path / "bad.wav"
    samples = np.stack([noise(2, SAMPLE_RATE_HZ)] * 2, axis=1)
    samples[30_000, 1] = bad
    soundfile.write(path, samples, SAMPLE_RATE_HZ, subtype="FLOAT")
    assert code_of(path) == "not_finite"


def test_short_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "short.wav"
    for seconds in (0.0, 0.5, 0.99):
        soundfile.write(path, noise(seconds, 8_000), 8_000)
        assert code_of(path) == "too_short"
    soundfile.write(path, noise(1.0, 8_000), 8_000)
    assert len(load_audio(path)) == SAMPLE_RATE_HZ
    assert code_of(path, AudioInput(min_s=1.5)) == "too_short"


def test_what_is_no_audio_is_refused(tmp_path: Path) -> None:
    assert code_of(tmp_path / "absent.mp3") == "missing"
    assert code_of(tmp_path) == "unreadable"
    empty = tmp_path / "empty.wav"
    empty.touch()
    assert code_of(empty) == "unreadable"
    text = tmp_path / "text.mp3"
    text.write_text("This is a review of the album and no music. " * 200)
    with pytest.raises(InputError, match=r"text\.mp3: no sound that its decoder knows") as caught:
        load_audio(text)
    assert caught.value.code == "unreadable"
    random = tmp_path / "random.flac"
    random.write_bytes(np.random.default_rng(3).bytes(20_000))
    assert code_of(random) == "unreadable"


def test_a_file_of_features_says_who_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "TRAXLZU.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n")
    assert code_of(path) == "unreadable"
    with pytest.raises(InputError, match=r"--set audio\.input\.features=msd-timbre"):
        load_audio(path)


# Without an excerpt some samples are decoded, but fewer than declared; with one, its middle lies
# beyond the cut and not a single sample is.
@pytest.mark.parametrize("excerpt_s", [300.0, 2.0])
def test_an_mp3_that_was_cut_short_is_refused(tmp_path: Path, excerpt_s: float) -> None:
    path = tmp_path / "cut.mp3"
    soundfile.write(path, noise(10, 44_100), 44_100)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 3])
    with soundfile.SoundFile(path) as file:
        assert file.frames >= 10 * 44_100  # the header still says ten seconds
    assert code_of(path, AudioInput(excerpt_s=excerpt_s)) == "truncated"


def test_a_flac_that_was_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.flac"
    soundfile.write(path, noise(5, 44_100), 44_100)
    path.write_bytes(path.read_bytes()[:100_000])
    assert code_of(path) in ("truncated", "unreadable")


@pytest.mark.realdata
def test_real_tracks_load_and_the_silent_one_is_refused(real_data: Path) -> None:
    loaded, refused = 0, []
    for path in sorted((real_data / "real" / "audio").iterdir()):
        try:
            samples = load_audio(path, AudioInput(excerpt_s=15.0))
        except InputError as error:
            refused.append(error.code)
        else:
            loaded += 1
            assert len(samples) == 15 * SAMPLE_RATE_HZ
            assert 0.01 < np.abs(samples).max() < 2
    assert (loaded, refused) == (22, ["silent"])


def stereo(left: Samples, right: Samples) -> Samples:
    return np.stack([left, right], axis=1)


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg"])
@pytest.mark.parametrize("kind", ["offset", "step", "click", "opposite offsets"])
def test_what_does_not_vary_is_silent(tmp_path: Path, suffix: str, kind: str) -> None:
    path, n = tmp_path / f"x.{suffix}", 5 * SAMPLE_RATE_HZ
    samples = np.full(n, 0.05)
    if kind == "step":
        samples[: n // 2] = 0
    elif kind == "click":
        samples[:] = 0
        samples[n // 2] = 0.9
    elif kind == "opposite offsets":
        samples = stereo(samples, -samples)
    soundfile.write(path, samples, SAMPLE_RATE_HZ)
    assert code_of(path) == "silent"
    with pytest.raises(InputError, match="silent"):
        load_log_cqt(path)


@pytest.mark.parametrize("peak", [1e30, 3e38, np.nan])
def test_impossible_samples_are_not_taken_for_silence(tmp_path: Path, peak: float) -> None:
    path = tmp_path / "x.wav"
    square: Samples = np.sign(tone(440, 2, SAMPLE_RATE_HZ)) * peak
    soundfile.write(path, stereo(square, square), SAMPLE_RATE_HZ, subtype="FLOAT")
    assert code_of(path) == "not_finite"


def test_music_on_an_offset_is_no_silence(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, 0.3 + tone(500, 2, SAMPLE_RATE_HZ, 0.02), SAMPLE_RATE_HZ)
    assert len(load_audio(path)) == 2 * SAMPLE_RATE_HZ


@pytest.mark.parametrize("suffix", ["wav", "mp3", "ogg"])
@pytest.mark.parametrize("rate_hz", [22_050, 44_100])
def test_opposite_polarity_sounds_like_one_channel(
    tmp_path: Path, suffix: str, rate_hz: int
) -> None:
    melody = np.concatenate([tone(hz, 1, rate_hz, 0.3) for hz in (220, 330, 550, 880, 440)])
    one, both = tmp_path / "one.wav", tmp_path / f"both.{suffix}"
    soundfile.write(one, melody, rate_hz)
    soundfile.write(both, stereo(0.9 * melody, -melody), rate_hz)
    expected, found = load_log_cqt(one), load_log_cqt(both)
    n = min(len(expected), len(found))
    assert np.corrcoef(expected[:n].ravel(), found[:n].ravel())[0, 1] > 0.9
    assert np.abs(load_audio(both)).max() == pytest.approx(0.3, rel=0.2)


def test_channels_with_nothing_in_common_are_averaged(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    left, right = np.random.default_rng(5).uniform(-0.5, 0.5, (2, 3 * SAMPLE_RATE_HZ))
    for mixed in (stereo(left, right), stereo(left, 0 * left), stereo(left, -0.5 * left)):
        soundfile.write(path, mixed, SAMPLE_RATE_HZ, subtype="FLOAT")
        expected = mixed.astype(np.float32).mean(axis=1)
        np.testing.assert_allclose(load_audio(path), expected, atol=1e-6)
