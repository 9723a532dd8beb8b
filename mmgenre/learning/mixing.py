"""Mixup: examples between examples. Zhang et al. 2018, ICLR."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def mixed(
    x: Tensor, target: Tensor, alpha: float, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Inputs and targets (batch, ...), each row mixed with another one of the batch.

    x = lambda x_i + (1 - lambda) x_j with lambda ~ Beta(alpha, alpha), drawn for each row; the
    targets likewise. Bytes become floats.
    """
    share = torch.from_numpy(rng.beta(alpha, alpha, len(x)).astype(np.float32))
    other = torch.from_numpy(rng.permutation(len(x)))

    def mix(rows: Tensor) -> Tensor:
        weights = share.view(-1, *(1,) * (rows.ndim - 1))
        return torch.lerp(rows[other].float(), rows.float(), weights)

    return mix(x), mix(target)
