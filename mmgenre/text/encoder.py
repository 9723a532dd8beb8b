"""The text encoder: tf-idf vector-space model through a feed-forward network (METHOD sec. 3).

`mmgenre.text.sentences` has the other one, with the same network over sentence vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, TypedDict

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from pydantic import Field, model_validator
from sklearn.feature_extraction.text import TfidfVectorizer
from torch import Tensor, nn

from mmgenre.config import Settings
from mmgenre.disk.store import FeatureStore
from mmgenre.errors import TrainingError
from mmgenre.learning.dense import EmbeddingDim, to_embedding
from mmgenre.learning.dropout import Dropout
from mmgenre.learning.optimisation import TrainingConfig
from mmgenre.text.decoding import TextInput
from mmgenre.text.words import WordLayer, sparse_tensor

HOW_TO_GET_A_MODEL = (
    "Download one where there is a network, for instance: "
    "hf download sentence-transformers/all-MiniLM-L6-v2 --local-dir models/all-MiniLM-L6-v2, "
    "copy the folder here, and give it: --set text.model=models/all-MiniLM-L6-v2"
)


class TextConfig(Settings):
    """The VSM: at most `max_words` words, none in more than a share `max_df` of the texts.

    `ngrams` 2 counts pairs of words as words, too; the paper has 1. The encoder
    "sentence-transformers" has none of these three; its `model` is a folder on this machine.
    """

    encoder: Literal["vsm", "sentence-transformers"] = "vsm"
    model: str | None = None
    max_words: int = Field(10_000, ge=1)
    max_df: float = Field(0.5, gt=0, le=1)
    ngrams: int = Field(1, ge=1, le=3)
    hidden_dim: int = Field(2048, ge=1)
    dropout: float = Field(0.5, ge=0, lt=1)
    embedding_dim: EmbeddingDim = 2048
    input: TextInput = TextInput()
    training: TrainingConfig = TrainingConfig()

    @model_validator(mode="after")
    def _settings_are_of_the_encoder(self) -> Self:
        if self.encoder == "vsm" and self.model is not None:
            raise ValueError(
                f"model {self.model!r}: the vsm has none; "
                "set encoder to sentence-transformers, or leave model out"
            )
        if self.encoder == "sentence-transformers":
            if self.model is None:
                raise ValueError(f"model: sentence-transformers needs one. {HOW_TO_GET_A_MODEL}")
            for name in ("max_words", "max_df", "ngrams"):
                value, default = getattr(self, name), type(self).model_fields[name].default
                if value != default:
                    raise ValueError(
                        f"{name} {value!r}: only the vsm counts words; leave it at {default!r}"
                    )
        return self


class Vocabulary(TypedDict):
    """A fitted tf-idf: the words in the order of their columns, and their idf."""

    words: list[str]
    idf: list[float]


class TextEncoder(nn.Module):
    """Tf-idf rows (batch, n_words), dense or sparse -> embeddings (batch, embedding_dim)."""

    def __init__(self, config: TextConfig, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.config, self.vocabulary = config, vocabulary
        self.output_dropout = config.dropout
        words = WordLayer(len(vocabulary["words"]), config.hidden_dim, config.dropout)
        self.hidden = feed_forward(config, words)
        self.embedding, self.embedding_dim = to_embedding(config.hidden_dim, config.embedding_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Embeds tf-idf rows."""
        return self.embedding(self.hidden(x))  # type: ignore[no-any-return]

    def source(self, store: FeatureStore) -> TextSource:
        """Tf-idf rows of all texts of a store."""
        if not len(store):  # every text was refused; scikit-learn would raise
            nothing = np.zeros((0, len(self.vocabulary["words"])), np.float32)
            return TextSource(store, sp.csr_matrix(nothing))
        texts = (store.read_text(row_id) for row_id in store.ids)
        return TextSource(store, vectorizer(self.config, self.vocabulary).transform(texts).tocsr())

    def state(self) -> dict[str, Any]:
        """Plain data from which `TextEncoder` is made again, weights and vocabulary apart."""
        return {"config": self.config.model_dump(mode="json")}


def feed_forward(config: TextConfig, *first: nn.Module) -> nn.Sequential:
    """The two hidden layers, a dropout before each; `first` is one dropout and one layer."""
    return nn.Sequential(
        *first,
        nn.ReLU(),
        Dropout(config.dropout),
        nn.Linear(config.hidden_dim, config.hidden_dim),
        nn.ReLU(),
    )


@dataclass(frozen=True)
class TextSource:
    """Tf-idf rows; every view of a text is the same."""

    store: FeatureStore
    rows: sp.csr_matrix

    def views(self, ids: Sequence[str], rng: np.random.Generator | None) -> NDArray[np.float32]:
        """Rows of texts, (n, 1, n_words)."""
        del rng
        return np.asarray(self.rows[self.store.rows_of(ids)].toarray()[:, None])

    def sparse_views(self, ids: Sequence[str]) -> Tensor:
        """The same rows as a sparse tensor (n, n_words): one text has 1 or 2 % of the words."""
        return sparse_tensor(self.rows[self.store.rows_of(ids)])


def fit_vocabulary(config: TextConfig, store: FeatureStore, ids: Sequence[str]) -> Vocabulary:
    """Learns words and idf from the training texts.

    Raises:
        TrainingError: no word is left.
    """
    fitted = vectorizer(config)
    try:
        fitted.fit(store.read_text(row_id) for row_id in ids)
    except ValueError as error:
        raise TrainingError(f"{len(ids)} training texts give no vocabulary: {error}") from None
    return {"words": fitted.get_feature_names_out().tolist(), "idf": fitted.idf_.tolist()}


def vectorizer(config: TextConfig, vocabulary: Vocabulary | None = None) -> TfidfVectorizer:
    """scikit-learn's tf-idf with METHOD's settings; with a vocabulary it needs no fitting."""
    made = TfidfVectorizer(
        sublinear_tf=True,
        max_df=config.max_df,
        max_features=config.max_words,
        ngram_range=(1, config.ngrams),
        vocabulary=None if vocabulary is None else vocabulary["words"],
        dtype=np.float32,
    )
    if vocabulary is not None:
        made.idf_ = np.array(vocabulary["idf"], np.float32)
    return made


def make_text_encoder(
    config: TextConfig, store: FeatureStore, train_ids: Sequence[str]
) -> TextEncoder:
    """An untrained encoder over the vocabulary of the training texts."""
    return TextEncoder(config, fit_vocabulary(config, store, train_ids))
