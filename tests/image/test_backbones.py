"""Backbones: as torchvision has them, cut off before the classifier, every weight in one stage."""

from __future__ import annotations

from functools import cache
from typing import Any, get_args

import pytest
import torch
from torch import nn
from torchvision import models

from mmgenre.image.backbones import BACKBONES, ImageNetwork, frozen_stages, headless, stage_of
from mmgenre.image.encoder import ImageEncoder
from mmgenre.image.settings import ImageConfig, ImageInput

NAMES = get_args(ImageNetwork)
PUBLISHED = [name for name in NAMES if BACKBONES[name].imagenet is not None]
# What torchvision's classifiers get.
WIDTHS = {
    "alexnet": 4096,
    "vgg-16": 4096,
    "resnet-18": 512,
    "resnet-50": 2048,
    "resnet-101": 2048,
    "densenet-169": 1664,
    "densenet-201": 1920,
    "inception-v3": 2048,
    "vit-b-16": 768,
    "convnext-tiny": 768,
    "swin-t": 768,
    "cnn-5x5": 2048,
    "cnn-10x10": 2048,
    "cnn-6-blocks": 2048,
}


@cache
def without_memory(name: ImageNetwork) -> nn.Module:
    with torch.device("meta"):
        return headless(BACKBONES[name], BACKBONES[name].build(BACKBONES[name].least_px))


def output_shape(network: nn.Module, side: int) -> tuple[int, ...]:
    with torch.no_grad():
        return tuple(network(torch.zeros(2, 3, side, side, device="meta")).shape)


def test_every_name_has_a_row() -> None:
    assert tuple(sorted(BACKBONES)) == tuple(sorted(NAMES)) == tuple(sorted(WIDTHS))


@pytest.mark.parametrize("name", NAMES)
def test_the_native_width_comes_out_at_the_least_size(name: ImageNetwork) -> None:
    backbone, network = BACKBONES[name], without_memory(name)
    assert backbone.width == WIDTHS[name]
    # Inception has two outputs in training unless its auxiliary classifier is gone.
    for mode in (True, False):
        assert output_shape(network.train(mode), backbone.least_px) == (2, backbone.width)
    if backbone.patch_px is not None:
        with pytest.raises(AssertionError, match="Wrong image height"):
            output_shape(network, 240)


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("alexnet", 62),
        ("vgg-16", 31),
        ("inception-v3", 74),
        ("convnext-tiny", 31),
        ("densenet-169", 16),
        ("cnn-5x5", 15),
        ("cnn-6-blocks", 63),
    ],
)
def test_covers_below_the_least_size_are_refused(name: ImageNetwork, side: int) -> None:
    with pytest.raises(RuntimeError, match=r"Given input size|greater than actual input size"):
        output_shape(without_memory(name).eval(), side)
    with pytest.raises(ValueError, match=f"crop_px {side}: {name} takes .* or more"):
        ImageConfig(network=name, crop_px=side)


@pytest.mark.parametrize("name", NAMES)
def test_embeddings_are_2048_wide(name: ImageNetwork) -> None:
    with torch.device("meta"):
        encoder = ImageEncoder(ImageConfig(network=name))
    assert encoder.embedding_dim == 2048
    assert isinstance(encoder.embedding, nn.Identity) == (WIDTHS[name] == 2048)
    backbone = BACKBONES[name]
    side = backbone.crop_px if backbone.patch_px else backbone.least_px
    with torch.no_grad():
        covers = torch.zeros(1, side, side, 3, dtype=torch.uint8, device="meta")
        assert encoder.eval()(covers).shape == (1, 2048)


@pytest.mark.parametrize("name", NAMES)
def test_each_weight_is_in_one_stage(name: ImageNetwork) -> None:
    stages = BACKBONES[name].stages
    prefixes = [prefix for _, of_stage in stages for prefix in of_stage]
    weights = [key for key, _ in without_memory(name).named_parameters()]
    homes = {key: [p for p in prefixes if key == p or key.startswith(f"{p}.")] for key in weights}
    assert {key: found for key, found in homes.items() if len(found) != 1} == {}
    assert {found[0] for found in homes.values()} == set(prefixes)
    # In their order, but for two weights that the vision transformer declares elsewhere.
    order = [name for name, _ in stages]
    seen = [order.index(str(stage_of(name, key))) for key in weights]
    assert seen == sorted(seen)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_table_agrees_with_the_published_weights(name: ImageNetwork) -> None:
    backbone = BACKBONES[name]
    with torch.device("meta"):
        whole = backbone.build(backbone.crop_px)
    weights = backbone.published_weights()
    assert backbone.classifier is not None
    last = whole.get_submodule(backbone.classifier)
    assert isinstance(last, nn.Linear)
    assert (last.in_features, last.out_features) == (backbone.width, 1000)
    assert [m for m in whole.modules() if isinstance(m, nn.Linear)][-1] is last
    assert sum(p.numel() for p in whole.parameters()) == weights.meta["num_params"]
    transform = weights.transforms()
    assert transform.crop_size == [backbone.crop_px]
    assert transform.resize_size[0] <= backbone.stored_px
    if name != "inception-v3":
        assert (tuple(transform.mean), tuple(transform.std)) == (backbone.mean, backbone.std)
    sha256_begins = weights.url.rsplit("-", 1)[-1].removesuffix(".pth")
    assert len(bytes.fromhex(sha256_begins)) == 4


def test_inception_gets_the_input_that_torchvision_gives_it() -> None:
    backbone = BACKBONES["inception-v3"]
    with torch.device("meta"):
        whole: Any = backbone.build(75)
    whole.transform_input = True  # as torchvision sets it with ImageNet weights
    transform = models.Inception_V3_Weights.IMAGENET1K_V1.transforms(crop_size=75, resize_size=75)
    covers = torch.randint(256, (2, 3, 75, 75), dtype=torch.uint8)
    shown = whole._transform_input(transform(covers))
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (backbone.mean, backbone.std))
    torch.testing.assert_close((covers / 255 - mean) / std, shown, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["cnn-5x5", "cnn-10x10", "cnn-6-blocks"])
def test_small_networks_see_colours_between_0_and_1(name: ImageNetwork) -> None:
    side = BACKBONES[name].least_px
    config = ImageConfig(network=name, weights="none", crop_px=side)
    encoder = ImageEncoder(config).eval()
    seen: list[torch.Tensor] = []
    encoder.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    covers = torch.full((1, side, side, 3), 255, dtype=torch.uint8)
    covers[:, 0] = 0
    assert encoder(covers).shape == (1, 2048)
    assert set(seen[0].flatten().tolist()) == {0.0, 1.0}


def test_small_networks_have_the_kernels_of_their_names() -> None:
    for name, kernel in (("cnn-5x5", 5), ("cnn-10x10", 10), ("cnn-6-blocks", 3)):
        layers = list(without_memory(name).modules())
        kernels = [m.kernel_size for m in layers if isinstance(m, nn.Conv2d)]
        pools = [m.kernel_size for m in layers if isinstance(m, nn.MaxPool2d)]
        assert set(kernels) == {(kernel, kernel)}
        assert pools == [2] * len(kernels)


def test_what_can_be_frozen() -> None:
    assert frozen_stages("vgg-16", "none") == frozen_stages("vgg-16", ()) == ()
    first_three = ("block1", "block2", "block3")
    assert frozen_stages("vgg-16", ("block3", "block1", "block2")) == first_three
    assert frozen_stages("vgg-16", "all but the last 3 stages") == first_three
    assert frozen_stages("inception-v3", "all but the last 1 stage") == ("stem", "mixed5", "mixed6")
    assert len(frozen_stages("vit-b-16", "all but the last 0 stages")) == 13


@pytest.mark.parametrize(
    ("freeze", "match"),
    [
        (("blok1",), "vgg-16 has no stage 'blok1'; known: block1, block2, .*, block5, dense$"),
        ("block1", "freeze 'block1': write 'none', .*, or a list of stages; vgg-16 has block1"),
        ("all but the last 6 stages", "N from 0 to 5"),
        ("all but the last -1 stages", "N from 0 to 5"),
        ("all", "write 'none'"),
    ],
)
def test_unknown_stages_are_refused(freeze: tuple[str, ...] | str, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        frozen_stages("vgg-16", freeze)
    with pytest.raises(ValueError, match=match.removesuffix("$")):
        ImageConfig(network="vgg-16", freeze=freeze)


def test_learning_rates_fall_from_stage_to_stage() -> None:
    names = ("conv1.weight", "bn1.bias", "layer1.0.x", "layer2.1.x", "layer3.x", "layer4.x")
    with torch.device("meta"):
        encoder = ImageEncoder(ImageConfig(freeze=("stem", "layer2"), stage_decay=0.5))
    assert [encoder.rate_of(f"backbone.{name}") for name in names] == [0, 0, 0.125, 0, 0.5, 1]
    with pytest.raises(ValueError, match=r"fc\.weight: in no stage of resnet-50"):
        encoder.rate_of("backbone.fc.weight")


def test_sizes_of_covers_follow_from_the_network() -> None:
    sizes = {
        name: (c.crop_px, c.input.size_px) for name in NAMES if (c := ImageConfig(network=name))
    }
    assert sizes.pop("inception-v3") == (299, 342)
    assert {sizes.pop(name) for name in ("cnn-5x5", "cnn-10x10", "cnn-6-blocks")} == {(256, 256)}
    assert set(sizes.values()) == {(224, 256)}
    with pytest.raises(ValueError, match=r"crop_px 80: vit-b-16 from ImageNet weights .* 224"):
        ImageConfig(network="vit-b-16", crop_px=80)
    assert ImageConfig(network="vit-b-16", crop_px=80, weights="none").crop_px == 80
    with pytest.raises(ValueError, match="crop_px 90: vit-b-16 takes 16 or more, in steps of 16"):
        ImageConfig(network="vit-b-16", crop_px=90, weights="none")
    with pytest.raises(ValueError, match=r"crop_px 299: the stored squares .* 256"):
        ImageConfig(network="inception-v3", input=ImageInput(size_px=256))


def test_default_sizes_are_not_saved() -> None:
    kept = ImageConfig(network="inception-v3").model_dump(mode="json")
    assert "crop_px" not in kept
    assert kept["input"] == {}
    other = ImageConfig.model_validate({**kept, "network": "cnn-5x5"})
    assert other == ImageConfig(network="cnn-5x5")
    own = ImageConfig(crop_px=96, input=ImageInput(size_px=100), freeze=("stem",))
    kept = own.model_dump(mode="json", exclude={"input"})
    assert (kept["crop_px"], kept["freeze"]) == (96, ["stem"])
    assert "input" not in kept
    assert ImageConfig.model_validate(own.model_dump(mode="json")) == own
