"""Words, pairs of words and groups of letters of a text, in coordinates of the training texts.

A linear model with an L2 penalty never leaves the span of its training rows. So the tf-idf rows of
the training texts (at most 2048 of them, the landmarks) give an orthonormal basis in which such a
model loses nothing, whatever the number of words: with no more training texts than that, a head on
this embedding is the linear model over all words; with more, it is its Nystroem approximation
(Williams and Seeger 2001).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self, TypedDict

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, TfidfVectorizer
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from mmgenre.disk.bundle import Bundle
from mmgenre.disk.store import FeatureStore
from mmgenre.errors import TrainingError
from mmgenre.learning.rows import Note
from mmgenre.learning.settings import TargetName, width_of
from mmgenre.text.encoder import described, settings_of
from mmgenre.text.settings import TextConfig
from mmgenre.text.words import known_note, words

VOCABULARIES = "vocabularies.json"
SEED = 0x11EA  # of the landmarks: which training texts they are
MAX_TERMS = 60_000  # of each kind
LEAST = 1e-6  # a direction of less than this share of the largest is rounding


class Terms(TypedDict):
    """A fitted tf-idf of one kind: its terms in the order of their columns, and their idf."""

    terms: list[str]
    idf: list[float]


# Blocks of a row, each of length 1. Function words say little about genres: those in over half of
# the texts and the English ones are left out.
KINDS: dict[str, dict[str, Any]] = {
    "words": {
        "ngram_range": (1, 2),
        "max_df": 0.5,
        "stop_words": "english",
        "tokenizer": words,
        "token_pattern": None,
    },
    "letters": {"analyzer": "char_wb", "ngram_range": (2, 5)},
}


def _vectorizer(kind: str, n_texts: int, fitted: Terms | None = None) -> TfidfVectorizer:
    """A term of a single text says nothing, unless there are very few texts."""
    common: dict[str, Any] = {"sublinear_tf": True, "dtype": np.float32}
    least = {"words": 2, "letters": 3}[kind] if n_texts >= 20 else 1
    own = KINDS[kind] | {"min_df": least, "max_features": MAX_TERMS}
    made = TfidfVectorizer(**common, **own, vocabulary=fitted and fitted["terms"])
    if fitted is not None:
        made.idf_ = np.array(fitted["idf"], np.float32)
    return made


class LinearEncoder(nn.Module):
    """Inner products of a text with the landmarks -> their coordinates (batch, embedding_dim)."""

    output_dropout = 0.0
    basis: Tensor  # (landmarks, embedding_dim)

    def __init__(
        self, config: TextConfig, vocabularies: dict[str, Terms], sizes: tuple[int, int, int]
    ) -> None:
        super().__init__()
        self.config, self.vocabularies, self.sizes = config, vocabularies, sizes
        self.embedding_dim = width_of(config.embedding_dim)
        n_texts, n_landmarks, n_values = sizes
        self.register_buffer("basis", torch.zeros(n_landmarks, self.embedding_dim))
        # The landmarks' tf-idf, a sparse array (landmarks, terms).
        self.register_buffer("values", torch.zeros(n_values))
        self.register_buffer("columns", torch.zeros(n_values, dtype=torch.int32))
        self.register_buffer("starts", torch.zeros(n_landmarks + 1, dtype=torch.int32))
        self.vectorizers = [_vectorizer(k, n_texts, v) for k, v in vocabularies.items()]

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.basis

    def rows(self, texts: Sequence[str]) -> sp.csr_matrix:
        """Tf-idf of texts, (n, terms), of length 1 or, without known terms, 0."""
        blocks = [vectorizer.transform(texts) for vectorizer in self.vectorizers]
        return sp.csr_matrix(sp.hstack(blocks, dtype=np.float32) / np.sqrt(len(blocks)))

    def landmarks(self) -> sp.csr_matrix:
        """Tf-idf of the landmarks, (landmarks, terms)."""
        parts = (self.get_buffer(name).numpy() for name in ("values", "columns", "starts"))
        n_terms = sum(len(v["terms"]) for v in self.vocabularies.values())
        return sp.csr_matrix(tuple(parts), shape=(len(self.basis), n_terms))

    def fit(self, landmarks: sp.csr_matrix) -> Self:
        """Takes the landmarks and learns an orthonormal basis of their span."""
        for name, part in (("values", "data"), ("columns", "indices"), ("starts", "indptr")):
            buffer = self.get_buffer(name)
            buffer.copy_(torch.from_numpy(getattr(landmarks, part)).to(buffer.dtype))
        with threadpool_limits(1, "blas"):  # the same numbers on every number of cores
            values, vectors = np.linalg.eigh((landmarks @ landmarks.T).toarray().astype(np.float64))
        kept = np.flatnonzero(values > LEAST * values[-1])[::-1][: self.embedding_dim]
        basis = vectors[:, kept] / np.sqrt(values[kept])
        self.basis[:, : len(kept)] = torch.from_numpy(basis.astype(np.float32))
        return self

    def source(self, store: FeatureStore) -> LinearSource:
        return LinearSource(store, self, self.landmarks().T.tocsr())

    def state(self) -> dict[str, Any]:
        return {**described(self.config), "sizes": list(self.sizes)}

    def files(self) -> dict[str, Any]:
        return {VOCABULARIES: self.vocabularies}


@dataclass(frozen=True)
class LinearSource:
    """Inner products with the landmarks; all views of a text are the same."""

    store: FeatureStore
    encoder: LinearEncoder
    landmarks: sp.csr_matrix  # (terms, landmarks)

    def views(self, ids: Sequence[str], rng: np.random.Generator | None) -> NDArray[np.float32]:
        """Inner products, (n, 1, landmarks)."""
        del rng
        rows = self.encoder.rows([self.store.read_text(i) for i in ids])
        return np.asarray((rows @ self.landmarks).toarray()[:, None], np.float32)

    def known(self, ids: Sequence[str]) -> NDArray[np.bool_]:
        """Which texts have a known word, or letters if training had no word in common, (n,)."""
        words_or_letters = self.encoder.vectorizers[0]
        rows = words_or_letters.transform([self.store.read_text(i) for i in ids])
        return np.asarray(np.diff(rows.indptr) > 0)

    def notes(self, ids: Sequence[str]) -> list[Note]:
        """How many words of each text are known; function words are."""
        terms = self.encoder.vocabularies.get("words", {"terms": [], "idf": []})["terms"]
        vocabulary = ENGLISH_STOP_WORDS.union(terms)
        return [known_note(self.store.read_text(row_id), vocabulary) for row_id in ids]


def make_linear(
    config: TextConfig, target: TargetName, store: FeatureStore, train_ids: Sequence[str]
) -> LinearEncoder:
    """An encoder fitted on the training texts. TrainingError if they have no term in common."""
    del target
    texts = [store.read_text(row_id) for row_id in train_ids]
    vocabularies: dict[str, Terms] = {}
    for kind in KINDS:
        fitted = _vectorizer(kind, len(texts))
        try:
            fitted.fit(texts)
        except ValueError:
            continue
        terms, idf = fitted.get_feature_names_out().tolist(), fitted.idf_.tolist()
        vocabularies[kind] = {"terms": terms, "idf": idf}
    if not vocabularies:
        raise TrainingError(f"{len(texts)} training texts give no vocabulary")
    n = min(len(texts), width_of(config.embedding_dim))
    chosen = np.sort(np.random.default_rng(SEED).permutation(len(texts))[:n])
    draft = LinearEncoder(config, vocabularies, (len(texts), 0, 0))
    landmarks = draft.rows([texts[k] for k in chosen])
    sizes = len(texts), n, landmarks.nnz
    return LinearEncoder(config, vocabularies, sizes).fit(landmarks)


def load_linear(bundle: Bundle) -> LinearEncoder:
    """The encoder that a folder describes, without its weights."""
    n_texts, n_landmarks, n_values = bundle.config["sizes"]
    vocabularies = bundle.files[VOCABULARIES]
    return LinearEncoder(settings_of(bundle), vocabularies, (n_texts, n_landmarks, n_values))
