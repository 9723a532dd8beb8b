"""The constant-Q transform against librosa's, called with METHOD's parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import librosa
import numpy as np
import pytest
import soxr
from numpy.typing import NDArray

from mmgenre.audio import cqt
from mmgenre.audio.cqt import (
    FMIN_HZ,
    ConstantQ,
    cqt_magnitude,
    load_log_cqt,
    to_decibels,
)
from mmgenre.audio.decoding import load_audio
from mmgenre.audio.settings import N_BINS, SAMPLE_RATE_HZ, AudioInput
from mmgenre.errors import InputError


def music(seconds: float, seed: int = 0) -> NDArray[np.float32]:
    """Noise and a rising tone."""
    t = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    sweep = np.sin(2 * np.pi * (100 + 200 * t) * t)
    noise = np.random.default_rng(seed).standard_normal(len(t))
    return (0.3 * sweep + 0.01 * noise).astype(np.float32)


def reference(
    samples: NDArray[np.float32], pad_mode: Literal["reflect", "constant"]
) -> NDArray[np.complex64]:
    result: NDArray[np.complex64] = librosa.cqt(
        samples,
        sr=22_050,
        hop_length=1024,
        fmin=librosa.note_to_hz("C1"),
        n_bins=96,
        bins_per_octave=12,
        tuning=0.0,
        filter_scale=1,
        norm=1,
        sparsity=0.01,
        window="hann",
        scale=True,
        pad_mode=pad_mode,
    ).T
    return result


def error(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """The largest difference, edges included, relative to the largest magnitude."""
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / expected.max())


def log_cqt(samples: NDArray[np.float32], *, exact: bool = False) -> NDArray[np.float32]:
    return to_decibels(cqt_magnitude(samples, exact=exact))


def magnitudes(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.abs(reference(samples, "reflect"))


@pytest.mark.filterwarnings("ignore:n_fft=.* is too large:UserWarning")  # librosa's
@pytest.mark.parametrize("n_samples", [50, 600, 3000, 6000])
def test_signals_shorter_than_a_frame_are_reflected_more_than_once(n_samples: int) -> None:
    """No file is as short (`AudioInput.min_s`), but arrays may be."""
    samples = music(1.0)[:n_samples]
    cqt_magnitude(music(2.0))  # what is left in the arrays that transforms share must not count
    assert error(cqt_magnitude(samples), magnitudes(samples)) < 2e-3


@pytest.mark.parametrize("seconds", [0.76, 1.0, 2.71, 4.0, 31.3])
def test_magnitudes_are_librosas(seconds: float) -> None:
    samples = music(seconds)
    expected = magnitudes(samples)
    found = cqt_magnitude(samples)
    assert found.dtype == np.float32
    assert error(found, expected) < 1e-3
    if seconds > 2:  # away from the edges
        assert error(found[20:-20], expected[20:-20]) < 3e-4
    assert error(cqt_magnitude(samples, exact=True), expected) < 1e-6
    # Today's default pads otherwise, and the first frames show it.
    other = np.abs(reference(samples, "constant"))
    assert np.abs(found - other)[:3].max() > 0.01 * expected.max()


def test_noise_is_the_hardest_case() -> None:
    noise = np.random.default_rng(1).standard_normal(200_000).astype(np.float32)
    assert 5e-4 < error(cqt_magnitude(noise), magnitudes(noise)) < 5e-3  # as the module says
    assert error(cqt_magnitude(noise, exact=True), magnitudes(noise)) < 1e-6


@pytest.mark.parametrize("n", [44_100, 44_101, 99_999, 1_400_003])
@pytest.mark.parametrize("channels", [1, 2])
def test_twice_the_rate_is_as_if_resampled_by_soxr(n: int, channels: int) -> None:
    t = np.arange(n)[:, None] / 44_100
    sweep = np.sin(2 * np.pi * (100 + 200 * np.arange(1, channels + 1) * t) * t)
    samples = (0.3 * sweep + 1e-3 * np.random.default_rng(0).standard_normal(sweep.shape)).astype(
        np.float32
    )
    expected = magnitudes(soxr.resample(samples.mean(axis=1), 44_100, 22_050))
    transform = ConstantQ(44_100)
    transform.push(samples)
    assert error(transform.finish(), expected) < 1e-3


@pytest.mark.parametrize("rate_hz", [8000, 32_000, 48_000, 96_000])
def test_other_rates_are_resampled_by_soxr(rate_hz: int) -> None:
    t = np.arange(round(5.3 * rate_hz)) / rate_hz
    samples = np.sin(2 * np.pi * (100 + 300 * t) * t).astype(np.float32)
    expected = magnitudes(soxr.resample(samples, rate_hz, 22_050))
    transform = ConstantQ(rate_hz, exact=True)
    for block in np.array_split(samples, 9):
        transform.push(block)
    assert error(transform.finish(), expected) < 1e-6


@pytest.mark.parametrize("rate_hz", [22_050, 44_100, 48_000])
def test_block_sizes_do_not_change_the_result(
    rate_hz: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cqt, "SEGMENT_FRAMES", 256)
    noise = np.random.default_rng(2).standard_normal((round(35 * rate_hz), 2))
    samples: NDArray[np.float32] = noise.astype(np.float32)
    mono = samples.mean(axis=1)
    if rate_hz != 22_050:
        mono = soxr.resample(mono, rate_hz, 22_050)
    expected = magnitudes(mono)
    assert len(expected) > 2 * 256 + 2 * cqt.MARGIN_FRAMES + cqt.LAST_FRAMES
    for pieces in (1, 3, 50):
        transform = ConstantQ(rate_hz)
        for block in np.array_split(samples, pieces):
            transform.push(block)
        found = transform.finish()
        # At a seam as everywhere: what a wrong overlap would lose is of the order of the peak.
        assert error(found, expected) < 5e-3
        assert error(found[200:300], expected[200:300]) < 5e-3


def test_the_peak_is_not_finite_if_a_sample_is_not() -> None:
    samples = music(2)
    for rate_hz, broken in ((22_050, np.nan), (44_100, np.inf), (44_100, np.nan)):
        samples[17_000] = broken
        transform = ConstantQ(rate_hz)
        transform.push(np.stack([samples, samples], axis=1))
        with np.errstate(all="ignore"):
            transform.finish()
        assert not np.isfinite(transform.peak)


@pytest.mark.slow
@pytest.mark.realdata
def test_real_tracks_are_librosas(real_data: Path) -> None:
    n_seen, excerpt = 0, AudioInput(excerpt_s=30.0)
    for path in sorted((real_data / "real" / "audio").iterdir()):
        try:
            samples = load_audio(path, excerpt)
        except InputError:  # one of them is silent, as `test_audio` says
            continue
        expected = magnitudes(samples)
        found = load_log_cqt(path, excerpt)
        assert error(cqt_magnitude(samples), expected) < 3e-4
        decibels = librosa.power_to_db(expected**2, ref=np.max, amin=1e-20, top_db=80)
        assert np.corrcoef(found.ravel(), decibels.ravel())[0, 1] > 0.99999
        n_seen += 1
    assert n_seen == 22


def test_decibels_are_those_of_power_relative_to_the_tracks_maximum() -> None:
    samples = music(4)
    power = magnitudes(samples) ** 2
    expected = librosa.power_to_db(power, ref=np.max, amin=1e-20, top_db=80)
    np.testing.assert_allclose(log_cqt(samples, exact=True), expected, atol=5e-3)


def test_values_lie_between_the_floor_and_zero() -> None:
    t = np.arange(3 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    loud_then_nothing = np.where(t < 1, np.sin(2 * np.pi * 440 * t), 0).astype(np.float32)
    values = log_cqt(loud_then_nothing)
    assert values.max() == 0.0
    assert values.min() == pytest.approx(-80.0, abs=1e-4)
    assert values.min() >= np.float32(-80.0)


@pytest.mark.parametrize("gain", [1e-3, 0.5, 20.0])
def test_gain_does_not_matter(gain: float) -> None:
    samples = music(2)
    np.testing.assert_allclose(log_cqt(samples * np.float32(gain)), log_cqt(samples), atol=1e-2)


@pytest.mark.parametrize("semitones", [0, 9, 33, 45, 70, 95])
def test_a_tone_lands_in_its_bin(semitones: int) -> None:
    hz = FMIN_HZ * 2 ** (semitones / 12)
    t = np.arange(4 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    values = log_cqt(np.sin(2 * np.pi * hz * t).astype(np.float32))
    assert (values[20:-20].argmax(axis=1) == semitones).all()


@pytest.mark.parametrize("n", [16_538, 22_050, 22_527, 22_528, 22_529, 100_000])
def test_a_frame_each_1024_samples(n: int) -> None:
    # 16 538 samples are 0.75 s, the shortest track that may be asked for; no warning is given.
    values = log_cqt(np.random.default_rng(4).uniform(-1, 1, n).astype(np.float32))
    assert values.shape == (1 + n // 1024, N_BINS)
    assert np.isfinite(values).all()
