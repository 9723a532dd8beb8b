"""Classification reports of an experiment's rows over seeds: plain data, Markdown, CSV."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mmgenre.measuring.results import SeedReport, Spread, TableResult, TableRow, spread
from mmgenre.report.published import caption, figure
from mmgenre.report.tables import NOTHING

COLUMNS = {
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "roc_auc": "ROC-AUC",
    "pr_auc": "PR-AUC",
}
NAMED_COLUMNS = 10  # more columns of a matrix in Markdown have numbers for names
LEGEND = (
    "Support: test items that have the label, a mean over seeds. Macro: mean over the labels that "
    "have a test item; weighted: by support{micro}. A label without a test item has no figures "
    "(–); one that is never predicted has precision 0."
)
MICRO = "; micro: all pairs of item and label as one"


Matrix = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Figure:
    """A share over seeds; `of` says at how many of `seeds` it exists."""

    spread: Spread | None
    of: int
    seeds: int

    @property
    def mean(self) -> str:
        """The mean as printed; a dash where there is none."""
        return NOTHING if self.spread is None else figure(self.spread["mean"])

    @property
    def deviation(self) -> str:
        """The deviation, and at how many seeds the figure exists where that is not at all."""
        if self.spread is None:
            return ""
        parts = [f"± {figure(self.spread['std'])}"] if self.of > 1 else []
        return " ".join([*parts, *([f"(n={self.of})"] if self.of < self.seeds else [])])

    def __str__(self) -> str:
        return f"{self.mean} {self.deviation}".strip()


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
    matrix: Matrix | None
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
    # A label may be there at some seeds only: the built-in catalogue is drawn by the seed.
    lacking: dict[str, float | None] = {"support": 0, **dict.fromkeys(keys)}
    names = dict.fromkeys(name for r in reports for name in r["per_label"])
    lines = {
        name: _line(name, [r["per_label"].get(name, lacking) for r in reports], keys)
        for name in names
    }
    order = sorted(names, key=lambda name: (-lines[name].support, name))
    total = sum(line.support for line in lines.values())
    averages = []
    for kind in reports[0]["averages"]:
        own = [{**r["averages"][kind], "support": total} for r in reports]
        averages.append(_line(f"{kind} average", own, keys))
    accuracy = _figure([r["accuracy"] for r in reports])
    if accuracy.spread is not None:
        figures = tuple(accuracy if key == "f1" else None for key in keys)
        averages.append(Line("accuracy", total, figures))
    return Classification(
        n_seeds=len(reports),
        n_items=sum(r["n_items"] for r in reports),
        columns=tuple(COLUMNS[key] for key in keys),
        labels=tuple(lines[name] for name in order),
        averages=tuple(averages),
        matrix=_summed(reports, order),
        thresholds=tuple(r["threshold"] for r in reports if r["threshold"] is not None),
    )


def _line(name: str, per_seed: Sequence[dict[str, float | None]], keys: Sequence[str]) -> Line:
    support = sum(figures["support"] or 0 for figures in per_seed) / len(per_seed)
    return Line(name, support, tuple(_figure([f[key] for f in per_seed]) for key in keys))


def _figure(values: Sequence[float | None]) -> Figure:
    has = [value for value in values if value is not None]
    return Figure(spread(has) if has else None, len(has), len(values))


def _summed(reports: Sequence[SeedReport], order: Sequence[str]) -> Matrix | None:
    """The confusion matrices of all seeds added up, labels in the given order."""
    counts: Counter[tuple[str, str]] = Counter()
    found = False
    for report in reports:
        if (matrix := report["confusion_matrix"]) is not None:
            found = True
            for true, row in zip(report["per_label"], matrix, strict=True):
                for predicted, n in zip(report["per_label"], row, strict=True):
                    counts[true, predicted] += n
    if not found:
        return None
    return tuple(tuple(counts[true, predicted] for predicted in order) for true in order)


def legend(*, overlapping: bool) -> str:
    """What the words of a report mean."""
    return LEGEND.format(micro=MICRO if overlapping else "")


def reports_markdown(result: TableResult) -> str:
    """The classification report and the confusion matrix of every row, as Markdown."""
    lines = [f"# {result['title']}: classification reports", "", caption(result)]
    reports = [(row, classification(row)) for row in result["rows"]]
    overlapping = any(report is not None and report.thresholds for _, report in reports)
    lines += ["", legend(overlapping=overlapping)]
    for row, report in reports:
        lines += ["", f"## {row['name']}", ""]
        lines += [f"- failed: {fault}" for fault in row["failed"]] + [""] * bool(row["failed"])
        if report is None:
            lines.append("Nothing was measured.")
            continue
        lines += [report.named_from, ""]
        lines += _rows([["label", *report.columns, "support"]])
        lines.append(f"|---|{'---:|' * (len(report.columns) + 1)}")
        for line in (*report.labels, *report.averages):
            cells = ["" if f is None else str(f) for f in line.figures]
            lines += _rows([[line.name, *cells, line.count]])
        lines += _matrix_markdown(report)
    return "\n".join(lines) + "\n"


def _matrix_markdown(report: Classification) -> list[str]:
    if report.matrix is None:
        return []
    names = [line.name for line in report.labels]
    numbered = len(names) > NAMED_COLUMNS
    heads = [str(k) for k in range(1, len(names) + 1)] if numbered else names
    starts = [f"{k} {name}" for k, name in enumerate(names, 1)] if numbered else names
    over = f", {report.n_seeds} seeds added up" if report.n_seeds > 1 else ""
    lines = ["", f"Confusion matrix: true labels in rows, predicted in columns{over}.", ""]
    lines += _rows([["true", *heads]])
    lines.append(f"|---|{'---:|' * len(heads)}")
    return lines + _rows([start, *row] for start, row in zip(starts, report.matrix, strict=True))


def _rows(rows: Iterable[Sequence[object]]) -> list[str]:
    escaped = ([str(cell).replace("|", "\\|") for cell in cells] for cells in rows)
    return [f"| {' | '.join(cells)} |" for cells in escaped]


def reports_csv(result: TableResult) -> str:
    """A line a row, label and metric: mean, deviation, number of seeds that have the figure."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", "of", "name", "metric", "mean", "std", "n_seeds", "support"])
    for row in result["rows"]:
        report = classification(row)
        if report is None:
            continue
        for of, lines in (("label", report.labels), ("average", report.averages)):
            for line in lines:
                for metric, found in zip(report.columns, line.figures, strict=True):
                    if found is not None:
                        own = found.spread
                        figures = [own["mean"], own["std"]] if own else ["", ""]
                        cells = [row["name"], of, line.name, metric, *figures, found.of]
                        writer.writerow([*cells, line.support])
    return text.getvalue()
