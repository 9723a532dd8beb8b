"""Real covers on their way to each backbone: cut and scaled as it was trained to see them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from mmgenre.disk.store import FeatureStore
from mmgenre.image.backbones import BACKBONES, ImageNetwork
from mmgenre.image.encoder import ImageEncoder
from mmgenre.image.settings import ImageConfig, ImageInput
from mmgenre.items.item import Item
from mmgenre.items.manifest import Manifest
from mmgenre.reading.extraction import extract_inputs

NETWORKS = tuple(BACKBONES)
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and deviation of its colours
STEP = 3  # every third pixel of every third row: the slow way is slow

pytestmark = pytest.mark.realdata


@pytest.fixture(scope="module")
def covers(real_data: Path) -> dict[str, Path]:
    found = {path.stem: path for path in sorted((real_data / "real" / "covers").iterdir())}
    assert len(found) == 33
    return found


@pytest.fixture(scope="module")
def stores(covers: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """The covers as squares of every size that a backbone wants, by that size."""
    folder = tmp_path_factory.mktemp("covers")
    manifest = Manifest([Item(name, media={"image": (path,)}) for name, path in covers.items()])
    return {
        size: extract_inputs(
            manifest, "image", ImageInput(size_px=size), folder / f"{size}.h5", workers=1
        )
        for size in {backbone.stored_px for backbone in BACKBONES.values()}
    }


def seen_by(network: ImageNetwork, store: FeatureStore) -> Tensor:
    """What its first layer gets for all covers of a store, (n, 3, side, side)."""
    config = ImageConfig(network=network, weights="none", embedding_dim="native")
    with torch.device("meta"):  # its weights are not needed, and take seconds to draw
        whole = config.backbone.build(config.crop_px)
    encoder = ImageEncoder(config, whole)
    views = encoder.source(store).views(store.ids, None)
    return encoder.scaled(torch.from_numpy(views[:, 0]))


@cache
def preset_of(network: ImageNetwork) -> Any:
    """What torchvision does to images before its ImageNet weights see them."""
    weights = BACKBONES[network].published_weights()
    return None if weights is None else weights.transforms()


def scaled_slowly(network: ImageNetwork, colour: int, channel: int) -> float:
    """A colour, 0 to 255, as torchvision scales it for the network with its ImageNet weights."""
    preset = preset_of(network)
    if preset is None:  # our own networks, which see colours from 0 to 1
        return colour / 255
    value = (colour / 255 - preset.mean[channel]) / preset.std[channel]
    if network == "inception-v3":  # its `transform_input`, which its weights switch on
        mean, std = IMAGENET
        value = value * (std[channel] / 0.5) + (mean[channel] - 0.5) / 0.5
    return float(value)


@pytest.mark.parametrize("network", NETWORKS)
def test_every_cover_reaches_every_backbone(
    network: ImageNetwork, covers: dict[str, Path], stores: dict[int, Path]
) -> None:
    backbone = BACKBONES[network]
    side, stored = backbone.crop_px, backbone.stored_px
    with FeatureStore(stores[stored], "image") as store:
        assert (store.ids, store.refused) == (tuple(sorted(covers)), ())
        seen = seen_by(network, store)
    assert (seen.shape, seen.dtype) == ((33, 3, side, side), torch.float32)
    assert torch.isfinite(seen).all()
    assert seen.std(dim=(1, 2, 3)).min() > 0.01  # none has become one colour
    preset = preset_of(network)
    assert preset is None or preset.crop_size == [side]

    # One cover, another for each backbone, from its file by a loop over its pixels.
    square = [name for name, path in covers.items() if is_plain_square(path)]
    name = square[NETWORKS.index(network)]
    with Image.open(covers[name]) as image:
        whole = image.resize((stored, stored), Image.Resampling.BICUBIC)
    first = (stored - side) // 2  # the middle of the square
    got = seen[sorted(covers).index(name)].numpy()
    places = range(0, side, STEP)
    wanted = np.empty((3, len(places), len(places)))
    for i, y in enumerate(places):
        for j, x in enumerate(places):
            pixel = whole.getpixel((first + x, first + y))
            assert isinstance(pixel, tuple)
            wanted[:, i, j] = [scaled_slowly(network, v, c) for c, v in enumerate(pixel)]
    np.testing.assert_allclose(got[:, ::STEP, ::STEP], wanted, atol=2e-6)


def is_plain_square(path: Path) -> bool:
    """Whether nothing but its size has to change on the way."""
    with Image.open(path) as image:
        return image.mode == "RGB" and image.width == image.height
