"""Image encoders: networks on album covers (METHOD sec. 4 and 9)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator
from torch import Tensor, nn

from mmgenre.config import Settings
from mmgenre.disk.store import FeatureStore
from mmgenre.errors import WeightsError
from mmgenre.image.augmentation import jitter_colours, middle_crops, random_crops
from mmgenre.image.backbones import (
    BACKBONES,
    INT8_NETWORKS,
    Backbone,
    ImageNetwork,
    check_size,
    headless,
)
from mmgenre.image.decoding import ImageInput
from mmgenre.image.freezing import frozen_stages, rate_factor, stage_of
from mmgenre.learning.dense import EmbeddingDim, to_embedding
from mmgenre.learning.optimisation import TrainingConfig
from mmgenre.learning.weights import load_path, load_published

DEFAULT: ImageNetwork = "resnet-50"


class ImageConfig(Settings):
    """`weights`: "imagenet", "none" (from scratch), or a path; then `weights_sha256` is checked.

    Training crops `crop_px` squares at random out of the stored ones and mirrors half of them;
    prediction takes the middle. Training may also turn them by at most `rotation_deg` either way,
    scale windows with `min_scale`..1 of the stored area to `crop_px`, and multiply brightness,
    contrast and saturation by 1 - `colour_jitter`..1 + `colour_jitter`.

    `crop_px` and `input.size_px` follow from the network and need not be set: 224 out of 256, 299
    out of 342 for Inception, 256 for the small ones. They are then not kept with the settings, so
    that another network can be set later.

    `freeze`: a list of stages, "none", or "all but the last N stages". The learning rate of a
    stage is `stage_decay` times that of the next, the last one's is whole. `dropout`: before the
    classifier; what AlexNet, VGG and Inception have inside (0.5) stays.

    `embedding_precision`: bfloat16 moves embeddings of ResNet-101 by a cosine distance of 1e-5; it
    pays on processors that multiply matrices of it (AMX, GPUs), and is slower elsewhere. int8 is
    several times as fast on a CPU; see encoders/quantised.py. It is for runs: single covers of a
    `GenreTagger` are embedded in float32.
    """

    network: ImageNetwork = DEFAULT
    weights: str = "imagenet"
    weights_sha256: str | None = None
    freeze: Annotated[tuple[str, ...], Field(strict=False)] | str = "none"
    stage_decay: float = Field(1.0, gt=0, le=1)
    crop_px: int = Field(BACKBONES[DEFAULT].crop_px, ge=8)
    random_crop: bool = True
    random_flip: bool = True
    rotation_deg: float = Field(0.0, ge=0, le=180)
    min_scale: float | None = Field(None, gt=0, le=1)
    colour_jitter: float = Field(0.0, ge=0, le=1)
    dropout: float = Field(0.0, ge=0, lt=1)
    embedding_dim: EmbeddingDim = 2048
    embedding_precision: Literal["float32", "bfloat16", "int8"] = "float32"
    input: ImageInput = ImageInput(size_px=BACKBONES[DEFAULT].stored_px)
    # The paper's batches of 50 and 90 epochs are in its recipes.
    training: TrainingConfig = TrainingConfig(learning_rate=1e-4, max_epochs=30)

    @property
    def backbone(self) -> Backbone:
        """How the network is built and fed."""
        return BACKBONES[self.network]

    @property
    def frozen(self) -> tuple[str, ...]:
        """Stages that do not learn."""
        return frozen_stages(self.network, self.freeze)

    @model_validator(mode="before")
    @classmethod
    def _network_decides_sizes(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or values.get("network", DEFAULT) not in BACKBONES:
            return values
        backbone = BACKBONES[values.get("network", DEFAULT)]
        given = values.get("input", {})
        if isinstance(given, ImageInput):
            given = given.model_dump(exclude_unset=True)
        if isinstance(given, Mapping):
            given = {"size_px": backbone.stored_px, **given}
        return {"crop_px": backbone.crop_px, **values, "input": given}

    @model_serializer(mode="wrap")
    def _without_what_follows(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = plain(self)
        if self.crop_px == self.backbone.crop_px:
            values.pop("crop_px", None)
        if self.input.size_px == self.backbone.stored_px and "input" in values:
            values["input"].pop("size_px", None)
        return values

    @model_validator(mode="after")
    def _fits_the_network(self) -> Self:
        crop, stored = self.crop_px, self.input.size_px
        if crop > stored:
            raise ValueError(
                f"crop_px {crop}: the stored squares have input.size_px {stored}; "
                "give a smaller crop or store larger squares"
            )
        check_size(self.network, crop, published=self.weights == "imagenet")
        if self.min_scale is not None and stored > 2 * crop:
            # Bilinear interpolation looks at four pixels and would skip those between.
            raise ValueError(
                f"min_scale {self.min_scale:g}: crop_px {crop} is too small for windows out of "
                f"{stored} px; store squares of {2 * crop} px at most"
            )
        frozen_stages(self.network, self.freeze)  # refuses what is no stage
        if self.embedding_precision == "int8" and not self.backbone.int8:
            raise ValueError(
                f"embedding_precision int8: {self.network} is too slow or too inexact in it; give "
                f"float32, bfloat16, or one of {', '.join(INT8_NETWORKS)}"
            )
        return self


class ImageEncoder(nn.Module):
    """RGB bytes (batch, side, side, 3) -> embeddings (batch, embedding_dim).

    Args:
        config: its settings.
        whole: the network with its classifier; None: a new one with random weights.

    Attributes:
        weights_from: name or path and sha256 of the weights it started from; empty: from scratch.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: ImageConfig, whole: nn.Module | None = None) -> None:
        super().__init__()
        self.config = config
        self.output_dropout = config.dropout
        self.weights_from: dict[str, str] = {}
        made = config.backbone
        # Saved with the weights, so that a loaded encoder scales covers as it was trained to.
        self.register_buffer("mean", torch.tensor(made.mean).view(3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(made.std).view(3, 1, 1) * 255)
        self.backbone: Any = headless(made, made.build(config.crop_px) if whole is None else whole)
        self.embedding, self.embedding_dim = to_embedding(made.width, config.embedding_dim)
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(self.rate_of(name) > 0)

    def forward(self, x: Tensor) -> Tensor:
        """Embeds covers."""
        return self.embedding(self.backbone(self.scaled(x)))  # type: ignore[no-any-return]

    def scaled(self, x: Tensor) -> Tensor:
        """What the backbone gets for covers: colours on its scale, (batch, 3, side, side)."""
        # In memory still channels_last, which convolutions keep.
        return (x.permute(0, 3, 1, 2).float() - self.mean) / self.std

    def train(self, mode: bool = True) -> Self:
        """As every network, but for frozen stages: their batch statistics do not move."""
        super().train(mode)
        for name, module in self.backbone.named_modules():
            if stage_of(self.config.network, name) in self.config.frozen:
                module.eval()
        return self

    def rate_of(self, parameter_name: str) -> float:
        """What the learning rate of a parameter is multiplied by: 0 where it is frozen.

        1 for the dense layer behind the backbone; for the backbone see `rate_factor`.

        Args:
            parameter_name: as `named_parameters()` of the encoder has it.

        Raises:
            ValueError: a name that no parameter of the encoder has.
        """
        if parameter_name.startswith("embedding."):
            return 1.0
        config, name = self.config, parameter_name.removeprefix("backbone.")
        return rate_factor(config.network, name, config.frozen, config.stage_decay)

    def source(self, store: FeatureStore) -> ImageSource:
        """Crops out of a store of covers."""
        return ImageSource(store, self.config)

    def state(self) -> dict[str, Any]:
        """Plain data from which `ImageEncoder` is made again, weights apart.

        Sizes are written out, so that the encoder keeps them whatever the table will say.
        """
        sizes = {"crop_px": self.config.crop_px, "input": self.config.input.model_dump()}
        mean, std = ((v.flatten() / 255).tolist() for v in (self.mean, self.std))
        preprocessing = {"interpolation": "bicubic", "mean": mean, "std": std, **sizes}
        return {
            "config": {**self.config.model_dump(mode="json"), **sizes},
            "weights_from": self.weights_from,
            "preprocessing": preprocessing,
        }


def make_image_encoder(config: ImageConfig) -> ImageEncoder:
    """An encoder with the weights that the recipe names.

    Raises:
        WeightsError: they cannot be had or do not fit; says what to do.
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
        weights_from = load_published(whole, config.backbone.imagenet)
    encoder = ImageEncoder(config, whole)
    encoder.weights_from = weights_from
    return encoder


@dataclass(frozen=True)
class ImageSource:
    """Square crops of covers."""

    store: FeatureStore
    config: ImageConfig

    def views(self, ids: Sequence[str], rng: np.random.Generator | None) -> NDArray[np.uint8]:
        """Crops, (n, 1, crop_px, crop_px, 3)."""
        # Row by row: HDF5 picks scattered rows of this size 100 times more slowly in one call.
        images = np.stack([self.store.read(i) for i in ids])  # (n, stored, stored, 3)
        if rng is None:
            return middle_crops(images, self.config.crop_px)[:, None]
        crops = random_crops(
            images,
            self.config.crop_px,
            rng,
            anywhere=self.config.random_crop,
            mirrored=self.config.random_flip,
            rotation_deg=self.config.rotation_deg,
            min_scale=self.config.min_scale,
        )
        if self.config.colour_jitter:
            least, most = 1 - self.config.colour_jitter, 1 + self.config.colour_jitter
            crops = jitter_colours(crops, rng.uniform(least, most, (3, len(crops))))
        return crops[:, None]
