"""Settings of frozen models, and their names; here, where no torch is imported."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from mmgenre.config import Settings, checked
from mmgenre.errors import RecipeError

SOURCES = ("hf", "timm", "dir")  # the Hugging Face hub, timm's models on it, a folder
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
TIMM_NAME = re.compile(r"[\w.-]+")
REVISION = re.compile(r"[\w./-]+")
Layer = int | Literal["last", "mean", "weighted", "stages"]
Pool = Literal["mean", "mean+std", "cls"]


@dataclass(frozen=True)
class ModelName:
    """`hf:OWNER/NAME`, `timm:NAME` or `dir:PATH`, the first two perhaps with `@REVISION`."""

    source: str
    name: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"{self.source}:{self.name}" + (f"@{self.revision}" if self.revision else "")

    @property
    def label(self) -> str:
        """What it is called in tables and folders: the last part of its name.

        >>> ModelName.parse("hf:m-a-p/MERT-v1-95M").label
        'mert-v1-95m'
        """
        last = Path(self.name).name if self.source == "dir" else self.name.rpartition("/")[2]
        return re.sub(r"[^a-z0-9_-]+", "-", last.lower()).strip("-") or "model"

    @classmethod
    def parse(cls, text: str) -> ModelName:
        """RecipeError: another form."""
        source, colon, rest = text.partition(":")
        if not colon or source not in SOURCES:
            raise RecipeError(f"model {text!r}: write hf:OWNER/NAME, timm:NAME or dir:PATH")
        if source == "dir":
            if not rest or "\0" in rest:
                raise RecipeError(f"model {text!r}: write dir:PATH, a folder on this machine")
            return cls(source, rest)
        name, at, revision = rest.partition("@")
        form, pattern = ("OWNER/NAME", HUB_NAME) if source == "hf" else ("NAME", TIMM_NAME)
        if not pattern.fullmatch(name) or (at and not REVISION.fullmatch(revision)):
            raise RecipeError(f"model {text!r}: write {source}:{form}, or {source}:{form}@REVISION")
        return cls(source, name, revision or None)


def names_a_model(encoder: str) -> bool:
    """Whether an encoder's name in a recipe is that of a frozen model.

    Raises:
        RecipeError: OWNER/NAME without saying where it is to come from.
    """
    if HUB_NAME.fullmatch(encoder):
        raise RecipeError(f"encoder {encoder!r}: say where it is: hf:{encoder}, or dir:{encoder}")
    return encoder.partition(":")[0] in SOURCES


class FrozenConfig(Settings):
    """How frozen models of a modality are read, for all of them; `options` has those of one.

    `layer`: which hidden state; 0 is what enters the first block, "mean" all of them, "weighted"
    a learned mixture (with `top = "network"`), "stages" those of each resolution beside each other.
    None: the model's own, which is "stages" for networks of timm that have several, else what the
    model itself gives, for instance after its projection. `pool`: over time or patches. `window_s`:
    None: the model's own. Only the middle `excerpt_s` of a track are read. `top`: "vector" takes
    the vectors as they are; "network" learns a feed-forward network on them, to `embedding_dim`.
    `tune`: whether the model itself learns the genre task, in its last N blocks ("last 2") or in
    all; of covers and texts, which are stored. Its weights learn at `tune_rate` times
    `training.learning_rate`.
    """

    layer: Layer | None = None
    pool: Pool | None = None
    window_s: float | None = Field(None, gt=0)
    excerpt_s: float = Field(30.0, gt=0)
    top: Literal["vector", "network"] = "vector"
    # Other encoders are saved as they were before models could be tuned.
    tune: str = Field(
        "none", pattern=r"^(none|all|last [1-9]\d*)$", exclude_if=lambda value: value == "none"
    )
    tune_rate: float = Field(0.03, gt=0, exclude_if=lambda value: value == 0.03)
    hidden_dim: int = Field(2048, ge=1)
    dropout: float = Field(0.5, ge=0, lt=1)

    @model_validator(mode="after")
    def _settings_go_together(self) -> Self:
        if self.layer == "weighted" and self.top != "network":
            raise ValueError('layer "weighted": its weights are learned; give top = "network"')
        if self.tune != "none" and self.top != "vector":
            raise ValueError(f"tune {self.tune!r}: the model itself learns; leave top at vector")
        return self


def config_of(section: Any, name: str) -> FrozenConfig:
    """How a recipe's section reads a frozen model: `frozen`, and over it the model's own options.

    Raises:
        RecipeError: options that are not known.
    """
    values = {**section.frozen.model_dump(), **section.options.get(name, {})}
    config = checked(FrozenConfig, values, f'options."{name}"')
    if config.tune != "none" and "excerpt_s" in type(section.input).model_fields:
        raise RecipeError(
            f"{name}: tune {config.tune!r}: a run stores no samples of audio, which a model would "
            "have to read in every step; covers and texts can be tuned. For audio: top = "
            '"network", perhaps with layer = "weighted"'
        )
    return config


class FrozenInput(Settings):
    """Which vectors of which model stand in a store of inputs."""

    model: str
    layer: Layer | None = None
    pool: Pool | None = None
    window_s: float | None = Field(None, gt=0)
    carried: str | None = Field(None, exclude=True)  # the model's folder in that of what uses it

    @property
    def name(self) -> ModelName:
        return ModelName.parse(self.model)


class ReadByModel(Settings):
    """Settings of inputs that may be a model's vectors: `frozen` is set by the encoder's name."""

    # Other inputs are saved as they were before there were models.
    frozen: FrozenInput | None = Field(None, exclude_if=lambda value: value is None)


class WithModels(Settings):
    """Settings of a modality, among whose encoders frozen models may be.

    `embedding_dtype`: of the vectors on disk. float16 takes half the room, and moves a vector by a
    cosine distance of about 1e-7.
    """

    frozen: FrozenConfig = Field(
        FrozenConfig(), exclude_if=lambda value: bool(value == FrozenConfig())
    )
    embedding_dtype: Literal["float32", "float16"] = Field(
        "float32", exclude_if=lambda value: bool(value == "float32")
    )

    @model_validator(mode="after")
    def _input_is_none_of_models(self) -> Self:
        own = getattr(self, "input", None)
        if own is not None and own.frozen is not None:
            raise ValueError("input.frozen: is not set by hand; name the model among the encoders")
        return self
