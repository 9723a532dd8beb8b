"""The audio networks' convolutions as matrix products: the same function, several times as fast.

Their kernels span most bins, or all that are left, which torch's convolutions are not made for on
a CPU. Four equalities are used; each holds for the gradients, too:

- max(x + bias), then ReLU, is ReLU(max(x) + bias): both then work on what the pool leaves.
- Frames and bins that the pool leaves over need not be computed: 24 of 27 bins for 4x70 kernels.
- Windows side by side overlap: 8 of 70 bins lie in one of 77, of which one product with the kernel
  at 8 shifts gives all 8 outputs.
- Frames of all patches lie one after the other in memory. From each of the first 4 on, they are a
  matrix with 4 frames a row, uncopied: 4 products give all outputs of a kernel of 4 frames. Those
  where two patches meet are in no pool.

Throughout, activations are (batch, frames, bins, channels).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mmgenre.audio.convolutions.pooling import Members, pool, unpool

CHUNK_BYTES = 2**23  # of the first layer's outputs before the pool: what a cache holds
SHIFTS = 8  # most outputs along the bins by one product


class Convolutions(nn.Sequential):
    """Convolutions, ReLUs, pools and dropouts over patches (batch, 1, frames, bins), and a flatten.

    The layers say what is computed and hold the weights. On a CPU, in float32, it is computed as
    matrix products wherever the kernels are as wide as this module's docstring says. Those have no
    gradient of their gradient; to ask for one is an error.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(batch, features)."""
        blocks = _blocks(self, x.shape[2], x.shape[3]) if _here(x) else None
        if blocks is None:
            return cast(Tensor, super().forward(x))  # type: ignore[no-untyped-call]
        frames = x.transpose(1, 3).transpose(1, 2)  # (batch, frames, bins, 1), not copied
        for block in blocks:
            frames = block.run(frames)
        return frames.permute(0, 3, 1, 2).flatten(1)


@dataclass(frozen=True)
class _Block:
    """A convolution, ReLU and what follows until the next convolution."""

    convolution: nn.Conv2d
    pool: tuple[int, int]
    after: tuple[nn.Module, ...]  # dropout

    def run(self, x: Tensor) -> Tensor:
        """(batch, frames, bins, channels) of one layer to those of the next."""
        weight, bias = self.convolution.weight, self.convolution.bias
        assert bias is not None  # torch gives one unless told otherwise
        if weight.shape[3] < x.shape[2]:  # the first layer, where the kernel moves along the bins
            x = _moving_kernel(x[..., 0], weight[:, 0], bias, self.pool)
        else:
            # (filters, taps x bins x channels)
            side_by_side = weight.permute(0, 2, 3, 1).flatten(1)
            rows = x.flatten(2).contiguous()
            x = _whole_kernel(rows, side_by_side, bias, weight.shape[2], self.pool[0])[:, :, None]
        for layer in self.after:
            x = layer(x)
        return x


def _here(x: Tensor) -> bool:
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and not x.requires_grad  # the first layer has no gradient for its input
        and len(x) > 0
        and x.shape[1] == 1  # else torch says what is wrong
        and not torch.is_autocast_enabled("cpu")
    )


def _blocks(layers: Iterable[nn.Module], frames: int, bins: int) -> list[_Block] | None:
    """The layers in blocks; None where a kernel is too narrow, or the patch too short, for them."""
    blocks: list[_Block] = []
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            blocks.append(_Block(layer, (1, 1), ()))
        elif isinstance(layer, nn.MaxPool2d):
            pool = cast(tuple[int, int], layer.kernel_size)
            blocks[-1] = _Block(blocks[-1].convolution, pool, ())
        elif isinstance(layer, nn.Dropout):
            block = blocks[-1]
            blocks[-1] = _Block(block.convolution, block.pool, (*block.after, layer))
    for k, block in enumerate(blocks):
        height, width = cast(tuple[int, int], block.convolution.kernel_size)
        wide_enough = 2 * width > bins if k == 0 else width == bins
        padded = block.convolution.padding == "same" and (height, width) != (1, 1)
        if padded or not wide_enough:
            return None
        frames, bins = (frames - height + 1) // block.pool[0], (bins - width + 1) // block.pool[1]
        if frames < 1 or bins < 1:
            return None  # torch says what is too small
    return blocks


@dataclass(frozen=True)
class _Windows:
    """How windows are cut for a kernel that moves along the bins: `shifts` outputs a product."""

    frames: int  # outputs that the pool takes in
    bins: int
    shifts: int
    kernel: tuple[int, int]

    @classmethod
    def of(cls, x: Tensor, kernel: tuple[int, int], pool: tuple[int, int]) -> _Windows:
        n_frames, n_bins = (
            (n - k + 1) // p * p for n, k, p in zip(x.shape[1:], kernel, pool, strict=True)
        )
        shifts = max(s for s in range(1, SHIFTS + 1) if n_bins % s == 0)
        return cls(n_frames, n_bins, shifts, kernel)

    @property
    def width(self) -> int:
        """Bins of one window."""
        return self.kernel[1] + self.shifts - 1

    def cut(self, x: Tensor) -> Tensor:
        """Patches (n, frames, bins) -> windows (n x frames x bins / shifts, frames x width)."""
        n, (height, _) = len(x), self.kernel
        patch, frame, bin_ = x.stride()
        shape = (n, self.frames, self.bins // self.shifts, height, self.width)
        strides = (patch, frame, self.shifts * bin_, frame, bin_)
        windows = x.as_strided(shape, strides, x.storage_offset())
        return windows.reshape(-1, height * self.width)

    def pools(self, n: int, size: tuple[int, int]) -> Members:
        """Which outputs of n patches each pool takes, (n x pools, size)."""
        return _pools(n, self.frames, self.bins, size)

    def shifted(self, weight: Tensor) -> Tensor:
        """A kernel (filters, height, width) at every shift, (height x width, shifts x filters)."""
        last = self.shifts - 1
        each = [functional.pad(weight, (j, last - j)) for j in range(self.shifts)]
        return torch.stack(each).flatten(2).flatten(0, 1).T

    def unshifted(self, gradient: Tensor) -> Tensor:
        """The gradient of `shifted` -> that of the kernel."""
        height, width = self.kernel
        each = gradient.T.reshape(self.shifts, -1, height, self.width)
        return torch.stack([each[j, :, :, j : j + width] for j in range(self.shifts)]).sum(dim=0)


@lru_cache(maxsize=64)
def _pools(n: int, frames: int, bins: int, size: tuple[int, int]) -> Members:
    rows = np.arange(n * frames * bins, dtype=np.int32)
    split = rows.reshape(n, frames // size[0], size[0], bins // size[1], size[1])
    return split.transpose(0, 1, 3, 2, 4).reshape(-1, size[0] * size[1])


class _MovingKernel(torch.autograd.Function):
    """Convolution along frames and bins, max pool, ReLU.

    x (batch, frames, bins), weight (filters, height, width), bias (filters,)
    -> (batch, frames, bins, filters).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, size: tuple[int, int]) -> Tensor:
        windows = _Windows.of(x, (weight.shape[1], weight.shape[2]), size)
        filters, shifted = len(weight), windows.shifted(weight).contiguous()
        pooled, places = [], []
        for part in torch.split(x, _patches_at_once(windows, filters)):
            rows = (windows.cut(part) @ shifted).view(-1, filters)
            highest, place = pool(rows, windows.pools(len(part), size), bias)
            pooled.append(highest)
            places.append(place)
        ctx.windows, ctx.size = windows, size
        ctx.save_for_backward(x, torch.cat(places))
        shape = (len(x), windows.frames // size[0], windows.bins // size[1], filters)
        return torch.cat(pooled).view(shape)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor, Tensor, None]:
        (x, places), windows = ctx.saved_tensors, cast(_Windows, ctx.windows)
        filters, at_once = places.shape[1], _patches_at_once(windows, places.shape[1])
        n_pooled = len(places) // len(x)
        dweight, dbias = torch.zeros(()), torch.zeros(())
        for part, place, gradient in zip(
            torch.split(x, at_once),
            torch.split(places, at_once * n_pooled),
            torch.split(gradients[0].reshape(-1, filters), at_once * n_pooled),
            strict=True,
        ):
            members = windows.pools(len(part), ctx.size)
            full, of_bias = unpool(gradient, place, members, members.size)
            product = windows.cut(part).T @ full.view(-1, windows.shifts * filters)
            dweight, dbias = dweight + product, dbias + of_bias
        return None, windows.unshifted(dweight), dbias, None


def _patches_at_once(windows: _Windows, filters: int) -> int:
    return max(1, CHUNK_BYTES // (4 * windows.frames * windows.bins * filters))


class _WholeKernel(torch.autograd.Function):
    """Convolution along the frames, max pool, ReLU.

    x (batch, frames, channels), weight (filters, taps x channels), bias (filters,)
    -> (batch, frames, filters).

    With the frames of all patches counted through, the output of frame t is row t // taps of
    product t % taps.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, taps: int, size: int) -> Tensor:
        rows = x.flatten(0, 1)
        out = x.new_empty(taps, -(-len(rows) // taps), len(weight))
        for shift, windows in enumerate(_windows(rows, taps)):
            torch.mm(windows, weight.T, out=out[shift, : len(windows)])
        members = _runs_of(*x.shape[:2], taps, size)
        pooled, places = pool(out.flatten(0, 1), members, bias)
        ctx.taps, ctx.members = taps, members
        ctx.save_for_backward(x, weight, places)
        return pooled.view(len(x), -1, len(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None, None]:
        x, weight, places = ctx.saved_tensors
        rows, filters = x.flatten(0, 1), len(weight)
        n_rows = -(-len(rows) // ctx.taps) * ctx.taps
        full, dbias = unpool(gradients[0].reshape(-1, filters), places, ctx.members, n_rows)
        full = full.view(ctx.taps, -1, filters)
        dweight = torch.zeros_like(weight)
        for windows, gradient in zip(_windows(rows, ctx.taps), full, strict=True):
            dweight.addmm_(gradient[: len(windows)].T, windows)
        if not ctx.needs_input_grad[0]:
            return None, dweight, dbias, None, None
        dx = torch.zeros_like(rows)
        for windows, gradient in zip(_windows(dx, ctx.taps), full, strict=True):
            windows.addmm_(gradient[: len(windows)], weight)
        return dx.view_as(x), dweight, dbias, None, None


def _windows(rows: Tensor, taps: int) -> list[Tensor]:
    """Rows (n, channels) -> from each of the first `taps` on, (windows, taps x channels)."""
    counts = [(len(rows) - shift) // taps for shift in range(taps)]
    width = taps * rows.shape[1]
    return [rows[k : k + taps * n].view(n, width) for k, n in enumerate(counts)]


@lru_cache(maxsize=64)
def _runs_of(n: int, frames: int, taps: int, size: int) -> Members:
    """Pools along the frames of n patches, in rows that stand in the order of `_WholeKernel`."""
    n_pools, n_rows = (frames - taps + 1) // size, -(-n * frames // taps)
    first = np.arange(n)[:, None] * frames + np.arange(n_pools) * size
    frame = first.reshape(-1, 1) + np.arange(size)
    return (frame % taps * n_rows + frame // taps).astype(np.int32)


_moving_kernel = cast(
    Callable[[Tensor, Tensor, Tensor, tuple[int, int]], Tensor], _MovingKernel.apply
)
_whole_kernel = cast(Callable[[Tensor, Tensor, Tensor, int, int], Tensor], _WholeKernel.apply)
