"""Statistics of tracks: finite for anything, the same for a transposed track, and they tell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mmgenre.audio.kernel import load_statistics, make_statistics
from mmgenre.audio.settings import N_BINS, AudioConfig
from mmgenre.audio.statistics import (
    WIDTHS,
    described,
    statistics,
)
from mmgenre.disk.bundle import read_bundle, write_bundle
from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import FeatureStore, write_store
from mmgenre.learning.embedding import embed

PROVENANCE = Provenance("test", 1, {})
SILENCE_DB = -80.0
CHROMA, HARMONY, RHYTHM, PULSE, CORRELATIONS, CONTRAST = 4, 5, 6, 8, 9, 10


def track(frames: int, seed: int = 0) -> NDArray[np.float32]:
    """A wandering spectrum over noise, in dB."""
    rng = np.random.default_rng(seed)
    slow = np.cumsum(rng.standard_normal((frames, N_BINS)), axis=0)
    return np.clip(-50 + slow + 4 * rng.standard_normal(slow.shape), SILENCE_DB, 0).astype("f4")


def chord_track(shift: int, frames: int = 400) -> NDArray[np.float32]:
    """Chords of bins that change every 2 s, `shift` semitones higher."""
    rng = np.random.default_rng(5)
    decibels = np.full((frames, N_BINS), SILENCE_DB, np.float32)
    for start in range(0, frames, 43):
        for note in rng.choice(36, 3, replace=False) + 24 + shift:
            decibels[start : start + 43, note] = -20 + 3 * rng.standard_normal()
    return decibels


@pytest.mark.parametrize("frames", [1, 2, 16, 40, 128, 130, 1000])
def test_any_length_gives_the_same_finite_blocks(frames: int) -> None:
    blocks = statistics(track(frames))
    assert tuple(block.size for block in blocks) == WIDTHS
    assert all(block.dtype == np.float32 for block in blocks)
    assert np.isfinite(np.concatenate(blocks)).all()
    assert described(track(frames)).shape == (sum(WIDTHS),)


@pytest.mark.parametrize("level", [SILENCE_DB, 0.0, -33.3])
@pytest.mark.parametrize("frames", [2, 16, 500])
def test_silence_and_a_constant_have_no_change_no_rhythm_no_correlation(
    level: float, frames: int
) -> None:
    blocks = statistics(np.full((frames, N_BINS), level))
    assert np.isfinite(np.concatenate(blocks)).all()
    np.testing.assert_allclose(blocks[0], level, rtol=1e-6)
    for k in (1, 2, RHYTHM, RHYTHM + 1, CORRELATIONS, CONTRAST):
        np.testing.assert_allclose(blocks[k], 0, atol=1e-6)


def test_of_a_short_excerpt_long_lags_are_not_known() -> None:
    harmony = statistics(track(16))[HARMONY].reshape(6, 12)
    assert np.abs(harmony[:3]).max(axis=1).min() > 0.1  # 0, 4, 8 frames
    np.testing.assert_array_equal(harmony[3:], 0)  # 16, 32, 64


@pytest.mark.parametrize("semitones", [1, 5, 7, 12])
def test_a_transposed_track_has_the_same_harmony(semitones: int) -> None:
    one, other = statistics(chord_track(0)), statistics(chord_track(semitones))
    for k in (CHROMA, HARMONY):
        np.testing.assert_allclose(one[k], other[k], atol=1e-4)
    assert np.abs(one[0] - other[0]).max() > 1  # the spectrum did move
    # Other chords are another harmony.
    stranger = statistics(track(400))
    assert np.abs(one[HARMONY] - stranger[HARMONY]).max() > 0.05


def test_a_pulse_shows_at_its_rate_and_stands_out() -> None:
    """Beats at 2.7 Hz, 16 steps of the spectrum of 128 frames; the noise has none."""
    rng = np.random.default_rng(0)
    noise = (-40 + 3 * rng.standard_normal((800, N_BINS))).astype(np.float32)
    beats = noise.copy()
    beats[::8] += 25
    flat, pulsed = statistics(noise), statistics(beats)
    rates = pulsed[RHYTHM].reshape(15, 16).mean(axis=1) - flat[RHYTHM].reshape(15, 16).mean(axis=1)
    # Of the bands of rates, that with step 16 is the first of the multiples to rise.
    assert rates.max() > 1
    assert rates[:8].max() < 0.3 * rates.max()
    assert pulsed[PULSE][0] > 1.5 * flat[PULSE][0]


def test_bands_that_go_together_correlate() -> None:
    rng = np.random.default_rng(0)
    decibels = -40 + rng.standard_normal((500, N_BINS))
    decibels[:, 4:8] = decibels[:, 0:4]  # the second band is the first
    pairs = statistics(decibels)[CORRELATIONS]
    assert pairs[0] == pytest.approx(1, abs=1e-3)
    assert np.abs(pairs[1:]).max() < 0.3


def test_a_peak_in_each_octave_is_contrast() -> None:
    decibels = np.full((20, N_BINS), -60.0)
    decibels[:, [k for k in range(N_BINS) if k % 12 in (0, 1)]] = -20
    contrast = statistics(decibels)[CONTRAST]
    np.testing.assert_allclose(contrast[:8], 40)
    np.testing.assert_allclose(contrast[8:], 0)


def test_an_encoder_is_of_training_tracks_and_survives_its_folder(tmp_path: Path) -> None:
    ids = tuple(f"i{k}" for k in range(12))
    config = AudioConfig(encoders=("statistics",), embedding_dim=64)
    rows = [track(60, seed) for seed in range(12)]
    found = []
    for name, level in (("one", 0), ("other", -30)):
        own = [row if k < 8 else row + np.float32(level) for k, row in enumerate(rows)]
        write_store(tmp_path / f"{name}.h5", "audio", [(ids, np.stack(own))], PROVENANCE)
        with FeatureStore(tmp_path / f"{name}.h5", "audio") as store:
            encoder = make_statistics(config, "logistic", store, list(ids[:8]))
            found.append((encoder, embed(encoder, encoder.source(store), ids)))
    (one, vectors), (other, others) = found
    assert vectors.shape == (12, 64)
    np.testing.assert_array_equal(one.mean.numpy(), other.mean.numpy())
    np.testing.assert_array_equal(vectors[:8], others[:8])
    assert not np.allclose(vectors[8:], others[8:])
    folder = tmp_path / "encoder"
    write_bundle(folder, "audio encoder", one.state(), one.state_dict(), PROVENANCE)
    bundle = read_bundle(folder, "audio encoder")
    loaded = load_statistics(bundle)
    loaded.load_state_dict(bundle.weights)
    with FeatureStore(tmp_path / "one.h5", "audio") as store:
        np.testing.assert_array_equal(embed(loaded, loaded.source(store), ids), vectors)
