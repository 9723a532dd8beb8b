"""Made-up music: each seed's is like no other's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RATE_HZ = 22_050


def tune(seed: int, seconds: float = 20) -> NDArray[np.float32]:
    """Plucked notes at random, mono."""
    rng = np.random.default_rng(seed)
    t = np.arange(RATE_HZ) / RATE_HZ
    sound = np.zeros(round(seconds * RATE_HZ) + RATE_HZ)
    for start in rng.integers(0, round(seconds * RATE_HZ), round(6 * seconds)):
        frequency = 110 * 2 ** (rng.integers(0, 36) / 12)
        sound[start : start + RATE_HZ] += np.sin(2 * np.pi * frequency * t) * np.exp(-t / 0.2)
    return (0.1 * sound[:-RATE_HZ]).astype(np.float32)
