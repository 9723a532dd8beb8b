"""Audio encoders: convolutions over patches of the log constant-Q transform (METHOD sec. 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, field_serializer, model_validator
from torch import Tensor, nn
from torchaudio.transforms import FrequencyMasking, TimeMasking

from mmgenre.audio.convolutions.layers import Convolutions
from mmgenre.audio.decoding import (
    FLOOR_DB,
    HOP_SAMPLES,
    N_BINS,
    SAMPLE_RATE_HZ,
    AudioFeatures,
    AudioInput,
)
from mmgenre.audio.networks import NETWORKS, AudioNetwork
from mmgenre.config import Settings
from mmgenre.disk.store import FeatureStore
from mmgenre.learning.dense import EmbeddingDim, to_embedding
from mmgenre.learning.dropout import Dropout
from mmgenre.learning.optimisation import TrainingConfig
from mmgenre.learning.targets import TargetName


class AudioConfig(Settings):
    """`dropout` None: as published (0.5 for single-label, and for HIGH with COSINE; else 0).

    `patches`: how many evenly spaced ones are averaged at prediction; the paper took 1.
    `width_multiplier` scales the number of filters of every convolution, so that each network
    can run in a small size; other than 1 it departs from the paper. `embedding_dim` None: 2048.

    The network "timbre" has no patches and no convolutions: `patch_s` and `patches` say nothing
    there, masks and narrower layers are refused, dropout falls on its 48 numbers, and these are
    its embedding unless an `embedding_dim` asks for a dense layer.

    `input.features` follows from the network and need not be set, "msd-timbre" apart; only that
    is kept with the settings, so that another network can be set later.
    """

    network: AudioNetwork = "low-4x70"
    width_multiplier: float = Field(1.0, gt=0, le=1)
    patch_s: float = Field(15.0, gt=0)
    patches: int = Field(3, ge=1)
    embedding_dim: EmbeddingDim | None = None
    dropout: float | None = Field(None, ge=0, lt=1)
    spec_augment: bool = False
    input: AudioInput = AudioInput()
    training: TrainingConfig = TrainingConfig()

    @property
    def patch_frames(self) -> int:
        """Frames of a patch: 322 for 15 s."""
        return int(self.patch_s * SAMPLE_RATE_HZ / HOP_SAMPLES)

    @model_validator(mode="before")
    @classmethod
    def _network_decides_features(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        given = values.get("input", {})
        if isinstance(given, AudioInput):
            given = given.model_dump(exclude_unset=True)
        if not isinstance(given, Mapping) or "features" in given:
            return values
        return {**values, "input": {"features": _features(values.get("network"))[0], **given}}

    @field_serializer("input")
    def _without_what_follows(self, value: AudioInput) -> dict[str, Any]:
        follows = value.features == _features(self.network)[0]
        return value.model_dump(exclude={"features"} if follows else set())

    @model_validator(mode="after")
    def _fits_the_network(self) -> Self:
        allowed = _features(self.network)
        if self.input.features not in allowed:
            raise ValueError(
                f"input.features {self.input.features!r}: {self.network} reads "
                f"{' or '.join(allowed)}; set that, or leave it out in a new run"
            )
        if self.network == "timbre":
            if self.width_multiplier != 1:
                raise ValueError(
                    f"width_multiplier {self.width_multiplier:g}: timbre has no filters; give 1"
                )
            if self.spec_augment:
                raise ValueError("spec_augment: timbre has no patches to mask; set it to false")
            return self
        least = NETWORKS[self.network].least_frames
        if self.patch_frames < least:
            least_s = least * HOP_SAMPLES / SAMPLE_RATE_HZ
            raise ValueError(
                f"patch_s {self.patch_s:g}: {self.network} needs {least_s:.2f} s or more"
            )
        return self

    @property
    def filters(self) -> tuple[int, ...]:
        """Numbers of filters, at least 1 a convolution."""
        published = NETWORKS[self.network].filters
        return tuple(max(1, round(self.width_multiplier * n)) for n in published)

    @property
    def output_dim(self) -> EmbeddingDim:
        """The width asked for: timbre's own where nothing is said, else 2048."""
        if self.embedding_dim is not None:
            return self.embedding_dim
        return "native" if self.network == "timbre" else 2048

    def dropout_for(self, target: TargetName) -> float:
        """The dropout after each pool; of timbre, before its output layer."""
        if self.dropout is not None:
            return self.dropout
        high_cosine = self.network.startswith("high") and target == "cosine"
        return 0.5 if self.network == "single-label" or high_cosine else 0.0


def _features(network: object) -> tuple[AudioFeatures, ...]:
    """What a network can read, first what it reads unless told otherwise."""
    return ("timbre", "msd-timbre") if network == "timbre" else ("cqt",)


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
        for i, filters in enumerate(config.filters):
            kernel, pool = layers.kernels[i], layers.pools[i]
            padding = "same" if i in layers.padded else "valid"
            blocks += [nn.Conv2d(channels, filters, kernel, padding=padding), nn.ReLU()]
            blocks += [nn.MaxPool2d(pool)] if pool else []
            blocks += [Dropout(dropout)] if dropout else []
            channels = filters
        self.convolutions = Convolutions(*blocks, nn.Flatten())
        # SpecAugment, other masks for each patch of a batch.
        self.masks = nn.Sequential(
            TimeMasking(48, iid_masks=True), FrequencyMasking(12, iid_masks=True)
        )
        with torch.no_grad():
            shape = (1, 1, config.patch_frames, N_BINS)
            width = self.convolutions(torch.zeros(shape)).shape[1]
        self.embedding, self.embedding_dim = to_embedding(width, config.output_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Embeds patches."""
        x = x.to(self.mean.dtype, copy=True).sub_(self.mean).div_(self.std)  # not the caller's own
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
        starts: list[int] = []
        for length in self.store.lengths(ids):
            last = max(length - self.frames, 0)
            if rng is not None:
                starts.append(int(rng.integers(last + 1)))
            elif self.patches == 1:
                starts.append(last // 2)
            else:
                starts += [round(s) for s in np.linspace(0, last, self.patches)]
        k = 1 if rng is not None else self.patches
        repeated = [row_id for row_id in ids for _ in range(k)]
        # A track shorter than a patch ends in silence.
        patches = self.store.windows(repeated, starts, self.frames, fill=FLOOR_DB)
        return patches.reshape(len(ids), k, *patches.shape[1:]).astype(np.float16, copy=False)
