"""The shape of metrics.json: everything that a report shows, as plain data."""

from __future__ import annotations

from typing import Any, TypedDict

RESULT = "metrics.json"

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


class TableRow(TypedDict):
    """A row of an experiment at one point of its axes; `failed` says why it has no figures.

    `per_seed` holds {metric: value}, None where a metric does not exist, in the order of the
    table's seeds that came through.
    """

    name: str
    inputs: list[str]
    scores: str  # by a fusion "head", or by the "encoder" itself
    changes: dict[str, Any]
    published: dict[str, float]
    per_seed: list[dict[str, float | None]]
    summary: dict[str, Spread]
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


def headline_metric(*, exclusive: bool) -> str:
    """The metric by which a task is judged: macro F1 of one genre, macro ROC-AUC of many."""
    return "macro_f1" if exclusive else "macro_roc_auc"
