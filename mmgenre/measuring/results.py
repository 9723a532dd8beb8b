"""The schema of metrics.json and table.json: all that a report shows, as plain data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

import numpy as np

from mmgenre.items.modalities import JOINT

RESULT, TABLE_RESULT = "metrics.json", "table.json"
JSON_WIDTH = 100  # characters per line; a list or mapping of plain values may be longer
Metrics = dict[str, Any]  # of metrics.evaluate: macro_f1, per_label, confusion_matrix, ...


class Spread(TypedDict):
    """Mean and sample standard deviation (n - 1) of a metric over seeds; 0 for one seed."""

    mean: float
    std: float


class Epoch(TypedDict):
    """A point of a learning curve: mean losses of an epoch, or of a round of steps.

    `step`: optimiser steps until then, where the budget is counted in these. `metrics`: of the
    validation items, by their names in metrics.json, where they decide which weights are kept.
    """

    epoch: int
    train_loss: float
    val_loss: float
    step: NotRequired[int]
    metrics: NotRequired[dict[str, float]]


LOWER_IS_BETTER = ("hamming_loss",)
CONCATENATED = " concatenated"  # ends the name of a row that stands beside what was chosen
ZERO_SHOT = " zero-shot"  # ends the name of a row of a frozen model that compares with words


class Choice(TypedDict):
    """How the inputs of a row of solved heads are joined.

    `experts`: heads on inputs by key, which is the input's name, with a further one after "/", or
    names of inputs joined by "&". `quality`, and that of each way or smaller set of inputs in
    `compared`, is on items that the experts have not seen.
    """

    way: str
    weights: dict[str, float]
    experts: dict[str, dict[str, Any]]
    quality: float
    compared: dict[str, float]


class Curve(TypedDict):
    """A learning curve, and the epoch whose weights were kept.

    `n_train`, `n_val`: numbers of rows; `n_parameters`: of weights that were trained.
    `chance_auc`: the ROC-AUC that random scores exceed in one of 40 cases on as few validation
    rows.
    """

    epochs: list[Epoch]
    best_epoch: int
    n_train: NotRequired[int]
    n_val: NotRequired[int]
    n_parameters: NotRequired[int | None]
    chance_auc: NotRequired[float | None]


class Bucket(TypedDict):
    """A third of the labels, by how many training items have them."""

    name: str  # "head" | "middle" | "tail"
    n_labels: int
    n_train: tuple[int, int]  # least, most
    summary: dict[str, Spread]


class Level(TypedDict):
    """Labels of one level of a taxonomy: as they were predicted, and closed upward.

    Closed upward, a label has at least the score of what lies below it, and is named with it.
    """

    name: str  # "parents" | "leaves" | "all"
    n_labels: int
    raw: dict[str, Spread]
    closed: dict[str, Spread]


class Result(TypedDict):
    """One row of a fusion table on one set of test items."""

    n_items: int
    n_groups: int  # artists; an item of an unknown one stands for itself
    n_without_input: int  # items with none of the row's inputs; they are predicted, too
    per_seed: list[Metrics]  # in the order of the fusion's seeds
    summary: dict[str, Spread]  # of every scalar
    intervals: dict[str, tuple[float, float]]  # 95 %, over artists and seeds together
    buckets: list[Bucket]  # of 9 labels or more
    levels: list[Level]  # of labels with a taxonomy


class RowDifference(TypedDict):
    """A metric of row `a` minus that of row `b` on the same items, by the jackknife over artists.

    `p_holm`: among all differences of this metric between the rows of the table. The verdict is of
    `p_holm` below .05; for errors (`results.LOWER_IS_BETTER`) less is better.
    """

    a: str
    b: str
    metric: str
    value: float
    low: float
    high: float
    p: float
    p_holm: float
    verdict: str  # "better" | "worse" | "not distinguishable"


class Row(TypedDict):
    """A head over one set of inputs.

    `complete` is on the test items that have every modality of the table, if there are any, so that
    all rows are measured on the same items.
    """

    name: str  # "A", "A+T", "A+T+I", "joint.A", ...
    inputs: list[str]  # ["audio", "text"]
    all: Result  # on all test items
    complete: Result | None
    curve: Curve | None  # first seed; None: solved, or the encoder's own output
    choice: NotRequired[Choice]


class FusionResult(TypedDict):
    """A fusion: a task, a head, and one row per set of inputs."""

    name: str
    head: str  # "logistic" | "cosine"
    exclusive: bool
    labels: list[str]
    seeds: list[int]
    rows: list[Row]
    baselines: dict[str, Result]  # "random", "commonest": on all items
    differences: dict[str, list[RowDifference]]  # by set of items: "all", "complete"
    too_small: str | None  # why figures say little; stands where the headline would
    joint: Curve | None


class EncoderResult(TypedDict):
    """One encoder's training."""

    network: str
    n_parameters: int
    embedding_dim: int
    curve: Curve


class DatasetResult(TypedDict):
    """The dataset of a run."""

    name: str
    synthetic: bool
    n_items: int
    splits: dict[str, int]
    modalities: dict[str, dict[str, int]]  # {modality: {split: number of items that have it}}
    label_counts: dict[str, int]
    given: list[dict[str, Any]]  # vectors made elsewhere: name, n_items, n_unknown (ids of none)
    refused: list[dict[str, str]]  # id, modality, code, detail


class RunResult(TypedDict):
    """metrics.json of a run."""

    run: str
    made_by: str
    recipe: dict[str, Any]
    dataset: DatasetResult
    encoders: dict[str, EncoderResult]
    fusions: list[FusionResult]
    notes: list[str]  # what a person should know of the run


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


class StepResult(TypedDict):
    """A step of a run. `n_parameters`: what was trained, or solved of the whole row's heads."""

    stage: str
    what: str
    seconds: float | None  # when it was made last; None: by a version that kept no times
    n_parameters: int | None  # None: nothing was trained, or by a version that counted none
    made_by: str
    fingerprint: str


class PairedResult(TypedDict):
    """A paired bootstrap over artists, ours minus the peer's: a `differences.Difference`."""

    value: float
    low: float
    high: float
    verdict: str  # "won" | "lost" | "indistinguishable"
    n_groups: int


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


class PlannedStep(TypedDict):
    """A step of an experiment."""

    stage: str
    what: str
    fingerprint: str
    path: str
    needs: list[str]
    cells: list[str]
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


def spread(values: Sequence[float]) -> Spread:
    """Mean and sample standard deviation; the deviation of a single value is 0.

    >>> spread([0.25, 0.75])
    {'mean': 0.5, 'std': 0.3535533905932738}
    """
    std = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return {"mean": float(np.mean(values)), "std": std}


def as_json(content: object, indent: int = 0) -> str:
    """Readable JSON: one line for what fits in it, and for each list or mapping of plain values.

    >>> print(as_json({"matrix": [[1, 0], [0, 2]], "note": "a" * 75}))
    {
     "matrix": [[1, 0], [0, 2]],
     "note": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
    }
    """
    line = json.dumps(content, ensure_ascii=False, allow_nan=False)
    if not isinstance(content, dict | list) or len(line) <= JSON_WIDTH - indent:
        return line
    values = content.values() if isinstance(content, dict) else content
    if not any(isinstance(value, dict | list) for value in values):
        return line
    inner = [as_json(value, indent + 1) for value in values]
    if isinstance(content, dict):
        keys = [json.dumps(key, ensure_ascii=False) for key in content]
        inner = [f"{key}: {value}" for key, value in zip(keys, inner, strict=True)]
    pad = "\n" + " " * indent
    return f"{line[0]}{pad} " + f",{pad} ".join(inner) + f"{pad}{line[-1]}"


def judged(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the rows that are compared with each other: sets of modalities by what was chosen.

    Rows of single views, of concatenated vectors beside what was chosen, of words alone and of
    joint vectors stand apart, unless there are no others.
    """
    plain = [
        row["name"]
        for row in rows
        if "." not in row["name"]
        and not row["name"].endswith((CONCATENATED, ZERO_SHOT))
        and not any(name.startswith(JOINT) for name in row["inputs"])
    ]
    return plain or [row["name"] for row in rows]


def headline_metric(*, exclusive: bool) -> str:
    """The main metric of a task: macro F1 for exclusive labels, else macro ROC-AUC."""
    return "macro_f1" if exclusive else "macro_roc_auc"
