"""Which weights of a training are kept: those of the least loss, or of the best metric.

The loss of a validation set is least long before its ranking of genres stops getting better, and
the metric of a few dozen items is noisy from one evaluation to the next. So the metric is smoothed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mmgenre.measuring.curves import Epoch

SMOOTHED = 3  # evaluations
# Outputs (rows, width) of a network for all validation examples -> metrics, the higher the better.
Metric = Callable[[NDArray[np.float32]], dict[str, float]]


def smoothed(values: Sequence[float]) -> list[float]:
    """The mean of each value and those before it, `SMOOTHED` at most.

    >>> smoothed([3, 5, 4, 9])
    [3.0, 4.0, 4.0, 6.0]
    """
    windows = [values[max(0, k + 1 - SMOOTHED) : k + 1] for k in range(len(values))]
    return [float(np.mean(window)) for window in windows]


def best_epoch(epochs: Sequence[Epoch], select: Literal["loss", "metric"]) -> int:
    """The epoch to keep, from 1: the first of the best; of equal metrics, that of least loss."""
    losses = [epoch["val_loss"] for epoch in epochs]
    values = [0.0] * len(epochs)
    if select == "metric":
        values = smoothed([float(np.mean(list(epoch["metrics"].values()))) for epoch in epochs])
    best = max(range(len(epochs)), key=lambda k: (values[k], -losses[k]))
    return epochs[best]["epoch"]
