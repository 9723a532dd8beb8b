"""Dropout whose random numbers cost next to nothing on a CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mmgenre.learning.compiling import compiled

Key = tuple[int, int]  # 32 bits each


class Dropout(nn.Dropout):
    """Zeroes each number with probability p and divides the others by 1 - p.

    torch draws its mask one number after the other, which takes longer than a layer of a small
    network. Here it is a function of the number's place and of a key that torch draws: Philox
    4x32-10 (Salmon et al. 2011, "Parallel Random Numbers: As Easy as 1, 2, 3"). Places do not wait
    for each other, and no mask is kept for the gradient. p is met to 2^-32. Off the CPU, and in
    half precision, torch's own is used.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        ours = x.device.type == "cpu" and x.dtype == torch.float32 and 0 < self.p < 1
        if not self.training or not ours:
            return super().forward(x)
        first, second = torch.randint(2**32, (2,)).tolist()
        return _dropped(x, self.p, (first, second))


class _Dropped(torch.autograd.Function):
    """x and its gradient pass through the same mask."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float, key: Key) -> Tensor:
        ctx.p, ctx.key = p, key
        return _masked(x, p, key)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return _dropped(gradients[0], ctx.p, ctx.key), None, None  # which has a gradient, too


_dropped = cast(Callable[[Tensor, float, Key], Tensor], _Dropped.apply)


def _masked(x: Tensor, p: float, key: Key) -> Tensor:
    """Each number times zero or 1 / (1 - p): NaN and Inf show wherever they are."""
    x = x.detach().contiguous()
    out = torch.empty_like(x)
    below = min(round(p * 2**32), 2**32 - 1)
    _mask(x.view(-1).numpy(), *key, below, np.float32(1 / (1 - p)), out.view(-1).numpy())
    return out


@compiled
def _mask(
    x: NDArray[np.float32],
    key0: int,
    key1: int,
    below: int,
    scale: np.float32,
    out: NDArray[np.float32],
) -> None:
    # The four numbers of a draw go to four stretches, so that each is written side by side.
    n, limit, zero = (len(x) + 3) // 4, np.uint64(below), np.float32(0)
    x0, x1, x2, x3 = x[:n], x[n : 2 * n], x[2 * n : 3 * n], x[3 * n :]
    out0, out1, out2, out3 = out[:n], out[n : 2 * n], out[2 * n : 3 * n], out[3 * n :]
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    for i in range(n):
        # Philox 4x32-10 of the counter (i, 0, 0, 0).
        a, b, c, d = np.uint64(i), np.uint64(0), np.uint64(0), np.uint64(0)
        k, m = np.uint64(key0), np.uint64(key1)
        for _ in range(10):
            p, q = np.uint64(0xD2511F53) * a, np.uint64(0xCD9E8D57) * c
            a, b, c, d = (q >> half) ^ b ^ k, q & low, (p >> half) ^ d ^ m, p & low
            k, m = (k + np.uint64(0x9E3779B9)) & low, (m + np.uint64(0xBB67AE85)) & low
        out0[i] = x0[i] * (scale if a >= limit else zero)
        if i < len(out1):
            out1[i] = x1[i] * (scale if b >= limit else zero)
        if i < len(out2):
            out2[i] = x2[i] * (scale if c >= limit else zero)
        if i < len(out3):
            out3[i] = x3[i] * (scale if d >= limit else zero)
