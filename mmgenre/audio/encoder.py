"""Audio encoders (METHOD sec. 2): convolutions over patches of the log CQT; a timbre baseline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from mmgenre.audio.convolutions import FastConvolutions
from mmgenre.audio.networks import NETWORKS, NO_POOL
from mmgenre.audio.settings import N_BINS, N_TIMBRE, AudioConfig
from mmgenre.audio.sources import AudioSource, TimbreSource, patches_of
from mmgenre.disk.bundle import Bundle
from mmgenre.disk.store import FeatureStore
from mmgenre.learning.encoder import to_embedding
from mmgenre.learning.settings import TargetName

MASKED_FRAMES, MASKED_BINS = 48, 12  # less than so many: 2.2 s, an octave


def masked(x: Tensor, axis: int, most: int) -> Tensor:
    """A stretch of axis 1 or 2 of each patch (batch, frames, bins) set to 0, the mean.

    Of n frames (bins), those from t0 to t0 + t - 1, where t is drawn from [0, `most`) and t0 from
    [0, n - t). Each patch has a mask of its own.

    Reference: SpecAugment, Park et al. 2019, sec. 2.
    """
    n = x.shape[axis]
    t = torch.rand(len(x), 1, device=x.device, dtype=x.dtype) * most
    t0 = (torch.rand(len(x), 1, device=x.device, dtype=x.dtype) * (n - t)).long()
    k = torch.arange(n, device=x.device)
    hidden = (t0 <= k) & (k < t0 + t.long())  # (batch, n)
    return x.masked_fill(hidden.unsqueeze(3 - axis), 0.0)


class AudioEncoder(nn.Module):
    """Patches of log CQT, (batch, frames, 96) in dB -> embeddings (batch, embedding_dim)."""

    mean: Tensor  # per bin
    std: Tensor
    output_dropout = 0.0

    def __init__(self, config: AudioConfig, target: TargetName) -> None:
        super().__init__()
        self.config, self.target = config, target
        self.register_buffer("mean", torch.zeros(N_BINS))
        self.register_buffer("std", torch.ones(N_BINS))
        layers, dropout = NETWORKS[config.network], config.dropout_for(target)
        channels, blocks = 1, []
        for i, filters in enumerate(config.filters):
            padding = "same" if i in layers.padded else "valid"
            convolution = nn.Conv2d(channels, filters, layers.kernels[i], padding=padding)
            blocks += [convolution, nn.ReLU()]
            blocks += [nn.MaxPool2d(layers.pools[i])] if layers.pools[i] != NO_POOL else []
            blocks += [nn.Dropout(dropout)] if dropout else []
            channels = filters
        self.convolutions = FastConvolutions(*blocks, nn.Flatten())
        width = channels * layers.positions(config.patch_frames, N_BINS)
        self.embedding, self.embedding_dim = to_embedding(width, config.embedding_dim or 2048)

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(self.mean.dtype, copy=True).sub_(self.mean).div_(self.std)  # the caller owns x
        if self.training and self.config.spec_augment:
            x = masked(masked(x, axis=1, most=MASKED_FRAMES), axis=2, most=MASKED_BINS)
        return self.embedding(self.convolutions(x.unsqueeze(1)))  # type: ignore[no-any-return]

    def fit(self, store: FeatureStore, ids: Sequence[str]) -> Self:
        """Learns mean and standard deviation per bin from the training tracks."""
        total, squares, n = np.zeros(N_BINS), np.zeros(N_BINS), 0
        for row_id in ids:
            frames = store.read(row_id).astype(np.float64)
            total += frames.sum(axis=0)
            squares += (frames**2).sum(axis=0)
            n += len(frames)
        mean = total / n
        std = np.sqrt(np.maximum(squares / n - mean**2, 0))
        self.mean.copy_(torch.from_numpy(mean))
        # A constant bin carries no information; dividing by 1 keeps it at 0.
        self.std.copy_(torch.from_numpy(np.where(std > 1e-3, std, 1.0)))
        return self

    def source(self, store: FeatureStore) -> AudioSource:
        return patches_of(self.config, store)

    def state(self) -> dict[str, Any]:
        return {"config": self.config.model_dump(mode="json"), "target": self.target}


class TimbreEncoder(nn.Module):
    """Timbre of tracks (batch, 48) -> the same numbers standardised (Oramas 2018, TIMBRE-MLP).

    Only the output layer of the task learns, 12 250 parameters for 250 genres. With an
    `embedding_dim`, a dense ReLU layer of that width follows.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: AudioConfig, target: TargetName) -> None:
        super().__init__()
        self.config, self.target = config, target
        self.output_dropout = config.dropout or 0.0
        self.register_buffer("mean", torch.zeros(N_TIMBRE))
        self.register_buffer("std", torch.ones(N_TIMBRE))
        width = config.embedding_dim or "native"
        self.embedding, self.embedding_dim = to_embedding(N_TIMBRE, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.embedding((x - self.mean) / self.std)  # type: ignore[no-any-return]

    def fit(self, store: FeatureStore, ids: Sequence[str]) -> Self:
        """Learns mean and standard deviation of each number from the training tracks."""
        rows = store.take(ids).astype(np.float64)  # (n, 48)
        std = rows.std(axis=0)
        self.mean.copy_(torch.from_numpy(rows.mean(axis=0)))
        self.std.copy_(torch.from_numpy(np.where(std > 1e-6, std, 1.0)))  # as above
        return self

    def source(self, store: FeatureStore) -> TimbreSource:
        return TimbreSource(store)

    def state(self) -> dict[str, Any]:
        return {"config": self.config.model_dump(mode="json"), "target": self.target}


def make_cnn(
    config: AudioConfig, target: TargetName, store: FeatureStore, train_ids: Sequence[str]
) -> AudioEncoder:
    """An untrained encoder, standardised by the training tracks."""
    return AudioEncoder(config, target).fit(store, train_ids)


def make_timbre(
    config: AudioConfig, target: TargetName, store: FeatureStore, train_ids: Sequence[str]
) -> TimbreEncoder:
    """An untrained encoder, standardised by the training tracks."""
    return TimbreEncoder(config, target).fit(store, train_ids)


def load(bundle: Bundle) -> AudioEncoder | TimbreEncoder:
    """The encoder that a folder describes, without its weights."""
    made = TimbreEncoder if bundle.config["encoder"] == "timbre" else AudioEncoder
    return made(AudioConfig.model_validate(bundle.config["config"]), bundle.config["target"])
