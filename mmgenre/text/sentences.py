"""Texts through a frozen sentence-transformers model, and a feed-forward network on top of it.

An alternative to the paper's VSM, for languages and genres whose words a small catalogue does not
contain. The model is a folder on this machine; nothing is downloaded, and no code in it is run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from mmgenre.disk.bundle import Bundle
from mmgenre.disk.provenance import sha256_folder
from mmgenre.disk.store import FeatureStore
from mmgenre.errors import WeightsError
from mmgenre.frozen.models import load_model
from mmgenre.frozen.sentences import MODULES, Sentences
from mmgenre.frozen.settings import FrozenInput, ModelName
from mmgenre.learning.encoder import to_embedding
from mmgenre.learning.settings import TargetName
from mmgenre.text.encoder import described, feed_forward, settings_of
from mmgenre.text.settings import HOW_TO_GET_A_MODEL, TextConfig


class SentenceEncoder(nn.Module):
    """Sentence vectors (batch, model.dim) -> embeddings (batch, embedding_dim).

    Only the layers here learn. The sentence model is not one of them, so its weights are neither
    trained nor saved; its sha256 is saved, and no other model is accepted later.
    """

    def __init__(self, config: TextConfig, model: SentenceModel) -> None:
        super().__init__()
        self.config, self.model = config, model
        self.output_dropout = config.dropout
        first = nn.Linear(model.dim, config.hidden_dim)
        self.hidden = feed_forward(config, nn.Dropout(config.dropout), first)
        self.embedding, self.embedding_dim = to_embedding(config.hidden_dim, config.embedding_dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.embedding(self.hidden(x))  # type: ignore[no-any-return]

    def source(self, store: FeatureStore) -> SentenceSource:
        return SentenceSource(store, self.model.vectors([store.read_text(i) for i in store.ids]))

    def state(self) -> dict[str, Any]:
        return {**described(self.config), "model_sha256": self.model.sha256}


@dataclass(frozen=True)
class SentenceSource:
    """Sentence vectors; all views of a text are the same."""

    store: FeatureStore
    rows: NDArray[np.float32]  # (n, dim)

    def views(self, ids: Sequence[str], rng: np.random.Generator | None) -> NDArray[np.float32]:
        """Vectors of texts, (n, 1, dim)."""
        del rng
        return self.rows[self.store.rows_of(ids)][:, None]


@dataclass(frozen=True)
class SentenceModel:
    """A sentence-transformers model in memory, and the hash of the folder it came from."""

    model: Sentences
    sha256: str

    @property
    def dim(self) -> int:
        return self.model.width

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Texts -> (n, dim)."""
        return self.model.vectors(texts)


def make_sentences(
    config: TextConfig, target: TargetName, store: FeatureStore, train_ids: Sequence[str]
) -> SentenceEncoder:
    """An untrained encoder over the model that the recipe names (see `named_model`)."""
    del target, store, train_ids
    return SentenceEncoder(config, named_model(config))


def load_sentences(bundle: Bundle) -> SentenceEncoder:
    """The encoder that a folder describes, without its weights (see `named_model`)."""
    config = settings_of(bundle)
    return SentenceEncoder(config, named_model(config, bundle.config["model_sha256"]))


def named_model(config: TextConfig, sha256: str | None = None) -> SentenceModel:
    """The model in the folder that the settings name; with `sha256`, only the one of that hash.

    Raises WeightsError: no such folder, another hash, parts that would run foreign code, or damage.
    """
    assert config.model is not None  # checked by TextConfig
    folder = Path(config.model).expanduser().absolute()
    if not (folder / MODULES).is_file():
        what = f"has no {MODULES}" if folder.is_dir() else "no such folder"
        raise WeightsError(
            f"{folder}: {what}, so no sentence-transformers model. {HOW_TO_GET_A_MODEL}"
        )
    found = sha256_folder(folder)
    if sha256 is not None and found != sha256:
        raise WeightsError(
            f"{folder}: holds another model than the encoder was trained on (sha256 "
            f"{found[:16]}..., not {sha256[:16]}...); put that one there, or train the encoder anew"
        )
    name = ModelName("dir", str(folder))
    try:
        model = load_model(FrozenInput(model=str(name)), "text")
    except WeightsError as error:
        raise WeightsError(f"{error}. {HOW_TO_GET_A_MODEL}") from None
    return SentenceModel(model, found)
