"""Vectors of a frozen model as an encoder: as they are, or under a network that learns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mmgenre.disk.bundle import Bundle
from mmgenre.disk.store import FeatureStore
from mmgenre.errors import BundleError
from mmgenre.frozen.carried import place_for
from mmgenre.frozen.models import Medium
from mmgenre.frozen.places import find
from mmgenre.frozen.settings import FrozenConfig, ModelName, config_of
from mmgenre.frozen.tuned import TunedCovers, TunedTexts, make_tuned
from mmgenre.learning.encoder import to_embedding
from mmgenre.learning.settings import TargetName, width_of

LEAST_STD = 1e-6  # a column that varies less is left as it is


@dataclass(frozen=True)
class Rows:
    """Rows of an input store, which are the model's vectors."""

    store: FeatureStore

    def views(self, ids: Sequence[str], rng: np.random.Generator | None) -> NDArray[np.float32]:
        """(n, 1, width), or (n, 1, layers, width)."""
        del rng
        return np.stack([self.store.read(i) for i in ids]).astype(np.float32)[:, None]


class FrozenVectors(nn.Module):
    """The model's vectors (batch, width) as embeddings."""

    output_dropout = 0.0

    def __init__(self, about: dict[str, Any], width: int) -> None:
        super().__init__()
        self.about, self.embedding_dim = about, width
        self.register_buffer("width", torch.tensor(width))

    def forward(self, x: Tensor) -> Tensor:
        return x

    def source(self, store: FeatureStore) -> Rows:
        return Rows(store)

    def state(self) -> dict[str, Any]:
        return {"frozen": self.about, "top": "vector", "width": self.embedding_dim}


class FrozenNetwork(nn.Module):
    """(batch, width), or (batch, layers, width) -> embeddings: standardised, then two layers.

    Layers are mixed with learned weights first, as in probes of speech models (Yang et al. 2021,
    Interspeech, sec. 3).
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, about: dict[str, Any], shape: Sequence[int], config: FrozenConfig, dim: int
    ) -> None:
        super().__init__()
        self.about, self.shape, self.config = about, list(shape), config
        self.output_dropout = config.dropout
        self.mix = nn.Parameter(torch.zeros(shape[0])) if len(shape) == 2 else None
        width = shape[-1]
        self.register_buffer("mean", torch.zeros(*shape))
        self.register_buffer("std", torch.ones(*shape))
        self.hidden = nn.Sequential(
            nn.Dropout(config.dropout), nn.Linear(width, config.hidden_dim), nn.ReLU(),
            nn.Dropout(config.dropout),
        )  # fmt: skip
        self.embedding, self.embedding_dim = to_embedding(config.hidden_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        x = (x - self.mean) / self.std
        if self.mix is not None:
            x = (x * self.mix.softmax(0)[:, None]).sum(dim=1)
        return self.embedding(self.hidden(x))  # type: ignore[no-any-return]

    def source(self, store: FeatureStore) -> Rows:
        return Rows(store)

    def state(self) -> dict[str, Any]:
        return {
            "frozen": self.about,
            "top": "network",
            "shape": self.shape,
            "settings": self.config.model_dump(),
        }


def make(
    name: str, section: Any, target: TargetName, store: FeatureStore, train_ids: Sequence[str]
) -> FrozenVectors | FrozenNetwork | TunedCovers | TunedTexts:
    """The encoder `name` of a recipe's section, untrained; it is fitted to training rows only."""
    del target
    config, place = config_of(section, name), find(ModelName.parse(name))
    about = place.about()
    if config.tune != "none":
        medium: Medium = "image" if "size_px" in type(section.input).model_fields else "text"
        return make_tuned(place, medium, about, config)
    rows = np.stack([store.read(i) for i in train_ids]).astype(np.float32)
    if config.top == "vector":
        return FrozenVectors(about, rows.shape[1])
    encoder = FrozenNetwork(about, rows.shape[1:], config, width_of(section.embedding_dim))
    std = rows.std(axis=0)
    encoder.mean.copy_(torch.from_numpy(rows.mean(axis=0)))
    encoder.std.copy_(torch.from_numpy(np.where(std < LEAST_STD, 1, std)))
    return encoder


def load(bundle: Bundle) -> FrozenVectors | FrozenNetwork | TunedCovers | TunedTexts:
    """The encoder that a folder describes; the model must be on this machine, and be the same.

    Raises:
        WeightsError: it is not.
        BundleError: it is not the model that the encoder is named by.
    """
    about = dict(bundle.config["frozen"])
    if about["model"] != bundle.config["encoder"]:
        raise BundleError(f"{bundle.folder}: damaged: {bundle.config['encoder']} is {about}")
    place = place_for(bundle)
    if bundle.config["top"] == "vector":
        return FrozenVectors(about, int(bundle.config["width"]))
    config = FrozenConfig.model_validate(bundle.config["settings"])
    if bundle.config["top"] == "tuned":
        return make_tuned(place, bundle.config["medium"], about, config)
    dim = int(bundle.config["embedding_dim"])
    return FrozenNetwork(about, bundle.config["shape"], config, dim)
