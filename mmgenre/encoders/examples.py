"""Rows of an input store as examples of the genre task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from mmgenre.training import Batch


class Source(Protocol):
    """Rows of an input store as an encoder wants them."""

    def views(
        self, ids: Sequence[str], rng: np.random.Generator | None
    ) -> NDArray[Any]:  # (n, n_views, ...)
        """With `rng` one random view of each row for training, without it the evaluation views."""
        ...


class InputExamples:
    """Views of input rows with the targets of the items they belong to."""

    def __init__(self, source: Source, ids: Sequence[str], targets: NDArray[np.float32]) -> None:
        self.source, self.ids, self.targets = source, ids, targets

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.ids)

    def batch(self, rows: NDArray[np.intp], rng: np.random.Generator | None) -> Batch:
        """{"x": (views, ...), "target": (views, dim)}; each view is an example of its own."""
        views = self.source.views([self.ids[i] for i in rows], rng)
        targets = np.repeat(self.targets[rows], views.shape[1], axis=0)
        x = views.reshape(-1, *views.shape[2:])
        return {"x": torch.from_numpy(x), "target": torch.from_numpy(targets)}
