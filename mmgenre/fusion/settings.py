"""Settings of the joint space and of fusion; here, where no torch is imported."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from mmgenre.config import Settings
from mmgenre.items.modalities import Modality
from mmgenre.learning.settings import TargetName, TrainingConfig


class JointConfig(Settings):
    """METHOD section 6: 200 dimensions, margin 0.5. `modalities` None: all that are fused."""

    modalities: tuple[Modality, ...] | None = Field(None, strict=False, min_length=2)
    dim: int = Field(200, ge=1)
    margin: float = Field(0.5, ge=-1, le=1)
    training: TrainingConfig = TrainingConfig()


# Networks over joined rows, as "module:class": (widths, target_dim, dropout) -> a `FusionHead`.
HEADS = {"linear": "mmgenre.fusion.head:FusionHead"}


class FusionConfig(Settings):
    """How the modalities are joined. `network`: one of `HEADS`.

    `dropout` None: as published (METHOD section 7). `modality_dropout`: the share of an item's
    modalities that training hides, so that the head learns to do without any of them; the paper has
    0. `joint`: whether a head reads embeddings, joint vectors beside them, or these alone.
    `missing_share`: the share of the test items' modalities that evaluation hides.
    """

    head: TargetName = "logistic"
    network: str = "linear"
    dropout: float | None = Field(None, ge=0, lt=1)
    modality_dropout: float = Field(0.1, ge=0, lt=1)
    joint: Literal["none", "beside", "alone"] = "none"
    missing_share: float = Field(0.0, ge=0, lt=1)
    training: TrainingConfig = TrainingConfig()

    @field_validator("network")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if value not in HEADS:
            raise ValueError(f"known are {', '.join(HEADS)}")
        return value

    def dropout_for(self, *, exclusive: bool) -> float:
        """The dropout of the concatenated vectors."""
        published = 0.5 if exclusive else {"cosine": 0.7, "logistic": 0.0}[self.head]
        return published if self.dropout is None else self.dropout
