"""TIMBRE-MLP: 48 standardised numbers under a logistic layer, which alone learns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from encoders import load_encoder, make_encoder, save_network, train_encoder
from pydantic import ValidationError
from torch import nn

from mmgenre.audio.encoder import TimbreEncoder
from mmgenre.audio.settings import AudioConfig
from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import FeatureStore, write_store
from mmgenre.learning.embedding import embed
from mmgenre.learning.encoder import GenreNetwork
from mmgenre.learning.rows import mean_by_item
from mmgenre.learning.settings import TrainingConfig
from mmgenre.learning.targets import LogisticTarget

PROVENANCE = Provenance("test", 1, {})
N, N_TRAIN = 24, 16
IDS = [f"{k // 2:02d}#{k % 2}" for k in range(N)]  # two tracks an item
CLASSES = np.arange(N) // 2 % 2
CONFIG = AudioConfig(
    encoders=("timbre",),
    training=TrainingConfig(learning_rate=3e-2, batch_size=8, max_epochs=15, patience=15),
)


def rows(*, changed: bool = False) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Numbers of many scales; the first 24 tell the classes apart, the last never moves."""
    rng = np.random.default_rng(0)
    made = rng.normal(0, 1, (N, 48))
    made[:, :24] += 3 * CLASSES[:, None]
    made = made * np.logspace(-2, 4, 48) + 100
    made[:, 47] = 7
    if changed:
        made[N_TRAIN:] = 1e6
    return made.astype(np.float32)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    path = write_store(tmp_path / "audio.h5", "audio", [(IDS, rows())], PROVENANCE)
    with FeatureStore(path, "audio") as opened:
        yield opened


def test_only_the_output_layer_has_parameters() -> None:
    encoder = TimbreEncoder(CONFIG, "logistic")
    assert encoder.embedding_dim == 48
    network = GenreNetwork(encoder, 250)
    assert sum(p.numel() for p in network.parameters()) == 48 * 250 + 250 == 12_250
    assert isinstance(encoder.embedding, nn.Identity)
    native = CONFIG.model_copy(update={"embedding_dim": "native"})
    assert TimbreEncoder(native, "logistic").embedding_dim == 48


def test_an_embedding_dim_adds_a_dense_layer() -> None:
    encoder = TimbreEncoder(CONFIG.model_copy(update={"embedding_dim": 2048}), "logistic")
    assert encoder.embedding_dim == 2048
    embedding = encoder(torch.randn(3, 48))
    assert embedding.shape == (3, 2048)
    assert (embedding >= 0).all()


def test_dropout_is_before_the_output() -> None:
    for dropout, expected in ((None, 0.0), (0.3, 0.3)):
        config = CONFIG.model_copy(update={"dropout": dropout})
        assert GenreNetwork(TimbreEncoder(config, "cosine"), 5).dropout.p == expected


def test_settings_without_effect_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"width_multiplier 0\.5: timbre has no filters"):
        AudioConfig(encoders=("timbre",), width_multiplier=0.5)
    with pytest.raises(ValidationError, match="spec_augment: timbre has no patches"):
        AudioConfig(encoders=("timbre",), spec_augment=True)


def test_numbers_are_standardised_with_training_tracks_only(
    tmp_path: Path, store: FeatureStore
) -> None:
    train = IDS[:N_TRAIN]
    encoder = make_encoder(CONFIG, "logistic", store, train)
    assert isinstance(encoder, TimbreEncoder)
    vectors = embed(encoder, encoder.source(store), IDS)
    np.testing.assert_allclose(vectors[:N_TRAIN].mean(axis=0), 0, atol=1e-2)
    np.testing.assert_allclose(vectors[:N_TRAIN, :47].std(axis=0), 1, rtol=1e-3)
    assert (vectors[:, 47] == 0).all()
    path = tmp_path / "changed.h5"
    write_store(path, "audio", [(IDS, rows(changed=True))], PROVENANCE)
    with FeatureStore(path, "audio") as other:
        again = make_encoder(CONFIG, "logistic", other, train)
    assert torch.equal(encoder.get_buffer("mean"), again.get_buffer("mean"))
    assert torch.equal(encoder.get_buffer("std"), again.get_buffer("std"))


def test_it_learns_and_comes_back_from_disk(tmp_path: Path, store: FeatureStore) -> None:
    vectors = np.eye(2, dtype=np.float32)[CLASSES]
    pairs = list(zip(IDS, vectors, strict=True))
    targets = {"train": dict(pairs[:N_TRAIN]), "val": dict(pairs[N_TRAIN:])}
    target = LogisticTarget(2, exclusive=True)
    network, log = train_encoder(CONFIG, target, "logistic", store, targets, seed=0)
    assert log.best_loss < 0.3  # log 2 = 0.69 is chance
    encoder = network.encoder
    embedded = embed(encoder, encoder.source(store), IDS)
    folder = save_network(
        tmp_path / "encoder", "audio", network, target, ["a", "b"], log, PROVENANCE
    )
    loaded, bundle = load_encoder(folder, "audio")
    assert isinstance(loaded, TimbreEncoder)
    assert loaded.config == CONFIG
    assert bundle.config["reads"]["features"] == "timbre"
    assert bundle.config["embedding_dim"] == 48
    some = [IDS[k] for k in (7, 3, 20)]
    np.testing.assert_array_equal(embed(loaded, loaded.source(store), some), embedded[[7, 3, 20]])
    ids, means = mean_by_item(IDS, embedded)
    assert len(ids) == N // 2
    np.testing.assert_allclose(means[0], embedded[:2].mean(axis=0), rtol=1e-5, atol=1e-6)
