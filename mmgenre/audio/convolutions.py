"""The audio networks' convolutions as matrix products: the same function, several times as fast.

Their kernels span most bins, or all that are left, for which torch's convolutions are slow on a
CPU. Four equalities are used; each holds for the gradients, too:

- max(x + bias), then ReLU, equals ReLU(max(x) + bias): bias and ReLU only see what the pool leaves.
- Frames and bins that no pool takes in need not be computed: with 4x70 kernels, 3 of 27 bins.
- Neighbouring windows overlap: 8 windows of 70 bins lie in 77 bins, and one product of these with
  the kernel at 8 shifts gives all 8 outputs.
- The frames of all patches are consecutive in memory. Starting at each of the first 4, they form a
  matrix with 4 frames per row, without a copy: 4 products give all outputs of a kernel of 4 frames.
  The outputs across two patches are in no pool.

Activations are (batch, frames, bins, channels). `Members`, (pools, size), lists the rows of a
matrix (rows, filters) in each pool, so that the order of the rows does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from mmgenre.audio.jit import Floats, jit

Members = NDArray[np.int32]
Places = NDArray[np.uint8]
Pair = tuple[int, int]  # along the frames, along the bins

CHUNK_BYTES = 2**23  # of the first layer's outputs before the pool: they fit the cache
MAX_SHIFTS = 8  # outputs along the bins per product
MAX_POOL_ROWS = 255  # of a uint8


class FastConvolutions(nn.Sequential):
    """Convolutions, ReLUs, pools and dropouts of patches (batch, 1, frames, bins), flattened.

    The layers define what is computed and hold the weights. On a CPU, in float32, matrix products
    replace them if the kernels are wide enough. These have no second derivative; asking for it is
    an error.
    """

    def forward(self, x: Tensor) -> Tensor:
        steps = _as_products(self, x.shape[2], x.shape[3]) if _is_supported(x) else None
        if steps is None:
            return cast(Tensor, super().forward(x))  # type: ignore[no-untyped-call]
        frames = x.transpose(1, 3).transpose(1, 2)  # (batch, frames, bins, 1), not copied
        for step in steps:
            frames = step.run(frames)
        return frames.permute(0, 3, 1, 2).flatten(1)


@dataclass(frozen=True)
class _Step:
    """A convolution, ReLU, a pool and the dropouts before the next convolution."""

    convolution: nn.Conv2d
    pool: Pair = (1, 1)
    dropouts: tuple[nn.Dropout, ...] = ()

    def run(self, x: Tensor) -> Tensor:
        """Activations -> those of the next layer."""
        weight, bias = self.convolution.weight, self.convolution.bias
        assert bias is not None  # torch's default
        if weight.shape[3] < x.shape[2]:  # the first layer, where the kernel moves along the bins
            x = _moving_kernel(x[..., 0], weight[:, 0], bias, self.pool)
        else:
            matrix = weight.permute(0, 2, 3, 1).flatten(1)  # (filters, taps x bins x channels)
            rows = x.flatten(2).contiguous()
            x = _whole_kernel(rows, matrix, bias, weight.shape[2], self.pool[0])[:, :, None]
        for dropout in self.dropouts:
            x = dropout(x)
        return x


def _is_supported(x: Tensor) -> bool:
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and not x.requires_grad  # the products of the first layer give its input no gradient
        # Compilers and exporters know the layers, not the products.
        and not (torch.compiler.is_compiling() or torch.compiler.is_exporting())
        and len(x) > 0
        and x.shape[1] == 1  # torch has an error for any other number of channels
        and not torch.is_autocast_enabled("cpu")
    )


def _as_products(layers: Iterable[nn.Module], frames: int, bins: int) -> list[_Step] | None:
    """The layers, grouped; None if a kernel is too narrow or the patch too short for products."""
    steps: list[_Step] = []
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            steps.append(_Step(layer))
        elif isinstance(layer, nn.MaxPool2d):
            steps[-1] = replace(steps[-1], pool=cast(Pair, layer.kernel_size))
        elif isinstance(layer, nn.Dropout):
            steps[-1] = replace(steps[-1], dropouts=(*steps[-1].dropouts, layer))
    for k, step in enumerate(steps):
        height, width = cast(Pair, step.convolution.kernel_size)
        wide_enough = 2 * width > bins if k == 0 else width == bins
        padded = step.convolution.padding == "same" and (height, width) != (1, 1)
        if padded or not wide_enough:
            return None
        frames, bins = (frames - height + 1) // step.pool[0], (bins - width + 1) // step.pool[1]
        if frames < 1 or bins < 1:
            return None  # torch has an error that says what is too small
    return steps


@dataclass(frozen=True)
class _WindowLayout:
    """How windows are cut for a kernel that moves along the bins."""

    kernel: Pair
    pool: Pair
    outputs: Pair  # that the pools take in
    shifts: int  # outputs along the bins per product
    width: int  # bins of one window
    at_once: int  # patches whose outputs fit `CHUNK_BYTES`

    @classmethod
    def of(cls, x: Tensor, weight: Tensor, pool: Pair) -> _WindowLayout:
        filters, height, width = weight.shape
        frames = (x.shape[1] - height + 1) // pool[0] * pool[0]
        bins = (x.shape[2] - width + 1) // pool[1] * pool[1]
        shifts = max(s for s in range(1, MAX_SHIFTS + 1) if bins % s == 0)
        at_once = max(1, CHUNK_BYTES // (4 * frames * bins * filters))
        return cls((height, width), pool, (frames, bins), shifts, width + shifts - 1, at_once)

    def cut(self, x: Tensor) -> Tensor:
        """Patches (n, frames, bins) -> windows (n x frames x bins / shifts, height x width)."""
        (frames, bins), height = self.outputs, self.kernel[0]
        patch, frame, bin_ = x.stride()
        shape = (len(x), frames, bins // self.shifts, height, self.width)
        strides = (patch, frame, self.shifts * bin_, frame, bin_)
        windows = x.as_strided(shape, strides, x.storage_offset())
        return windows.reshape(-1, height * self.width)

    def shifted(self, weight: Tensor) -> Tensor:
        """A kernel (filters, height, width) at every shift, (height x width, shifts x filters)."""
        each = [functional.pad(weight, (j, self.shifts - 1 - j)) for j in range(self.shifts)]
        return torch.stack(each).flatten(2).flatten(0, 1).T

    def unshifted(self, gradient: Tensor) -> Tensor:
        """The gradient of `shifted` -> that of the kernel."""
        height, width = self.kernel
        each = gradient.T.reshape(self.shifts, -1, height, self.width)
        return torch.stack([each[j, :, :, j : j + width] for j in range(self.shifts)]).sum(dim=0)


@lru_cache(maxsize=64)
def _pools_in_grid(n: int, layout: _WindowLayout) -> Members:
    """Which outputs of n patches each pool takes in."""
    (frames, bins), (height, width) = layout.outputs, layout.pool
    rows = np.arange(n * frames * bins, dtype=np.int32)
    split = rows.reshape(n, frames // height, height, bins // width, width)
    return split.transpose(0, 1, 3, 2, 4).reshape(-1, height * width)


class _MovingKernel(torch.autograd.Function):
    """Convolution along frames and bins, max pool, ReLU: -> (batch, frames, bins, filters).

    x (batch, frames, bins), weight (filters, height, width), bias (filters,).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, size: Pair) -> Tensor:
        layout, filters = _WindowLayout.of(x, weight, size), len(weight)
        shifted = layout.shifted(weight).contiguous()
        pooled, places = [], []
        for part in torch.split(x, layout.at_once):
            rows = (layout.cut(part) @ shifted).view(-1, filters)
            highest, place = pool(rows, _pools_in_grid(len(part), layout), bias)
            pooled.append(highest)
            places.append(place)
        ctx.layout = layout
        ctx.save_for_backward(x, torch.cat(places))
        frames, bins = layout.outputs
        return torch.cat(pooled).view(len(x), frames // size[0], bins // size[1], filters)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor, Tensor, None]:
        (x, places), layout = ctx.saved_tensors, cast(_WindowLayout, ctx.layout)
        filters, n_pooled = places.shape[1], len(places) // len(x)
        given = gradients[0].reshape(-1, filters)
        pooled = [torch.split(rows, layout.at_once * n_pooled) for rows in (places, given)]
        dweight, dbias = torch.zeros(()), torch.zeros(())
        for part, place, gradient in zip(torch.split(x, layout.at_once), *pooled, strict=True):
            members = _pools_in_grid(len(part), layout)
            full, of_bias = unpool(gradient, place, members, members.size)
            product = layout.cut(part).T @ full.view(-1, layout.shifts * filters)
            dweight, dbias = dweight + product, dbias + of_bias
        return None, layout.unshifted(dweight), dbias, None


class _WholeKernel(torch.autograd.Function):
    """Convolution along the frames, max pool, ReLU: -> (batch, frames, filters).

    x (batch, frames, channels), weight (filters, taps x channels), bias (filters,). With the frames
    of all patches numbered consecutively, the output of frame t is row t // taps of product
    t % taps.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, taps: int, size: int) -> Tensor:
        rows = x.flatten(0, 1)
        out = x.new_empty(taps, -(-len(rows) // taps), len(weight))
        for shift, windows in enumerate(_frame_windows(rows, taps)):
            torch.mm(windows, weight.T, out=out[shift, : len(windows)])
        members = _pools_along_frames(*x.shape[:2], taps, size)
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
        for windows, gradient in zip(_frame_windows(rows, ctx.taps), full, strict=True):
            dweight.addmm_(gradient[: len(windows)].T, windows)
        if not ctx.needs_input_grad[0]:
            return None, dweight, dbias, None, None
        dx = torch.zeros_like(rows)
        for windows, gradient in zip(_frame_windows(dx, ctx.taps), full, strict=True):
            windows.addmm_(gradient[: len(windows)], weight)
        return dx.view_as(x), dweight, dbias, None, None


_moving_kernel = cast(Callable[[Tensor, Tensor, Tensor, Pair], Tensor], _MovingKernel.apply)
_whole_kernel = cast(Callable[[Tensor, Tensor, Tensor, int, int], Tensor], _WholeKernel.apply)


def _frame_windows(rows: Tensor, taps: int) -> list[Tensor]:
    """Rows (n, channels) -> starting at each of the first `taps`, (windows, taps x channels)."""
    counts = [(len(rows) - shift) // taps for shift in range(taps)]
    width = taps * rows.shape[1]
    return [rows[k : k + taps * n].view(n, width) for k, n in enumerate(counts)]


@lru_cache(maxsize=64)
def _pools_along_frames(n: int, frames: int, taps: int, size: int) -> Members:
    """Pools along the frames of n patches, as rows in the order of `_WholeKernel`."""
    n_pools, n_rows = (frames - taps + 1) // size, -(-n * frames // taps)
    first = np.arange(n)[:, None] * frames + np.arange(n_pools) * size
    frame = first.reshape(-1, 1) + np.arange(size)
    return (frame % taps * n_rows + frame // taps).astype(np.int32)


def pool(rows: Tensor, members: Members, bias: Tensor) -> tuple[Tensor, Tensor]:
    """ReLU(max of a pool's rows + bias), (pools, filters), in one pass; and where it comes from.

    That is the position in the pool of the first maximum, or of the last NaN, as uint8; the size of
    the pool where ReLU gave 0. ValueError: a pool has more rows than a uint8 can count.
    """
    if members.shape[1] > MAX_POOL_ROWS:
        raise ValueError(f"pools of {members.shape[1]} rows; at most {MAX_POOL_ROWS} are supported")
    pooled = rows.new_empty(len(members), rows.shape[1])
    places = rows.new_empty(pooled.shape, dtype=torch.uint8)
    _pool(members, *(t.detach().numpy() for t in (rows, bias, pooled, places)))
    return pooled, places


def unpool(gradient: Tensor, places: Tensor, members: Members, n: int) -> tuple[Tensor, Tensor]:
    """The gradient of `pool` -> those of its n rows and its bias: only the maximum gets one."""
    make = gradient.new_empty if members.size == n else gradient.new_zeros
    full, bias = make((n, gradient.shape[1])), gradient.new_zeros(gradient.shape[1])
    _unpool(members, *(t.numpy() for t in (gradient.contiguous(), places, full, bias)))
    return full, bias


# The inner loops run along the filters, which are contiguous, so that they are vectorised.


@jit
def _pool(members: Members, rows: Floats, bias: Floats, pooled: Floats, places: Places) -> None:
    n, size = members.shape
    for i in range(n):
        highest, place, first = pooled[i], places[i], rows[members[i, 0]]
        for j in range(len(bias)):
            highest[j] = first[j]
            place[j] = 0
        for k in range(1, size):
            row = rows[members[i, k]]
            for j in range(len(bias)):
                higher = row[j] > highest[j] or row[j] != row[j]  # NaN stays
                highest[j] = row[j] if higher else highest[j]
                place[j] = k if higher else place[j]
        for j in range(len(bias)):
            value = highest[j] + bias[j]
            highest[j] = np.float32(0) if value <= 0 else value
            place[j] = size if value <= 0 else place[j]


@jit
def _unpool(members: Members, gradient: Floats, places: Places, full: Floats, bias: Floats) -> None:
    n, size = members.shape
    for i in range(n):
        given, place = gradient[i], places[i]
        for k in range(size):
            row = full[members[i, k]]
            for j in range(len(bias)):
                row[j] = given[j] if place[j] == k else np.float32(0)
        for j in range(len(bias)):
            bias[j] += given[j] if place[j] < size else np.float32(0)
