"""Settings of the joint space and of fusion; here, where no torch is imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from mmgenre.config import Settings
from mmgenre.items.modalities import Modality
from mmgenre.learning.settings import TargetName, TrainingConfig


class JointConfig(Settings):
    """METHOD section 6: 200 dimensions, margin 0.5. `modalities` None: all that are fused.

    Not part of the paper: `loss` "infonce" has every item pick its own match among those of the
    batch, both ways, at a `temperature`, instead of one random negative and a `margin`. `dropout`
    hides a share of the values of the vectors in training.
    """

    modalities: tuple[Modality, ...] | None = Field(None, strict=False, min_length=2)
    dim: int = Field(200, ge=1)
    margin: float = Field(0.5, ge=-1, le=1)
    loss: Literal["margin", "infonce"] = "margin"
    temperature: float = Field(0.2, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    training: TrainingConfig = TrainingConfig()

    def used(self) -> dict[str, Any]:
        """The settings that decide what a space is like, `modalities` apart.

        Those that came later than the first spaces are left out where they change nothing.
        """
        others = {
            "modalities",
            *(("temperature", "loss") if self.loss == "margin" else ("margin",)),
        }
        return self.model_dump(exclude=others | (set() if self.dropout else {"dropout"}))


# Networks over joined rows, as "module:class": (widths, target_dim, dropout) -> a `FusionHead`.
HEADS = {
    "linear": "mmgenre.fusion.head:FusionHead",
    "single-branch": "mmgenre.fusion.single_branch:SingleBranchHead",
}


class FusionConfig(Settings):
    """How the modalities are joined. `network`: one of `HEADS`.

    `dropout` None: as published (METHOD section 7). `modality_dropout`: the share of an item's
    modalities that training hides, so that the head learns to do without any of them; the paper has
    0. `joint`: whether a head reads embeddings, joint vectors beside them, or these alone.
    `missing_share`: the share of the test items' modalities that evaluation hides, at random, or,
    of the modalities of `missing_by`, by a column of the manifest with numbers: the percentage of
    test items at which the item still has the modality (of Music4All A+A `keeps_modality_at`).

    Not part of the paper: `solver` "lbfgs" solves heads instead of stopping them early; then
    `network`, `dropout`, `modality_dropout` and `training` are not used. `combine`: how the inputs
    of a row are joined, "concatenation" as in the paper, or "product" of experts, one or two an
    input (`mmgenre.fusion.combine`); "auto" takes what cross-validation picks, and has rows of
    concatenated vectors beside it. `cross_fit`: how many encoders are trained without a part of
    the training items each, so that what heads learn from is honest; 0: none. `refit`: whether the
    heads of the saved model also learn from validation items; figures are of heads that do not.
    """

    head: TargetName = "logistic"
    network: str = "linear"
    dropout: float | None = Field(None, ge=0, lt=1)
    modality_dropout: float = Field(0.1, ge=0, lt=1)
    joint: Literal["none", "beside", "alone"] = "none"
    missing_share: float = Field(0.0, ge=0, lt=1)
    missing_by: Mapping[str, str] = Field(default_factory=dict)  # modality -> column
    solver: Literal["sgd", "lbfgs"] = "sgd"
    combine: Literal["concatenation", "product", "auto"] = "concatenation"
    cross_fit: int = Field(0, ge=0)
    refit: bool = False
    training: TrainingConfig = TrainingConfig()

    @field_validator("cross_fit")
    @classmethod
    def _is_none_or_several(cls, value: int) -> int:
        if value == 1:
            raise ValueError("of one part nothing is left to learn from; give 0, or 2 or more")
        return value

    @model_validator(mode="after")
    def _settings_go_together(self) -> Self:
        if self.solver == "sgd" and (self.combine != "concatenation" or self.refit):
            raise ValueError(
                f"combine {self.combine}, refit {self.refit}: are for solver lbfgs; sgd joins by "
                "concatenation and learns from training items"
            )
        if self.solver == "lbfgs" and self.network != "linear":
            raise ValueError(
                f"network {self.network}: is for solver sgd; lbfgs solves linear heads"
            )
        return self

    def used(self) -> dict[str, Any]:
        """The settings that decide what heads of a row are like; `joint` the row itself says."""
        others = {"joint", "cross_fit"}  # what was cross-fitted is known by its fingerprint
        others |= (
            {"solver", "combine", "refit"}
            if self.solver == "sgd"
            else {"network", "dropout", "modality_dropout", "training"}
        )
        others |= set() if self.missing_by else {"missing_by"}  # as fusions of before have none
        return self.model_dump(exclude=others)

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
