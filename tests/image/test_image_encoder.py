"""Covers: crops and mirrors, ImageNet's scale, residual networks without their classifier."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from encoders import load_encoder, save_network
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor, nn

from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import FeatureStore, write_store
from mmgenre.image.backbones import BACKBONES, Backbone, ImageNetwork, stage_of
from mmgenre.image.encoder import ImageEncoder
from mmgenre.image.settings import ImageConfig, ImageInput
from mmgenre.image.sources import ImageSource
from mmgenre.learning.devices import Batch
from mmgenre.learning.embedding import embed
from mmgenre.learning.encoder import GenreNetwork
from mmgenre.learning.settings import TrainingConfig
from mmgenre.learning.targets import LogisticTarget
from mmgenre.learning.training import FitLog, fit

SIDE, CROP = 12, 8
CONFIG = ImageConfig(
    network="resnet-18", weights="none", crop_px=CROP, input=ImageInput(size_px=SIDE)
)


def picture(k: int) -> NDArray[np.uint8]:
    """Red is the row, green the column, blue the picture."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return np.stack([rows, columns, np.full_like(rows, k)], axis=-1).astype(np.uint8)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    ids, rows = [str(k) for k in range(5)], np.stack([picture(k) for k in range(5)])
    path = write_store(tmp_path / "image.h5", "image", [(ids, rows)], Provenance("t", 1, {}))
    with FeatureStore(path, "image") as opened:
        yield opened


@pytest.fixture
def encoder() -> ImageEncoder:
    return ImageEncoder(CONFIG)


def test_prediction_takes_the_middle(encoder: ImageEncoder, store: FeatureStore) -> None:
    views = encoder.source(store).views(["3", "0"], None)
    assert views.shape == (2, 1, CROP, CROP, 3)
    np.testing.assert_array_equal(views[0, 0], picture(3)[2:10, 2:10])
    np.testing.assert_array_equal(views[1, 0], picture(0)[2:10, 2:10])


def test_training_crops_anywhere_and_mirrors_half(
    encoder: ImageEncoder, store: FeatureStore
) -> None:
    source, rng = encoder.source(store), np.random.default_rng(0)
    corners, mirrored = set(), 0
    for _ in range(60):
        for k, crop in enumerate(source.views(["4", "1"], rng)[:, 0]):
            flipped = crop[0, 0, 1] > crop[0, -1, 1]
            mirrored += bool(flipped)
            plain = crop[:, ::-1] if flipped else crop
            top, left = int(plain[0, 0, 0]), int(plain[0, 0, 1])
            expected = picture((4, 1)[k])[top : top + CROP, left : left + CROP]
            np.testing.assert_array_equal(plain, expected)
            corners.add((top, left))
    assert {top for top, _ in corners} == {left for _, left in corners} == set(range(5))
    assert any(top != left for top, left in corners)
    assert 40 < mirrored < 80


def test_crops_and_mirrors_can_be_switched_off(store: FeatureStore) -> None:
    config = CONFIG.model_copy(update={"random_crop": False, "random_flip": False})
    source = ImageEncoder(config).source(store)
    views = source.views(["2"] * 20, np.random.default_rng(0))
    assert (views == picture(2)[2:10, 2:10]).all()
    only_flips = CONFIG.model_copy(update={"random_crop": False})
    views = ImageEncoder(only_flips).source(store).views(["2"] * 20, np.random.default_rng(0))
    middle = picture(2)[2:10, 2:10]
    flipped = [bool((v[0] == middle[:, ::-1]).all()) for v in views]
    assert [bool((v[0] == middle).all()) for v in views] == [not f for f in flipped]
    assert 0 < sum(flipped) < 20


def test_a_crop_may_be_the_whole_and_not_more(store: FeatureStore) -> None:
    whole = ImageConfig(network="resnet-18", crop_px=SIDE, input=ImageInput(size_px=SIDE))
    views = ImageEncoder(whole).source(store).views(["1"], np.random.default_rng(0))
    assert views.shape == (1, 1, SIDE, SIDE, 3)
    with pytest.raises(ValidationError, match=r"crop_px 13: the stored squares have .* 12"):
        ImageConfig(crop_px=SIDE + 1, input=ImageInput(size_px=SIDE))


def test_pixels_are_brought_to_imagenets_scale(encoder: ImageEncoder) -> None:
    seen: list[Tensor] = []
    encoder.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = np.random.default_rng(1).integers(0, 256, (2, CROP, CROP, 3)).astype(np.uint8)
    encoder.eval()(torch.from_numpy(x))
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    expected = ((x / 255 - mean) / std).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(seen[0].numpy(), expected, atol=1e-5)


def test_embeddings_are_not_negative(encoder: ImageEncoder) -> None:
    assert encoder.embedding_dim == 2048
    covers = torch.randint(256, (2, 32, 32, 3), dtype=torch.uint8)
    with torch.inference_mode():
        embedding = encoder.eval()(covers)
    assert embedding.shape == (2, 2048)
    assert (embedding >= 0).all()
    assert embedding.any()
    assert not any("fc" in key for key in encoder.state_dict())
    native = CONFIG.model_copy(update={"embedding_dim": "native"})
    assert ImageEncoder(native).embedding_dim == 512


AUGMENTED = CONFIG.model_copy(update={"rotation_deg": 20.0, "min_scale": 0.5, "colour_jitter": 0.4})


def test_views_are_decided_by_the_seed(store: FeatureStore) -> None:
    source = ImageSource(store, AUGMENTED)
    one, same, other = (source.views(["0", "3"], np.random.default_rng(k)) for k in (5, 5, 6))
    assert one.dtype == np.uint8
    assert one.shape == (2, 1, CROP, CROP, 3)
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
    # Prediction sees none of it.
    middle = ImageSource(store, CONFIG).views(["0", "3"], None)
    np.testing.assert_array_equal(source.views(["0", "3"], None), middle)


def test_each_setting_changes_the_views(store: FeatureStore) -> None:
    plain = ImageSource(store, CONFIG).views(["2"], np.random.default_rng(0))
    for key in ("rotation_deg", "min_scale", "colour_jitter"):
        config = CONFIG.model_copy(update={key: getattr(AUGMENTED, key)})
        views = ImageSource(store, config).views(["2"], np.random.default_rng(0))
        assert (views != plain).any(), key


def test_windows_may_not_be_far_larger_than_the_crop() -> None:
    large = ImageInput(size_px=129)
    with pytest.raises(ValidationError, match=r"min_scale 0\.5: crop_px 64 is too small .*128 px"):
        ImageConfig(crop_px=64, input=large, min_scale=0.5)


def trained(config: ImageConfig) -> tuple[ImageEncoder, ImageEncoder]:
    """An encoder before and after a training of two epochs, weight decay included."""
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.integers(0, 256, (8, CROP, CROP, 3), dtype=np.uint8))
    y = torch.from_numpy(np.eye(2, dtype=np.float32)[np.arange(8) % 2])

    class Covers:
        def __len__(self) -> int:
            return len(x)

        def batch(self, rows: NDArray[np.intp], rng: np.random.Generator | None) -> Batch:
            return {"x": x[rows], "y": y[rows]}

    def loss(module: nn.Module, batch: Batch) -> Tensor:
        return nn.functional.cross_entropy(module(batch["x"]), batch["y"])

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = GenreNetwork(ImageEncoder(config), 2)
    before = deepcopy(network)
    how = TrainingConfig(
        learning_rate=0.01, weight_decay=0.1, batch_size=4, max_epochs=2, patience=9
    )
    # Evaluated on its training examples, so that the weights of a later epoch are the best.
    fit(network, loss, Covers(), Covers(), how, seed=0)
    return cast(ImageEncoder, before.encoder), cast(ImageEncoder, network.encoder)


@pytest.mark.parametrize(
    ("freeze", "learning"),
    [
        (("stem", "layer2"), {"layer1", "layer3", "layer4"}),
        ("all but the last 1 stage", {"layer4"}),
        ("all but the last 0 stages", set()),
    ],
)
def test_frozen_stages_do_not_change(freeze: str | tuple[str, ...], learning: set[str]) -> None:
    config = CONFIG.model_copy(update={"freeze": freeze, "embedding_dim": 4})
    before, after = trained(config)
    old, new = before.state_dict(), after.state_dict()
    moved = {
        str(stage_of("resnet-18", key.removeprefix("backbone.")))
        for key in new
        if key.startswith("backbone.") and not torch.equal(old[key], new[key])
    }
    assert moved == learning
    assert not torch.equal(old["embedding.0.weight"], new["embedding.0.weight"])
    still = [k for k in new if k.startswith("backbone.layer4.") and torch.equal(old[k], new[k])]
    if learning:  # then batch statistics move with the weights
        assert still == []
    for name, parameter in after.named_parameters():
        assert parameter.requires_grad == (after.rate_of(name) > 0)


def test_frozen_stages_stay_in_evaluation() -> None:
    config = CONFIG.model_copy(update={"network": "vgg-16", "freeze": ("block1", "dense")})
    with torch.device("meta"):
        encoder = ImageEncoder(config).train()
    dropouts = [m for m in encoder.backbone.modules() if isinstance(m, nn.Dropout)]
    assert [m.training for m in dropouts] == [False, False]
    assert not encoder.backbone.features[2].training
    assert encoder.backbone.features[5].training
    assert encoder.training
    assert not any(m.training for m in encoder.eval().modules())


def test_every_parameter_has_a_rate(encoder: ImageEncoder) -> None:
    config = CONFIG.model_copy(update={"stage_decay": 0.5, "freeze": ("layer1",)})
    encoder = ImageEncoder(config)
    rates = {name: encoder.rate_of(name) for name, _ in encoder.named_parameters()}
    assert rates["backbone.conv1.weight"] == 1 / 16
    assert rates["backbone.layer1.0.bn1.bias"] == 0
    assert rates["backbone.layer3.1.conv2.weight"] == 1 / 2
    assert rates["backbone.layer4.0.conv1.weight"] == rates["embedding.0.bias"] == 1
    with pytest.raises(ValueError, match=r"output\.weight: in no stage of resnet-18"):
        encoder.rate_of("output.weight")


def test_dropout_is_before_the_classifier() -> None:
    network = GenreNetwork(ImageEncoder(CONFIG.model_copy(update={"dropout": 0.7})), 3)
    assert network.dropout.p == 0.7
    assert GenreNetwork(ImageEncoder(CONFIG), 3).dropout.p == 0


def test_a_loaded_encoder_scales_and_crops_as_it_was_trained_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ImageConfig(network="cnn-5x5", weights="none", embedding_dim=8)
    network = GenreNetwork(ImageEncoder(config), 2)
    folder = save_network(
        tmp_path / "encoder",
        "image",
        network,
        LogisticTarget(2, exclusive=True),
        ["a", "b"],
        FitLog(),
        Provenance("t", 1, {}),
    )
    changed = replace(
        BACKBONES["cnn-5x5"], crop_px=128, stored_px=150, mean=(0.5,) * 3, std=(0.1,) * 3
    )
    monkeypatch.setitem(cast(dict[ImageNetwork, Backbone], BACKBONES), "cnn-5x5", changed)
    loaded, bundle = load_encoder(folder, "image")
    assert isinstance(loaded, ImageEncoder)
    assert (loaded.config.crop_px, loaded.config.input.size_px) == (256, 256)
    assert bundle.config["preprocessing"] == {
        "crop_px": 256,
        "input": {"size_px": 256},
        "interpolation": "bicubic",
        "mean": [0, 0, 0],
        "std": [1, 1, 1],
    }
    covers = torch.randint(256, (1, 256, 256, 3), dtype=torch.uint8)
    with torch.inference_mode():
        torch.testing.assert_close(loaded(covers), network.encoder.eval()(covers))


def test_bfloat16_embeddings_are_nearly_those_of_float32(store: FeatureStore) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = ImageEncoder(CONFIG)
    source = encoder.source(store)
    exact = embed(encoder, source, store.ids)
    rounded = embed(encoder, source, store.ids, precision="bfloat16")
    assert rounded.dtype == np.float32
    assert (rounded != exact).any()
    norms = np.linalg.norm(exact, axis=1) * np.linalg.norm(rounded, axis=1)
    assert ((exact * rounded).sum(axis=1) / norms).min() > 0.999
