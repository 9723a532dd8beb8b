"""The constant-Q transform that the audio networks see (Oramas 2018, sec. 3.1)."""

from __future__ import annotations

import librosa
import numpy as np
from numpy.typing import NDArray

from mmgenre.inputs.audio import SAMPLE_RATE_HZ

HOP_SAMPLES = 1024
N_BINS = 96
BINS_PER_OCTAVE = 12
FMIN_HZ = 32.703195662574764  # C1
FLOOR_DB = -80.0


def cqt_magnitude(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mono samples at 22 050 Hz -> CQT magnitudes, (frames, 96); a frame each 1024 samples.

    >>> tone = np.sin(2 * np.pi * 440 * np.arange(22_050) / 22_050).astype(np.float32)
    >>> magnitude = cqt_magnitude(tone)
    >>> magnitude.shape, int(magnitude[10].argmax())  # A4 is 45 semitones above C1
    ((22, 96), 45)
    """
    transform = librosa.cqt(
        samples,
        sr=SAMPLE_RATE_HZ,
        hop_length=HOP_SAMPLES,
        fmin=FMIN_HZ,
        n_bins=N_BINS,
        bins_per_octave=BINS_PER_OCTAVE,
        tuning=0.0,
        filter_scale=1,
        norm=1,
        sparsity=0.01,
        window="hann",
        scale=True,
        # librosa's default when the paper was written; since 0.9 it is "constant".
        pad_mode="reflect",
    )
    return np.ascontiguousarray(np.abs(transform).T, dtype=np.float32)


def log_cqt(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """CQT power in dB relative to the track's maximum, (frames, 96), in [-80, 0]."""
    magnitude = cqt_magnitude(samples)
    relative = magnitude / magnitude.max()
    return np.asarray(20 * np.log10(np.maximum(relative, 10 ** (FLOOR_DB / 20))), np.float32)
