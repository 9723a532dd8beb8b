"""Rows of an input store as examples of the genre task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmgenre.learning.training import Batch


class Source(Protocol):
    """Rows of an input store as an encoder wants them."""

    def views(
        self, ids: Sequence[str], rng: np.random.Generator | None
    ) -> NDArray[Any]:  # (n, n_views, ...)
        """With `rng` one random view of each row for training, without it the evaluation views."""
        ...


@runtime_checkable
class SparseSource(Protocol):
    """A source whose rows are mostly zeros; every view of a row is the same."""

    def sparse_views(self, ids: Sequence[str]) -> Tensor:  # (n, width)
        """A sparse tensor."""
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
        if isinstance(self.source, SparseSource):
            x = self.source.sparse_views([self.ids[i] for i in rows])
            return {"x": x, "target": torch.from_numpy(self.targets[rows])}
        views = self.source.views([self.ids[i] for i in rows], rng)
        targets = np.repeat(self.targets[rows], views.shape[1], axis=0)
        flat = views.reshape(-1, *views.shape[2:])
        return {"x": torch.from_numpy(flat), "target": torch.from_numpy(targets)}
