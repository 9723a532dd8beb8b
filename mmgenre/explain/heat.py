"""Where a cover speaks for a genre, by the method that its network allows.

CAM, Grad-CAM and HiResCAM weigh features f, (batch, k, rows, columns); rollouts the attention A of
each layer in order, (batch, heads, tokens, tokens). A score is that of one label for each cover,
(batch,); maps are (batch, rows, columns).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from mmgenre.errors import MmgenreError
from mmgenre.explain import blocks
from mmgenre.image.encoder import ImageEncoder
from mmgenre.learning.encoder import TaskHead
from mmgenre.learning.targets import LogisticTarget

HeatMethod = Literal["CAM", "Grad-CAM", "HiResCAM", "gradient rollout", "attention rollout"]

# Positions along a side. A 64-px cover has 2 x 2 in the last block of a residual network, and the
# heat of a genre planted in a corner lay there no more often than by chance (27 %; 8 x 8: 60 to
# 70 %).
FINE_ENOUGH = 6
COVERS_AT_ONCE = 4  # ViT-B/16 keeps 150 MB per cover until the gradient is computed


@dataclass(frozen=True)
class HeatMaps:
    """Heat over n covers for one genre each.

    Heat has 1 as its highest value; it is 0 everywhere if nothing speaks for the genre. "attention
    rollout" is the same for every genre; both rollouts count from the lowest value of any place.
    """

    heat: NDArray[np.float32]  # (n, crop_px, crop_px), in [0, 1]
    genres: NDArray[np.intp]  # columns of the labels, (n,): the genre that the heat is for
    scores: NDArray[np.float64]  # what the image encoder gives these genres, (n,)
    method: HeatMethod
    block: str  # whose output the maps weigh
    is_last: bool  # whether no later block exists
    grid: tuple[int, int]  # rows and columns of the maps before they were enlarged


def explain_covers(
    encoder: ImageEncoder,
    head: TaskHead,
    crops: NDArray[np.uint8],
    genre: str | None = None,
    method: HeatMethod | None = None,
) -> HeatMaps:
    """Heat for a genre, or for the one that the image encoder's own output layer scores highest.

    `crops` are covers as the encoder sees them, RGB bytes (n, crop_px, crop_px, 3); `head` is the
    output layer that the encoder was trained with. The encoder is put in evaluation mode.

    Networks that keep rows and columns: at the last block, as published, CAM where the output is
    linear in that block's average, else Grad-CAM; where that block is too coarse, HiResCAM at the
    last one that is fine enough. Networks of patches: gradient rollout, or attention rollout if
    asked for. Gradients are those of the label's logit, or of its cosine where the target is
    COSINE.

    Raises ValueError without covers; MmgenreError for a genre that the encoder did not learn, or a
    method that its network does not allow.
    """
    if not len(crops):
        raise ValueError(f"crops {crops.shape}: give one cover or more")
    if genre is not None and genre not in head.labels:
        raise MmgenreError(
            f"genre {genre!r}: the encoder did not learn it; known: {', '.join(head.labels)}"
        )
    encoder.eval()
    pixels = torch.split(torch.from_numpy(crops), COVERS_AT_ONCE)
    place = _place(encoder, head, pixels[0][:1])
    used = method or place.methods[0]
    if used not in place.methods:
        raise MmgenreError(
            f"{method}: not for {encoder.config.network} at {place.name} with this output layer; "
            f"choose from {', '.join(place.methods)}"
        )
    column = None if genre is None else head.labels.index(genre)
    parts = [_maps(encoder, head, part, place, used, column) for part in pixels]
    found, genres, scores = (torch.cat(values) for values in zip(*parts, strict=True))
    heat, grid = heat_of(found, crops.shape[1]).numpy(), (found.shape[1], found.shape[2])
    own = scores.double().numpy()
    return HeatMaps(heat, genres.numpy(), own, used, place.name, place.is_last, grid)


@dataclass(frozen=True)
class _Place:
    """Where in a network the maps are taken, and by which methods, the recommended one first."""

    name: str
    block: blocks.NetworkBlock | None  # None: all layers of attention
    is_last: bool
    methods: tuple[HeatMethod, ...]


def _place(encoder: ImageEncoder, head: TaskHead, pixels: Tensor) -> _Place:
    """The last block that is fine enough; the finest where none is.

    CAM: the backbone averages this block's features, nothing but the output layer follows, and the
    score is that layer's output. Before the last block Grad-CAM's average over positions would
    cancel out what differs from place to place.
    """
    network = encoder.config.network
    if network not in blocks.BLOCKS:
        raise MmgenreError(
            f"{network}: no heat maps, since its blocks are not known; known: "
            f"{', '.join(blocks.BLOCKS)} (mmgenre/explain/blocks.py, BLOCKS)"
        )
    known = blocks.BLOCKS[network]
    if isinstance(known, str):
        return _Place(known, None, True, ("gradient rollout", "attention rollout"))
    with torch.no_grad(), blocks.features_of(encoder.backbone, known.blocks) as seen:
        encoder(pixels)
    sides = {block: min(seen[block.name].shape[2:]) for block in known.blocks}
    fine = [block for block, side in sides.items() if side >= FINE_ENOUGH]
    block = fine[0] if fine else max(sides, key=lambda block: sides[block])
    if block != known.blocks[0]:
        return _Place(block.name, block, False, ("HiResCAM", "Grad-CAM"))
    methods: tuple[HeatMethod, ...] = ("Grad-CAM", "HiResCAM")
    if known.averaged and isinstance(encoder.embedding, nn.Identity):
        methods = ("CAM", *methods) if isinstance(head.target, LogisticTarget) else methods
    return _Place(block.name, block, True, methods)


def _maps(
    encoder: ImageEncoder,
    head: TaskHead,
    pixels: Tensor,
    place: _Place,
    method: HeatMethod,
    column: int | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Maps (batch, rows, columns), the genres they are for and their scores, (batch,)."""
    rows = torch.arange(len(pixels))

    def chosen() -> tuple[Tensor, Tensor, Tensor]:
        """The genres, their scores, and the values whose gradients are taken."""
        output = head.output(encoder(pixels))
        scores = torch.from_numpy(head.target.scores(output.detach().numpy())).float()
        genres = scores.argmax(dim=1) if column is None else torch.full_like(rows, column)
        if isinstance(head.target, LogisticTarget):
            values = output[rows, genres]
        else:
            factors = torch.from_numpy(head.target.factors)[genres]
            values = functional.cosine_similarity(output, factors, dim=1)
        return genres, scores[rows, genres], values

    if place.block is None:
        layers = encoder.backbone.get_submodule(place.name)
        by_gradient = method == "gradient rollout"
        with torch.set_grad_enabled(by_gradient), blocks.attention_of(layers) as seen:
            genres, scores, value = chosen()
        weights = [layer.weights for layer in seen]
        if by_gradient:
            found = gradient_rollout(weights, blocks.attention_gradients(value, seen))
        else:
            found = attention_rollout(weights)
        # After several layers every patch has a share of every other: a floor without a place.
        return found - found.amin(dim=(1, 2), keepdim=True), genres, scores
    with torch.enable_grad(), blocks.features_of(encoder.backbone, [place.block]) as kept:
        genres, scores, value = chosen()
    features = kept[place.name]
    if method == "CAM":
        found = class_activation_maps(features, head.output.weight)[rows, genres].detach()
    else:
        found = (gradient_maps if method == "Grad-CAM" else place_maps)(value, features)
    return found, genres, scores


def class_activation_maps(features: Tensor, weights: Tensor) -> Tensor:
    """M_c(x, y) = sum over k of w_k(c) f_k(x, y), (batch, n_labels, rows, columns).

    f is the last block's output; w, (n_labels, k), is of the linear layer behind its average.
    Zhou et al. 2016, eq. 2. The mean of M_c is the label's output without its bias.
    """
    return torch.einsum("bkyx,ck->bcyx", features, weights)


def gradient_maps(score: Tensor, features: Tensor) -> Tensor:
    """Grad-CAM: sum over k of alpha_k f_k(x, y); negative parts are kept.

    alpha_k is the mean over all positions of d score / d f_k(x, y). Selvaraju et al. 2017, eq. 1
    and 2. Where CAM is exact this is CAM divided by the number of positions.
    """
    (gradient,) = torch.autograd.grad(score.sum(), features)
    alpha = gradient.mean(dim=(2, 3))
    return torch.einsum("bkyx,bk->byx", features.detach(), alpha)


def place_maps(score: Tensor, features: Tensor) -> Tensor:
    """HiResCAM: sum over k of f_k(x, y) d score / d f_k(x, y). Draelos and Carin 2020.

    At an early block the same feature counts for a genre in one place and against it in another,
    and Grad-CAM's average over positions would cancel this out. At the last block of a network
    where CAM is exact, the three agree.
    """
    (gradient,) = torch.autograd.grad(score.sum(), features)
    return (gradient * features.detach()).sum(dim=1)


def attention_rollout(weights: Sequence[Tensor]) -> Tensor:
    """The share of each patch in the first token, the same for every genre; A of layers in order.

    A' = A / 2 + I / 2, A averaged over heads, its rows summing to 1 again;
    rollout = A'_L ... A'_2 A'_1. Abnar and Zuidema 2020, sec. 4.
    """
    rollout = identity = torch.eye(weights[0].shape[-1])
    for a in weights:
        mixed = a.mean(dim=1) + identity
        rollout = (mixed / mixed.sum(dim=-1, keepdim=True)) @ rollout
    return _over_patches(rollout)


def gradient_rollout(weights: Sequence[Tensor], gradients: Sequence[Tensor]) -> Tensor:
    """How much each patch raises a score through attention, from A and d score / d A of layers.

    A' = mean over heads of max(0, A * d score / d A);  R = R + A' R, from R = I on.
    Chefer et al. 2021 (ICCV), eq. 5 and 6.
    """
    relevance = torch.eye(weights[0].shape[-1]).expand(len(weights[0]), -1, -1)
    for a, gradient in zip(weights, gradients, strict=True):
        relevance = relevance + (a * gradient).clamp(min=0).mean(dim=1) @ relevance
    return _over_patches(relevance)


def _over_patches(relevance: Tensor) -> Tensor:
    """The first token's row without itself, (batch, tokens, tokens) -> (batch, rows, columns)."""
    row = relevance[:, 0, 1:]
    side = isqrt(row.shape[1])
    return row.reshape(len(row), side, side)


def heat_of(maps: Tensor, side: int) -> Tensor:
    """Maps -> heat (batch, side, side): enlarged, cut at 0, maximum 1."""
    size = (side, side)
    large = functional.interpolate(maps[:, None], size, mode="bilinear", align_corners=False)
    heat = large[:, 0].clamp(min=0)
    highest = heat.amax(dim=(1, 2), keepdim=True)
    return torch.where(highest > 0, heat / highest.clamp(min=torch.finfo(heat.dtype).tiny), 0.0)
