"""The schema of metrics.json: all that a report shows of a run, as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict, get_origin, get_type_hints

import numpy as np

from mmgenre.items.modalities import JOINT
from mmgenre.measuring.curves import Curve

RESULT = "metrics.json"
Metrics = dict[str, Any]  # of metrics.evaluate: macro_f1, per_label, confusion_matrix, ...
LOWER_IS_BETTER = ("hamming_loss",)
CONCATENATED = " concatenated"  # ends the name of a row that stands beside what was chosen
ZERO_SHOT = " zero-shot"  # ends the name of a row of a frozen model that compares with words


class Spread(TypedDict):
    """Mean and sample standard deviation (n - 1) of a metric over seeds; 0 for one seed."""

    mean: float
    std: float


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


class PairedResult(TypedDict):
    """A paired bootstrap over artists, ours minus the peer's: a `differences.Difference`."""

    value: float
    low: float
    high: float
    verdict: str  # "won" | "lost" | "indistinguishable"
    n_groups: int


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


class Folds(TypedDict):
    """The folds of a cross-validation, each tested by a model of its own."""

    n_items: list[int]
    left_out: list[str]  # genres that the training items of some fold lack


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
    folds: NotRequired[Folds]  # of cross-validation


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
    cross_validated: NotRequired[list[FusionResult]]  # not of earlier versions
    notes: list[str]  # what a person should know of the run


class StepResult(TypedDict):
    """A step of a run. `n_parameters`: what was trained, or solved of the whole row's heads."""

    stage: str
    what: str
    seconds: float | None  # when it was made last; None: by a version that kept no times
    n_parameters: int | None  # None: nothing was trained, or by a version that counted none
    made_by: str
    fingerprint: str


def spread(values: Sequence[float]) -> Spread:
    """Mean and sample standard deviation; the deviation of a single value is 0.

    >>> spread([0.25, 0.75])
    {'mean': 0.5, 'std': 0.3535533905932738}
    """
    std = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return {"mean": float(np.mean(values)), "std": std}


def required_keys(schema: type) -> frozenset[str]:
    """The keys that a result of a schema must have; `__required_keys__` takes strings for types.

    >>> "curve" in required_keys(Row), "choice" in required_keys(Row)
    (True, False)
    """
    hints = get_type_hints(schema, include_extras=True)
    return frozenset(key for key, hint in hints.items() if get_origin(hint) is not NotRequired)


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
