"""Maps out of a block's features and a score: CAM, Grad-CAM and HiResCAM, and maps as heat."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


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
