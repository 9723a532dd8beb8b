"""The linear view of texts: inner products of embeddings are those of tf-idf rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mmgenre.disk.bundle import read_bundle, write_bundle
from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import FeatureStore, write_store
from mmgenre.errors import TrainingError
from mmgenre.learning.embedding import embed
from mmgenre.text.linear import LinearEncoder, load_linear, make_linear
from mmgenre.text.settings import TextConfig

PROVENANCE = Provenance("test", 1, {})
WORDS = ["loud", "guitar", "slow", "waltz", "drums", "quiet", "piano", "night", "river", "steel"]


def texts(n: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(4, 12))) for _ in range(n)]


def store_of(path: Path, written: Sequence[str]) -> FeatureStore:
    ids = tuple(f"i{k}" for k in range(len(written)))
    rows = [np.frombuffer(text.encode(), np.uint8) for text in written]
    write_store(path, "text", [(ids, rows)], PROVENANCE, ragged=True)
    return FeatureStore(path, "text")


def made(store: FeatureStore, n_train: int, dim: int = 2048) -> LinearEncoder:
    config = TextConfig(encoders=("linear",), embedding_dim=dim)
    return make_linear(config, "logistic", store, store.ids[:n_train])


def embedded(encoder: LinearEncoder, store: FeatureStore) -> NDArray[np.float32]:
    return embed(encoder, encoder.source(store), store.ids)


def test_inner_products_are_those_of_tf_idf_within_the_span(tmp_path: Path) -> None:
    written = [*texts(30), *texts(6, seed=1)]
    with store_of(tmp_path / "t.h5", written) as store:
        encoder = made(store, 30)
        vectors = embedded(encoder, store)
        assert vectors.shape == (36, 2048)
    rows = encoder.rows(written).toarray()
    train, other = rows[:30], rows[30:]
    np.testing.assert_allclose(vectors[:30] @ vectors[:30].T, train @ train.T, atol=1e-4)
    # With one side in the span, what the other has outside of it does not matter.
    np.testing.assert_allclose(vectors[30:] @ vectors[:30].T, other @ train.T, atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(vectors[:30], axis=1), 1, atol=1e-4)
    assert (np.linalg.norm(vectors[30:], axis=1) <= 1 + 1e-4).all()


def test_more_texts_than_columns_are_approximated_by_landmarks(tmp_path: Path) -> None:
    written = texts(60)
    with store_of(tmp_path / "t.h5", written) as store:
        encoder = made(store, 60, dim=24)
        vectors = embedded(encoder, store)
        again = embedded(made(store, 60, dim=24), store)
    assert encoder.landmarks().shape[0] == 24
    assert vectors.shape == (60, 24)
    np.testing.assert_array_equal(vectors, again)
    rows = encoder.rows(written).toarray()
    exact, found = rows @ rows.T, vectors @ vectors.T
    assert np.abs(found - exact).mean() < 0.3 * np.abs(exact - exact.mean()).mean()
    # A landmark's inner products with all texts are exact.
    places = [
        int(np.abs(rows - mark).sum(axis=1).argmin()) for mark in encoder.landmarks().toarray()
    ]
    np.testing.assert_allclose(found[places], exact[places], atol=1e-4)


def test_a_text_without_known_words_is_a_row_of_zeros(tmp_path: Path) -> None:
    with store_of(tmp_path / "t.h5", [*texts(30), "ж щ ю", ""]) as store:
        vectors = embedded(made(store, 30), store)
    assert np.linalg.norm(vectors[:30], axis=1).min() > 0.9
    np.testing.assert_array_equal(vectors[30:], 0)


def test_letters_alone_are_no_known_word(tmp_path: Path) -> None:
    written = texts(30)
    with store_of(tmp_path / "t.h5", [*written, "xwaltzx ywaltzy", "the and", "waltz"]) as store:
        source = made(store, 30).source(store)
        assert source.known(store.ids).tolist() == [True] * 30 + [False, False, True]


def test_words_groups_of_letters_and_idf_are_of_training_texts(tmp_path: Path) -> None:
    train = texts(30)
    encoders = []
    for name, others in (("one", texts(5, seed=1)), ("other", ["zyzzyva zyzzyvas"] * 5)):
        with store_of(tmp_path / f"{name}.h5", [*train, *others]) as store:
            encoders.append(made(store, 30))
    one, other = encoders
    assert one.vocabularies == other.vocabularies
    words, letters = (set(one.vocabularies[kind]["terms"]) for kind in ("words", "letters"))
    assert "waltz" in words
    assert any(" " in term for term in words)  # pairs
    assert "altz" in letters
    for name, tensor in one.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), other.state_dict()[name].numpy())


def test_saved_and_loaded_it_embeds_the_same(tmp_path: Path) -> None:
    with store_of(tmp_path / "t.h5", [*texts(30), *texts(6, seed=1)]) as store:
        encoder = made(store, 30)
        before = embedded(encoder, store)
        folder, weights = tmp_path / "encoder", encoder.state_dict()
        write_bundle(
            folder, "text encoder", encoder.state(), weights, PROVENANCE, files=encoder.files()
        )
        bundle = read_bundle(folder, "text encoder")
        loaded = load_linear(bundle)
        loaded.load_state_dict(bundle.weights)
        np.testing.assert_array_equal(embedded(loaded, store), before)


def test_texts_without_a_term_are_refused(tmp_path: Path) -> None:
    with (
        store_of(tmp_path / "t.h5", ["", " ", ""]) as store,
        pytest.raises(TrainingError, match="3 training texts give no vocabulary"),
    ):
        made(store, 3)
