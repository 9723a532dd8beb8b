"""A fusion as rows of numbers and as one honest sentence, for the page and for the terminal."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mmgenre.measuring.results import FusionResult, Result, Row, headline_metric

if TYPE_CHECKING:
    from rich.table import Table

ItemSet = Literal["complete", "all"]
ITEM_SETS: dict[ItemSet, str] = {
    "complete": "items with every modality",
    "all": "all test items",
}
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
    "adiv_1": "ADiv@1",
    "adiv_3": "ADiv@3",
    "adiv_5": "ADiv@5",
}
NOTHING = "–"
DECIMALS = 3


@dataclass(frozen=True)
class Cell:
    """A metric over seeds as printed; `deviation` is empty for one seed."""

    mean: str
    deviation: str
    best: bool

    def __str__(self) -> str:
        return f"{self.mean} ± {self.deviation}" if self.deviation else self.mean


@dataclass(frozen=True)
class TableRow:
    """A row of a fusion on one set of items; `cells` in the order of `columns(fusion)`."""

    name: str
    inputs: tuple[str, ...]
    cells: tuple[Cell, ...]
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
    return NOTHING if value is None or not math.isfinite(value) else f"{value:.{DECIMALS}f}"


def mean(row: Row, items: ItemSet, metric: str) -> float | None:
    """Mean over seeds of a metric; None where it does not exist."""
    result = on(row, items)
    spread = result["summary"].get(metric) if result else None
    value = spread["mean"] if spread else None
    return value if value is not None and math.isfinite(value) else None


def deviation(row: Row, items: ItemSet, metric: str) -> float | None:
    """Deviation over seeds of a metric; None for one seed."""
    result = on(row, items)
    if result is None or len(result["per_seed"]) < 2 or mean(row, items, metric) is None:
        return None
    return result["summary"][metric]["std"]


def interval(row: Row, items: ItemSet, metric: str) -> tuple[float, float] | None:
    """The 95 % bootstrap interval of a metric, if one was computed."""
    result = on(row, items)
    pair = result["intervals"].get(metric) if result else None
    if pair is None or any(end is None or not math.isfinite(end) for end in pair):
        return None
    return pair[0], pair[1]


def fusion_table(fusion: FusionResult, items: ItemSet | None = None) -> list[TableRow]:
    """Every row that has a result on `items` (default: the items that the headline is about).

    Best is the highest mean of a column as printed; rows that print the same are all best.
    """
    items = items or headline_items(fusion)
    judged_by = headline_metric(exclusive=fusion["exclusive"])
    rows = [(row, result) for row in fusion["rows"] if (result := on(row, items)) is not None]
    best = {
        key: max((number(m) for row, _ in rows if (m := mean(row, items, key)) is not None),
                 default=None)
        for key in columns(fusion)
    }  # fmt: skip
    return [
        TableRow(
            name=row["name"],
            inputs=tuple(row["inputs"]),
            cells=tuple(_cell(row, items, key, best[key]) for key in columns(fusion)),
            interval=_interval(interval(row, items, judged_by)),
            n_items=result["n_items"],
            n_without_input=result["n_without_input"],
        )
        for row, result in rows
    ]


def _cell(row: Row, items: ItemSet, metric: str, best: str | None) -> Cell:
    value, std = mean(row, items, metric), deviation(row, items, metric)
    return Cell(number(value), "" if std is None else number(std), best == number(value))


def _interval(pair: tuple[float, float] | None) -> str:
    return NOTHING if pair is None else f"{number(pair[0])}–{number(pair[1])}"


def compared(fusion: FusionResult) -> tuple[list[Row], Row | None]:
    """The rows of one input each, and the row of most inputs: what a fusion is measured by.

    Rows on joint vectors are compared only where there are no others: a gain of the joint space
    is not a gain of a second modality.
    """
    plain = [row for row in fusion["rows"] if not any("." in name for name in row["inputs"])]
    rows = plain or fusion["rows"]
    whole = max(rows, key=lambda row: len(row["inputs"]), default=None)
    return [row for row in rows if len(row["inputs"]) == 1 and row is not whole], whole


def words(row: Row) -> str:
    """A row's inputs as a reader says them: `audio + text`, `joint audio`."""
    return " + ".join(name.replace(".", " ") for name in row["inputs"]) or row["name"]


def headline(fusion: FusionResult) -> str:
    """What fusing gained or cost, in one or two sentences, computed from the rows."""
    items, metric = headline_items(fusion), headline_metric(exclusive=fusion["exclusive"])
    label = columns(fusion)[metric]
    singles, whole = compared(fusion)
    if whole is None:
        return "This fusion has no rows yet."
    value, subject = mean(whole, items, metric), words(whole)
    subject = subject[:1].upper() + subject[1:]
    if value is None:
        return f"{subject}: {label} does not exist here (no label can be measured)."
    std = deviation(whole, items, metric)
    text = f"{subject}: {label} {Cell(number(value), number(std) if std is not None else '', True)}"
    known = {row["name"]: m for row in singles if (m := mean(row, items, metric)) is not None}
    if not known:
        return f"{text}; there is no single modality to compare it with."
    single = max((row for row in singles if row["name"] in known), key=lambda r: known[r["name"]])
    text += f"; best single modality ({words(single)}) {number(known[single['name']])}: "
    text += _verdict(whole, single, items, metric)
    top = max(fusion["rows"], key=lambda row: mean(row, items, metric) or 0.0)
    if number(mean(top, items, metric)) != number(value):
        text += f" The highest of all rows is {top['name']}: {number(mean(top, items, metric))}."
    return text


def _verdict(whole: Row, single: Row, items: ItemSet, metric: str) -> str:
    """The difference in points and whether the intervals leave room for chance."""
    # From the figures as printed, so that a reader who subtracts them gets the same.
    gain = float(number(mean(whole, items, metric))) - float(number(mean(single, items, metric)))
    points = round(100 * gain, 1)
    if points == 0:
        return "no difference."
    text = f"+{points} points" if points > 0 else f"−{-points} points, fusing makes it worse"
    a, b = interval(whole, items, metric), interval(single, items, metric)
    if a and b and max(a[0], b[0]) <= min(a[1], b[1]):
        text += "; the 95\N{NO-BREAK SPACE}% intervals overlap"
    return text + "."


def rich_table(fusion: FusionResult, items: ItemSet | None = None) -> Table:
    """The fusion's table for a terminal of 80 columns; the page has what does not fit.

    Deviations are shown for the headline metric alone. Names are printed as they are, never as
    markup.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    items = items or headline_items(fusion)
    rows = fusion_table(fusion, items)
    judged_by = headline_metric(exclusive=fusion["exclusive"])
    n_items = ", ".join(f"{n:,}" for n in sorted({row.n_items for row in rows})) or "no"
    table = Table(
        title=Text(f"{fusion['name']}: {n_items} test items, {ITEM_SETS[items]}", style="bold"),
        caption=Text(headline(fusion)) if items == headline_items(fusion) else None,
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE,
    )
    table.add_column("row", no_wrap=True)
    for key, title in columns(fusion).items():
        short = title.replace("ROC-AUC", "AUC").replace("PR-AUC", "AP")
        table.add_column(short, justify="right", no_wrap=key == judged_by)
    for row in rows:
        cells = [
            Text(str(cell) if key == judged_by else cell.mean, style="bold" if cell.best else "")
            for key, cell in zip(columns(fusion), row.cells, strict=True)
        ]
        table.add_row(Text(row.name), *cells)
    return table
