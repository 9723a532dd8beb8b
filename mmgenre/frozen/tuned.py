"""A model of others that is trained further on the genre task, as an encoder.

It reads stored covers and texts. Its last blocks learn, or all of them, at a small part of the
learning rate (Howard and Ruder 2018, ACL, sec. 3.2); it stays in evaluation mode meanwhile, so that
no dropout of its own and no batch statistics change what it knows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from mmgenre.disk.store import FeatureStore
from mmgenre.errors import WeightsError
from mmgenre.frozen.models import Medium, load_anew
from mmgenre.frozen.pictures import Pictures
from mmgenre.frozen.places import Place
from mmgenre.frozen.sentences import Sentences
from mmgenre.frozen.settings import FrozenConfig, FrozenInput

UNUSED = ("text_model.", "text_projection.", "logit_")  # of models of covers and words
NEVER = ("pooler.", "mask_token")  # parts of names of weights that vectors do not depend on


class Tuned(nn.Module):
    """A network that stays in evaluation mode, and of which some weights learn slowly."""

    network: Any
    config: FrozenConfig
    tuned: frozenset[str]  # names of the weights that learn

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self.network.eval()
        return self

    def rate_of(self, parameter_name: str) -> float:
        """The factor of the learning rate; 0: the weight stays."""
        name = parameter_name.removeprefix("network.")
        return self.config.tune_rate if name in self.tuned else 0.0


class TunedCovers(Tuned):
    """Stored squares (batch, stored, stored, 3) of bytes -> the model's vectors."""

    def __init__(self, model: Pictures, about: dict[str, Any], config: FrozenConfig) -> None:
        super().__init__()
        self.model, self.about, self.config = model, about, config
        self.output_dropout, self.embedding_dim = config.dropout, model.width
        self.network = model.network
        self.register_buffer("mean", torch.from_numpy(model.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.from_numpy(model.std).view(3, 1, 1), persistent=False)
        self.tuned = tune(self.network, config.tune, about["model"])

    def forward(self, x: Tensor) -> Tensor:
        side = self.model.size_px
        y = functional.interpolate(
            x.permute(0, 3, 1, 2).float() / 255, (side, side), mode="bicubic", antialias=True
        )
        mean, std = self.get_buffer("mean"), self.get_buffer("std")
        return self.model.features((y.clamp(0, 1) - mean) / std)

    def source(self, store: FeatureStore) -> Squares:
        return Squares(store)

    def state(self) -> dict[str, Any]:
        settings = self.config.model_dump()
        return {"frozen": self.about, "top": "tuned", "medium": "image", "settings": settings}


@dataclass(frozen=True)
class Squares:
    """Covers as they are stored; every view of one is the same."""

    store: FeatureStore

    def views(self, ids: Sequence[str], rng: np.random.Generator | None) -> NDArray[np.uint8]:
        """(n, 1, stored, stored, 3)."""
        del rng
        return np.stack([self.store.read(i) for i in ids])[:, None]


class TunedTexts(Tuned):
    """Tokens and which of them are there (batch, 2, length) -> the model's vectors."""

    def __init__(self, model: Sentences, about: dict[str, Any], config: FrozenConfig) -> None:
        super().__init__()
        self.model, self.about, self.config = model, about, config
        self.output_dropout, self.embedding_dim = config.dropout, model.width
        self.network = model.network
        if not callable(getattr(self.network, "tokenizer", None)):
            raise WeightsError(f"{about['model']}: is no transformer, so that it cannot be tuned")
        self.tuned = tune(self.network, config.tune, about["model"])

    def forward(self, x: Tensor) -> Tensor:
        found = self.network({"input_ids": x[:, 0], "attention_mask": x[:, 1]})
        return found["sentence_embedding"]  # type: ignore[no-any-return]

    def source(self, store: FeatureStore) -> Tokens:
        return Tokens(store, self.model)

    def state(self) -> dict[str, Any]:
        settings = self.config.model_dump()
        return {"frozen": self.about, "top": "tuned", "medium": "text", "settings": settings}


@dataclass(frozen=True)
class Tokens:
    """Texts up to the length that the model reads; every view of one is the same."""

    store: FeatureStore
    model: Sentences

    def views(self, ids: Sequence[str], rng: np.random.Generator | None) -> NDArray[np.int64]:
        """(n, 1, 2, length): tokens, and 1 where there is one."""
        del rng
        found = self.model.tokens([self.store.read_text(i) for i in ids])
        return np.stack([found["input_ids"], found["attention_mask"]], axis=1)[:, None]


ENCODERS: Mapping[str, Any] = {"image": TunedCovers, "text": TunedTexts}


def make_tuned(
    place: Place, medium: Medium, about: dict[str, Any], config: FrozenConfig
) -> TunedCovers | TunedTexts:
    """The encoder with the weights of the model in a place; it shares them with no other one.

    Raises:
        WeightsError: the model cannot be loaded, or has no such blocks.
    """
    layer = config.layer or ("last" if medium == "image" else None)
    reads = FrozenInput(model=about["model"], layer=layer, pool=config.pool)
    encoder: TunedCovers | TunedTexts = ENCODERS[medium](
        load_anew(place, reads, medium), about, config
    )
    return encoder


def tune(network: nn.Module, what: str, name: str) -> frozenset[str]:
    """Lets the weights that a setting names learn; returns their names.

    "last N": those of the last N blocks, and what comes after these.

    Raises:
        WeightsError: there are fewer blocks, or none that can be told apart.
    """
    groups = blocks_of(network)
    if what != "all":
        n = int(what.removeprefix("last "))
        if n > len(groups) - 1:
            raise WeightsError(
                f"{name}: tune {what!r}: it has {len(groups) - 1} blocks that can be told apart; "
                'give fewer, or "all"'
            )
        groups = groups[-n:]
    chosen = frozenset(key for group in groups for key in group)
    for key, parameter in network.named_parameters():
        parameter.requires_grad_(key in chosen)
    return chosen


def blocks_of(network: nn.Module) -> list[list[str]]:
    """Names of weights: what comes before the blocks, then each block; the last one to the end."""
    own = [
        key
        for key, _ in network.named_parameters()
        if not key.startswith(UNUSED) and not any(part in key for part in NEVER)
    ]
    if hasattr(network, "group_matcher"):  # timm's
        from timm.models import group_parameters

        matcher: Any = network.group_matcher
        found = group_parameters(network, matcher(coarse=False))
        return [[key for key in found[k] if key in own] for k in sorted(found)]
    lists = {
        f"{key}.": len(module)
        for key, module in network.named_modules()
        if isinstance(module, nn.ModuleList) and not key.startswith(UNUSED)
    }
    if not lists:
        return [own]
    longest = max(lists, key=lambda key: lists[key])
    starts = [
        next(k for k, key in enumerate(own) if key.startswith(f"{longest}{block}."))
        for block in range(lists[longest])
    ]
    return [own[a:b] for a, b in zip([0, *starts], [*starts, len(own)], strict=True)]
