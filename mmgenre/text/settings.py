"""Settings of a modality of texts; here, where neither torch nor scikit-learn is imported."""

from typing import Self

from pydantic import Field, model_validator

from mmgenre.frozen.settings import ReadByModel, WithModels
from mmgenre.learning.settings import EmbeddingDim, Encoders, Options, TrainingConfig
from mmgenre.text.entities.annotators import EntityConfig

GONE = {
    "sentence-transformers": (
        'is named as every frozen model now: text.encoders=["dir:PATH"] (or "hf:OWNER/NAME"), with '
        'text.frozen.top="network" for the network on top, and without text.model'
    )
}


class TextInput(ReadByModel):
    """How much of an item's texts is kept, and how its entities are found."""

    max_characters: int = Field(1500, ge=1)  # Oramas 2018, sec. 5.1: about 1500
    entities: EntityConfig = EntityConfig()  # with an annotator VSM+SEM (sec. 3.2), else plain VSM


class TextConfig(WithModels):
    """Settings of a modality of texts."""

    encoders: Encoders = ("vsm",)  # each one is a view of the modality
    model: str | None = Field(None, exclude=True)  # of earlier versions; runs of these state None
    # These three for the vsm only.
    max_words: int = Field(10_000, ge=1)
    max_df: float = Field(0.5, gt=0, le=1)  # no word is in a greater share of the texts
    ngrams: int = Field(1, ge=1, le=3)  # 2: pairs of words count as words, too; the paper: 1
    hidden_dim: int = Field(2048, ge=1)
    dropout: float = Field(0.5, ge=0, lt=1)
    embedding_dim: EmbeddingDim = 2048
    options: Options = Field(default_factory=dict)  # of encoders from outside the package, by name
    input: TextInput = TextInput()
    training: TrainingConfig = TrainingConfig()

    @model_validator(mode="after")
    def _model_is_named_among_the_encoders(self) -> Self:
        for name, why in GONE.items():
            if name in self.encoders or self.model is not None:
                raise ValueError(f"{name} {self.model or ''!r}: {why}")
        return self
