"""Where in each network a map over the cover can be taken, and what the network computes there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mmgenre.image.backbones import ImageNetwork


@dataclass(frozen=True)
class NetworkBlock:
    """A module of a backbone whose output has a row and a column for each place of the cover."""

    name: str  # its path in the backbone
    channels_last: bool = False  # (batch, rows, columns, k), not (batch, k, rows, columns)
    rectified: bool = False  # the network takes the ReLU of it before all else; so does the map


@dataclass(frozen=True)
class GridBlocks:
    """The blocks of a network that keeps rows and columns up to its last block.

    `averaged`: the backbone's output is the last block's average over all positions, and nothing
    else. An output layer on top of that is linear in the features, and CAM exact.
    """

    blocks: tuple[NetworkBlock, ...]  # the last one first, then finer ones
    averaged: bool


def _grid(*blocks: str | NetworkBlock, averaged: bool = False) -> GridBlocks:
    found = (NetworkBlock(b) if isinstance(b, str) else b for b in blocks)
    return GridBlocks(tuple(found), averaged)


_RESIDUAL = _grid("layer4", "layer3", "layer2", "layer1", averaged=True)
# torchvision's networks take the ReLU of their last norm in place, outside of any module.
_LAST_NORM = NetworkBlock("features", rectified=True)
_DENSE = _grid(_LAST_NORM, *(f"features.denseblock{k}" for k in (3, 2, 1)), averaged=True)
# Of networks with pools: the ReLU before each pool, as Selvaraju et al. took it.
_PLAIN = _grid("block4.1", "block3.1", "block2.1", "block1.1")
_SWIN = (NetworkBlock(f"features.{k}", channels_last=True) for k in (5, 3, 1))

# Of networks of patches that attend to each other: the path of the sequence of layers, each with a
# `self_attention`. The embedding is read from the first token; the patches follow row by row.
BLOCKS: Mapping[ImageNetwork, GridBlocks | str] = {
    "alexnet": _grid("features.11", "features.4", "features.1"),
    "cnn-5x5": _PLAIN,
    "cnn-6-blocks": _grid(*(f"block{k}.2" for k in (6, 5, 4, 3, 2, 1))),
    "resnet-18": _RESIDUAL,
    "cnn-10x10": _PLAIN,
    "densenet-169": _DENSE,
    "resnet-50": _RESIDUAL,
    "densenet-201": _DENSE,
    # A layer norm follows the average: its output is not linear in the features.
    "convnext-tiny": _grid(*(f"features.{k}" for k in (7, 5, 3, 1))),
    # Here the norm comes before the average, at each place; `permute` returns what is averaged.
    "swin-t": _grid("permute", *_SWIN, averaged=True),
    "inception-v3": _grid("Mixed_7c", "Mixed_6e", "Mixed_5d", averaged=True),
    "resnet-101": _RESIDUAL,
    "vgg-16": _grid(*(f"features.{k}" for k in (29, 22, 15, 8, 3))),
    "vit-b-16": "encoder.layers",
}


@contextmanager
def features_of(backbone: nn.Module, blocks: Sequence[NetworkBlock]) -> Iterator[dict[str, Tensor]]:
    """Keeps the features of blocks, (batch, k, rows, columns), as leaves where gradients end."""
    seen: dict[str, Tensor] = {}

    def keep(block: NetworkBlock, _module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        features = output.detach().relu() if block.rectified else output.detach()
        if block.channels_last:
            features = features.permute(0, 3, 1, 2)
        seen[block.name] = features.requires_grad_()
        # The network gets a copy, since it may overwrite it in place, which a leaf does not allow.
        # Just above 0 the ReLU after a rectified block has slope 1; at 0 gradients would be lost.
        copy = features + torch.finfo(features.dtype).tiny if block.rectified else features.clone()
        return copy.permute(0, 2, 3, 1) if block.channels_last else copy

    with ExitStack() as hooks:
        for block in blocks:
            module = backbone.get_submodule(block.name)
            hooks.enter_context(module.register_forward_hook(partial(keep, block)))
        yield seen


@dataclass
class AttentionPass:
    """One attention layer in one forward pass.

    `probe`: zeros that were added to the layer's output; the gradient with respect to them is that
    of the output, even where no weight needs a gradient.
    """

    weights: Tensor  # A, (batch, heads, tokens, tokens); each row sums to 1
    values: Tensor  # V, (batch, heads, tokens, width of a head)
    probe: Tensor  # (batch, tokens, width)
    projection: Tensor  # W_O, (width, width), from the concatenated heads to the output


@contextmanager
def attention_of(layers: nn.Module) -> Iterator[list[AttentionPass]]:
    """Keeps what each layer of torchvision's vision transformer attends to, in their order."""
    seen: list[AttentionPass] = []

    def ask(_module: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return args, {**kwargs, "need_weights": True, "average_attn_weights": False}

    def keep(module: Any, args: Any, output: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        result, weights = output
        probe = torch.zeros_like(result).requires_grad_()
        # The last third of the stacked weights makes the values.
        weight, bias = (p.chunk(3)[2] for p in (module.in_proj_weight, module.in_proj_bias))
        values = _heads(nn.functional.linear(args[2], weight, bias).detach(), module.num_heads)
        projection = module.out_proj.weight.detach()
        seen.append(AttentionPass(weights.detach(), values, probe, projection))
        return result + probe, weights

    with ExitStack() as hooks:
        for layer in layers.children():
            attention: Any = layer.get_submodule("self_attention")
            hooks.enter_context(attention.register_forward_pre_hook(ask, with_kwargs=True))
            hooks.enter_context(attention.register_forward_hook(keep))
        yield seen


def attention_gradients(score: Tensor, seen: Sequence[AttentionPass]) -> list[Tensor]:
    """D score / d A of each layer, (batch, heads, tokens, tokens), for a score (batch,).

    A layer computes O = concat(A_h V_h) W_O' + b, so that d score / d A_h = G_h V_h', G being
    (d score / d O) W_O split into heads.
    """
    gradients = torch.autograd.grad(score.sum(), [layer.probe for layer in seen])
    return [
        _heads(gradient @ layer.projection, layer.values.shape[1]) @ layer.values.mT
        for layer, gradient in zip(seen, gradients, strict=True)
    ]


def _heads(x: Tensor, heads: int) -> Tensor:
    """(batch, tokens, width) -> (batch, heads, tokens, width / heads)."""
    return x.reshape(*x.shape[:2], heads, -1).transpose(1, 2)
