"""Three small networks for covers, trained from scratch (METHOD sec. 9)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from itertools import pairwise

from torch import nn

GRID = 4  # positions per side after the convolutions, whatever the size of the cover


def _blocks(filters: Sequence[int], kernel: int, *, batch_norm: bool) -> dict[str, nn.Module]:
    """Convolutions, each with a ReLU and a 2x2 pool, averaged over 4 x 4 positions."""
    blocks: dict[str, nn.Module] = {}
    for k, (channels, n) in enumerate(pairwise((3, *filters)), start=1):
        convolution = nn.Conv2d(channels, n, kernel, padding=kernel // 2, bias=not batch_norm)
        norm = [nn.BatchNorm2d(n)] if batch_norm else []
        blocks[f"block{k}"] = nn.Sequential(convolution, *norm, nn.ReLU(), nn.MaxPool2d(2))
    blocks["grid"] = nn.Sequential(nn.AdaptiveAvgPool2d(GRID), nn.Flatten())
    return blocks


def plain_cnn(kernel: int) -> nn.Module:
    """Four convolutions of `kernel` x `kernel`; 2048 wide.

    Morrison et al. used kernels of 5 and of 10 and pools of 2x2 on covers of 256 px. The numbers
    of layers and filters are our choice.
    """
    return nn.Sequential(OrderedDict(_blocks((16, 32, 64, 128), kernel, batch_norm=False)))


cnn_5x5, cnn_10x10 = partial(plain_cnn, 5), partial(plain_cnn, 10)


def six_blocks() -> nn.Module:
    """Six 3x3 convolutions with batch norm, two dense layers; 2048 wide.

    The baseline of Li et al. has six convolution blocks with batch norm and three dense layers;
    the third is the output layer of the task. Filters and widths are our choice.
    """
    blocks = _blocks((32, 64, 128, 256, 256, 256), 3, batch_norm=True)
    first, second = nn.Linear(256 * GRID * GRID, 2048), nn.Linear(2048, 2048)
    blocks["dense"] = nn.Sequential(first, nn.ReLU(), second, nn.ReLU())
    return nn.Sequential(OrderedDict(blocks))
