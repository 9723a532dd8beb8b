"""A fusion as rows of numbers and as one sentence, for the page and for the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mmgenre.measuring.results import (
    FusionResult,
    Result,
    Row,
    RowDifference,
    StepResult,
    headline_metric,
    judged,
)
from mmgenre.report.parts import in_points

STEP_COLUMNS = ("step", "of", "seconds", "trained parameters")
ItemSet = Literal["complete", "all"]
ITEM_SETS: dict[ItemSet, str] = {"complete": "items with every modality", "all": "all test items"}
EXCLUSIVE_COLUMNS = {
    "macro_precision": "macro P",
    "macro_recall": "macro R",
    "macro_f1": "macro F1",
    "accuracy": "accuracy",
    "top_3_accuracy": "top-3 acc.",
    "macro_roc_auc": "macro ROC-AUC",
}
OVERLAPPING_COLUMNS = {
    "macro_roc_auc": "macro ROC-AUC",
    "micro_roc_auc": "micro ROC-AUC",
    "macro_pr_auc": "macro PR-AUC",
    "macro_f1": "macro F1",
    **{f"adiv_{k}": f"ADiv@{k}" for k in (1, 3, 5)},
}
NOTHING = "–"
LEAST_SECONDS = 0.01  # of a step; what took less did take time


@dataclass(frozen=True)
class MetricValue:
    """A metric over seeds; None: it does not exist. `mean` and `deviation` are as printed."""

    value: float | None  # the mean
    std: float | None = None  # None also for one seed
    interval: tuple[float, float] | None = None  # 95 %, over artists and seeds

    @property
    def mean(self) -> str:
        return number(self.value)

    @property
    def deviation(self) -> str:
        return "" if self.std is None else number(self.std)

    def __str__(self) -> str:
        return f"{self.mean} ± {self.deviation}" if self.deviation else self.mean


@dataclass(frozen=True)
class TableRow:
    """A row of a fusion on one set of items; `cells` in the order of `columns(fusion)`."""

    name: str
    inputs: tuple[str, ...]
    cells: tuple[MetricValue, ...]
    best: tuple[bool, ...]  # whether each cell is the highest of its column, as printed
    interval: str  # of the headline metric
    n_items: int
    n_without_input: int


def columns(fusion: FusionResult) -> dict[str, str]:
    """The metrics of a fusion's table: key -> heading."""
    return EXCLUSIVE_COLUMNS if fusion["exclusive"] else OVERLAPPING_COLUMNS


def headline_items(fusion: FusionResult) -> ItemSet:
    """The items that a fusion is judged on: those with every modality where every row has them."""
    has = [row["complete"] is not None for row in fusion["rows"]]
    return "complete" if has and all(has) else "all"


def on(row: Row, items: ItemSet) -> Result | None:
    """A row's result on a set of items; None if there is no such item."""
    return row["complete"] if items == "complete" else row["all"]


def number(value: float | None) -> str:
    """A metric as printed; a dash where it does not exist.

    >>> number(0.78149), number(None)
    ('0.781', '–')
    """
    return NOTHING if value is None or not math.isfinite(value) else f"{value:.3f}"


def metric_value(row: Row, items: ItemSet, metric: str) -> MetricValue:
    """A metric of a row on a set of items."""
    result = on(row, items)
    spread = result["summary"].get(metric) if result else None
    if result is None or spread is None or number(spread["mean"]) == NOTHING:
        return MetricValue(None)
    std = spread["std"] if len(result["per_seed"]) > 1 else None
    return MetricValue(spread["mean"], std, result["intervals"].get(metric))


def fusion_table(fusion: FusionResult, items: ItemSet | None = None) -> list[TableRow]:
    """Every row that has a result on `items` (default: the items that the headline is about).

    Best is a cell that no other row's is distinguishably better than, and that is so itself than
    some other's: of a table in which nothing can be told apart none is.
    """
    items = items or headline_items(fusion)
    judged_by = headline_metric(exclusive=fusion["exclusive"])
    rows = [(row, result) for row in fusion["rows"] if (result := on(row, items))]
    cells = [[metric_value(row, items, metric) for metric in columns(fusion)] for row, _ in rows]
    best = best_rows(fusion["differences"].get(items, []))
    table = []
    for (row, result), own in zip(rows, cells, strict=True):
        pair = metric_value(row, items, judged_by).interval
        table.append(
            TableRow(
                name=row["name"],
                inputs=tuple(row["inputs"]),
                cells=tuple(own),
                best=tuple(row["name"] in best.get(metric, ()) for metric in columns(fusion)),
                interval=f"{number(pair[0])}–{number(pair[1])}" if pair else NOTHING,
                n_items=result["n_items"],
                n_without_input=result["n_without_input"],
            )
        )
    return table


def best_rows(differences: Sequence[RowDifference]) -> dict[str, set[str]]:
    """Metric -> rows that are distinguishably better than some other, and worse than none."""
    better: dict[str, set[str]] = {}
    worse: set[tuple[str, str]] = set()
    for d in differences:
        own = better.setdefault(d["metric"], set())
        if d["verdict"] in ("better", "worse"):
            first, second = (d["a"], d["b"]) if d["verdict"] == "better" else (d["b"], d["a"])
            own.add(first)
            worse.add((d["metric"], second))
    return {
        metric: {row for row in own if (metric, row) not in worse} for metric, own in better.items()
    }


def difference(fusion: FusionResult, a: str, b: str, items: ItemSet) -> RowDifference | None:
    """The headline metric of row `a` minus that of row `b`; None if they were not compared."""
    metric = headline_metric(exclusive=fusion["exclusive"])
    for d in fusion["differences"].get(items, []):
        if d["metric"] == metric and {d["a"], d["b"]} == {a, b}:
            if d["a"] == a:
                return d
            turned = {"better": "worse", "worse": "better"}
            return {
                **d, "a": a, "b": b, "value": -d["value"], "low": -d["high"], "high": -d["low"],
                "verdict": turned.get(d["verdict"], d["verdict"]),
            }  # fmt: skip
    return None


def steps_table(steps: Sequence[StepResult]) -> list[tuple[str, str, str, str]]:
    """The columns `STEP_COLUMNS` of a run's steps, as printed; a dash for what is not known.

    >>> known = {"stage": "learn", "what": "text", "seconds": 0.004, "n_parameters": 1200}
    >>> steps_table([known, known | {"seconds": None, "n_parameters": None}])
    [('learn', 'text', '< 0.01', '1,200'), ('learn', 'text', '–', '–')]
    """
    return [
        (step["stage"], step["what"], _seconds(step["seconds"]), _count(step["n_parameters"]))
        for step in steps
    ]


def _seconds(value: float | None) -> str:
    if value is None:
        return NOTHING
    if value < LEAST_SECONDS:
        return f"< {LEAST_SECONDS}"
    return f"{value:,.1f}" if value >= 1 else f"{value:.2f}"


def _count(value: int | None) -> str:
    return NOTHING if value is None else f"{value:,}"


def plain_rows(fusion: FusionResult) -> list[Row]:
    """One row for each set of modalities: those that are `judged`."""
    names = judged(fusion["rows"])
    return [row for row in fusion["rows"] if row["name"] in names]


def compared(fusion: FusionResult) -> tuple[list[Row], Row | None]:
    """The plain rows with one modality each, and the plain row with most inputs."""
    rows = plain_rows(fusion)
    whole = max(rows, key=lambda row: len(row["inputs"]), default=None)

    def modalities(row: Row) -> set[str]:
        return {name.partition(".")[0] for name in row["inputs"]}

    return [row for row in rows if len(modalities(row)) == 1 and row is not whole], whole


def words(row: Row) -> str:
    """A row's inputs in words: `audio + text`, `joint audio`; views of a modality as one."""
    inputs = row["inputs"]
    if "." not in row["name"]:
        inputs = list(dict.fromkeys(name.partition(".")[0] for name in inputs))
    return " + ".join(name.replace(".", " ") for name in inputs) or row["name"]


def headline(fusion: FusionResult) -> str:
    """What fusing gained or cost, in one or two sentences, computed from the rows."""
    items, metric = headline_items(fusion), headline_metric(exclusive=fusion["exclusive"])
    if fusion["too_small"]:
        return f"Too few test items to say much: {fusion['too_small']}."
    label = columns(fusion)[metric]
    singles, whole = compared(fusion)
    if whole is None:
        return "This fusion has no rows yet."
    own, subject = metric_value(whole, items, metric), words(whole)
    subject = subject[:1].upper() + subject[1:]
    if own.value is None:
        return f"{subject}: {label} does not exist here (no label can be measured)."
    text = f"{subject}: {label} {own}{_range(own)}"
    figures = [(metric_value(row, items, metric), row) for row in singles]
    known = [(single.value, single, row) for single, row in figures if single.value is not None]
    if not known:
        return f"{text}; there is no single modality to compare it with."
    _, single, row = max(known, key=lambda entry: entry[0])
    text += f"; {_verdict(fusion, whole, row, items)} the best single modality ({words(row)}), "
    text += f"{single.mean}{_points(fusion, whole, row, items)}."
    top = max(fusion["rows"], key=lambda row: metric_value(row, items, metric).value or 0.0)
    if (highest := metric_value(top, items, metric).mean) != own.mean:
        text += f" The highest of all rows is {top['name']}: {highest}."
    return text


def _range(value: MetricValue) -> str:
    if value.interval is None:
        return ""
    low, high = map(number, value.interval)
    return f" ({low} to {high})"


def _verdict(fusion: FusionResult, whole: Row, single: Row, items: ItemSet) -> str:
    d = difference(fusion, whole["name"], single["name"], items)
    told = d["verdict"] if d else "not distinguishable"
    return f"{told} than" if told in ("better", "worse") else "not distinguishable from"


def _points(fusion: FusionResult, whole: Row, single: Row, items: ItemSet) -> str:
    """The difference in points and its interval."""
    d = difference(fusion, whole["name"], single["name"], items)
    if d is None:
        return ""
    value, low, high = (in_points(d[key]) for key in ("value", "low", "high"))
    return f" ({value} points, {low} to {high})"
