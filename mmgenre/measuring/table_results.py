"""The schema of table.json, an experiment's table, and of its plan."""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict

from mmgenre.measuring.results import RowDifference, Spread

TABLE_RESULT = "table.json"


class SeedReport(TypedDict):
    """The classification report of a row at one seed. Shares are rounded to 6 decimals.

    `per_label`: for every label its support (number of test items), precision, recall, f1, and for
    overlapping labels roc_auc and pr_auc (average precision); None if undefined. `averages`: the
    same figures under "macro", "weighted" (by support) and, for overlapping labels, "micro".
    """

    seed: int
    n_items: int
    threshold: float | None  # overlapping labels: the least score of a predicted label
    accuracy: float | None  # exclusive labels
    per_label: dict[str, dict[str, float | None]]
    averages: dict[str, dict[str, float | None]]
    confusion_matrix: list[list[int]] | None  # exclusive labels: counts (true, predicted)


class TableRow(TypedDict):
    """A row of an experiment at one point of its axes."""

    name: str
    inputs: list[str]
    scores: str  # from a fusion "head", or from the "encoder" itself
    changes: dict[str, Any]
    published: dict[str, float]
    per_seed: list[dict[str, float | None]]  # of the table's seeds that did not fail, in order
    summary: dict[str, Spread]
    intervals: dict[str, tuple[float, float]]  # 95 %, over artists, of the headline metric
    reports: list[SeedReport]  # of those of these seeds that had test items
    failed: list[str]  # error messages of the other seeds


class StepCount(TypedDict):
    """The steps of one stage."""

    stage: str
    distinct: int  # number of steps
    uses: int  # by cells
    made: int  # in this run
    seconds: float


class TableResult(TypedDict):
    """table.json of an experiment."""

    name: str
    title: str
    note: str
    made_by: str
    dataset: str
    synthetic: bool
    overlay: str | None
    settings: list[str]
    metrics: list[str]
    items: str  # "complete" | "all"
    threshold: float | None  # for overlapping labels; None: each row has its own
    seeds: list[int]
    n_items: list[int]  # measured test items, by seed
    n_labels: list[int]
    left_out: list[list[str]]  # labels that are missing from some average, by seed
    rows: list[TableRow]
    differences: list[RowDifference]  # of the headline metric, between all rows
    steps: list[StepCount]
    notes: NotRequired[list[str]]  # what a person should know; not of earlier versions
    refused: list[dict[str, str]]


class PlannedStep(TypedDict):
    """A step of an experiment."""

    stage: str
    what: str
    fingerprint: str
    path: str
    needs: list[str]
    cells: list[str]
    seeds: list[int]  # of these cells
    done: bool
    took_s: float | None  # if it was made here
    estimate_s: float | None  # if it is not done and such a step was timed here


class PlanResult(TypedDict):
    """What `mmgenre plan` shows."""

    name: str
    title: str
    dataset: str
    n_cells: int
    steps: list[PlannedStep]
    n_timed: int  # steps timed here; estimates are their medians
