"""The genres of a task: names, a taxonomy above them, and labels as a boolean matrix."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmgenre.errors import LabelError

SEPARATOR = "/"  # `Jazz/Vocal Jazz` is Vocal Jazz, child of Jazz


def ancestors(label: str) -> tuple[str, ...]:
    """The label and everything above it, broadest first.

    >>> ancestors("Jazz/Vocal Jazz")
    ('Jazz', 'Jazz/Vocal Jazz')
    """
    parts = label.split(SEPARATOR)
    return tuple(SEPARATOR.join(parts[: depth + 1]) for depth in range(len(parts)))


def closure(labels: Iterable[str]) -> frozenset[str]:
    """The labels with all their ancestors: an item of `Jazz/Vocal Jazz` counts for both."""
    return frozenset(name for label in labels for name in ancestors(label))


@dataclass(frozen=True)
class LabelSpace:
    """The genres that a model tells apart.

    An exclusive space has one genre an item: the broadest genre of its first label. Otherwise an
    item has every label it names and all their ancestors.
    """

    names: tuple[str, ...]
    exclusive: bool

    @classmethod
    def of(cls, labels: Iterable[Sequence[str]], *, exclusive: bool) -> LabelSpace:
        """The space of all labels met, sorted by name.

        Raises:
            LabelError: an item has no label, or fewer than two genres are left.
        """
        rows = list(labels)
        unlabelled = sum(not row for row in rows)
        if unlabelled:
            raise LabelError(f"{unlabelled} of {len(rows)} items have no label")
        if exclusive:
            met = {ancestors(row[0])[0] for row in rows}
        else:
            met = {name for row in rows for name in closure(row)}
        if len(met) < 2:
            raise LabelError(f"a genre task needs two genres or more, got {sorted(met)}")
        return cls(tuple(sorted(met)), exclusive)

    def __len__(self) -> int:
        """The number of genres."""
        return len(self.names)

    @property
    def parents(self) -> tuple[str | None, ...]:
        """For each genre the next broader one, None at the top."""
        return tuple(
            name.rsplit(SEPARATOR, 1)[0] if SEPARATOR in name else None for name in self.names
        )

    def encode(self, labels: Sequence[Sequence[str]]) -> NDArray[np.bool_]:
        """Label lists -> (n, n_labels) bool, closed under the taxonomy.

        Raises:
            LabelError: an item has no label or one that is not in the space.
        """
        column = {name: j for j, name in enumerate(self.names)}
        y = np.zeros((len(labels), len(self.names)), dtype=bool)
        for i, row in enumerate(labels):
            if not row:
                raise LabelError(f"item {i} has no label")
            for name in ancestors(row[0])[:1] if self.exclusive else sorted(closure(row)):
                if name not in column:
                    raise LabelError(f"item {i}: unknown label {name!r}; known: {len(self)} genres")
                y[i, column[name]] = True
        return y
