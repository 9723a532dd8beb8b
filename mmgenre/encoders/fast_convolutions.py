"""The audio networks' convolutions as matrix products: the same function, several times as fast.

Their kernels span most bins, or all that are left, which torch's convolutions are not made for on
a CPU. Four equalities are used; each holds for the gradients, too:

- max(x + bias), then ReLU, is ReLU(max(x) + bias): both then work on what the pool leaves.
- Frames and bins that the pool leaves over need not be computed: 24 of 27 bins for 4x70 kernels.
- Windows side by side overlap: 8 of 70 bins lie in one of 77, of which one product with the kernel
  at 8 shifts gives all 8 outputs.
- Frames of all patches lie one after the other in memory, so that a kernel of 4 frames over them is
  the sum of 4 products of shifted, uncopied matrices; the rows where two patches meet are dropped.

Throughout, activations are (batch, frames, bins, channels).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

CHUNK_BYTES = 2**23  # of the first layer's outputs before the pool: what a cache holds
SHIFTS = 8  # most outputs along the bins by one product


class Convolutions(nn.Sequential):
    """Convolutions, ReLUs, pools and dropouts over patches (batch, 1, frames, bins), and a flatten.

    The layers say what is computed and hold the weights. On a CPU, in float32, it is computed as
    matrix products wherever the kernels are as wide as this module's docstring says.
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
            pooled = _moving_kernel(x[..., 0], weight[:, 0], self.pool)
        else:
            n_frames = (x.shape[1] - weight.shape[2] + 1) // self.pool[0]
            taps = weight.permute(2, 3, 1, 0).flatten(1, 2)  # (frames, bins x channels, filters)
            out = _whole_kernel(x.flatten(2).contiguous(), taps)[:, :, None]
            # Frames that mean nothing stand last, and fall into pools that are dropped.
            pooled = (_max_pool(out, self.pool) if self.pool != (1, 1) else out)[:, :n_frames]
        x = functional.relu(pooled + bias)
        for layer in self.after:
            x = layer(x)
        return x


def _here(x: Tensor) -> bool:
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and not x.requires_grad  # the first layer has no gradient for its input
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


def _max_pool(x: Tensor, pool: tuple[int, int]) -> Tensor:
    return functional.max_pool2d(x.permute(0, 3, 1, 2), pool).permute(0, 2, 3, 1)


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


class _MovingKernel(torch.autograd.Function):
    """Convolution without bias, along frames and bins, and max pool.

    x (batch, frames, bins), weight (filters, height, width) -> (batch, frames, bins, filters).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, pool: tuple[int, int]) -> Tensor:
        windows = _Windows.of(x, (weight.shape[1], weight.shape[2]), pool)
        filters, shifted = len(weight), windows.shifted(weight).contiguous()
        pooled, places = [], []
        for part in torch.split(x, _patches_at_once(windows, filters)):
            out = (windows.cut(part) @ shifted).view(-1, windows.frames, windows.bins, filters)
            highest, place = functional.max_pool2d(
                out.permute(0, 3, 1, 2), pool, return_indices=True
            )
            pooled.append(highest.permute(0, 2, 3, 1))
            places.append(place.permute(0, 2, 3, 1))
        ctx.windows = windows
        ctx.save_for_backward(x, torch.cat(places))
        return torch.cat(pooled)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor, None]:
        (x, places), windows = ctx.saved_tensors, cast(_Windows, ctx.windows)
        filters, at_once = places.shape[3], _patches_at_once(windows, places.shape[3])
        total: Tensor | None = None
        for part, place, gradient in zip(
            *(torch.split(t, at_once) for t in (x, places, gradients[0])), strict=True
        ):
            # The pool hands its gradient to the highest of its outputs, and nothing to the others.
            full = gradient.new_zeros(len(part), windows.frames * windows.bins, filters)
            full.scatter_(1, place.flatten(1, 2), gradient.flatten(1, 2))
            product = windows.cut(part).T @ full.view(-1, windows.shifts * filters)
            total = product if total is None else total.add_(product)
        assert total is not None
        return None, windows.unshifted(total), None


def _patches_at_once(windows: _Windows, filters: int) -> int:
    return max(1, CHUNK_BYTES // (4 * windows.frames * windows.bins * filters))


class _WholeKernel(torch.autograd.Function):
    """Convolution along the frames without bias: y[t] = sum over k of x[t + k] W[k].

    x (batch, frames, channels), W (taps, channels, filters) -> (batch, frames, filters), of which
    the last taps - 1 frames of each patch reach into the next patch and mean nothing.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, taps: Tensor) -> Tensor:
        ctx.save_for_backward(x, taps)
        rows = x.flatten(0, 1)
        out = x.new_empty(len(rows), taps.shape[2])
        n = len(rows) - len(taps) + 1
        out[n:] = 0
        torch.mm(rows[:n], taps[0], out=out[:n])
        for k in range(1, len(taps)):
            out[:n].addmm_(rows[k : k + n], taps[k])
        return out.view(len(x), -1, taps.shape[2])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor]:
        x, taps = ctx.saved_tensors
        rows, gradient = x.flatten(0, 1), gradients[0].flatten(0, 1).contiguous()
        n = len(rows) - len(taps) + 1
        dtaps = torch.empty_like(taps)
        for k in range(len(taps)):
            torch.mm(rows[k : k + n].T, gradient[:n], out=dtaps[k])
        if not ctx.needs_input_grad[0]:
            return None, dtaps
        dx = torch.zeros_like(rows)
        for k, tap in enumerate(taps):
            dx[k : k + n].addmm_(gradient[:n], tap.T)
        return dx.view_as(x), dtaps


_moving_kernel = cast(Callable[[Tensor, Tensor, tuple[int, int]], Tensor], _MovingKernel.apply)
_whole_kernel = cast(Callable[[Tensor, Tensor], Tensor], _WholeKernel.apply)
