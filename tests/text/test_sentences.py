"""The text encoder over sentence-transformers, with a tiny BERT that the tests make themselves."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from encoders import load_encoder, make_encoder, save_network, train_encoder
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import nn

from mmgenre.disk.provenance import Provenance, sha256_folder
from mmgenre.disk.store import FeatureStore, write_store
from mmgenre.errors import WeightsError
from mmgenre.frozen.sentences import chunks
from mmgenre.learning.encoder import GenreNetwork, embed
from mmgenre.learning.settings import TrainingConfig
from mmgenre.learning.targets import LogisticTarget
from mmgenre.text.sentences import (
    SentenceEncoder,
    SentenceModel,
    named_model,
)
from mmgenre.text.settings import TextConfig

PROVENANCE = Provenance("test", 1, {})
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "loud", "soft", "guitar", "piano", "and")
MAX_TOKENS = 12  # of which [CLS] and [SEP] take two
N, N_TRAIN = 24, 16
IDS = [f"{k:02d}" for k in range(N)]
CLASSES = np.arange(N) % 2
DOWNLOAD = r"hf download sentence-transformers/all-MiniLM-L6-v2 --local-dir .*--set text\.model="


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sentence model as sentence-transformers saves one: BERT, 16 wide, and the mean."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling
    from transformers import BertConfig, BertModel, BertTokenizer

    home = tmp_path_factory.mktemp("models")
    vocabulary = {word: k for k, word in enumerate(WORDS)}
    tokenizer = BertTokenizer(vocab=vocabulary, model_max_length=MAX_TOKENS)
    tokenizer.save_pretrained(home / "bert")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=len(WORDS),
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            max_position_embeddings=MAX_TOKENS,
        )
        BertModel(config).save_pretrained(home / "bert")
    modules = [Transformer(str(home / "bert")), Pooling(16)]
    SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(home / "tiny"))
    return home / "tiny"


@pytest.fixture(scope="session")
def model(folder: Path) -> SentenceModel:
    return named_model(settings(folder))


def settings(folder: Path) -> TextConfig:
    return TextConfig(
        encoders=("sentence-transformers",),
        model=str(folder),
        hidden_dim=32,
        dropout=0.1,
        embedding_dim="native",
        training=TrainingConfig(learning_rate=1e-2, batch_size=8, max_epochs=15, patience=15),
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    rng, texts = np.random.default_rng(0), []
    for k in CLASSES:
        words = ["loud", "guitar"] * 3 if k else ["soft", "piano"] * 3
        texts.append(" ".join(rng.permutation([*words, *["and"] * int(rng.integers(9))])))
    rows = [np.frombuffer(text.encode(), np.uint8) for text in texts]
    path = write_store(tmp_path / "text.h5", "text", [(IDS, rows)], PROVENANCE, ragged=True)
    with FeatureStore(path, "text") as opened:
        yield opened


def by_hand(model: SentenceModel, text: str) -> NDArray[np.float32]:
    """One vector straight from the model, which cuts what is too long."""
    return np.asarray(model.model.network.encode([text], show_progress_bar=False)[0])


def test_a_short_text_is_what_the_model_says(model: SentenceModel) -> None:
    assert model.dim == 16
    texts = ["loud guitar", "soft piano and soft guitar", "unheard"]
    expected = np.stack([by_hand(model, text) for text in texts])
    assert model.vectors(texts).dtype == np.float32
    np.testing.assert_allclose(model.vectors(texts), expected, atol=1e-5)
    assert model.vectors([]).shape == (0, 16)


def test_a_long_text_is_the_mean_of_chunks_and_none_of_its_words_is_lost(
    model: SentenceModel,
) -> None:
    text = " ".join(["soft piano"] * 10)  # 20 words, of which the model reads 10 at once
    half = " ".join(["soft piano"] * 5)
    np.testing.assert_allclose(model.vectors([text])[0], by_hand(model, half), atol=1e-5)
    last = f"{text} and loud"
    assert np.abs(by_hand(model, last) - by_hand(model, text)).max() < 1e-5  # the model cuts
    assert np.abs(model.vectors([last]) - model.vectors([text])).max() > 1e-2


def test_a_text_fits_exactly_if_the_model_reads_its_last_word(model: SentenceModel) -> None:
    for n in (MAX_TOKENS - 3, MAX_TOKENS - 2, MAX_TOKENS - 1):
        start = " ".join(["loud"] * (n - 1))
        matters = not np.allclose(
            by_hand(model, f"{start} soft"), by_hand(model, f"{start} piano"), atol=1e-5
        )
        assert (chunks(f"{start} soft", model.model._fits) == [f"{start} soft"]) == matters
        assert matters == (n <= MAX_TOKENS - 2)


@pytest.mark.parametrize("limit", [1, 3, 7, 40, 1000])
def test_chunks_fit_are_cut_between_words_and_hold_everything(limit: int) -> None:
    text = (
        "Ein  Satz,\nnoch ein Satz; donaudampfschiffahrtsgesellschaft \t 音楽は国境を越える。 Ende"
    )

    def fits(part: str) -> bool:
        return len(part) <= limit

    parts = chunks(text, fits)
    assert all(fits(part) and part.strip() for part in parts)
    assert "".join("".join(parts).split()) == "".join(text.split())
    if limit == 40:  # no word is longer
        assert " ".join(parts).split() == text.split()
    if limit == 1000:
        assert parts == [text]


def test_what_never_fits_is_given_whole() -> None:
    assert chunks("a b", lambda part: False) == ["a", "b"]


def test_the_network_on_top_is_that_of_the_vsm(folder: Path, model: SentenceModel) -> None:
    encoder = SentenceEncoder(TextConfig(encoders=("sentence-transformers",), model="x"), model)
    kinds = [type(layer) for layer in encoder.hidden]
    assert kinds == [nn.Dropout, nn.Linear, nn.ReLU, nn.Dropout, nn.Linear, nn.ReLU]
    shapes = [tuple(p.shape) for p in encoder.parameters() if p.ndim == 2]
    assert shapes == [(2048, 16), (2048, 2048)]  # and no weight of the sentence model
    assert encoder.embedding_dim == 2048
    assert GenreNetwork(encoder, 5).dropout.p == 0.5


def test_it_learns_and_comes_back_from_disk(
    tmp_path: Path, folder: Path, store: FeatureStore
) -> None:
    home = tmp_path / "model"
    shutil.copytree(folder, home)
    config = settings(home)
    before = sha256_folder(home)
    pairs = list(zip(IDS, np.eye(2, dtype=np.float32)[CLASSES], strict=True))
    targets = {"train": dict(pairs[:N_TRAIN]), "val": dict(pairs[N_TRAIN:])}
    target = LogisticTarget(2, exclusive=True)
    network, log = train_encoder(config, target, "logistic", store, targets, seed=0)
    assert log.best_loss < 0.3  # log 2 = 0.69 is chance
    encoder = network.encoder
    vectors = embed(encoder, encoder.source(store), IDS)
    out = save_network(tmp_path / "encoder", "text", network, target, ["a", "b"], log, PROVENANCE)
    assert json.loads((out / "config.json").read_text())["config"]["model_sha256"] == before
    loaded, bundle = load_encoder(out, "text", [str(home)])
    assert isinstance(loaded, SentenceEncoder)
    assert not any("model" in name for name in bundle.weights)
    some = [IDS[k] for k in (7, 3, 20)]
    again = embed(loaded, loaded.source(store), some)
    np.testing.assert_allclose(again, vectors[[7, 3, 20]], atol=1e-5)

    # Another model in the folder would make nonsense of what was learned.
    (home / "README.md").write_text("another")
    with pytest.raises(WeightsError, match="holds another model than the encoder was trained on"):
        load_encoder(out, "text", [str(home)])
    shutil.rmtree(home)
    with pytest.raises(WeightsError, match=f"no such folder.*{DOWNLOAD}"):
        load_encoder(out, "text", [str(home)])


def test_vectors_are_computed_once_a_store(folder: Path, store: FeatureStore) -> None:
    encoder = make_encoder(settings(folder), "logistic", store, IDS)
    assert isinstance(encoder, SentenceEncoder)
    source = encoder.source(store)
    encoder.model.model.network.encode = None  # whoever calls it now fails
    rng = np.random.default_rng(0)
    rows = source.views(["05", "02", "05"], rng)
    assert rows.shape == (3, 1, 16)
    np.testing.assert_array_equal(rows[:, 0], source.rows[[5, 2, 5]])


def test_folders_that_hold_no_model_say_what_to_do(tmp_path: Path, folder: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(WeightsError, match=rf"empty: has no modules\.json.*{DOWNLOAD}"):
        named_model(settings(empty))
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    (broken / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(WeightsError, match="broken: cannot be loaded: SafetensorError"):
        named_model(settings(broken))
    (broken / "modules.json").write_text("{")
    with pytest.raises(WeightsError, match="JSONDecodeError"):
        named_model(settings(broken))


def test_code_of_a_models_own_is_not_run(tmp_path: Path, folder: Path) -> None:
    home, proof = tmp_path / "evil", tmp_path / "proof"
    shutil.copytree(folder, home)
    (home / "evil.py").write_text(f"open({str(proof)!r}, 'w')\nclass Evil: pass\n")
    parts = json.loads((home / "modules.json").read_text())
    parts[0]["type"] = "evil.Evil"
    (home / "modules.json").write_text(json.dumps(parts))
    with pytest.raises(WeightsError, match=r"evil\.Evil is code of the model's own"):
        named_model(settings(home))
    assert not proof.exists()


def test_settings_of_the_other_encoder_are_refused(folder: Path) -> None:
    with pytest.raises(ValidationError, match=f"sentence-transformers needs one.*{DOWNLOAD}"):
        TextConfig(encoders=("sentence-transformers",))
    with pytest.raises(
        ValidationError, match="model 'x': is for the encoder sentence-transformers"
    ):
        TextConfig(model="x")
    for name, value in (("max_words", 9), ("max_df", 0.9), ("ngrams", 2)):
        values = {"encoders": ["sentence-transformers"], "model": "x", name: value}
        with pytest.raises(ValidationError, match=f"{name} {value}: only the vsm counts words"):
            TextConfig.model_validate(values)
    config = settings(folder)
    assert TextConfig.model_validate(config.model_dump(mode="json")) == config


def test_the_hash_of_a_folder_is_that_of_what_is_read_from_it(tmp_path: Path) -> None:
    home = tmp_path / "a"
    (home / "sub").mkdir(parents=True)
    (home / "x").write_text("1")
    (home / "sub" / "y").write_text("2")
    first = sha256_folder(home)
    assert len(first) == 64
    shutil.copytree(home, tmp_path / "b")
    assert sha256_folder(tmp_path / "b") == first
    (home / ".cache").mkdir()
    (home / ".cache" / "notes").write_text("downloaded today")
    assert sha256_folder(home) == first
    (home / "x").rename(home / "z")
    renamed = sha256_folder(home)
    (home / "z").write_text("3")
    assert len({first, renamed, sha256_folder(home)}) == 3
