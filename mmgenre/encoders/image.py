"""Image encoders: torchvision residual networks on album covers (METHOD sec. 4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor, nn
from torchvision import models

from mmgenre.config import Settings
from mmgenre.encoders.dense import EmbeddingDim, to_embedding
from mmgenre.encoders.weights import load_path, load_published
from mmgenre.inputs.image import ImageInput
from mmgenre.store import FeatureStore
from mmgenre.training import TrainingConfig

ImageNetwork = Literal["resnet-18", "resnet-50", "resnet-101"]

# (constructor, ImageNet weights)
NETWORKS: dict[ImageNetwork, tuple[Callable[[], nn.Module], Any]] = {
    "resnet-18": (models.resnet18, models.ResNet18_Weights.IMAGENET1K_V1),
    "resnet-50": (models.resnet50, models.ResNet50_Weights.IMAGENET1K_V2),
    "resnet-101": (models.resnet101, models.ResNet101_Weights.IMAGENET1K_V2),
}
# Mean and deviation of ImageNet's RGB values in [0, 1], with which all of these were trained.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class ImageConfig(Settings):
    """`weights`: "imagenet", "none" (from scratch), or a path; then `weights_sha256` is checked.

    Training crops `crop_px` squares at random out of the stored ones and mirrors half of them;
    prediction takes the middle.
    """

    network: ImageNetwork = "resnet-50"
    weights: str = "imagenet"
    weights_sha256: str | None = None
    crop_px: int = Field(224, ge=8)
    random_crop: bool = True
    random_flip: bool = True
    embedding_dim: EmbeddingDim = 2048
    input: ImageInput = ImageInput()
    # The paper's batches of 50 and 90 epochs are in its recipes.
    training: TrainingConfig = TrainingConfig(learning_rate=1e-4, max_epochs=30)

    @model_validator(mode="after")
    def _crop_fits(self) -> Self:
        if self.crop_px > self.input.size_px:
            raise ValueError(
                f"crop_px {self.crop_px}: the stored squares have input.size_px "
                f"{self.input.size_px}; give a smaller crop or store larger squares"
            )
        return self


class ImageEncoder(nn.Module):
    """RGB bytes (batch, side, side, 3) -> embeddings (batch, embedding_dim)."""

    mean: Tensor
    std: Tensor
    output_dropout = 0.0

    def __init__(self, config: ImageConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1) * 255)
        make, _ = NETWORKS[config.network]
        backbone: Any = make()
        width = backbone.fc.in_features
        backbone.fc = nn.Identity()
        self.backbone = backbone
        self.embedding, self.embedding_dim = to_embedding(width, config.embedding_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Embeds covers."""
        pixels = x.permute(0, 3, 1, 2).float()  # (batch, 3, side, side)
        return self.embedding(  # type: ignore[no-any-return]
            self.backbone((pixels - self.mean) / self.std)
        )

    def source(self, store: FeatureStore) -> ImageSource:
        """Crops out of a store of covers."""
        return ImageSource(store, self.config)

    def state(self) -> dict[str, Any]:
        """Plain data from which `ImageEncoder` is made again, weights apart."""
        return {"config": self.config.model_dump(mode="json")}


def make_image_encoder(config: ImageConfig) -> ImageEncoder:
    """An encoder with the weights that the recipe names.

    Raises:
        WeightsError: they cannot be had or do not fit; says what to do.
    """
    encoder = ImageEncoder(config)
    make, published = NETWORKS[config.network]
    if config.weights != "none":
        whole = make()  # with the classifier that the file has weights for
        if config.weights == "imagenet":
            load_published(whole, published)
        else:
            load_path(whole, Path(config.weights).expanduser(), config.weights_sha256)
        state = {k: v for k, v in whole.state_dict().items() if not k.startswith("fc.")}
        encoder.backbone.load_state_dict(state)
    return encoder


@dataclass(frozen=True)
class ImageSource:
    """Square crops of covers."""

    store: FeatureStore
    config: ImageConfig

    def views(self, ids: Sequence[str], rng: np.random.Generator | None) -> NDArray[np.uint8]:
        """Crops, (n, 1, crop_px, crop_px, 3)."""
        images = self.store.take(ids)  # (n, side, side, 3)
        crop, room = self.config.crop_px, images.shape[1] - self.config.crop_px
        top = left = np.full(len(images), room // 2)
        flip = np.zeros(len(images), dtype=bool)
        if rng is not None and self.config.random_crop:
            top, left = rng.integers(room + 1, size=(2, len(images)))
        if rng is not None and self.config.random_flip:
            flip = rng.random(len(images)) < 0.5
        crops = [
            image[t : t + crop, s : s + crop][:, :: -1 if mirrored else 1]
            for image, t, s, mirrored in zip(images, top, left, flip, strict=True)
        ]
        return np.stack(crops)[:, None]
