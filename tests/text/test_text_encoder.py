"""The vector-space model: vocabulary from training texts only, rebuilt exactly from JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from encoders import make_encoder
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from torch import nn

from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import FeatureStore, write_store
from mmgenre.errors import TrainingError
from mmgenre.items.manifest import Manifest
from mmgenre.learning.encoder import InputExamples
from mmgenre.learning.rows import known_rows
from mmgenre.text.encoder import TextEncoder, WordLayer, fit_vocabulary, vectorizer
from mmgenre.text.settings import TextConfig
from mmgenre.text.words import words

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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("这张专辑的吉他", ["这张", "张专", "专辑", "辑的", "的吉", "吉他"]),
        ("爱 the 吉他solo", ["爱", "the", "吉他", "solo"]),
        ("ブラック", ["ブラ", "ラッ", "ック"]),
        ("यह एल्बम बहुत", ["यह", "एल्बम", "बहुत"]),
        ("ดีมาก", ["ดีม", "มา", "าก"]),
        ("한국 음악", ["한국", "음악"]),
        ("m\u00fasica, l'\u00e9t\u00e9", ["m\u00fasica", "\u00e9t\u00e9"]),
        ("e\u0301te\u0301", ["e\u0301te\u0301"]),
        ("می\u200cخواهم", ["می\u200cخواهم"]),
    ],
)
def test_words_of_scripts_without_spaces_are_pairs(text: str, expected: list[str]) -> None:
    assert words(text) == expected
    assert vectorizer(SMALL).build_analyzer()(text) == expected


@pytest.mark.realdata
def test_words_of_real_reviews_are_those_of_scikit_learn(real_data: Path) -> None:
    pattern = re.compile(r"(?u)\b\w\w+\b")
    texts = [
        text.lower()
        for path in sorted((real_data / "dev").glob("*/manifest-0.csv"))
        for text in Manifest.read(path).columns.texts["text"]
    ]
    assert len(texts) > 4000
    assert all(words(text) == pattern.findall(text) for text in texts)


def test_joined_and_spaced_chinese_texts_tell_the_same(tmp_path: Path) -> None:
    of_genre = {"Rock": ["失真", "摇滚"], "Jazz": ["小号", "爵士"]}
    common = ["非常", "这张", "专辑", "我们", "喜欢", "声音", "特别", "感觉"]
    rng = np.random.default_rng(0)
    genres = [list(of_genre)[k % 2] for k in range(60)]
    texts = [
        "".join([*rng.choice(common, 4), rng.choice(of_genre[genre]), rng.choice(common)])
        for genre in genres
    ]
    rows = vectorizer(SMALL).fit_transform(texts[:40] + texts[40:])
    y = [genre == "Rock" for genre in genres]
    model = LogisticRegression().fit(rows[:40], y[:40])
    assert roc_auc_score(y[40:], model.decision_function(rows[40:])) > 0.95


def test_texts_without_a_known_word_are_told(tmp_path: Path, store: FeatureStore) -> None:
    encoder = TextEncoder(SMALL, fit_vocabulary(SMALL, store, TRAIN))
    others = {"x": "Отличный альбом", "y": "a loud one", "z": "%%% 12 qwer"}
    with FeatureStore(write(tmp_path / "o.h5", others), "text") as opened:
        source = encoder.source(opened)
        assert source.known(["x", "y", "z"]).tolist() == [False, True, False]
        known, refused = known_rows(source, ["x", "y", "z"], "text", "text.vsm")
    assert known == ["y"]
    assert [(r.id, r.modality, r.code) for r in refused] == [
        ("x", "text", "unknown_words"),
        ("z", "text", "unknown_words"),
    ]
