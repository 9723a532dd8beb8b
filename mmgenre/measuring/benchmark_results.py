"""The schema of what `mmgenre benchmark` shows, beside peers."""

from __future__ import annotations

from typing import TypedDict

from mmgenre.measuring.results import PairedResult


class BenchmarkFigure(TypedDict):
    """A metric of a row beside its peer's, both means over the splits."""

    ours: float | None  # None: no label can be measured
    per_split: list[float | None]  # ours; means over the seeds of the heads
    peer: float | None  # None: no peer, or its figure is not known
    difference: float | None  # ours - peer
    paired: PairedResult | None  # None: the peer's scores are not known


class BenchmarkRow(TypedDict):
    """A row of the fusion tables of a folder's splits."""

    name: str  # "A+T", "A.statistics", ...
    inputs: list[str]
    peer: str | None  # name of the peer of these modalities
    figures: dict[str, BenchmarkFigure]  # by metric, the main one first


class BenchmarkFolder(TypedDict):
    """One folder of a benchmark: a dataset in several splits."""

    name: str
    folder: str
    runs: list[str]
    exclusive: bool
    n_items: list[int]  # measured items of each split
    rows: list[BenchmarkRow]
    notes: list[str]  # what a person should know of its runs
    refused: list[dict[str, str]]


class BenchmarkResult(TypedDict):
    """What `mmgenre benchmark` shows."""

    made_by: str
    recipe: str
    settings: list[str]
    on: str  # the split that the figures are of: "val" | "test"
    folders: list[BenchmarkFolder]
    failed: list[dict[str, str]]  # folder, error
