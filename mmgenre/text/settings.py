"""Settings of a modality of texts; here, where neither torch nor scikit-learn is imported."""

from typing import Self

from pydantic import Field, model_validator

from mmgenre.frozen.settings import ReadByModel, WithModels
from mmgenre.learning.settings import EmbeddingDim, Encoders, Options, TrainingConfig
from mmgenre.text.entities.annotators import EntityConfig

HOW_TO_GET_A_MODEL = (
    "Download one where there is a network, for instance: "
    "hf download sentence-transformers/all-MiniLM-L6-v2 --local-dir models/all-MiniLM-L6-v2, "
    "copy the folder here, and give it: --set text.model=models/all-MiniLM-L6-v2"
)


class TextInput(ReadByModel):
    """How much of an item's texts is kept, and how its entities are found."""

    max_characters: int = Field(1500, ge=1)  # Oramas 2018, sec. 5.1: about 1500
    entities: EntityConfig = EntityConfig()  # with an annotator VSM+SEM (sec. 3.2), else plain VSM


class TextConfig(WithModels):
    """Settings of a modality of texts."""

    encoders: Encoders = ("vsm",)  # each one is a view of the modality
    model: str | None = None  # sentence-transformers only: a folder on this machine
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
    def _fits_the_encoders(self) -> Self:
        if "sentence-transformers" in self.encoders and self.model is None:
            raise ValueError(f"model: sentence-transformers needs one. {HOW_TO_GET_A_MODEL}")
        if "sentence-transformers" not in self.encoders and self.model is not None:
            raise ValueError(
                f"model {self.model!r}: is for the encoder sentence-transformers, but encoders are "
                f"{', '.join(self.encoders)}; add it there, or leave model out"
            )
        if self.encoders == ("sentence-transformers",):
            for name in ("max_words", "max_df", "ngrams"):
                value, default = getattr(self, name), type(self).model_fields[name].default
                if value != default:
                    fault = f"only the vsm counts words; leave it at {default!r}"
                    raise ValueError(f"{name} {value!r}: {fault}")
        return self
