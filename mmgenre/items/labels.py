"""The genres of a task: names, a taxonomy above them, and labels as a boolean matrix."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from itertools import accumulate, chain

import numpy as np
from numpy.typing import NDArray

from mmgenre.errors import LabelError

SEPARATOR = "/"  # `Jazz/Vocal Jazz` is Vocal Jazz, child of Jazz
LEVELS = re.compile(r"(?<!/)/(?!/)")  # two slashes are one that belongs to the name: `R&B//Soul`


def levels(label: str) -> list[str]:
    """The names on the way to a label, broadest first; a slash in a name is written twice.

    >>> levels("Jazz/Vocal Jazz"), levels("R&B//Soul")
    (['Jazz', 'Vocal Jazz'], ['R&B//Soul'])
    """
    return LEVELS.split(label)


def path_faults(label: str) -> list[str]:
    """What is wrong with a label as a path; nothing with most."""
    parts = levels(label)
    if "///" not in label and all(part and part == part.strip(" /") for part in parts):
        return []
    return [
        f"{label!r} has an empty part or spaces around '/'; a path reads Jazz/Vocal Jazz, "
        "a name with a slash R&B//Soul"
    ]


def ancestors(label: str) -> tuple[str, ...]:
    """The label and everything above it, broadest first.

    >>> ancestors("Jazz/Vocal Jazz")
    ('Jazz', 'Jazz/Vocal Jazz')
    """
    return tuple(accumulate(levels(label), lambda a, b: f"{a}{SEPARATOR}{b}"))


def closure(labels: Iterable[str]) -> frozenset[str]:
    """The labels with all their ancestors: an item of `Jazz/Vocal Jazz` counts for both."""
    return frozenset(name for label in labels for name in ancestors(label))


@dataclass(frozen=True)
class LabelSpace:
    """The genres that a model tells apart, sorted by name.

    In an exclusive space an item has one genre: the broadest genre of its first label. Otherwise
    it has all of its labels and all their ancestors.
    """

    names: tuple[str, ...]
    exclusive: bool

    @classmethod
    def of(cls, labels: Iterable[Sequence[str]], *, exclusive: bool) -> LabelSpace:
        """All labels that occur; LabelError: an item has none, or fewer than two genres remain."""
        counts = Counter(map(tuple, labels))  # a million items have few distinct rows
        if counts[()]:
            raise LabelError(f"{counts[()]} of {counts.total()} items have no label")
        met = {ancestors(row[0])[0] for row in counts} if exclusive else closure(chain(*counts))
        if len(met) < 2:
            raise LabelError(
                f"a genre task needs two genres or more to learn from, got {sorted(met)}"
            )
        return cls(tuple(sorted(met)), exclusive)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def parents(self) -> tuple[str | None, ...]:
        """For each genre the next broader one, None at the top."""
        return tuple((None, *ancestors(name))[-2] for name in self.names)

    def encode(
        self, labels: Sequence[Sequence[str]], *, outside: Set[str] = frozenset()
    ) -> NDArray[np.bool_]:
        """(n, n_labels) bool, closed under the taxonomy; LabelError: one is missing or unknown.

        Unknown genres that are in `outside` are left out.
        """
        column = {name: j for j, name in enumerate(self.names)}
        distinct: dict[tuple[str, ...], int] = {}  # in the order of their first items
        index = [distinct.setdefault(tuple(row), len(distinct)) for row in labels]
        y = np.zeros((len(distinct), len(self.names)), dtype=bool)
        for row, k in distinct.items():
            if not row:
                raise LabelError(f"item {index.index(k)} has no label")
            for name in ancestors(row[0])[:1] if self.exclusive else sorted(closure(row)):
                if name in column:
                    y[k, column[name]] = True
                elif name not in outside:
                    raise LabelError(
                        f"item {index.index(k)}: unknown label {name!r}; known: {len(self)} genres"
                    )
        return y[index]
