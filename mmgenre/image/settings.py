"""Settings of a modality of covers; here, where neither torch nor a decoder is imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_serializer, model_validator

from mmgenre.frozen.settings import ReadByModel, WithModels
from mmgenre.image.backbones import BACKBONES, Backbone, ImageNetwork, frozen_stages
from mmgenre.learning.settings import EmbeddingDim, Encoders, Options, TrainingConfig

DEFAULT: ImageNetwork = "resnet-50"
# A pretrained network needs less.
TRAINING: dict[str, Any] = {"learning_rate": 1e-4, "max_epochs": 30}


class ImageInput(ReadByModel):
    """`size_px`: side of the stored square, from which networks crop their input."""

    size_px: int = Field(256, ge=8)


class ImageConfig(WithModels):
    """Settings of a modality of covers. `encoders`: each one is a view of the modality.

    `weights`: "imagenet", "none" (from scratch), or a path; then `weights_sha256` is checked.

    Training crops `crop_px` squares at random positions and mirrors half of them; prediction uses
    the middle. Training may also rotate by at most `rotation_deg` in either direction, scale
    windows with `min_scale`..1 of the stored area to `crop_px`, and multiply brightness, contrast
    and saturation by 1 - `colour_jitter`..1 + `colour_jitter`. `crop_px` and `input.size_px`
    follow from the network: 224 and 256, for Inception 299 and 342, for the small networks 256 and
    256. Unless they are set, they are not saved with the settings, so that another network can be.

    `freeze`: a list of stages, "none", or "all but the last N stages". The learning rate of a stage
    is `stage_decay` times that of the next one. `dropout`: before the classifier; the dropout
    inside AlexNet, VGG and Inception (0.5) stays. `embedding_precision`: bfloat16 changes
    embeddings of ResNet-101 by a cosine distance of 1e-5; it is faster on processors with bfloat16
    matrix products (AMX, GPUs), and slower on others.
    """

    encoders: Encoders = ("network",)
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
    embedding_precision: Literal["float32", "bfloat16"] = "float32"
    options: Options = Field(default_factory=dict)
    input: ImageInput = ImageInput(size_px=BACKBONES[DEFAULT].stored_px)
    # The paper's batches of 50 and 90 epochs are in its recipes.
    training: TrainingConfig = TrainingConfig(**TRAINING)

    @property
    def backbone(self) -> Backbone:
        return BACKBONES[self.network]

    @property
    def untrained(self) -> tuple[str, ...]:
        """The stages that are not trained."""
        return frozen_stages(self.network, self.freeze)

    @field_validator("embedding_precision", mode="before")
    @classmethod
    def _refuse_int8(cls, value: object) -> object:
        if value == "int8":
            raise ValueError(
                "int8 was removed in this version; use float32 or bfloat16: "
                "--set image.embedding_precision=float32"
            )
        return value

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
        training = values.get("training", {})
        if isinstance(training, Mapping):  # what is not stated stays as it is for covers
            training = {**TRAINING, **training}
        return {"crop_px": backbone.crop_px, **values, "input": given, "training": training}

    @model_serializer(mode="wrap")
    def _without_what_follows(self, plain: Callable[[Any], Any]) -> dict[str, Any]:
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
        backbone, patch = self.backbone, self.backbone.patch_px or 1
        if crop < backbone.least_px or crop % patch:
            steps = f", in steps of {patch}" if patch > 1 else ""
            raise ValueError(
                f"crop_px {crop}: {self.network} takes {backbone.least_px} or more{steps}"
            )
        if self.weights == "imagenet" and patch > 1 and crop != backbone.crop_px:
            raise ValueError(
                f"crop_px {crop}: {self.network} from ImageNet weights has position embeddings for "
                f"{backbone.crop_px}; give that, or weights none"
            )
        if self.min_scale is not None and stored > 2 * crop:
            # Bilinear interpolation reads four pixels per output and would skip others.
            raise ValueError(
                f"min_scale {self.min_scale:g}: crop_px {crop} is too small for windows out of "
                f"{stored} px; store squares of {2 * crop} px at most"
            )
        frozen_stages(self.network, self.freeze)  # refuses unknown stages
        return self
