"""The shapes of metrics.json and table.json: everything that a report shows, as plain data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np

RESULT, TABLE_RESULT = "metrics.json", "table.json"
WIDTH = 100  # of a line of JSON that holds more than a list or mapping of plain values

# As metrics.evaluate returns them: macro_f1, macro_roc_auc, per_label, confusion_matrix, ...
Metrics = dict[str, Any]


class Spread(TypedDict):
    """A metric over seeds. Deviation is the sample deviation (n - 1); 0 for one seed."""

    mean: float
    std: float


class Epoch(TypedDict):
    """One line of a learning curve: mean losses over the epoch."""

    epoch: int
    train_loss: float
    val_loss: float


class Curve(TypedDict):
    """A training: its epochs, and the one whose weights were kept."""

    epochs: list[Epoch]
    best_epoch: int


class Result(TypedDict):
    """One row of a fusion table on one set of test items.

    `per_seed` holds full metrics, in the order of the fusion's seeds; `summary` the mean and
    deviation of every scalar; `intervals` 95 % bootstrap intervals over items, first seed.
    """

    n_items: int
    n_without_input: int  # items that have none of the row's inputs, predicted all the same
    per_seed: list[Metrics]
    summary: dict[str, Spread]
    intervals: dict[str, tuple[float, float]]


class Row(TypedDict):
    """A head over one set of inputs.

    `all` is measured on all test items, `complete` on those that have every modality of the whole
    table, so that within a column all rows see the same items; None if there is none.
    """

    name: str  # "A", "A+T", "A+T+I", "joint.A", ...
    inputs: list[str]  # ["audio", "text"]
    all: Result
    complete: Result | None
    curve: Curve  # first seed


class FusionResult(TypedDict):
    """One fusion: a task, a head, and a row for every set of inputs."""

    name: str
    head: str  # "logistic" | "cosine"
    exclusive: bool
    labels: list[str]
    seeds: list[int]
    rows: list[Row]
    joint: Curve | None


class EncoderResult(TypedDict):
    """One encoder's training."""

    network: str
    n_parameters: int
    embedding_dim: int
    curve: Curve


class DatasetResult(TypedDict):
    """What went in. `modalities` counts items that have each, per split."""

    name: str
    synthetic: bool
    n_items: int
    splits: dict[str, int]
    modalities: dict[str, dict[str, int]]
    label_counts: dict[str, int]
    refused: list[dict[str, str]]  # id, modality, code, detail


class RunResult(TypedDict):
    """metrics.json of a run."""

    run: str
    made_by: str
    recipe: dict[str, Any]
    dataset: DatasetResult
    encoders: dict[str, EncoderResult]
    fusions: list[FusionResult]


class SeedReport(TypedDict):
    """The classification report of a row at one seed. Shares are rounded to 6 decimals.

    `per_label` has every label: its support (test items that have it), precision, recall, f1, and
    for overlapping labels roc_auc and pr_auc (average precision); None where a figure does not
    exist. `averages` has the same figures under "macro", "weighted" (by support) and, for
    overlapping labels, "micro". `confusion_matrix` counts (true, predicted) items, both in the
    order of `per_label`.
    """

    seed: int
    n_items: int
    threshold: float | None  # overlapping labels: the score from which a label counts as named
    accuracy: float | None  # exclusive labels
    per_label: dict[str, dict[str, float | None]]
    averages: dict[str, dict[str, float | None]]
    confusion_matrix: list[list[int]] | None  # exclusive labels


class TableRow(TypedDict):
    """A row of an experiment at one point of its axes; `failed` says why it has no figures.

    `per_seed` holds {metric: value}, None where a metric does not exist, in the order of the
    table's seeds that came through; `reports` those of them that had an item to measure.
    """

    name: str
    inputs: list[str]
    scores: str  # by a fusion "head", or by the "encoder" itself
    changes: dict[str, Any]
    published: dict[str, float]
    per_seed: list[dict[str, float | None]]
    summary: dict[str, Spread]
    reports: list[SeedReport]
    failed: list[str]


class StepCount(TypedDict):
    """The steps of one stage: how many there are, how many cells use them, what was made now."""

    stage: str
    distinct: int
    uses: int
    made: int
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
    threshold: float | None  # of all rows with overlapping labels; None: each row's own
    seeds: list[int]
    n_items: list[int]  # measured test items, by seed
    n_labels: list[int]
    left_out: list[list[str]]  # labels that some average leaves out, by seed
    rows: list[TableRow]
    steps: list[StepCount]
    refused: list[dict[str, str]]


class PlannedStep(TypedDict):
    """A step of an experiment: `took_s` if it was made here, `estimate_s` if it is not done."""

    stage: str
    what: str
    fingerprint: str
    path: str
    needs: list[str]
    cells: list[str]
    done: bool
    took_s: float | None
    estimate_s: float | None


class PlanResult(TypedDict):
    """What `mmgenre plan` shows. `corrected_by`: timed steps that the estimates rest on."""

    name: str
    title: str
    dataset: str
    n_cells: int
    steps: list[PlannedStep]
    corrected_by: int


def spread(values: Sequence[float]) -> Spread:
    """Mean and sample deviation of one value or more; of one value the deviation is 0.

    >>> spread([0.25, 0.75])
    {'mean': 0.5, 'std': 0.3535533905932738}
    """
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return {"mean": float(np.mean(values)), "std": deviation}


def as_json(content: object, indent: int = 0) -> str:
    """JSON that a person can read: what fits a line is one, and so is what holds plain values.

    >>> print(as_json({"matrix": [[1, 0], [0, 2]], "note": "a" * 75}))
    {
     "matrix": [[1, 0], [0, 2]],
     "note": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
    }
    """
    line = json.dumps(content, ensure_ascii=False, allow_nan=False)
    if not isinstance(content, dict | list) or len(line) <= WIDTH - indent:
        return line
    if isinstance(content, dict):
        keys = [f"{json.dumps(key, ensure_ascii=False)}: " for key in content]
        values = list(content.values())
    else:
        keys, values = [""] * len(content), content
    if not any(isinstance(value, dict | list) for value in values):
        return line
    inner = [f"{key}{as_json(v, indent + 1)}" for key, v in zip(keys, values, strict=True)]
    pad, (start, end) = "\n" + " " * indent, "{}" if isinstance(content, dict) else "[]"
    return f"{start}{pad} " + f",{pad} ".join(inner) + f"{pad}{end}"


def headline_metric(*, exclusive: bool) -> str:
    """The metric by which a task is judged: macro F1 of one genre, macro ROC-AUC of many."""
    return "macro_f1" if exclusive else "macro_roc_auc"
