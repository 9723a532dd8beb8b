"""Where a cover speaks for a genre, by whichever method its network allows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mmgenre.errors import MmgenreError
from mmgenre.explain.attention import (
    attending,
    attention_gradients,
    attention_rollout,
    gradient_rollout,
)
from mmgenre.explain.blocks import BLOCKS, Attention, Block
from mmgenre.explain.maps import class_activation_maps, gradient_maps, heat_of, place_maps
from mmgenre.image.encoder import ImageEncoder
from mmgenre.learning.targets import LogisticTarget
from mmgenre.reading.network import TaskHead

HeatMethod = Literal["CAM", "Grad-CAM", "HiResCAM", "gradient rollout", "attention rollout"]

# Positions a side. A 64-px cover has 2 x 2 in the last block of a residual network, and the heat of
# a genre planted in a corner lay there no more often than by chance (27 %; 8 x 8: 60 to 70 %).
FINE_ENOUGH = 6
COVERS_AT_ONCE = 4  # ViT-B/16 keeps 150 MB a cover until the gradient is there


@dataclass(frozen=True)
class HeatMaps:
    """Heat over covers for one genre each.

    Attributes:
        heat: (n, crop_px, crop_px) in [0, 1], its highest value 1; all 0 where nothing speaks for
            the genre.
        genres: columns of the labels, (n,): for whom the heat is.
        scores: what the image encoder gives these genres, (n,).
        method: how it was made. "attention rollout" is the same for every genre. Both rollouts are
            counted from the least that any place gets.
        block: whose output the maps weigh; `is_last`: whether no later one is there.
        grid: rows and columns of the maps before they were enlarged.
    """

    heat: NDArray[np.float32]
    genres: NDArray[np.intp]
    scores: NDArray[np.float64]
    method: HeatMethod
    block: str
    is_last: bool
    grid: tuple[int, int]


def explain_covers(
    encoder: ImageEncoder,
    head: TaskHead,
    crops: NDArray[np.uint8],
    genre: str | None = None,
    method: HeatMethod | None = None,
) -> HeatMaps:
    """Heat for a genre, or for the one that the image encoder names first, by its own output layer.

    Networks that keep rows and columns: at the last block, as published, CAM where the output is
    linear in that block's average, else Grad-CAM; where that block is too coarse, HiResCAM at the
    last one that is fine enough. Networks of patches: gradient rollout, or attention rollout if
    asked for. Gradients are those of the label's logit, or of its cosine where the target is
    COSINE.

    Args:
        encoder: the trained encoder; put in evaluation mode.
        head: the output layer it was trained under.
        crops: covers as the encoder sees them, RGB bytes (n, crop_px, crop_px, 3).
        genre: one of `head.labels`; None: for each cover its own best.
        method: one of those that the network allows; None: the first of them.

    Raises:
        ValueError: no covers.
        MmgenreError: a genre that the encoder did not learn, or a method that is not for it.
    """
    if not len(crops):
        raise ValueError(f"crops {crops.shape}: give one cover or more")
    encoder.eval()
    column = None if genre is None else _column(head, genre)
    pixels = torch.from_numpy(crops)
    place = _place(encoder, pixels[:1])
    allowed = methods(encoder, head, place)
    if method is not None and method not in allowed:
        raise MmgenreError(
            f"{method}: not for {encoder.config.network} at {place.name} under this output layer; "
            f"choose from {', '.join(allowed)}"
        )
    used = method or allowed[0]
    parts = [
        _maps(encoder, head, part, place, used, column)
        for part in torch.split(pixels, COVERS_AT_ONCE)
    ]
    maps, genres, scores = (torch.cat(values) for values in zip(*parts, strict=True))
    _, rows, columns = maps.shape
    return HeatMaps(
        heat_of(maps, crops.shape[1]).numpy(),
        genres.numpy(),
        scores.double().numpy(),
        used,
        place.name,
        place.is_last,
        (rows, columns),
    )


@dataclass(frozen=True)
class Place:
    """Where in a network the maps are taken; `block` None: at all layers of attention."""

    name: str
    is_last: bool
    averaged: bool
    block: Block | None


def methods(encoder: ImageEncoder, head: TaskHead, place: Place) -> tuple[HeatMethod, ...]:
    """What a map at this place may be made by, the advised one first.

    CAM: the backbone averages this block's features, nothing but the output layer follows, and the
    score is that layer's output. Earlier than the last block Grad-CAM's average over positions
    would cancel out what differs from place to place.
    """
    if place.block is None:
        return ("gradient rollout", "attention rollout")
    if not place.is_last:
        return ("HiResCAM", "Grad-CAM")
    exact = place.averaged and isinstance(encoder.embedding, nn.Identity)
    if exact and isinstance(head.target, LogisticTarget):
        return ("CAM", "Grad-CAM", "HiResCAM")
    return ("Grad-CAM", "HiResCAM")


def _maps(
    encoder: ImageEncoder,
    head: TaskHead,
    pixels: Tensor,
    place: Place,
    method: HeatMethod,
    column: int | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Maps (batch, rows, columns), the genres they are for and their scores, (batch,)."""
    logistic, rows = isinstance(head.target, LogisticTarget), torch.arange(len(pixels))

    def named(output: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The genres, their scores, and what gradients are taken of."""
        scores = head.target.scores(output)  # (batch, n_labels)
        best = scores.argmax(dim=1) if column is None else torch.full_like(rows, column)
        return best, scores[rows, best].detach(), (output if logistic else scores)[rows, best]

    if place.block is None:
        layers = encoder.backbone.get_submodule(place.name)
        with torch.set_grad_enabled(method == "gradient rollout"), attending(layers) as seen:
            genres, scores, score = named(head.output(encoder(pixels)))
        weights = [layer.weights for layer in seen]
        if method == "attention rollout":
            maps = attention_rollout(weights)
        else:
            maps = gradient_rollout(weights, attention_gradients(score, seen))
        # Layer upon layer, every patch gets something of every other: a floor that names no place.
        return maps - maps.amin(dim=(1, 2), keepdim=True), genres, scores
    with torch.enable_grad(), _cut_at(encoder, [place.block]) as cut:
        genres, scores, score = named(head.output(encoder(pixels)))
    features = cut[place.name]
    if method == "CAM":
        maps = class_activation_maps(features, head.output.weight)[rows, genres].detach()
    else:
        maps = (gradient_maps if method == "Grad-CAM" else place_maps)(score, features)
    return maps, genres, scores


def _column(head: TaskHead, genre: str) -> int:
    if genre not in head.labels:
        raise MmgenreError(
            f"genre {genre!r}: the encoder did not learn it; known: {', '.join(head.labels)}"
        )
    return head.labels.index(genre)


def _place(encoder: ImageEncoder, pixels: Tensor) -> Place:
    """The last block that is fine enough; the finest where none is."""
    network = encoder.config.network
    if network not in BLOCKS:
        raise MmgenreError(
            f"{network}: no heat maps, since its blocks are not known; known: "
            f"{', '.join(BLOCKS)} (mmgenre/explain/blocks.py, BLOCKS)"
        )
    known = BLOCKS[network]
    if isinstance(known, Attention):
        return Place(known.layers, is_last=True, averaged=False, block=None)
    with torch.no_grad(), _cut_at(encoder, known.blocks) as seen:
        encoder(pixels)
    sides = {block: min(seen[block.name].shape[2:]) for block in known.blocks}
    fine = [block for block, side in sides.items() if side >= FINE_ENOUGH]
    chosen = fine[0] if fine else max(sides, key=lambda block: sides[block])
    return Place(chosen.name, chosen == known.blocks[0], known.averaged, chosen)


@contextmanager
def _cut_at(encoder: ImageEncoder, blocks: Sequence[Block]) -> Iterator[dict[str, Tensor]]:
    """Keeps features of some blocks, (batch, k, rows, columns), as leaves gradients end at."""
    seen: dict[str, Tensor] = {}

    def keep(block: Block, output: Tensor) -> Tensor:
        features = output.detach().relu() if block.rectified else output.detach()
        if block.channels_last:
            features = features.permute(0, 3, 1, 2)
        seen[block.name] = features.requires_grad_()
        # A copy goes on, since what follows may overwrite it in place, which no leaf allows. A hair
        # above 0 the ReLU that follows a rectified one has slope 1; at 0 gradients would be lost.
        copy = features + torch.finfo(features.dtype).tiny if block.rectified else features.clone()
        return copy.permute(0, 2, 3, 1) if block.channels_last else copy

    hooks = [
        encoder.backbone.get_submodule(block.name).register_forward_hook(
            lambda _module, _inputs, output, block=block: keep(block, output)
        )
        for block in blocks
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()
