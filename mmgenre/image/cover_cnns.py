"""Three small networks for covers, trained from scratch (METHOD sec. 9)."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

GRID = 4  # positions a side that the dense layers see, whatever the size of the cover


def plain_cnn(kernel: int) -> nn.Module:
    """Four convolutions of `kernel` x `kernel`, each with a ReLU and a 2x2 pool; 2048 wide.

    Morrison et al. took kernels of 5 and of 10 and pools of 2x2 on covers of 256 px. How many
    layers and filters they have here (16, 32, 64, 128, averaged over 4 x 4 positions) is ours.
    """
    blocks = OrderedDict[str, nn.Module]()
    channels = 3
    for k, filters in enumerate((16, 32, 64, 128), start=1):
        convolution = nn.Conv2d(channels, filters, kernel, padding=kernel // 2)
        blocks[f"block{k}"] = nn.Sequential(convolution, nn.ReLU(), nn.MaxPool2d(2))
        channels = filters
    blocks["grid"] = nn.Sequential(nn.AdaptiveAvgPool2d(GRID), nn.Flatten())
    return nn.Sequential(blocks)


def six_blocks() -> nn.Module:
    """Six 3x3 convolutions with batch norm and 2x2 pools, two dense layers; 2048 wide.

    The baseline of Li et al. has six convolution blocks with batch norm and three dense layers;
    the third is the output layer of the task. Filters and widths are ours.
    """
    blocks = OrderedDict[str, nn.Module]()
    channels = 3
    for k, filters in enumerate((32, 64, 128, 256, 256, 256), start=1):
        blocks[f"block{k}"] = nn.Sequential(
            nn.Conv2d(channels, filters, 3, padding=1, bias=False),
            nn.BatchNorm2d(filters),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        channels = filters
    blocks["grid"] = nn.Sequential(nn.AdaptiveAvgPool2d(GRID), nn.Flatten())
    blocks["dense"] = nn.Sequential(
        nn.Linear(channels * GRID * GRID, 2048), nn.ReLU(), nn.Linear(2048, 2048), nn.ReLU()
    )
    return nn.Sequential(blocks)
