"""Texts through a frozen sentence-transformers model, and a feed-forward network on top of it.

Beside the VSM of the paper, for languages and genres whose words a small catalogue never shows.
The model is a folder on this machine; nothing is ever downloaded, and no code in it is run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from mmgenre.disk.store import FeatureStore
from mmgenre.errors import WeightsError
from mmgenre.learning.dense import to_embedding
from mmgenre.learning.dropout import Dropout
from mmgenre.learning.training import pick_device
from mmgenre.learning.weights import sha256_folder
from mmgenre.text.encoder import HOW_TO_GET_A_MODEL, TextConfig, feed_forward

MODULES = "modules.json"  # of which parts a sentence-transformers model consists


class SentenceEncoder(nn.Module):
    """Sentence vectors (batch, model.dim) -> embeddings (batch, embedding_dim).

    Only the layers here learn. The sentence model is not one of them, so that its weights are
    neither trained nor saved; its sha256 is, and an encoder takes no other model.
    """

    def __init__(self, config: TextConfig, model: SentenceModel) -> None:
        super().__init__()
        self.config, self.model = config, model
        self.output_dropout = config.dropout
        first = nn.Linear(model.dim, config.hidden_dim)
        self.hidden = feed_forward(config, Dropout(config.dropout), first)
        self.embedding, self.embedding_dim = to_embedding(config.hidden_dim, config.embedding_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Embeds sentence vectors."""
        return self.embedding(self.hidden(x))  # type: ignore[no-any-return]

    def source(self, store: FeatureStore) -> SentenceSource:
        """Sentence vectors of all texts of a store, computed here and kept."""
        return SentenceSource(store, self.model.vectors([store.read_text(i) for i in store.ids]))

    def state(self) -> dict[str, Any]:
        """Plain data from which `SentenceEncoder` is made again, weights and model apart."""
        return {"config": self.config.model_dump(mode="json"), "model_sha256": self.model.sha256}


@dataclass(frozen=True)
class SentenceSource:
    """Sentence vectors; every view of a text is the same."""

    store: FeatureStore
    rows: NDArray[np.float32]  # (n, dim)

    def views(self, ids: Sequence[str], rng: np.random.Generator | None) -> NDArray[np.float32]:
        """Vectors of texts, (n, 1, dim)."""
        del rng
        return self.rows[self.store.rows_of(ids)][:, None]


@dataclass(frozen=True)
class SentenceModel:
    """A sentence-transformers model in memory, and the hash of the folder it came from."""

    network: Any  # sentence_transformers.SentenceTransformer, which takes seconds to import
    sha256: str
    dim: int

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Texts -> (n, dim): the mean over the chunks of each that the model can read whole."""
        parts = [chunks(text, self._fits) for text in texts]
        counts = np.array([len(of_text) for of_text in parts], dtype=np.intp)
        rows = np.zeros((len(texts), self.dim), np.float32)
        if len(texts):
            whole = [part for of_text in parts for part in of_text]
            vectors = self.network.encode(whole, show_progress_bar=False)
            np.add.at(rows, np.repeat(np.arange(len(texts)), counts), vectors)
            rows /= counts[:, None]
        return rows

    def _fits(self, text: str) -> bool:
        """Whether the model reads a text to its end; it would drop the rest silently."""
        limit = self.network.max_seq_length
        if limit is None or limit == float("inf"):
            return True
        prompt = self.network.prompts.get(self.network.default_prompt_name) or ""
        tokenizer = self.network.tokenizer
        special = getattr(tokenizer, "num_special_tokens_to_add", None)  # [CLS] and [SEP]
        tokens = tokenizer.tokenize(prompt + text, verbose=False)
        n_tokens = len(tokens) + (special() if special else 0)
        return n_tokens <= int(limit)


def chunks(text: str, fits: Callable[[str], bool]) -> list[str]:
    """A text, halved between words until every part fits; a word that is too long is cut within.

    Halves rather than full chunks and a rest: in their mean the last words would weigh too much.

    >>> chunks("a sad song in a minor key", lambda part: len(part) <= 10)
    ['a sad song', 'in a', 'minor key']
    """
    if fits(text):
        return [text]
    words = text.split()
    if len(words) > 1:
        half = len(words) // 2
        left, right = " ".join(words[:half]), " ".join(words[half:])
    else:
        word = text.strip()
        left, right = word[: len(word) // 2], word[len(word) // 2 :]
        if not left:
            return [text]  # a single character
    return chunks(left, fits) + chunks(right, fits)


def make_sentence_encoder(config: TextConfig, sha256: str | None = None) -> SentenceEncoder:
    """An untrained encoder over the model that the recipe names.

    Args:
        config: with a `model`.
        sha256: what the model must be; None: whatever is there.

    Raises:
        WeightsError: no model is there, it is damaged, or another one.
    """
    assert config.model is not None  # TextConfig sees to it
    return SentenceEncoder(config, load_sentence_model(Path(config.model).expanduser(), sha256))


def _load_silently(folder: Path) -> Any:
    # Both take seconds to import, and only those who ask for them should wait.
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        return SentenceTransformer(
            str(folder), device=str(pick_device()), local_files_only=True, trust_remote_code=False
        )
    finally:
        if bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def load_sentence_model(folder: Path, sha256: str | None = None) -> SentenceModel:
    """Reads a folder that sentence-transformers wrote.

    Raises:
        WeightsError: no such folder, another hash, parts that would run foreign code, or damage.
    """
    if not (folder / MODULES).is_file():
        what = f"has no {MODULES}" if folder.is_dir() else "no such folder"
        raise WeightsError(
            f"{folder.absolute()}: {what}, so no sentence-transformers model. {HOW_TO_GET_A_MODEL}"
        )
    found = sha256_folder(folder)
    if sha256 is not None and found != sha256:
        raise WeightsError(
            f"{folder.absolute()}: holds another model than the encoder was trained on (sha256 "
            f"{found[:16]}..., not {sha256[:16]}...); put that one there, or train the encoder anew"
        )
    try:
        types = [str(part["type"]) for part in json.loads((folder / MODULES).read_text("utf-8"))]
        foreign = [name for name in types if not name.startswith("sentence_transformers.")]
        if foreign:
            raise WeightsError(
                f"{folder.absolute()}: {foreign[0]} is code of the model's own, which is never "
                "run; take a model that consists of sentence-transformers' modules only"
            )
        network = _load_silently(folder)
        # Not every model says how wide its vectors are.
        width = network.encode(["word"], show_progress_bar=False).shape[1]
        return SentenceModel(network, found, width)
    except WeightsError:
        raise
    except Exception as error:  # whatever its many parts raise for damage
        raise WeightsError(
            f"{folder.absolute()}: not a readable sentence-transformers model: "
            f"{type(error).__name__}: {error}. {HOW_TO_GET_A_MODEL}"
        ) from None
