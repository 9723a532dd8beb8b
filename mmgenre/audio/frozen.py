"""Tracks through a frozen model: windows at the model's own rate, averaged over the track."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mmgenre.audio.decoding import Floats, load_audio
from mmgenre.audio.settings import AudioInput
from mmgenre.frozen.models import AudioModel, load_model

BATCH = 16  # windows


def load_vectors(path: Path, config: AudioInput) -> Floats:
    """One track -> the mean over its windows, (width,) or (layers, width).

    Raises:
        InputError: as `load_audio`.
        WeightsError: the model cannot be had.
    """
    assert config.frozen is not None
    model: AudioModel = load_model(config.frozen, "audio")
    samples = load_audio(path, config, model.rate_hz)
    windows = windows_of(samples, round(model.window_s * model.rate_hz))
    total = np.sum(
        [model.vectors(windows[k : k + BATCH]).sum(axis=0) for k in range(0, len(windows), BATCH)],
        axis=0,
    )
    return np.asarray(total / len(windows), np.float32)


def windows_of(samples: Floats, size: int) -> Floats:
    """(n,) -> evenly spaced windows (k, size) that cover the track; a shorter track is one.

    >>> windows_of(np.arange(5, dtype=np.float32), 3).tolist()
    [[0.0, 1.0, 2.0], [2.0, 3.0, 4.0]]
    """
    if len(samples) <= size:
        return samples[None]
    count = -(-len(samples) // size)
    starts = np.linspace(0, len(samples) - size, count).round().astype(int)
    return np.stack([samples[start : start + size] for start in starts])
