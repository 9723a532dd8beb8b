"""Image encoders: networks on album covers (METHOD sec. 4 and 9)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from mmgenre.disk.bundle import Bundle
from mmgenre.disk.store import FeatureStore
from mmgenre.errors import WeightsError
from mmgenre.image.backbones import headless, stage_of
from mmgenre.image.settings import ImageConfig
from mmgenre.image.sources import ImageSource
from mmgenre.learning.encoder import to_embedding
from mmgenre.learning.weights import load_path, load_published


class ImageEncoder(nn.Module):
    """RGB bytes (batch, side, side, 3) -> embeddings (batch, embedding_dim).

    `whole`: the network with its classifier; None: a new one with random weights. `weights_from`:
    name or path and sha256 of the initial weights; empty: from scratch.
    """

    mean: Tensor
    std: Tensor
    reads_channels_last = True  # see `learning.devices.put`

    def __init__(self, config: ImageConfig, whole: nn.Module | None = None) -> None:
        super().__init__()
        self.config = config
        self.output_dropout = config.dropout
        self.weights_from: dict[str, str] = {}
        spec = config.backbone
        # Saved with the weights, so that a loaded encoder scales covers as in its training.
        self.register_buffer("mean", torch.tensor(spec.mean).view(3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(spec.std).view(3, 1, 1) * 255)
        self.backbone: Any = headless(spec, spec.build(config.crop_px) if whole is None else whole)
        self.embedding, self.embedding_dim = to_embedding(spec.width, config.embedding_dim)
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(self.rate_of(name) > 0)

    def forward(self, x: Tensor) -> Tensor:
        return self.embedding(self.backbone(self.scaled(x)))  # type: ignore[no-any-return]

    def scaled(self, x: Tensor) -> Tensor:
        """The backbone's input: standardised colours, (batch, 3, side, side)."""
        # The memory format stays channels_last, which convolutions keep.
        return (x.permute(0, 3, 1, 2).float() - self.mean) / self.std

    def train(self, mode: bool = True) -> Self:
        """Frozen stages stay in evaluation mode, so that their batch statistics do not change."""
        super().train(mode)
        for name, module in self.backbone.named_modules():
            if stage_of(self.config.network, name) in self.config.untrained:
                module.eval()
        return self

    def rate_of(self, parameter_name: str) -> float:
        """The factor of the learning rate of one of `named_parameters()`; 0: it is frozen.

        stage_decay ** (number of stages after its own), Howard and Ruder 2018, sec. 3.2; 1 for the
        dense layer after the backbone. ValueError: no parameter of the encoder has this name.
        """
        if parameter_name.startswith("embedding."):
            return 1.0
        network, name = self.config.network, parameter_name.removeprefix("backbone.")
        stage = stage_of(network, name)
        if stage is None:
            raise ValueError(
                f"{name}: in no stage of {network}; expected a name of `named_parameters()`"
            )
        if stage in self.config.untrained:
            return 0.0
        stages = [known for known, _ in self.config.backbone.stages]
        return float(self.config.stage_decay ** (len(stages) - 1 - stages.index(stage)))

    def source(self, store: FeatureStore) -> ImageSource:
        return ImageSource(store, self.config)

    def state(self) -> dict[str, Any]:
        # Sizes are written even if they are defaults: the encoder keeps them if these change.
        sizes = {"crop_px": self.config.crop_px, "input": self.config.input.model_dump()}
        mean, std = ((v.flatten() / 255).tolist() for v in (self.mean, self.std))
        return {
            "config": {**self.config.model_dump(mode="json"), **sizes},
            "weights_from": self.weights_from,
            "preprocessing": {"interpolation": "bicubic", "mean": mean, "std": std, **sizes},
        }


def make_image_encoder(config: ImageConfig, *_: object) -> ImageEncoder:
    """An encoder with the initial weights that its settings name.

    Other encoders are also made from a target's name, a store and the ids of training rows.
    WeightsError: the weights are unavailable or do not fit; the text says what to do.
    """
    if config.weights == "none":
        return ImageEncoder(config)
    whole = config.backbone.build(config.crop_px)
    if config.weights != "imagenet":
        path = Path(config.weights).expanduser()
        weights_from = load_path(whole, path, config.weights_sha256)
    elif config.backbone.imagenet is None:
        raise WeightsError(
            f"{config.network}: no ImageNet weights are published; train it from scratch with "
            "--set image.weights=none, or give a file with --set image.weights=PATH"
        )
    else:
        weights_from = load_published(whole, config.backbone.published_weights())
    encoder = ImageEncoder(config, whole)
    encoder.weights_from = weights_from
    return encoder


def load(bundle: Bundle) -> ImageEncoder:
    """The encoder that a folder describes, without its weights."""
    return ImageEncoder(ImageConfig.model_validate(bundle.config["config"]))
