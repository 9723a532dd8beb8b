"""Where in each network a map over the cover can be taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mmgenre.image.backbones import ImageNetwork


@dataclass(frozen=True)
class Block:
    """A module of a backbone whose output has a row and a column for each place of the cover.

    Attributes:
        name: its path in the backbone.
        channels_last: (batch, rows, columns, k) comes out, not (batch, k, rows, columns).
        rectified: the network takes the ReLU of it before anything else; so does the map.
    """

    name: str
    channels_last: bool = False
    rectified: bool = False


@dataclass(frozen=True)
class Convolutions:
    """A network that keeps rows and columns up to its last block.

    Attributes:
        blocks: the last one first, then finer ones.
        averaged: the backbone gives the last block's average over all positions, and no more. An
            output layer on top of that is linear in the features, and CAM exact.
    """

    blocks: tuple[Block, ...]
    averaged: bool


@dataclass(frozen=True)
class Attention:
    """A network of patches that attend to each other, and one token that the embedding is read off.

    Attributes:
        layers: path of the sequence of blocks, each with a `self_attention`; the token that is read
            off is the first, the patches follow row by row.
    """

    layers: str


def _averaged(*names: str) -> Convolutions:
    return Convolutions(tuple(Block(name) for name in names), averaged=True)


def _not_averaged(*names: str) -> Convolutions:
    return Convolutions(tuple(Block(name) for name in names), averaged=False)


_RESIDUAL = _averaged("layer4", "layer3", "layer2", "layer1")
# torchvision's networks take the ReLU of their last norm in place, outside of any module.
_DENSE = Convolutions(
    (
        Block("features", rectified=True),
        *(Block(f"features.denseblock{k}") for k in (3, 2, 1)),
    ),
    averaged=True,
)
# Of networks with pools: the ReLU before each pool, as Selvaraju et al. took it.
_PLAIN = _not_averaged("block4.1", "block3.1", "block2.1", "block1.1")

BLOCKS: Mapping[ImageNetwork, Convolutions | Attention] = {
    "alexnet": _not_averaged("features.11", "features.4", "features.1"),
    "cnn-5x5": _PLAIN,
    "cnn-6-blocks": _not_averaged(*(f"block{k}.2" for k in (6, 5, 4, 3, 2, 1))),
    "resnet-18": _RESIDUAL,
    "cnn-10x10": _PLAIN,
    "densenet-169": _DENSE,
    "resnet-50": _RESIDUAL,
    "densenet-201": _DENSE,
    # A layer norm follows the average: its output is not linear in the features.
    "convnext-tiny": _not_averaged("features.7", "features.5", "features.3", "features.1"),
    # Here the norm comes before the average, at each place; `permute` gives what is averaged.
    "swin-t": Convolutions(
        (
            Block("permute"),
            *(Block(f"features.{k}", channels_last=True) for k in (5, 3, 1)),
        ),
        averaged=True,
    ),
    "inception-v3": _averaged("Mixed_7c", "Mixed_6e", "Mixed_5d"),
    "resnet-101": _RESIDUAL,
    "vgg-16": _not_averaged(*(f"features.{k}" for k in (29, 22, 15, 8, 3))),
    "vit-b-16": Attention("encoder.layers"),
}
