"""Settings that modalities and fusion share; here, where no torch is imported."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from mmgenre.config import Settings

TargetName = Literal["logistic", "cosine"]
ClassWeights = Literal["none", "balanced", "adjusted"]
Encoders = Annotated[tuple[str, ...], Field(strict=False, min_length=1)]  # their names
Options = dict[str, dict[str, Any]]  # settings of encoders from outside the package, by name
Tf32 = Literal["none", "convolutions", "all"]
EmbeddingDim = Annotated[int, Field(ge=1)] | Literal["native"]  # native: as the network ends


class TrainingConfig(Settings):
    """METHOD section 8: Adam 1e-3, batches of 32, at most 100 epochs, patience 4.

    `patience`: epochs without a better validation loss before training stops, None: never; the
    best weights are kept in any case. `schedule`: "step" multiplies the learning rate by
    `step_factor` after every `step_epochs`, "cosine" lowers it to 0 over `max_epochs`,
    "warmup-cosine" raises it over the first steps and lowers it to 0 over the whole budget.
    `accumulate`: parts in which a batch is computed; their gradients are added, which takes less
    memory for the same step (except for batch norm). `channels_last`: memory layout of images and
    patches; not part of the method. On CUDA only, and neither part of it: `tf32`, what is computed
    in TF32 where `precision` is float32 (`learning.devices.tf32`); "convolutions" is torch's own
    default. `compile`: steps are compiled by torch.compile; evaluations and vectors are not.

    For sets of any size, not part of the method: `min_steps` is the least budget in optimiser
    steps; a set whose `max_epochs` are fewer steps is passed over more often, with new random
    views in each pass, and evaluated every 25 steps at most. `min_patience_steps` likewise.
    `max_steps` ends any training, and comes from `--budget`.
    `select`: what decides which weights are kept, "loss" or the "metric" of the task
    (`learning.selection`).
    """

    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: float = Field(1e-3, gt=0)
    momentum: float = Field(0.0, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)
    schedule: Literal["none", "step", "cosine", "warmup-cosine"] = "none"
    step_epochs: int = Field(3, ge=1)
    step_factor: float = Field(0.1, gt=0, le=1)
    batch_size: int = Field(32, ge=1)
    accumulate: int = Field(1, ge=1)
    max_epochs: int = Field(100, ge=1)
    min_steps: int | None = Field(None, ge=1)
    max_steps: int | None = Field(None, ge=1)
    patience: int | None = Field(4, ge=1)
    min_patience_steps: int | None = Field(None, ge=1)
    select: Literal["loss", "metric"] = "loss"
    precision: Literal["float32", "bfloat16"] = "float32"
    channels_last: bool = False
    tf32: Tf32 = "convolutions"
    compile: bool = False

    @model_validator(mode="after")
    def _settings_go_together(self) -> Self:
        if self.momentum and self.optimizer != "sgd":
            raise ValueError(
                f"momentum {self.momentum:g} is for optimizer sgd, not {self.optimizer}"
            )
        if self.accumulate > 1 and 2 * self.accumulate > self.batch_size:
            raise ValueError(
                f"accumulate {self.accumulate}: parts of a batch of {self.batch_size} would have "
                "fewer than two examples, and batch norm needs two"
            )
        if self.min_patience_steps is not None and None in (self.min_steps, self.patience):
            lacking = "min_steps" if self.min_steps is None else "patience"
            raise ValueError(
                f"min_patience_steps {self.min_patience_steps}: needs {lacking}; give both or none"
            )
        if self.min_steps is not None and self.schedule in ("step", "cosine"):
            raise ValueError(
                f"schedule {self.schedule}: counts epochs, which min_steps {self.min_steps} "
                "replaces; give warmup-cosine or none"
            )
        return self

    def rate_at(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 1; see `Budget.rate` for warmup-cosine."""
        if self.schedule == "step":
            return self.learning_rate * self.step_factor ** ((epoch - 1) // self.step_epochs)
        if self.schedule == "cosine":
            return self.learning_rate * (1 + math.cos(math.pi * (epoch - 1) / self.max_epochs)) / 2
        return self.learning_rate


class TargetConfig(Settings):
    """The target that a network is trained for.

    `dim`: d of COSINE, at most the number of labels. For LOGISTIC only: `label_smoothing`, the
    share of a target that is spread evenly over labels, `class_weights`, where "balanced" gives
    labels that are rare among training items a larger weight and "adjusted" learns scores as if
    all exclusive labels were as frequent (Menon et al. 2021, ICLR), and `first_bias` of output
    layers: with "prior" an untrained one predicts the shares of the labels, which else takes it a
    hundred steps to learn.
    """

    name: TargetName = "logistic"
    dim: int = Field(50, ge=1)
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    class_weights: ClassWeights = "none"
    first_bias: Literal["random", "prior"] = "random"

    @model_validator(mode="after")
    def _settings_go_together(self) -> Self:
        if self.name == "cosine" and (self.label_smoothing or self.class_weights != "none"):
            raise ValueError("label_smoothing and class_weights are for logistic, not for cosine")
        if self.class_weights != "none" and self.first_bias == "prior":
            raise ValueError(
                f"first_bias prior: {self.class_weights} labels have the same prior; "
                "give first_bias random"
            )
        return self

    def used(self) -> dict[str, Any]:
        """The settings that affect the named target."""
        of_logistic = {"label_smoothing", "class_weights", "first_bias"}
        return self.model_dump(exclude={"dim"} if self.name == "logistic" else of_logistic)


def width_of(embedding_dim: EmbeddingDim | None) -> int:
    """The width of an encoder that has none of its own: 2048 unless another one is asked for."""
    return 2048 if embedding_dim in (None, "native") else int(embedding_dim)
