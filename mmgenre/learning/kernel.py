"""Descriptors -> random Fourier features: a linear layer on top of them is a kernel machine.

Rahimi and Recht 2007 draw the directions at random; orthogonal ones (Yu et al. 2016) approximate
the kernel better: with 2048 of them, a head on top ranked genres as well as with the exact kernel,
where independent ones lost a point (docs/measured.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mmgenre.config import Settings
from mmgenre.disk.bundle import Bundle
from mmgenre.disk.store import FeatureStore
from mmgenre.errors import TrainingError
from mmgenre.learning.descriptors import DescriptorSource, orthogonal_directions
from mmgenre.learning.settings import TargetName, width_of

Describe = Callable[[NDArray[Any]], NDArray[np.float32]]  # row of a store -> descriptors (columns,)
CLIP = 5.0  # standard deviations; a broken descriptor must not outweigh all others


class KernelEncoder(nn.Module):
    """Rows of descriptors in blocks, (batch, sum of widths) -> embeddings (batch, embedding_dim).

    Columns are standardised by the training rows. Of every pair of rows, the embeddings' inner
    product approximates exp(-d^2 / 2), where d^2 is the mean over the blocks of the mean squared
    difference of a block's columns: a block counts as much as another, however many columns it has.
    """

    mean: Tensor  # per column
    std: Tensor
    directions: Tensor  # (columns, embedding_dim / 2)
    output_dropout = 0.0

    def __init__(
        self,
        widths: Sequence[int],
        embedding_dim: int,
        state: dict[str, Any] | None = None,
        describe: Describe | None = None,
    ) -> None:
        super().__init__()
        if embedding_dim % 2:
            raise TrainingError(
                f"embedding_dim {embedding_dim}: random features come in pairs; give an even number"
            )
        self.widths, self.embedding_dim = tuple(widths), embedding_dim
        self._state, self._describe = state or {}, describe
        n = sum(widths)
        self.register_buffer("mean", torch.zeros(n))
        self.register_buffer("std", torch.ones(n))
        self.register_buffer("directions", torch.zeros(n, embedding_dim // 2))

    def forward(self, x: Tensor) -> Tensor:
        z = ((x - self.mean) / self.std).clamp(-CLIP, CLIP)
        angles = z @ self.directions
        return torch.cat([angles.cos(), angles.sin()], dim=1) / math.sqrt(self.embedding_dim / 2)

    def fit(self, rows: NDArray[np.floating]) -> Self:
        """Learns mean and deviation of each column from training rows (n, columns).

        The directions are the same in every run.
        """
        n, each = len(self.mean), self.embedding_dim // 2
        blocks = [np.full(w, 1 / math.sqrt(w * len(self.widths))) for w in self.widths]
        directions = orthogonal_directions(n, each) * np.concatenate(blocks)[:, None]
        self.directions.copy_(torch.from_numpy(directions))
        wide = rows.astype(np.float64)
        std = wide.std(axis=0)
        self.mean.copy_(torch.from_numpy(wide.mean(axis=0)))
        # A constant column carries no information; dividing by 1 keeps it at 0.
        self.std.copy_(torch.from_numpy(np.where(std > 1e-6, std, 1.0)))
        return self

    def state(self) -> dict[str, Any]:
        return self._state

    def source(self, store: FeatureStore) -> DescriptorSource:
        return DescriptorSource(store, self._describe)


@dataclass(frozen=True)
class Described:
    """Descriptors of a medium, and how their encoder is made and loaded."""

    widths: Sequence[int]  # of their blocks
    describe: Describe
    settings: type[Settings]  # of a recipe's section

    def make(
        self, config: Any, target: TargetName, store: FeatureStore, train_ids: Sequence[str]
    ) -> KernelEncoder:
        """An encoder standardised by the training rows."""
        del target
        encoder = self._empty(config)
        return encoder.fit(encoder.source(store).sample(train_ids))

    def load(self, bundle: Bundle) -> KernelEncoder:
        """The encoder that a folder describes, without its weights."""
        return self._empty(self.settings.model_validate(bundle.config["config"]))

    def _empty(self, config: Any) -> KernelEncoder:
        state = {"config": config.model_dump(mode="json")}
        return KernelEncoder(self.widths, width_of(config.embedding_dim), state, self.describe)
