"""Statistics of a track's log CQT: timbre, harmony and rhythm in blocks of numbers; no training.

On a few hundred tracks a kernel machine on such statistics names genres better than a network
trained from scratch (docs/measured.md). All blocks are of the same transform that the networks
read. Harmony is described by intervals, so that a transposed track stays what it is; rhythm by the
spectrum of each band's envelope (Pampalk 2006, sec. 2.2.3: fluctuation patterns; Seyerlehner,
Schedl, Pohle and Knees 2010: correlation and variance patterns).
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct

from mmgenre.audio.settings import N_BINS, AudioConfig
from mmgenre.disk.store import FeatureStore
from mmgenre.learning.descriptors import DescriptorSource

Floats = NDArray[np.float64]
OCTAVES, PER_OCTAVE = 8, 12
N_CEPSTRA = 20
LAGS = (0, 4, 8, 16, 32, 64)  # frames of 46 ms between two chroma vectors: 0 to 3 s
RHYTHM_BANDS, RHYTHM_FRAMES = 16, 128  # 6 s, in steps of a quarter of that
ONSET_FRAMES = 256  # 12 s
CORRELATED_BANDS = 24
TINY = 1e-6


def statistics(decibels: NDArray[np.floating]) -> list[NDArray[np.float32]]:
    """Log CQT in dB, (frames, 96) -> its blocks of numbers, each (width,).

    >>> [block.size for block in statistics(np.full((40, 96), -80.0))]
    [96, 96, 96, 60, 31, 72, 240, 240, 6, 276, 16, 16]
    """
    c = np.asarray(decibels, np.float64)
    change = np.diff(c, axis=0) if len(c) > 1 else np.zeros_like(c)
    amplitude = 10 ** (c / 20)
    onsets = np.maximum(change, 0).reshape(len(change), OCTAVES, PER_OCTAVE).mean(axis=2)
    blocks = [
        c.mean(axis=0),
        c.std(axis=0),
        np.abs(change).mean(axis=0),
        _cepstra(c),
        _chroma(amplitude),
        _harmony(amplitude),
        *_rhythm(c),
        _pulse(onsets),
        _correlations(c),
        _contrast(c),
        np.concatenate([onsets.mean(axis=0), onsets.std(axis=0)]),
    ]
    return [block.astype(np.float32) for block in blocks]


def _cepstra(c: Floats) -> Floats:
    """Mean, deviation and mean absolute change of the cepstra, (60,)."""
    cepstra = dct(c, norm="ortho", axis=1)[:, :N_CEPSTRA]
    change = np.abs(np.diff(cepstra, axis=0)).mean(axis=0) if len(c) > 1 else np.zeros(N_CEPSTRA)
    return np.concatenate([cepstra.mean(axis=0), cepstra.std(axis=0), change])


def _pitch_classes(amplitude: Floats) -> Floats:
    """Chroma, (frames, 12)."""
    return np.asarray(amplitude.reshape(-1, OCTAVES, PER_OCTAVE).sum(axis=1))


def _chroma(amplitude: Floats) -> Floats:
    """How pitch classes are spread, whatever the key, (31,)."""
    chroma = _pitch_classes(amplitude)
    chroma /= chroma.sum(axis=1, keepdims=True) + 1e-9
    mean = chroma.mean(axis=0)
    each = np.abs(np.fft.rfft(chroma, axis=1))[:, 1:]  # the same for all transpositions
    whole = np.abs(np.fft.rfft(mean))[1:]
    spread = chroma.std(axis=0).mean(keepdims=True)
    return np.concatenate([-np.sort(-mean), whole, each.mean(axis=0), each.std(axis=0), spread])


def _harmony(amplitude: Floats) -> Floats:
    """Share of each interval between the chroma of two frames, by their distance, (72,)."""
    chroma = _pitch_classes(amplitude)
    chroma -= chroma.min(axis=1, keepdims=True)
    chroma /= np.linalg.norm(chroma, axis=1, keepdims=True) + 1e-9
    spectrum = np.fft.fft(chroma, axis=1)
    found = np.zeros((len(LAGS), PER_OCTAVE))
    for k, lag in enumerate(LAGS):
        if lag < len(chroma):  # else the track is shorter, and nothing is known
            both = spectrum[: len(chroma) - lag] * spectrum[lag:].conj()
            found[k] = np.fft.ifft(both, axis=1).real.mean(axis=0)
    return found.ravel()


def _windows(rows: Floats, length: int) -> Floats:
    """Spectra of windows of the rows without their means, (windows, length / 2 + 1, columns)."""
    if len(rows) < length:
        rows = np.pad(rows, ((0, length - len(rows)), (0, 0)), mode="edge")
    starts = range(0, len(rows) - length + 1, length // 4)
    windows = np.stack([rows[start : start + length] for start in starts])
    windows -= windows.mean(axis=1, keepdims=True)
    return np.asarray(np.abs(np.fft.rfft(windows * np.hanning(length)[:, None], axis=1)))


def _rates(first: int, last: int, n: int) -> list[tuple[int, int]]:
    """Bands of modulation rates, evenly spaced on a log scale."""
    edges = np.unique(np.round(np.geomspace(first, last, n)).astype(int)).tolist()
    return list(itertools.pairwise(edges))


def _rhythm(c: Floats) -> tuple[Floats, Floats]:
    """Strength of modulation by rate and band, and how much it varies; each (240,)."""
    envelopes = c.reshape(len(c), RHYTHM_BANDS, -1).mean(axis=2)
    spectra = _windows(envelopes, RHYTHM_FRAMES)
    # 0.17 Hz, one step of the spectrum, to 10.8 Hz.
    rates = _rates(1, RHYTHM_FRAMES // 2, 19)

    def by_rate(spectrum: Floats) -> Floats:
        return np.asarray(
            np.log1p(np.stack([spectrum[a:b].mean(axis=0) for a, b in rates]))
        ).ravel()

    return by_rate(np.median(spectra, axis=0)), by_rate(spectra.std(axis=0))


def _pulse(onsets: Floats) -> Floats:
    """How strongly a few rates stand out of the spectrum of the onsets, (6,)."""
    spectrum = np.median(_windows(onsets, ONSET_FRAMES), axis=0).sum(axis=1)
    top = np.sort(spectrum)[-5:] / (spectrum.sum() + 1e-9)
    return np.concatenate([[spectrum[2:].max() / (spectrum.mean() + 1e-9)], top])


def _correlations(c: Floats) -> Floats:
    """Correlation of every pair of bands over time, (276,)."""
    bands = c.reshape(len(c), CORRELATED_BANDS, -1).mean(axis=2)
    bands -= bands.mean(axis=0)
    bands /= np.linalg.norm(bands, axis=0) + TINY  # a silent band correlates with none
    pairs = np.triu_indices(CORRELATED_BANDS, 1)
    return np.asarray((bands.T @ bands)[pairs])


def _contrast(c: Floats) -> Floats:
    """Peaks above valleys in each octave: mean and deviation, (16,)."""
    levels = np.sort(c.reshape(len(c), OCTAVES, PER_OCTAVE), axis=2)
    contrast = levels[:, :, -2:].mean(axis=2) - levels[:, :, :4].mean(axis=2)
    return np.concatenate([contrast.mean(axis=0), contrast.std(axis=0)])


def described(decibels: NDArray[np.floating]) -> NDArray[np.float32]:
    """All blocks one after the other."""
    return np.concatenate(statistics(decibels))


WIDTHS = tuple(block.size for block in statistics(np.full((2, N_BINS), -80.0)))


def source_of(config: AudioConfig, store: FeatureStore) -> DescriptorSource:
    """The statistics of tracks, whatever the settings."""
    del config
    return DescriptorSource(store, described)
