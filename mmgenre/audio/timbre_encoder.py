"""The timbre baseline: 48 numbers a track, and a logistic layer (Oramas 2018, TIMBRE-MLP)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mmgenre.audio.encoder import AudioConfig
from mmgenre.audio.timbre import N_NUMBERS
from mmgenre.disk.store import FeatureStore
from mmgenre.learning.dense import to_embedding
from mmgenre.learning.targets import TargetName


class TimbreEncoder(nn.Module):
    """Timbre of tracks (batch, 48) -> the same numbers standardised (METHOD sec. 2).

    It learns nothing: what learns is the layer of the task on top of it, 12 250 parameters for
    250 genres. With an `embedding_dim` a dense ReLU layer to that width follows.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: AudioConfig, target: TargetName) -> None:
        super().__init__()
        self.config, self.target = config, target
        self.output_dropout = config.dropout_for(target)
        self.register_buffer("mean", torch.zeros(N_NUMBERS))
        self.register_buffer("std", torch.ones(N_NUMBERS))
        self.embedding, self.embedding_dim = to_embedding(N_NUMBERS, config.output_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Embeds timbres."""
        return self.embedding((x - self.mean) / self.std)  # type: ignore[no-any-return]

    def fit(self, store: FeatureStore, ids: Sequence[str]) -> None:
        """Learns mean and standard deviation of each number from the training tracks."""
        rows = store.take(ids).astype(np.float64)  # (n, 48)
        std = rows.std(axis=0)
        self.mean.copy_(torch.from_numpy(rows.mean(axis=0)))
        # A number that never moves carries nothing; dividing by 1 keeps it at 0.
        self.std.copy_(torch.from_numpy(np.where(std > 1e-6, std, 1.0)))

    def source(self, store: FeatureStore) -> TimbreSource:
        """Rows of a store of timbres."""
        return TimbreSource(store)

    def state(self) -> dict[str, Any]:
        """Plain data from which `TimbreEncoder` is made again, weights apart."""
        return {"config": self.config.model_dump(mode="json"), "target": self.target}


@dataclass(frozen=True)
class TimbreSource:
    """Timbres; every view of a track is the same."""

    store: FeatureStore

    def views(self, ids: Sequence[str], rng: np.random.Generator | None) -> NDArray[np.float32]:
        """Timbres of tracks, (n, 1, 48)."""
        del rng
        return np.asarray(self.store.take(ids)[:, None])
