"""The schema of what `mmgenre compare` shows of two runs or more."""

from __future__ import annotations

from typing import TypedDict

from mmgenre.measuring.results import RowDifference


class ComparedSide(TypedDict):
    """One run of a comparison."""

    name: str
    folder: str
    fusion: str
    row: str
    figures: dict[str, float]  # of the items that all runs have scored
    interval: tuple[float, float] | None  # 95 %, of the headline metric


class ComparedGenre(TypedDict):
    """A genre: F1 for exclusive labels, else ROC-AUC, by run; None: cannot be measured."""

    name: str
    support: int
    figures: dict[str, float | None]


class ComparedItem(TypedDict):
    """An item of which runs name other genres first: by run, the genre and its score."""

    id: str
    artist: str
    genres: list[str]
    first: dict[str, tuple[str, float]]


class Compared(TypedDict):
    """What `mmgenre compare` shows."""

    made_by: str
    on: str
    metric: str
    exclusive: bool
    n_items: int
    n_groups: int
    n_seeds: int
    sides: list[ComparedSide]
    differences: list[RowDifference]
    genres: list[ComparedGenre]
    items: list[ComparedItem]
