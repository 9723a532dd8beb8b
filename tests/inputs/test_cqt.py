"""The constant-Q transform against librosa's, called with METHOD's parameters."""

from __future__ import annotations

from typing import Literal

import librosa
import numpy as np
import pytest
from numpy.typing import NDArray

from mmgenre.inputs.audio import SAMPLE_RATE_HZ
from mmgenre.inputs.cqt import FMIN_HZ, N_BINS, cqt_magnitude, log_cqt


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


def test_magnitudes_are_librosas() -> None:
    samples = music(4)
    expected = np.abs(reference(samples, "reflect"))
    magnitude = cqt_magnitude(samples)
    assert magnitude.dtype == np.float32
    np.testing.assert_allclose(magnitude, expected, rtol=1e-5, atol=1e-7)
    # Today's default pads otherwise, and the first frames show it.
    other = np.abs(reference(samples, "constant"))
    assert np.abs(magnitude - other)[:3].max() > 0.01 * expected.max()


def test_decibels_are_those_of_power_relative_to_the_tracks_maximum() -> None:
    samples = music(4)
    power = np.abs(reference(samples, "reflect")) ** 2
    expected = librosa.power_to_db(power, ref=np.max, amin=1e-20, top_db=80)
    np.testing.assert_allclose(log_cqt(samples), expected, atol=1e-3)


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
    np.testing.assert_allclose(log_cqt(samples * np.float32(gain)), log_cqt(samples), atol=5e-3)


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
