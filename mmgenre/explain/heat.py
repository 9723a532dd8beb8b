"""Where a cover speaks for a genre: CAM, Grad-CAM and HiResCAM, whichever its network allows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from mmgenre.encoders.image import ImageEncoder
from mmgenre.encoders.network import TaskHead
from mmgenre.errors import MmgenreError
from mmgenre.targets import LogisticTarget

HeatMethod = Literal["CAM", "Grad-CAM", "HiResCAM"]

# Blocks of each network, the one that is averaged over all positions first, then those before it.
_RESIDUAL = ("layer4", "layer3", "layer2", "layer1")
BLOCKS: Mapping[str, Sequence[str]] = {
    "resnet-18": _RESIDUAL,
    "resnet-50": _RESIDUAL,
    "resnet-101": _RESIDUAL,
}
# Positions a side. A 64-px cover has 2 x 2 in the last block of a residual network, and the heat of
# a genre planted in a corner lay there no more often than by chance (27 %; 8 x 8: 60 to 70 %).
FINE_ENOUGH = 6


@dataclass(frozen=True)
class HeatMaps:
    """Heat over covers for one genre each.

    Attributes:
        heat: (n, crop_px, crop_px) in [0, 1], its highest value 1; all 0 where nothing speaks for
            the genre.
        genres: columns of the labels, (n,): for whom the heat is.
        scores: what the image encoder gives these genres, (n,).
        method: CAM where the output is linear in the averaged features of the last block, else
            Grad-CAM; HiResCAM at an earlier block.
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


def class_activation_maps(features: Tensor, weights: Tensor) -> Tensor:
    """M_c(x, y) = sum over k of w_k(c) f_k(x, y), (batch, n_labels, rows, columns).

    Zhou et al. 2016, eq. 2. The mean of M_c is the label's output without its bias.

    Args:
        features: f, the last block's output, (batch, k, rows, columns).
        weights: w, of the linear layer behind the average, (n_labels, k).
    """
    return torch.einsum("bkyx,ck->bcyx", features, weights)


def gradient_maps(score: Tensor, features: Tensor) -> Tensor:
    """Grad-CAM: sum over k of alpha_k f_k(x, y), (batch, rows, columns); negative parts are kept.

    alpha_k is the mean over all positions of d score / d f_k(x, y). Selvaraju et al. 2017, eq. 1
    and 2. Where CAM is exact this is CAM divided by the number of positions.

    Args:
        score: of one label for each cover, (batch,), a function of `features`.
        features: (batch, k, rows, columns).
    """
    (gradient,) = torch.autograd.grad(score.sum(), features)
    alpha = gradient.mean(dim=(2, 3))
    return torch.einsum("bkyx,bk->byx", features.detach(), alpha)


def place_maps(score: Tensor, features: Tensor) -> Tensor:
    """HiResCAM: sum over k of f_k(x, y) d score / d f_k(x, y), (batch, rows, columns).

    Draelos and Carin 2020. At an early block the same feature counts for a genre here and against
    it there, which Grad-CAM's average over positions would cancel out. At the last block of a
    network where CAM is exact, the three agree.
    """
    (gradient,) = torch.autograd.grad(score.sum(), features)
    return (gradient * features.detach()).sum(dim=1)


def heat_of(maps: Tensor, side: int) -> Tensor:
    """Maps (batch, rows, columns) -> heat (batch, side, side): enlarged, cut at 0, highest is 1."""
    large = functional.interpolate(
        maps[:, None], size=(side, side), mode="bilinear", align_corners=False
    )[:, 0].clamp(min=0)
    highest = large.amax(dim=(1, 2), keepdim=True)
    return torch.where(highest > 0, large / highest.clamp(min=torch.finfo(large.dtype).tiny), 0.0)


def cover_heat(encoder: ImageEncoder, head: TaskHead, crops: NDArray[np.uint8]) -> HeatMaps:
    """Heat for the genre that the image encoder names first, by its own output layer.

    The map is taken at the last block, as published, or, where that is too coarse, at the last one
    that is fine enough. Gradients are those of the label's logit, or of its cosine where the target
    is COSINE.

    Args:
        encoder: the trained encoder.
        head: the output layer it was trained under.
        crops: covers as the encoder sees them, RGB bytes (n, crop_px, crop_px, 3).

    Raises:
        MmgenreError: a network whose last block is not known here.
    """
    encoder.eval()
    pixels = torch.from_numpy(crops)
    block = _finest_last(encoder, pixels[:1])
    is_last = block == BLOCKS[encoder.config.network][0]
    logistic = isinstance(head.target, LogisticTarget)
    exact = is_last and logistic and isinstance(encoder.embedding, nn.Identity)
    with torch.enable_grad(), _cut_at(encoder, [block]) as seen:
        output = head.output(encoder(pixels))
    features = seen[block]
    scores = head.target.scores(output)  # (n, n_labels)
    best = scores.argmax(dim=1)
    rows = torch.arange(len(best))
    if exact:
        maps = class_activation_maps(features, head.output.weight)[rows, best]
    else:
        score = (output if logistic else scores)[rows, best]
        maps = gradient_maps(score, features) if is_last else place_maps(score, features)
    return HeatMaps(
        heat_of(maps, crops.shape[1]).detach().numpy(),
        best.numpy(),
        scores[rows, best].detach().double().numpy(),
        "CAM" if exact else "Grad-CAM" if is_last else "HiResCAM",
        block,
        is_last,
        cast(tuple[int, int], tuple(features.shape[2:])),
    )


def _finest_last(encoder: ImageEncoder, pixels: Tensor) -> str:
    """The last block that is fine enough; the finest where none is."""
    network = encoder.config.network
    if network not in BLOCKS:
        raise MmgenreError(
            f"{network}: no heat maps, since its blocks are not known; known: "
            f"{', '.join(BLOCKS)} (mmgenre/explain/heat.py, BLOCKS)"
        )
    with torch.no_grad(), _cut_at(encoder, BLOCKS[network]) as seen:
        encoder(pixels)
    sides = {name: min(seen[name].shape[2:]) for name in BLOCKS[network]}
    fine = [name for name, side in sides.items() if side >= FINE_ENOUGH]
    return fine[0] if fine else max(sides, key=lambda name: sides[name])


@contextmanager
def _cut_at(encoder: ImageEncoder, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Keeps the outputs of some blocks, each as a leaf that gradients reach and end at."""
    seen: dict[str, Tensor] = {}

    def keep(name: str, output: Tensor) -> Tensor:
        seen[name] = output.detach().requires_grad_()
        return seen[name]

    hooks = [
        encoder.backbone.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, output, name=name: keep(name, output)
        )
        for name in names
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()
