"""Covers: crops and mirrors, ImageNet's scale, residual networks without their classifier."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor, nn

from mmgenre.encoders.image import ImageConfig, ImageEncoder, ImageNetwork
from mmgenre.inputs.image import ImageInput
from mmgenre.provenance import Provenance
from mmgenre.store import FeatureStore, write_store

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


@pytest.mark.parametrize(
    ("name", "own_width"), [("resnet-18", 512), ("resnet-50", 2048), ("resnet-101", 2048)]
)
def test_embeddings_are_2048_wide(name: ImageNetwork, own_width: int) -> None:
    encoder = ImageEncoder(ImageConfig(network=name, weights="none"))
    assert encoder.embedding_dim == 2048
    assert isinstance(encoder.embedding, nn.Identity) == (own_width == 2048)
    with torch.inference_mode():
        embedding = encoder.eval()(torch.zeros(1, 32, 32, 3, dtype=torch.uint8))
    assert embedding.shape == (1, 2048)
    assert (embedding >= 0).all()
    assert not any("fc" in key for key in encoder.state_dict())
    if name == "resnet-18":
        native = ImageConfig(network=name, weights="none", embedding_dim="native")
        assert ImageEncoder(native).embedding_dim == own_width
