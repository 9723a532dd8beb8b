"""An experiment's table beside the published one, and its classification reports: Markdown, CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mmgenre.disk.tables import spreadsheet_cell
from mmgenre.measuring.results import Spread, headline_metric, spread
from mmgenre.measuring.table_results import TableResult, TableRow
from mmgenre.report.tables import EXCLUSIVE_COLUMNS, NOTHING, OVERLAPPING_COLUMNS

HEADLINES = (headline_metric(exclusive=True), headline_metric(exclusive=False))
TITLES = {
    **EXCLUSIVE_COLUMNS,
    **OVERLAPPING_COLUMNS,
    "micro_pr_auc": "micro PR-AUC",
    "micro_precision": "micro P",
    "micro_recall": "micro R",
    **{f"top_{k}_accuracy": f"top-{k}" for k in (1, 3, 5)},
}
COLUMNS = {  # of a classification report
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "roc_auc": "ROC-AUC",
    "pr_auc": "PR-AUC",
}
NAMED_COLUMNS = 10  # of a matrix in Markdown; where there are more, they are numbered


def figure(value: float | None, decimals: int = 3) -> str:
    """A share of 1 as the paper prints it; a dash where there is none.

    >>> figure(0.8714), figure(1.0), figure(0.04, 2), figure(None)
    ('.871', '1.000', '.04', '–')
    """
    return NOTHING if value is None else f"{value:.{decimals}f}".removeprefix("0")


@dataclass(frozen=True)
class Figure:
    """A share over seeds as printed, `.871 ± .012 (n=2)`: it exists at `of` of the `seeds`."""

    spread: Spread | None
    of: int
    seeds: int

    @property
    def mean(self) -> str:
        return figure(self.spread and self.spread["mean"])

    @property
    def fewer(self) -> str:
        return f"(n={self.of})" if self.spread and self.of < self.seeds else ""

    @property
    def deviation(self) -> str:
        own = f"± {figure(self.spread['std'])}" if self.spread and self.of > 1 else ""
        return f"{own} {self.fewer}".strip()

    def __str__(self) -> str:
        return f"{self.mean} {self.deviation}".strip()


def ours(row: TableRow, metric: str) -> Figure:
    """A metric of a row."""
    made = len(row["per_seed"])
    return Figure(row["summary"].get(metric), made, made + len(row["failed"]))


def published(row: TableRow, metric: str) -> str:
    """The paper's figure to the decimals printed there; a dash where it has none."""
    return figure(row["published"].get(metric), 2 if metric.startswith("adiv") else 3)


def has_published(result: TableResult) -> bool:
    """Whether the table has any published figure."""
    return any(row["published"] for row in result["rows"])


def judged_by(result: TableResult) -> str:
    """The metric that the table is read by: the headline metric, or its first."""
    return next((m for m in HEADLINES if m in result["metrics"]), result["metrics"][0])


def caption(result: TableResult) -> str:
    """What the figures were measured on, and what they cannot be compared with."""
    return " ".join(t for t in (measured(result), result["note"], reservation(result)) if t)


def measured(result: TableResult) -> str:
    """The items, the seeds, the threshold, and how many labels are not in the averages."""
    seeds = len(result["seeds"])
    counts = [f"{n:,}" for n in dict.fromkeys(result["n_items"])]
    items = "test items, whatever they lack"
    if result["items"] == "complete":
        failed = any(row["failed"] for row in result["rows"])
        rows = "the rows that were made" if failed else "the table"
        items = f"test items that have every input of {rows}"
    over = f"mean ± deviation over {seeds} seeds" if seeds > 1 else f"of {seeds} seed"
    text = f"{' / '.join(counts)} {items}; {over}."
    n_out = dict.fromkeys(len(names) for names in result["left_out"])
    if any(n_out):
        shown = " / ".join(map(str, n_out))
        text += f" Averages leave out {shown} of {max(result['n_labels'])} labels (table.json)."
    at = result["threshold"]
    reports = [report for row in result["rows"] for report in row["reports"]]
    if at is not None and any(report["threshold"] is not None for report in reports):
        text += f" Precision, recall and F1 count a label as named from a score of {at:g} on."
    return text


def reservation(result: TableResult) -> str:
    """Why the figures cannot be compared with the published ones; empty where they can."""
    if result["synthetic"]:
        return (
            "The built-in catalogue is synthetic and the networks are small: compare rows with "
            "each other, not with the published figures."
        )
    changes = [*([result["overlay"]] if result["overlay"] else []), *result["settings"]]
    return f"Not as published: changed by {', '.join(changes)}." if changes else ""


def sharing(result: TableResult) -> str:
    """How many steps there are, and how many times cells use them."""
    steps = result["steps"]
    distinct, uses, made = (sum(s[key] for s in steps) for key in ("distinct", "uses", "made"))
    each = ", ".join(f"{s['stage']} {s['distinct']} for {s['uses']}" for s in steps)
    return f"{distinct} steps serve {uses} uses ({each}); {made} were made now."


def as_markdown(text: str) -> str:
    r"""Text in one line of Markdown as it is, whatever it holds: no HTML, no link, no new cell.

    >>> as_markdown("R&B <b>|[x](y)")
    'R&B \\<b\\>\\|\\[x\\](y)'
    """
    return re.sub(r"([\\`*<>|\[\]])", r"\\\1", " ".join(text.split()))


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Names on the left, numbers to the right."""
    escaped = [[as_markdown(str(cell)) for cell in cells] for cells in (heads, *rows)]
    lines = [f"| {' | '.join(cells)} |" for cells in escaped]
    return [lines[0], f"|---|{'---:|' * (len(heads) - 1)}", *lines[1:]]


def _csv(rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(map(spreadsheet_cell, row) for row in rows)
    return text.getvalue()


def markdown(result: TableResult) -> str:
    """The table as Markdown."""
    with_published = has_published(result)
    heads, rows = ["row"], [[row["name"]] for row in result["rows"]]
    for metric in result["metrics"]:
        heads += [TITLES.get(metric, metric)] + ["published"] * with_published
        for cells, row in zip(rows, result["rows"], strict=True):
            cells += [str(ours(row, metric))] + [published(row, metric)] * with_published
    faults = [f"{row['name']}: {fault}" for row in result["rows"] for fault in row["failed"]]
    faults = [f"- {as_markdown(fault)}" for fault in faults]
    lines = [f"# {as_markdown(result['title'])}", "", as_markdown(caption(result)), ""]
    lines += markdown_table(heads, rows)
    lines += ["", sharing(result), *(["", "Failed:", "", *faults] if faults else [])]
    return "\n".join(lines) + "\n"


def as_csv(result: TableResult) -> str:
    """One line per row and metric: mean, deviation, number of seeds, published."""
    heads = ["row", "metric", "mean", "std", "n_seeds", "published", "failed"]
    lines: list[Sequence[object]] = [heads]
    for row in result["rows"]:
        n, failed = len(row["per_seed"]), "; ".join(row["failed"])
        for metric in result["metrics"]:
            own, theirs = row["summary"].get(metric), row["published"].get(metric, "")
            figures = [own["mean"], own["std"]] if own else ["", ""]
            lines.append([row["name"], metric, *figures, n, theirs, failed])
    return _csv(lines)


@dataclass(frozen=True)
class Line:
    """A label, or an average: support and the figures of the report's columns."""

    name: str
    support: float
    figures: tuple[Figure | None, ...]  # None: accuracy has no precision

    @property
    def count(self) -> str:
        """The support as printed: `41`, or `40.3` where seeds differ."""
        return f"{self.support:,.0f}" if self.support.is_integer() else f"{self.support:,.1f}"


@dataclass(frozen=True)
class Classification:
    """A row's report over seeds; labels by support, the matrix in the same order.

    `matrix` counts (true, predicted) items of all seeds together, (n_labels, n_labels); None for
    overlapping labels.
    """

    n_seeds: int
    n_items: int  # of all seeds together
    columns: tuple[str, ...]
    labels: tuple[Line, ...]
    averages: tuple[Line, ...]
    matrix: list[list[int]] | None
    thresholds: tuple[float, ...]  # by seed; none for exclusive labels

    @property
    def named_from(self) -> str:
        """What counts as named, as a sentence."""
        if not self.thresholds:
            return "The best-scored label is the prediction."
        shown = " / ".join(f"{t:.3g}" for t in dict.fromkeys(self.thresholds))
        return f"A label counts as named from a score of {shown} on."


def classification(row: TableRow) -> Classification | None:
    """The report of a row over its seeds; None if nothing was measured."""
    reports = row["reports"]
    if not reports:
        return None
    keys = [key for key in COLUMNS if key in next(iter(reports[0]["per_label"].values()))]
    # Some seeds may lack a label: the built-in catalogue is generated from the seed.
    lacking: dict[str, float | None] = {"support": 0, **dict.fromkeys(keys)}
    lines = [
        _line(name, [r["per_label"].get(name, lacking) for r in reports], keys)
        for name in dict.fromkeys(name for r in reports for name in r["per_label"])
    ]
    total = sum(line.support for line in lines)
    lines.sort(key=lambda line: (-line.support, line.name))
    averages = []
    for kind in reports[0]["averages"]:
        own = [{**r["averages"][kind], "support": total} for r in reports]
        averages.append(_line(f"{kind} average", own, keys))
    accuracy = _figure([r["accuracy"] for r in reports])
    if accuracy.spread is not None:
        figures = tuple(accuracy if key == "f1" else None for key in keys)
        averages.append(Line("accuracy", total, figures))
    place = {line.name: k for k, line in enumerate(lines)}
    matrix = np.zeros((len(lines), len(lines)), dtype=np.int64)
    for report in reports:
        places = [place[name] for name in report["per_label"]]
        matrix[np.ix_(places, places)] += np.array(report["confusion_matrix"] or 0)
    return Classification(
        n_seeds=len(reports),
        n_items=sum(r["n_items"] for r in reports),
        columns=tuple(COLUMNS[key] for key in keys),
        labels=tuple(lines),
        averages=tuple(averages),
        matrix=matrix.tolist() if all(r["confusion_matrix"] for r in reports) else None,
        thresholds=tuple(r["threshold"] for r in reports if r["threshold"] is not None),
    )


def _line(name: str, per_seed: Sequence[dict[str, float | None]], keys: Sequence[str]) -> Line:
    support = sum(figures["support"] or 0 for figures in per_seed) / len(per_seed)
    return Line(name, support, tuple(_figure([f[key] for f in per_seed]) for key in keys))


def _figure(values: Sequence[float | None]) -> Figure:
    has = [value for value in values if value is not None]
    return Figure(spread(has) if has else None, len(has), len(values))


def legend(*, overlapping: bool) -> str:
    """What the words of a report mean."""
    micro = "; micro: all pairs of item and label as one" if overlapping else ""
    return (
        "Support: test items that have the label, a mean over seeds. Macro: mean over the labels "
        f"that have a test item; weighted: by support{micro}. A label without a test item has no "
        "figures (–); one that is never predicted has precision 0."
    )


def reports_markdown(result: TableResult) -> str:
    """The classification report and the confusion matrix of every row, as Markdown."""
    reports = [(row, classification(row)) for row in result["rows"]]
    words = legend(overlapping=any(report and report.thresholds for _, report in reports))
    lines = [f"# {as_markdown(result['title'])}: classification reports", ""]
    lines += [as_markdown(caption(result)), "", words]
    for row, report in reports:
        lines += ["", f"## {as_markdown(row['name'])}", ""]
        lines += [f"- failed: {as_markdown(fault)}" for fault in row["failed"]]
        lines += [""] * bool(row["failed"])
        if report is None:
            lines.append("Nothing was measured.")
            continue
        shown = (*report.labels, *report.averages)
        rows = ([line.name, *(f or "" for f in line.figures), line.count] for line in shown)
        heads = ["label", *report.columns, "support"]
        lines += [report.named_from, "", *markdown_table(heads, rows)]
        if report.matrix is None:
            continue
        names = numbers = [line.name for line in report.labels]
        if len(names) > NAMED_COLUMNS:
            numbers = [str(k) for k in range(1, len(names) + 1)]
            names = [f"{k} {name}" for k, name in enumerate(names, 1)]
        over = f", {report.n_seeds} seeds added up" if report.n_seeds > 1 else ""
        lines += ["", f"Confusion matrix: true labels in rows, predicted in columns{over}.", ""]
        counts = ([name, *row] for name, row in zip(names, report.matrix, strict=True))
        lines += markdown_table(["true", *numbers], counts)
    return "\n".join(lines) + "\n"


def reports_csv(result: TableResult) -> str:
    """One line per row, label and metric: mean, deviation, number of seeds with a figure."""
    heads = ["row", "of", "name", "metric", "mean", "std", "n_seeds", "support"]
    cells: list[Sequence[object]] = [heads]
    for row in result["rows"]:
        report = classification(row)
        if report is None:
            continue
        lines = [("label", line) for line in report.labels]
        for of, line in lines + [("average", line) for line in report.averages]:
            for metric, found in zip(report.columns, line.figures, strict=True):
                if found is not None:
                    own, named = found.spread, [row["name"], of, line.name, metric]
                    figures = [own["mean"], own["std"]] if own else ["", ""]
                    cells.append([*named, *figures, found.of, line.support])
    return _csv(cells)
