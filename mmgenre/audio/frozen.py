"""Tracks through a frozen model: windows at the model's own rate, averaged over the track."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmgenre.audio.decoding import Floats, load_audio
from mmgenre.audio.settings import AudioInput
from mmgenre.frozen.batches import mean_vectors
from mmgenre.frozen.models import AudioModel, load_model


def load_samples(path: Path, config: AudioInput) -> Floats:
    """One track at the model's own rate, (n_samples,).

    Raises:
        InputError: as `load_audio`.
        WeightsError: the model cannot be had.
    """
    return load_audio(path, config, _model(config).rate_hz)


def vectors_of(tracks: Sequence[Floats], config: AudioInput) -> list[Floats]:
    """Tracks at the model's rate -> of each the mean over its windows, (width,) or (layers, width).

    Raises:
        WeightsError: the model cannot be had.
    """
    model = _model(config)
    size = round(model.window_s * model.rate_hz)
    rows = [windows_of(samples, size) for samples in tracks]
    return mean_vectors(rows, model.vectors, on_cpu=True)


def _model(config: AudioInput) -> AudioModel:
    assert config.frozen is not None
    model: AudioModel = load_model(config.frozen, "audio")
    return model


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
