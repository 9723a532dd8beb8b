"""Scaling of an input's vectors before a linear head; fitted on training items.

The paper divides vectors by their length. That suits vectors that a network made, once their mean
is taken away: vectors after a ReLU all point the same way, and their length says much. It ruins
vectors whose columns have unlike units, such as seconds beside ratios. So the scaling is chosen
among a few, by cross-validation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mmgenre.fusion.table import lengths
from mmgenre.learning.descriptors import orthogonal_directions

Vectors = NDArray[np.float32]
Columns = Literal["as they are", "centred", "standard", "robust", "ranks"]
N_QUANTILES = 100
CLIP = 5.0  # deviations: what lies beyond must not outweigh all else
KERNEL_DIM = 2048
LEAST = 1e-6  # deviation of a column, by its mean: below, it is constant but for rounding


@dataclass(frozen=True)
class Scaling:
    """Columns scaled one by one, then perhaps a kernel's features, then perhaps length 1.

    `columns`: "robust" by median and quartiles; "ranks" to the normal distribution. `kernel`:
    random features of an RBF kernel, so that a linear head is a kernel machine.
    """

    columns: Columns
    kernel: bool = False
    unit: bool = False

    @property
    def name(self) -> str:
        """For reports and logs: "standard, kernel"."""
        parts = [self.columns, "kernel" * self.kernel, "length 1" * self.unit]
        return ", ".join(part for part in parts if part)


AS_THEY_ARE = Scaling("as they are")
# Vectors that an encoder made are of one kind in all columns; those of others may be anything.
LEARNED = (Scaling("centred"), Scaling("centred", unit=True))
GIVEN = (
    Scaling("standard"),
    Scaling("robust"),
    Scaling("ranks"),
    Scaling("centred", unit=True),
)
# A second expert on given vectors; on rows of many columns a kernel adds nothing.
KERNELS = (Scaling("standard", kernel=True), Scaling("ranks", kernel=True))


class FittedScaling:
    """A scaling with what it learned; `arrays` are its state, which `load` takes."""

    def __init__(self, scaling: Scaling, arrays: Mapping[str, Vectors]) -> None:
        self.scaling, self.arrays = scaling, dict(arrays)
        self.directions: Vectors | None = None
        if scaling.kernel:  # a column counts as much as another
            n = len(arrays["shift"])
            directions = orthogonal_directions(n, KERNEL_DIM // 2) / np.sqrt(n)
            self.directions = directions.astype(np.float32)

    @classmethod
    def fit(cls, scaling: Scaling, x: Vectors) -> FittedScaling:
        """Learns from training rows (n, width)."""
        wide, n = x.astype(np.float64), x.shape[1]
        shift, divide = np.zeros(n), np.ones(n)
        arrays: dict[str, Vectors] = {}
        if scaling.columns != "as they are":
            shift = wide.mean(axis=0)
        if scaling.columns in ("standard", "robust"):
            divide = wide.std(axis=0)
        if scaling.columns == "robust":
            low, shift, high = np.quantile(wide, (0.25, 0.5, 0.75), axis=0)
            spread = (high - low) / 1.349  # of a normal distribution: its deviation
            # Where most rows have one value.
            divide = np.where(spread > LEAST * np.abs(shift), spread, divide)
        if scaling.columns == "ranks":
            shares = (np.arange(N_QUANTILES) + 0.5) / N_QUANTILES
            arrays["quantiles"] = np.quantile(wide, shares, axis=0).astype(np.float32)
        # A constant column carries no information; dividing by 1 keeps it at 0.
        divide = np.where(divide > LEAST * np.abs(shift), divide, 1.0)
        arrays |= {"shift": shift.astype(np.float32), "divide": divide.astype(np.float32)}
        return cls(scaling, arrays)

    def __call__(self, x: Vectors) -> Vectors:
        """Scaled rows (n, width); with a kernel, of `KERNEL_DIM` columns."""
        kind = self.scaling.columns
        if kind == "ranks":
            z = self._ranks(x)
        else:
            z = (x - self.arrays["shift"]) / self.arrays["divide"]
        if kind in ("standard", "robust"):
            z = np.clip(z, -CLIP, CLIP)
        if self.directions is not None:
            angles = z @ self.directions
            z = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
        if self.scaling.unit:
            z = np.asarray(z / lengths(z)[:, None], np.float32)
        elif "scale" in self.arrays:
            z = z * self.arrays["scale"]
        return np.asarray(z, np.float32)

    def of_length_1(self, x: Vectors) -> FittedScaling:
        """The scaling that also makes the scaled rows of x as long as 1 on average."""
        z = self(x)
        length = float(np.sqrt(np.mean(np.square(z, dtype=np.float64).sum(axis=1)))) or 1.0
        arrays = self.arrays | {"scale": np.array(1 / length, np.float32)}
        return FittedScaling(self.scaling, arrays)

    def _ranks(self, x: Vectors) -> Vectors:
        """Each column's share of training rows below, as a normal deviate; ties share a middle."""
        from scipy.special import ndtri  # takes its time to import

        quantiles = self.arrays["quantiles"]
        z = np.empty_like(x)
        for column in range(x.shape[1]):
            known = quantiles[:, column]
            low = np.searchsorted(known, x[:, column], side="left")
            high = np.searchsorted(known, x[:, column], side="right")
            z[:, column] = ndtri(((low + high) / 2 + 0.5) / (N_QUANTILES + 1))
        return z
