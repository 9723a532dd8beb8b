"""Texts through a frozen sentence-transformers model, and a feed-forward network on top of it.

An alternative to the paper's VSM, for languages and genres whose words a small catalogue does not
contain. The model is a folder on this machine; nothing is downloaded, and no code in it is run.
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

from mmgenre.disk.bundle import Bundle
from mmgenre.disk.provenance import sha256_folder
from mmgenre.disk.store import FeatureStore
from mmgenre.errors import WeightsError
from mmgenre.learning.encoder import to_embedding
from mmgenre.learning.settings import TargetName
from mmgenre.learning.training import pick_device
from mmgenre.text.encoder import described, feed_forward, settings_of
from mmgenre.text.settings import HOW_TO_GET_A_MODEL, TextConfig

MODULES = "modules.json"  # lists the parts of a sentence-transformers model


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

    network: Any  # sentence_transformers.SentenceTransformer, which takes seconds to import
    sha256: str
    dim: int

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Texts -> (n, dim): for each the mean over chunks that the model reads to their end."""
        rows = np.zeros((len(texts), self.dim), np.float32)
        parts = [(row, part) for row, text in enumerate(texts) for part in chunks(text, self._fits)]
        if parts:
            vectors = self.network.encode([part for _, part in parts], show_progress_bar=False)
            of_text = np.array([row for row, _ in parts])
            np.add.at(rows, of_text, vectors)
            rows /= np.bincount(of_text)[:, None]
        return rows

    def _fits(self, text: str) -> bool:
        """Whether the model reads a text to its end; it would drop the rest silently."""
        limit = self.network.max_seq_length
        if limit is None or limit == float("inf"):
            return True
        prompt = self.network.prompts.get(self.network.default_prompt_name) or ""
        tokenizer = self.network.tokenizer
        special = getattr(tokenizer, "num_special_tokens_to_add", lambda: 0)  # [CLS] and [SEP]
        return len(tokenizer.tokenize(prompt + text, verbose=False)) + special() <= int(limit)


def chunks(text: str, fits: Callable[[str], bool]) -> list[str]:
    """A text, halved between words until every part fits; a word that is too long is cut within.

    Halves, since the last words would weigh too much in a mean over full chunks and a short rest.

    >>> chunks("a sad song in a minor key", lambda part: len(part) <= 10)
    ['a sad song', 'in a', 'minor key']
    """
    words = text.split()
    if fits(text) or (len(words) < 2 and len(text.strip()) < 2):
        return [text]
    units, gap = (words, " ") if len(words) > 1 else (list(text.strip()), "")
    half = len(units) // 2
    return chunks(gap.join(units[:half]), fits) + chunks(gap.join(units[half:]), fits)


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
    try:
        types = [str(part["type"]) for part in json.loads((folder / MODULES).read_text("utf-8"))]
        foreign = [name for name in types if not name.startswith("sentence_transformers.")]
        if foreign:
            raise WeightsError(
                f"{folder}: {foreign[0]} is code of the model's own, which is never run; take a "
                "model that consists of sentence-transformers' modules only"
            )
        network = _load_silently(folder)
        # Not every model says how wide its vectors are.
        width = network.encode(["word"], show_progress_bar=False).shape[1]
    except WeightsError:
        raise
    except Exception as error:  # its many parts raise errors of their own
        raise WeightsError(
            f"{folder}: not a readable sentence-transformers model: "
            f"{type(error).__name__}: {error}. {HOW_TO_GET_A_MODEL}"
        ) from None
    return SentenceModel(network, found, width)


def _load_silently(folder: Path) -> Any:
    # Both take seconds to import.
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
