"""The vector-space model: vocabulary from training texts only, rebuilt exactly from JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from encoders import make_encoder
from sklearn.feature_extraction.text import TfidfVectorizer
from torch import nn

from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import FeatureStore, write_store
from mmgenre.errors import TrainingError
from mmgenre.learning.encoder import InputExamples
from mmgenre.text.encoder import TextEncoder, WordLayer, fit_vocabulary
from mmgenre.text.settings import TextConfig

TEXTS = {
    "a": "loud guitar and loud drums",
    "b": "soft guitar and piano",
    "c": "piano and strings, strings, strings",
    "d": "synth and synth and synth",
    "e": "an unheard theremin and ondes",
}
TRAIN = ["a", "b", "c", "d"]
SMALL = TextConfig(hidden_dim=8, embedding_dim="native")


def write(path: Path, texts: Mapping[str, str]) -> Path:
    rows = [np.frombuffer(text.encode(), np.uint8) for text in texts.values()]
    return write_store(path, "text", [(list(texts), rows)], Provenance("t", 1, {}), ragged=True)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    with FeatureStore(write(tmp_path / "text.h5", TEXTS), "text") as opened:
        yield opened


def test_words_and_idf_are_the_equations(store: FeatureStore) -> None:
    vocabulary = fit_vocabulary(SMALL, store, TRAIN)
    # "and" is in more than half of the texts; guitar and piano are in half of them.
    assert vocabulary["words"] == ["drums", "guitar", "loud", "piano", "soft", "strings", "synth"]
    counts = {"guitar": 2, "piano": 2}
    idf = [np.log(5 / (1 + counts.get(word, 1))) + 1 for word in vocabulary["words"]]
    np.testing.assert_allclose(vocabulary["idf"], idf, rtol=1e-6)
    row = TextEncoder(SMALL, vocabulary).source(store).views(["a"], None)
    assert row.shape == (1, 1, 7)
    assert row.dtype == np.float32
    weight = np.zeros(7)
    weight[[0, 1, 2]] = idf[0], idf[1], (1 + np.log(2)) * idf[2]  # sublinear: loud stands twice
    np.testing.assert_allclose(row[0, 0], weight / np.linalg.norm(weight), rtol=1e-5)


def test_the_vocabulary_sees_training_texts_only(tmp_path: Path, store: FeatureStore) -> None:
    expected = fit_vocabulary(SMALL, store, TRAIN)
    changed = TEXTS | {"e": "loud loud drums, guitar piano synth " * 9}
    with FeatureStore(write(tmp_path / "changed.h5", changed), "text") as other:
        assert fit_vocabulary(SMALL, other, TRAIN) == expected
    assert fit_vocabulary(SMALL, store, [*TRAIN, "e"]) != expected
    # Words that training never saw give a row of zeros.
    assert not TextEncoder(SMALL, expected).source(store).views(["e"], None).any()


def test_json_rebuilds_tf_idf_exactly(store: FeatureStore) -> None:
    fitted = TfidfVectorizer(sublinear_tf=True, max_df=0.5, max_features=5, dtype=np.float32)
    expected = fitted.fit([TEXTS[i] for i in TRAIN]).transform(list(TEXTS.values())).toarray()
    config = SMALL.model_copy(update={"max_words": 5})
    encoder = make_encoder(config, "logistic", store, TRAIN)
    again = TextEncoder(config, json.loads(json.dumps(encoder.vocabulary)))
    for made in (encoder, again):
        rows = made.source(store).views(list(TEXTS), None)[:, 0]
        np.testing.assert_array_equal(rows, expected)


def test_pairs_of_words_count_where_asked(store: FeatureStore) -> None:
    words = fit_vocabulary(SMALL.model_copy(update={"ngrams": 2}), store, TRAIN)["words"]
    assert "loud guitar" in words
    assert "guitar" in words


def test_rows_are_looked_up_by_id_and_the_same_in_training(store: FeatureStore) -> None:
    source = make_encoder(SMALL, "logistic", store, TRAIN).source(store)
    rows = source.views(["d", "a", "d"], np.random.default_rng(0))
    np.testing.assert_array_equal(rows[0], rows[2])
    np.testing.assert_array_equal(rows[1], source.views(["a"], None)[0])


def test_examples_are_the_same_rows_sparse(store: FeatureStore) -> None:
    source = make_encoder(SMALL, "logistic", store, TRAIN).source(store)
    targets = np.arange(4, dtype=np.float32)[:, None]
    examples = InputExamples(source, TRAIN, targets)
    for rng in (None, np.random.default_rng(0)):
        batch = examples.batch(np.array([3, 0]), rng)
        assert batch["x"].is_sparse
        np.testing.assert_array_equal(
            batch["x"].to_dense().numpy(), source.views(["d", "a"], None)[:, 0]
        )
        assert batch["target"].flatten().tolist() == [3, 0]


def test_the_network_is_the_published_one(store: FeatureStore) -> None:
    encoder = make_encoder(TextConfig(), "logistic", store, TRAIN)
    kinds = [type(layer) for layer in encoder.hidden]
    assert kinds == [WordLayer, nn.ReLU, nn.Dropout, nn.Linear, nn.ReLU]
    assert [tuple(p.shape) for p in encoder.hidden.parameters()] == [
        *((7, 2048), (2048,)),
        *((2048, 2048), (2048,)),
    ]
    assert [m.p for m in encoder.hidden.modules() if isinstance(m, nn.Dropout)] == [0.5, 0.5]
    assert encoder.output_dropout == 0.5
    assert encoder.embedding_dim == 2048
    assert encoder(torch.zeros(3, 7)).shape == (3, 2048)


def test_a_store_of_which_every_text_was_refused_gives_no_rows(tmp_path: Path) -> None:
    path = write_store(tmp_path / "t.h5", "text", [], Provenance("t", 1, {}), ragged=True)
    encoder = TextEncoder(SMALL, {"words": ["loud", "soft"], "idf": [1.0, 2.0]})
    with FeatureStore(path, "text") as store:
        assert encoder.source(store).rows.shape == (0, 2)


def test_texts_without_a_usable_word_are_an_error(tmp_path: Path) -> None:
    with (
        FeatureStore(write(tmp_path / "t.h5", {"a": "x y", "b": "? !"}), "text") as store,
        pytest.raises(TrainingError, match="2 training texts give no vocabulary"),
    ):
        fit_vocabulary(SMALL, store, ["a", "b"])
