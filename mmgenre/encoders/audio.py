"""Audio encoders: convolutions over patches of the log constant-Q transform (METHOD sec. 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor, nn
from torchaudio.transforms import FrequencyMasking, TimeMasking

from mmgenre.config import Settings
from mmgenre.encoders.dense import EmbeddingDim, to_embedding
from mmgenre.inputs.audio import SAMPLE_RATE_HZ, AudioInput
from mmgenre.inputs.cqt import FLOOR_DB, HOP_SAMPLES, N_BINS
from mmgenre.store import FeatureStore
from mmgenre.targets import TargetName
from mmgenre.training import TrainingConfig

AudioNetwork = Literal[
    "single-label", "low-3x3", "high-3x3", "low-4x96", "high-4x96", "low-4x70", "high-4x70"
]
Kernel = tuple[int, int]  # frames x bins


@dataclass(frozen=True)
class Layers:
    """Per convolution its kernel, its pool (None: none) and its number of filters."""

    kernels: tuple[Kernel, ...]
    pools: tuple[Kernel | None, ...]
    filters: tuple[int, ...]

    @property
    def least_frames(self) -> int:
        """The shortest patch of which the last pool still gives something."""
        frames = 1
        for kernel, pool in zip(reversed(self.kernels), reversed(self.pools), strict=True):
            frames = frames * (pool[0] if pool else 1) + kernel[0] - 1
        return frames


LOW, HIGH = (64, 128, 128, 64), (256, 512, 1024, 1024)
K_4X96: tuple[Kernel, ...] = ((4, 96), (4, 1), (4, 1), (1, 1))
K_4X70: tuple[Kernel, ...] = ((4, 70), (4, 6), (4, 1), (1, 1))
# As printed in table 5. The published 16.5M of HIGH-3x3 needs another fourth layer (FACTS).
K_3X3: tuple[Kernel, ...] = ((3, 3), (3, 3), (3, 3), (1, 1))
P_4X96: tuple[Kernel | None, ...] = ((4, 1), (4, 1), (4, 1), None)
P_4X70: tuple[Kernel | None, ...] = ((4, 4), (4, 1), (4, 1), None)
P_3X3: tuple[Kernel | None, ...] = ((4, 2), (4, 2), (4, 1), (4, 5))

NETWORKS: dict[AudioNetwork, Layers] = {
    # Oramas 2018, sec. 6.2
    "single-label": Layers(((4, 96), (4, 1), (4, 1)), ((4, 1), (4, 1), (2, 1)), (64, 128, 256)),
    # Oramas 2018, table 5
    "low-4x96": Layers(K_4X96, P_4X96, LOW),
    "high-4x96": Layers(K_4X96, P_4X96, HIGH),
    "low-4x70": Layers(K_4X70, P_4X70, LOW),
    "high-4x70": Layers(K_4X70, P_4X70, HIGH),
    "low-3x3": Layers(K_3X3, P_3X3, LOW),
    "high-3x3": Layers(K_3X3, P_3X3, HIGH),
}


class AudioConfig(Settings):
    """`dropout` None: as published (0.5 for single-label, and for HIGH with COSINE; else 0).

    `patches`: how many evenly spaced ones are averaged at prediction; the paper took 1.
    """

    network: AudioNetwork = "low-4x70"
    patch_s: float = Field(15.0, gt=0)
    patches: int = Field(3, ge=1)
    embedding_dim: EmbeddingDim = 2048
    dropout: float | None = Field(None, ge=0, lt=1)
    spec_augment: bool = False
    input: AudioInput = AudioInput()
    training: TrainingConfig = TrainingConfig()

    @property
    def patch_frames(self) -> int:
        """Frames of a patch: 322 for 15 s."""
        return int(self.patch_s * SAMPLE_RATE_HZ / HOP_SAMPLES)

    @model_validator(mode="after")
    def _patch_fits(self) -> Self:
        least = NETWORKS[self.network].least_frames
        if self.patch_frames < least:
            least_s = least * HOP_SAMPLES / SAMPLE_RATE_HZ
            raise ValueError(
                f"patch_s {self.patch_s:g}: {self.network} needs {least_s:.2f} s or more"
            )
        return self

    def dropout_for(self, target: TargetName) -> float:
        """The dropout after each pool."""
        if self.dropout is not None:
            return self.dropout
        high_cosine = self.network.startswith("high") and target == "cosine"
        return 0.5 if self.network == "single-label" or high_cosine else 0.0


class AudioEncoder(nn.Module):
    """Patches of log CQT, (batch, frames, 96) in dB -> embeddings (batch, embedding_dim)."""

    mean: Tensor
    std: Tensor
    output_dropout = 0.0

    def __init__(self, config: AudioConfig, target: TargetName) -> None:
        super().__init__()
        self.config, self.target = config, target
        self.register_buffer("mean", torch.zeros(N_BINS))
        self.register_buffer("std", torch.ones(N_BINS))
        layers, dropout = NETWORKS[config.network], config.dropout_for(target)
        channels, blocks = 1, []
        for kernel, pool, filters in zip(layers.kernels, layers.pools, layers.filters, strict=True):
            blocks += [nn.Conv2d(channels, filters, kernel), nn.ReLU()]
            blocks += [nn.MaxPool2d(pool)] if pool else []
            blocks += [nn.Dropout(dropout)] if dropout else []
            channels = filters
        self.convolutions = nn.Sequential(*blocks, nn.Flatten())
        # SpecAugment, other masks for each patch of a batch.
        self.masks = nn.Sequential(
            TimeMasking(48, iid_masks=True), FrequencyMasking(12, iid_masks=True)
        )
        with torch.no_grad():
            shape = (1, 1, config.patch_frames, N_BINS)
            width = self.convolutions(torch.zeros(shape)).shape[1]
        self.embedding, self.embedding_dim = to_embedding(width, config.embedding_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Embeds patches."""
        x = (x.float() - self.mean) / self.std
        if self.training and self.config.spec_augment:
            # torchaudio wants (batch, bins, frames); masked cells become 0, the mean.
            x = self.masks(x.transpose(1, 2)).transpose(1, 2)
        return self.embedding(self.convolutions(x.unsqueeze(1)))  # type: ignore[no-any-return]

    def fit(self, store: FeatureStore, ids: Sequence[str]) -> None:
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
        # A bin that never moves carries nothing; dividing by 1 keeps it at 0.
        self.std.copy_(torch.from_numpy(np.where(std > 1e-3, std, 1.0)))

    def source(self, store: FeatureStore) -> AudioSource:
        """Patches out of a store of log CQTs."""
        return AudioSource(store, self.config.patch_frames, self.config.patches)

    def state(self) -> dict[str, Any]:
        """Plain data from which `AudioEncoder` is made again, weights apart."""
        return {"config": self.config.model_dump(mode="json"), "target": self.target}


@dataclass(frozen=True)
class AudioSource:
    """Patches of `frames` frames: a random one for training, evenly spaced ones otherwise."""

    store: FeatureStore
    frames: int
    patches: int

    def views(self, ids: Sequence[str], rng: np.random.Generator | None) -> NDArray[np.float16]:
        """Patches of tracks, (n, 1 or patches, frames, 96)."""
        rows = []
        for row_id in ids:
            last = max(self.store.length(row_id) - self.frames, 0)
            if rng is not None:
                starts = [int(rng.integers(last + 1))]
            elif self.patches == 1:
                starts = [last // 2]
            else:
                starts = [round(s) for s in np.linspace(0, last, self.patches)]
            rows.append([self._patch(row_id, start) for start in starts])
        return np.array(rows, dtype=np.float16)

    def _patch(self, row_id: str, start: int) -> NDArray[np.float16]:
        """(frames, 96); a track shorter than a patch ends in silence."""
        patch = self.store.read(row_id, start, start + self.frames)
        missing = self.frames - len(patch)
        return np.pad(patch, ((0, missing), (0, 0)), constant_values=FLOOR_DB)
