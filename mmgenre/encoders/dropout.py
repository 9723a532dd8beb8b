"""Dropout whose random numbers cost little on a CPU."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn

LEVELS = 2**16  # random numbers are 16 bits wide
POOL = 2**24  # bytes of a pool of masks
REDRAWN_AFTER = 32  # masks out of a pool before another is drawn


class Dropout(nn.Dropout):
    """Zeroes each number with probability p and divides the others by 1 - p.

    torch draws its mask one number after the other, which takes longer than a layer of a small
    network. Here four numbers of 16 bits come out of each draw, so p is a multiple of 1 / 65 536:
    the published 0.5 exactly, 0.7 as 0.700 000. Off the CPU torch's own is as good and is used.

    `pooled`: a mask is a stretch, from a random place, of a pool of yes and no, which is drawn anew
    after 32 masks and at the begin of every epoch. Each mask by itself has the law above; masks of
    one pool are not independent, as they share stretches, which lie over other numbers in each. A
    mask larger than half of the pool is drawn for itself.
    """

    def __init__(self, p: float, *, pooled: bool = False) -> None:
        super().__init__(p)
        self.pooled, self.uses = pooled, 0
        self.pool: Tensor | None = None

    def train(self, mode: bool = True) -> Self:
        """Begins an epoch with a new pool, so that it does not depend on those before it."""
        self.pool = None
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        below = round(self.p * LEVELS)
        if not self.training or not below:
            return x
        if x.device.type != "cpu" or below == LEVELS:
            return super().forward(x)
        n, scale = x.numel(), LEVELS / (LEVELS - below)
        kept = self._from_pool(n, below) if self.pooled and 2 * n <= POOL else _drawn(n, below)
        return (x * kept.view(x.shape)).mul_(scale)

    def _from_pool(self, n: int, below: int) -> Tensor:
        if self.pool is None or self.uses == REDRAWN_AFTER:
            self.pool, self.uses = _drawn(POOL, below), 0
        self.uses += 1
        start = int(torch.randint(POOL - n + 1, ()))
        return self.pool[start : start + n]


def _drawn(n: int, below: int) -> Tensor:
    """Bools (n,), True with probability 1 - below / LEVELS."""
    # From the lowest number on: without it the top bit would never be set.
    numbers = torch.empty((n + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    return numbers.view(torch.int16)[:n] >= below - LEVELS // 2
