"""What the patches of a cover give to its embedding, by way of attention."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isqrt
from typing import Any

import torch
from torch import Tensor, nn


@dataclass
class Attended:
    """One attention layer in one forward pass.

    Attributes:
        weights: A, (batch, heads, tokens, tokens); each row sums to 1.
        values: V, (batch, heads, tokens, width of a head).
        probe: zeros that were added to the layer's output, (batch, tokens, width): the gradient
            there is that of the output, whichever weights learn.
        projection: W_O, (width, width), from the heads side by side to the output.
    """

    weights: Tensor
    values: Tensor
    probe: Tensor
    projection: Tensor


def attention_rollout(weights: Sequence[Tensor]) -> Tensor:
    """How much of each patch the first token is made of, (batch, rows, columns).

    A' = A / 2 + I / 2, A averaged over heads, its rows summing to 1 again;
    rollout = A'_L ... A'_2 A'_1. Abnar and Zuidema 2020, sec. 4. The same for every genre.

    Args:
        weights: A of each layer, the first first, (batch, heads, tokens, tokens).
    """
    identity = torch.eye(weights[0].shape[-1])
    rollout = identity
    for a in weights:
        mixed = a.mean(dim=1) + identity
        rollout = (mixed / mixed.sum(dim=-1, keepdim=True)) @ rollout
    return _over_patches(rollout)


def gradient_rollout(weights: Sequence[Tensor], gradients: Sequence[Tensor]) -> Tensor:
    """What of each patch speaks for a score, (batch, rows, columns), by attention alone.

    A' = mean over heads of max(0, A * d score / d A);  R = R + A' R, from R = I on.
    Chefer et al. 2021 (ICCV), eq. 5 and 6.

    Args:
        weights: A of each layer, the first first, (batch, heads, tokens, tokens).
        gradients: d score / d A of each layer.
    """
    relevance = torch.eye(weights[0].shape[-1]).expand(len(weights[0]), -1, -1)
    for a, gradient in zip(weights, gradients, strict=True):
        relevance = relevance + (a * gradient).clamp(min=0).mean(dim=1) @ relevance
    return _over_patches(relevance)


def attention_gradients(score: Tensor, seen: Sequence[Attended]) -> list[Tensor]:
    """D score / d A of each layer, (batch, heads, tokens, tokens).

    A layer gives O = concat(A_h V_h) W_O' + b, so that d score / d A_h = G_h V_h', G being
    (d score / d O) W_O cut into heads.

    Args:
        score: of one label for each cover, (batch,), a function of the layers' outputs.
        seen: the layers.
    """
    found = []
    gradients = torch.autograd.grad(score.sum(), [layer.probe for layer in seen])
    for layer, gradient in zip(seen, gradients, strict=True):
        g = _heads(gradient @ layer.projection, layer.values.shape[1])
        found.append(g @ layer.values.transpose(-1, -2))
    return found


@contextmanager
def attending(layers: nn.Module) -> Iterator[list[Attended]]:
    """Keeps what each attention layer does, in their order.

    Args:
        layers: a sequence of blocks of torchvision's vision transformer.
    """
    seen: list[Attended] = []

    def ask(_module: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return args, {**kwargs, "need_weights": True, "average_attn_weights": False}

    def keep(module: Any, args: Any, output: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        result, weights = output
        probe = torch.zeros_like(result).requires_grad_()
        # The last third of the stacked weights makes the values.
        weight, bias = (p.chunk(3)[2] for p in (module.in_proj_weight, module.in_proj_bias))
        values = nn.functional.linear(args[2], weight, bias).detach()
        seen.append(
            Attended(
                weights.detach(),
                _heads(values, module.num_heads),
                probe,
                module.out_proj.weight.detach(),
            )
        )
        return result + probe, weights

    hooks = []
    for block in layers.children():
        attention: Any = block.get_submodule("self_attention")
        hooks.append(attention.register_forward_pre_hook(ask, with_kwargs=True))
        hooks.append(attention.register_forward_hook(keep))
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _heads(x: Tensor, heads: int) -> Tensor:
    """(batch, tokens, width) -> (batch, heads, tokens, width / heads)."""
    return x.reshape(*x.shape[:2], heads, -1).transpose(1, 2)


def _over_patches(relevance: Tensor) -> Tensor:
    """The first token's row without itself, (batch, tokens, tokens) -> (batch, rows, columns)."""
    row = relevance[:, 0, 1:]
    side = isqrt(row.shape[1])
    return row.reshape(len(row), side, side)
