"""The text encoder: tf-idf vector-space model through a feed-forward network (METHOD sec. 3)."""

from __future__ import annotations

import math
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from torch import Tensor, distributed, nn
from torch.nn import functional

from mmgenre.disk.bundle import Bundle
from mmgenre.disk.store import FeatureStore
from mmgenre.errors import BundleError, TrainingError
from mmgenre.learning.encoder import to_embedding
from mmgenre.learning.rows import Note
from mmgenre.learning.settings import TargetName
from mmgenre.text.entities.annotators import entity_provenance
from mmgenre.text.settings import TextConfig
from mmgenre.text.words import LEAST_SHARE, known_note, words

VOCABULARY = "vocabulary.json"
RARE, USUAL_TEXTS = 0.02, 2000  # of training texts, by which a usual share of known words is told


class Vocabulary(TypedDict):
    """A fitted tf-idf: the words in the order of their columns, and their idf.

    `usual_share`: of the words of a text, as many are known, but in 2 % of texts.
    """

    words: list[str]
    idf: list[float]
    usual_share: NotRequired[float]  # not of encoders of earlier versions


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
        return self.embedding(self.hidden(x))  # type: ignore[no-any-return]

    def source(self, store: FeatureStore) -> TextSource:
        if not len(store):  # every text was refused; scikit-learn would raise
            nothing = np.zeros((0, len(self.vocabulary["words"])), np.float32)
            return TextSource(store, sp.csr_matrix(nothing))
        texts = (store.read_text(row_id) for row_id in store.ids)
        rows = vectorizer(self.config, self.vocabulary).transform(texts)
        least = self.vocabulary.get("usual_share", LEAST_SHARE)
        return TextSource(store, rows, frozenset(self.vocabulary["words"]), least)

    def state(self) -> dict[str, Any]:
        return described(self.config)

    def files(self) -> dict[str, Any]:
        return {VOCABULARY: self.vocabulary}


def described(config: TextConfig) -> dict[str, Any]:
    """The settings, and hashes of the tables by which texts were given entities."""
    entities = entity_provenance(config.input.entities)
    return {"config": config.model_dump(mode="json"), "entities": entities}


def settings_of(bundle: Bundle) -> TextConfig:
    """The settings of an encoder's folder. Raises BundleError if the tables of entities changed."""
    config = TextConfig.model_validate(bundle.config["config"])
    was, now = bundle.config["entities"], entity_provenance(config.input.entities)
    if was != now:
        changed = sorted(key for key in {*was, *now} if was.get(key) != now.get(key))
        raise BundleError(
            f"{bundle.folder}: learned from texts with entities of other {', '.join(changed)} than "
            "those at hand, so that its words would mean something else; bring the old ones back, "
            "or train again: mmgenre extract-features"
        )
    return config


def feed_forward(config: TextConfig, *first: nn.Module) -> nn.Sequential:
    """The two hidden layers, a dropout before each; `first` is one dropout and one layer."""
    second = nn.Linear(config.hidden_dim, config.hidden_dim)
    return nn.Sequential(*first, nn.ReLU(), nn.Dropout(config.dropout), second, nn.ReLU())


class WordLayer(nn.Module):
    """Dropout of words, and a linear layer: tf-idf rows (batch, n_words) -> (batch, width).

    Rows may be dense, or sparse and coalesced; the function is the same. On one CPU, sparse rows
    read the weights of their own words only, and give a sparse gradient of these. Dropping a word
    that a text does not have changes nothing, so dropout needs only the words that it has.
    Devices without sparse tensors, such as Apple's, get dense rows (`devices.to_device`); this has
    not been tried on one.
    """

    def __init__(self, n_words: int, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        limit = 1 / math.sqrt(n_words)  # as in nn.Linear
        # A word's weights are side by side: the transpose of nn.Linear's.
        self.weight = nn.Parameter(torch.empty(n_words, width).uniform_(-limit, limit))
        self.bias = nn.Parameter(torch.empty(width).uniform_(-limit, limit))

    def forward(self, x: Tensor) -> Tensor:
        shared = distributed.is_available() and distributed.is_initialized()
        if not x.is_sparse or x.device.type != "cpu" or shared:
            # GPUs have the bandwidth, and not every backend can average sparse gradients.
            dense = x.to_dense() if x.is_sparse else x
            return functional.linear(self.dropout(dense), self.weight.T, self.bias)
        values = self.dropout(x.values())
        kept = values.nonzero().squeeze(1)
        texts, words = x.indices()[:, kept]
        starts = torch.searchsorted(texts, torch.arange(len(x)))
        # Summed over the words of the batch, not of each text: their gradient has fewer rows.
        used, columns = words.unique(return_inverse=True)
        weight = functional.embedding(used, self.weight, sparse=True)  # (n_used, width)
        return self.bias + functional.embedding_bag(
            columns, weight, starts, mode="sum", per_sample_weights=values[kept]
        )


@dataclass(frozen=True)
class TextSource:
    """Tf-idf rows; all views of a text are the same."""

    store: FeatureStore
    rows: sp.csr_matrix
    vocabulary: Set[str] = frozenset()
    least_share: float = LEAST_SHARE  # of known words, below which a text tells too little

    def views(self, ids: Sequence[str], rng: np.random.Generator | None) -> NDArray[np.float32]:
        """Rows of texts, (n, 1, n_words)."""
        del rng
        return np.asarray(self.rows[self.store.rows_of(ids)].toarray()[:, None])

    def known(self, ids: Sequence[str]) -> NDArray[np.bool_]:
        """Which texts have a word of the vocabulary, (n,)."""
        return np.diff(self.rows[self.store.rows_of(ids)].indptr) > 0

    def notes(self, ids: Sequence[str]) -> list[Note]:
        """How many words of each text are known."""
        texts = map(self.store.read_text, ids)
        return [known_note(text, self.vocabulary, self.least_share) for text in texts]

    def sparse_views(self, ids: Sequence[str]) -> Tensor:
        """The same rows as a sparse tensor (n, n_words): one text has 1 or 2 % of the words."""
        return sparse_tensor(self.rows[self.store.rows_of(ids)])


def sparse_tensor(rows: sp.csr_matrix) -> Tensor:
    """(n, n_words), coalesced."""
    rows.sort_indices()
    texts = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
    indices = torch.from_numpy(np.stack([texts, rows.indices.astype(np.int64)]))
    values = torch.from_numpy(rows.data)
    # torch warns unless the check is switched on or off explicitly; it costs next to nothing.
    with torch.sparse.check_sparse_tensor_invariants(True):  # type: ignore[no-untyped-call]
        return torch.sparse_coo_tensor(indices, values, rows.shape, is_coalesced=True)


def fit_vocabulary(config: TextConfig, store: FeatureStore, ids: Sequence[str]) -> Vocabulary:
    """Learns words and idf from the training texts. Raises TrainingError if no word is left."""
    fitted = vectorizer(config)
    try:
        fitted.fit(store.read_text(row_id) for row_id in ids)
    except ValueError as error:
        raise TrainingError(f"{len(ids)} training texts give no vocabulary: {error}") from None
    names, idf = fitted.get_feature_names_out().tolist(), fitted.idf_.tolist()
    return {"words": names, "idf": idf, "usual_share": _usual_share(names, idf, store, ids)}


def _usual_share(
    names: Sequence[str], idf: Sequence[float], store: FeatureStore, ids: Sequence[str]
) -> float:
    """The share of known words that all but 2 % of texts reach, by words of other texts alone."""
    alone = math.log((1 + len(ids)) / 2) + 1  # idf of a word that one text has
    known = {name for name, own in zip(names, idf, strict=True) if own < alone - 1e-9}
    chosen = np.random.default_rng(0).permutation(len(ids))[:USUAL_TEXTS]
    shares = []
    for k in chosen:
        found = words(store.read_text(ids[k]).lower())
        shares.append(sum(word in known for word in found) / max(len(found), 1))
    return float(np.quantile(shares, RARE)) if shares else 0.0


def vectorizer(config: TextConfig, vocabulary: Vocabulary | None = None) -> TfidfVectorizer:
    """scikit-learn's tf-idf with METHOD's settings; with a vocabulary it needs no fitting."""
    made = TfidfVectorizer(
        tokenizer=words,
        token_pattern=None,
        sublinear_tf=True,
        max_df=config.max_df,
        max_features=config.max_words,
        ngram_range=(1, config.ngrams),
        vocabulary=vocabulary and vocabulary["words"],
        dtype=np.float32,
    )
    if vocabulary is not None:
        made.idf_ = np.array(vocabulary["idf"], np.float32)
    return made


def make_vsm(
    config: TextConfig, target: TargetName, store: FeatureStore, train_ids: Sequence[str]
) -> TextEncoder:
    """An untrained encoder over the vocabulary of the training texts."""
    del target
    return TextEncoder(config, fit_vocabulary(config, store, train_ids))


def load_vsm(bundle: Bundle) -> TextEncoder:
    """The encoder that a folder describes, without its weights."""
    return TextEncoder(settings_of(bundle), bundle.files[VOCABULARY])
