"""The audio networks of Oramas 2018, layer by layer (METHOD sec. 2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

AudioNetwork = Literal[
    "timbre",
    "single-label",
    "low-3x3",
    "high-3x3",
    "low-3x3-as-counted",
    "high-3x3-as-counted",
    "low-4x96",
    "high-4x96",
    "low-4x70",
    "high-4x70",
]
Kernel = tuple[int, int]  # frames x bins


@dataclass(frozen=True)
class Layers:
    """Per convolution its kernel, its pool (None: none) and its number of filters.

    `padded`: the convolutions, counted from 0, whose output has the frames and bins of its input.
    """

    kernels: tuple[Kernel, ...]
    pools: tuple[Kernel | None, ...]
    filters: tuple[int, ...]
    padded: frozenset[int] = frozenset()

    @property
    def least_frames(self) -> int:
        """The shortest patch of which the last pool still gives something."""
        frames = 1
        for i in reversed(range(len(self.kernels))):
            pool, lost = self.pools[i], 0 if i in self.padded else self.kernels[i][0] - 1
            frames = frames * (pool[0] if pool else 1) + lost
        return frames


LOW, HIGH = (64, 128, 128, 64), (256, 512, 1024, 1024)
K_4X96: tuple[Kernel, ...] = ((4, 96), (4, 1), (4, 1), (1, 1))
K_4X70: tuple[Kernel, ...] = ((4, 70), (4, 6), (4, 1), (1, 1))
K_3X3: tuple[Kernel, ...] = ((3, 3), (3, 3), (3, 3), (1, 1))
K_3X3_AS_COUNTED: tuple[Kernel, ...] = ((3, 3), (3, 3), (3, 3), (3, 3))
P_4X96: tuple[Kernel | None, ...] = ((4, 1), (4, 1), (4, 1), None)
P_4X70: tuple[Kernel | None, ...] = ((4, 4), (4, 1), (4, 1), None)
P_3X3: tuple[Kernel | None, ...] = ((4, 2), (4, 2), (4, 1), (4, 5))

# The convolutional ones; "timbre" stands in `mmgenre.audio.timbre_encoder`.
NETWORKS: dict[AudioNetwork, Layers] = {
    # Oramas 2018, sec. 6.2
    "single-label": Layers(((4, 96), (4, 1), (4, 1)), ((4, 1), (4, 1), (2, 1)), (64, 128, 256)),
    # Oramas 2018, table 5; with 250 logistic outputs 195 706, 4 795 386, 352 890 and 7 390 202
    # parameters, as published (.2M, 5M, .35M, 7.5M).
    "low-4x96": Layers(K_4X96, P_4X96, LOW),
    "high-4x96": Layers(K_4X96, P_4X96, HIGH),
    "low-4x70": Layers(K_4X70, P_4X70, LOW),
    "high-4x70": Layers(K_4X70, P_4X70, HIGH),
    # As printed there: 294 586 and 7 976 186 parameters, where .5M and 16.5M are published.
    "low-3x3": Layers(K_3X3, P_3X3, LOW),
    "high-3x3": Layers(K_3X3, P_3X3, HIGH),
    # The fourth layer 3x3 and padded: 360 122 and 16 364 794. That is HIGH's published count; LOW's
    # comes nearer to its .5M but does not meet it.
    "low-3x3-as-counted": Layers(K_3X3_AS_COUNTED, P_3X3, LOW, padded=frozenset({3})),
    "high-3x3-as-counted": Layers(K_3X3_AS_COUNTED, P_3X3, HIGH, padded=frozenset({3})),
}
