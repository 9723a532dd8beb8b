"""The audio networks of Oramas 2018, layer by layer (METHOD sec. 2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Square = Literal["low-3x3", "high-3x3", "low-3x3-as-counted", "high-3x3-as-counted"]
AudioNetwork = Literal["single-label", Square, "low-4x96", "high-4x96", "low-4x70", "high-4x70"]
Pair = tuple[int, int]  # frames x bins
NO_POOL: Pair = (1, 1)


@dataclass(frozen=True)
class ConvolutionLayers:
    """Per convolution its kernel, its pool and its number of filters."""

    kernels: tuple[Pair, ...]
    pools: tuple[Pair, ...]
    filters: tuple[int, ...]
    padded: frozenset[int] = frozenset()  # those, from 0, whose output is as large as their input

    @property
    def least_frames(self) -> int:
        """The shortest patch from which the last pool still has an output."""
        frames = 1
        for i in reversed(range(len(self.kernels))):
            lost = 0 if i in self.padded else self.kernels[i][0] - 1
            frames = frames * self.pools[i][0] + lost
        return frames

    def positions(self, frames: int, bins: int) -> int:
        """How many positions (frames x bins) the last layer has for a patch."""
        for i, (kernel, pool) in enumerate(zip(self.kernels, self.pools, strict=True)):
            if i not in self.padded:
                frames, bins = frames - kernel[0] + 1, bins - kernel[1] + 1
            frames, bins = frames // pool[0], bins // pool[1]
        return frames * bins


LOW, HIGH = (64, 128, 128, 64), (256, 512, 1024, 1024)
K_4X96, P_4X96 = ((4, 96), (4, 1), (4, 1), (1, 1)), ((4, 1), (4, 1), (4, 1), NO_POOL)
K_4X70, P_4X70 = ((4, 70), (4, 6), (4, 1), (1, 1)), ((4, 4), (4, 1), (4, 1), NO_POOL)
K_3X3, P_3X3 = ((3, 3), (3, 3), (3, 3), (1, 1)), ((4, 2), (4, 2), (4, 1), (4, 5))
K_3X3_AS_COUNTED = ((3, 3), (3, 3), (3, 3), (3, 3))

NETWORKS: dict[AudioNetwork, ConvolutionLayers] = {
    # Oramas 2018, sec. 6.2
    "single-label": ConvolutionLayers(
        kernels=((4, 96), (4, 1), (4, 1)), pools=((4, 1), (4, 1), (2, 1)), filters=(64, 128, 256)
    ),
    # Oramas 2018, table 5; with 250 logistic outputs 195 706, 4 795 386, 352 890 and 7 390 202
    # parameters, as published (.2M, 5M, .35M, 7.5M).
    "low-4x96": ConvolutionLayers(K_4X96, P_4X96, LOW),
    "high-4x96": ConvolutionLayers(K_4X96, P_4X96, HIGH),
    "low-4x70": ConvolutionLayers(K_4X70, P_4X70, LOW),
    "high-4x70": ConvolutionLayers(K_4X70, P_4X70, HIGH),
    # As printed there: 294 586 and 7 976 186 parameters, where .5M and 16.5M are published.
    "low-3x3": ConvolutionLayers(K_3X3, P_3X3, LOW),
    "high-3x3": ConvolutionLayers(K_3X3, P_3X3, HIGH),
    # With a fourth layer of 3x3, padded: 360 122 and 16 364 794. This is the published count of
    # HIGH; that of LOW is nearer to its .5M, but not equal.
    "low-3x3-as-counted": ConvolutionLayers(K_3X3_AS_COUNTED, P_3X3, LOW, padded=frozenset({3})),
    "high-3x3-as-counted": ConvolutionLayers(K_3X3_AS_COUNTED, P_3X3, HIGH, padded=frozenset({3})),
}
