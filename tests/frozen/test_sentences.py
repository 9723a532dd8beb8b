"""Texts through sentence-transformers, with a tiny BERT that the tests make themselves."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from mmgenre.disk.bundle import write_bundle
from mmgenre.disk.provenance import Provenance
from mmgenre.errors import RecipeError, WeightsError
from mmgenre.frozen.models import load_model
from mmgenre.frozen.sentences import Sentences, chunks
from mmgenre.frozen.settings import FrozenInput
from mmgenre.learning.encoder import load_encoder
from mmgenre.text.kind import KIND
from mmgenre.text.settings import TextConfig

PROVENANCE = Provenance("test", 1, {})
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "loud", "soft", "guitar", "piano", "and")
MAX_TOKENS = 12  # of which [CLS] and [SEP] take two


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


def loaded(folder: Path) -> Sentences:
    found: Sentences = load_model(FrozenInput(model=f"dir:{folder}"), "text")
    return found


@pytest.fixture(scope="session")
def model(folder: Path) -> Sentences:
    return loaded(folder)


def by_hand(model: Sentences, text: str) -> NDArray[np.float32]:
    """One vector straight from the model, which cuts what is too long."""
    return np.asarray(model.network.encode([text], show_progress_bar=False)[0])


def test_a_short_text_is_what_the_model_says(model: Sentences) -> None:
    assert model.width == 16
    texts = ["loud guitar", "soft piano and soft guitar", "unheard"]
    expected = np.stack([by_hand(model, text) for text in texts])
    assert model.vectors(texts).dtype == np.float32
    np.testing.assert_allclose(model.vectors(texts), expected, atol=1e-5)
    assert model.vectors([]).shape == (0, 16)


def test_a_long_text_is_the_mean_of_chunks_and_none_of_its_words_is_lost(
    model: Sentences,
) -> None:
    text = " ".join(["soft piano"] * 10)  # 20 words, of which the model reads 10 at once
    half = " ".join(["soft piano"] * 5)
    np.testing.assert_allclose(model.vectors([text])[0], by_hand(model, half), atol=1e-5)
    last = f"{text} and loud"
    assert np.abs(by_hand(model, last) - by_hand(model, text)).max() < 1e-5  # the model cuts
    assert np.abs(model.vectors([last]) - model.vectors([text])).max() > 1e-2


def test_a_text_fits_exactly_if_the_model_reads_its_last_word(model: Sentences) -> None:
    for n in (MAX_TOKENS - 3, MAX_TOKENS - 2, MAX_TOKENS - 1):
        start = " ".join(["loud"] * (n - 1))
        matters = not np.allclose(
            by_hand(model, f"{start} soft"), by_hand(model, f"{start} piano"), atol=1e-5
        )
        assert (chunks(f"{start} soft", model._fits) == [f"{start} soft"]) == matters
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


def test_code_of_a_models_own_is_not_run(tmp_path: Path, folder: Path) -> None:
    home, proof = tmp_path / "evil", tmp_path / "proof"
    shutil.copytree(folder, home)
    (home / "evil.py").write_text(f"open({str(proof)!r}, 'w')\nclass Evil: pass\n")
    parts = json.loads((home / "modules.json").read_text())
    parts[0]["type"] = "evil.Evil"
    (home / "modules.json").write_text(json.dumps(parts))
    with pytest.raises(WeightsError, match=r"evil\.Evil is code of the model's own"):
        loaded(home)
    assert not proof.exists()


def test_folders_that_hold_no_model_say_what_to_do(tmp_path: Path, folder: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(WeightsError, match=r"empty: has no config\.json.*hf download OWNER/NAME"):
        loaded(empty)
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    (broken / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(WeightsError, match="broken: cannot be loaded: SafetensorError"):
        loaded(broken)
    (broken / "modules.json").write_text("{")
    with pytest.raises(WeightsError, match="JSONDecodeError"):
        loaded(broken)


def test_parts_alone_are_a_model(tmp_path: Path) -> None:
    """Words as vectors, without a transformer: no config.json lies beside the list of parts."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    tokenizer = Tokenizer(WordLevel({word: k for k, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    torch.manual_seed(0)
    parts = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=8)], device="cpu")
    parts.save_pretrained(str(tmp_path / "static"))
    (tmp_path / "static" / "config.json").unlink(missing_ok=True)
    rows = loaded(tmp_path / "static").vectors(["loud guitar", "soft"])
    np.testing.assert_allclose(rows, parts.encode(["loud guitar", "soft"]), atol=1e-6)


def test_the_earlier_name_is_refused_with_the_new_words(tmp_path: Path) -> None:
    new = r'text\.encoders=\["dir:PATH"\].*text\.frozen\.top="network"'
    for values in (
        {"encoders": ("sentence-transformers",), "model": "x"},
        {"encoders": ("sentence-transformers",)},
        {"model": "x"},
    ):
        with pytest.raises(ValidationError, match=new):
            TextConfig.model_validate(values)
    with pytest.raises(RecipeError, match=f"encoder 'sentence-transformers': is named.*{new}"):
        KIND.encoder("sentence-transformers")
    assert TextConfig.model_validate({"model": None}) == TextConfig()  # as earlier runs state it
    assert "model" not in TextConfig().model_dump()


def test_an_encoder_of_an_earlier_version_is_refused_by_name(tmp_path: Path) -> None:
    config = {"encoder": "sentence-transformers", "config": {}, "reads": {}}
    write_bundle(tmp_path / "text", "text encoder", config, {"x": torch.zeros(1)}, PROVENANCE)
    with pytest.raises(RecipeError, match=r'text\.encoders=\["dir:PATH"\]'):
        load_encoder(tmp_path / "text", "text", KIND)
