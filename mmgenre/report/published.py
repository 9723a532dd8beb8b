"""An experiment's table with the published figures beside ours: terminal, Markdown, CSV."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from mmgenre.measuring.results import (
    PlannedStep,
    PlanResult,
    TableResult,
    TableRow,
    headline_metric,
)
from mmgenre.report.tables import EXCLUSIVE_COLUMNS, NOTHING, OVERLAPPING_COLUMNS

if TYPE_CHECKING:
    from rich.table import Table

HEADLINES = (headline_metric(exclusive=True), headline_metric(exclusive=False))
TITLES = {
    **EXCLUSIVE_COLUMNS,
    **OVERLAPPING_COLUMNS,
    "micro_pr_auc": "micro PR-AUC",
    "micro_precision": "micro P",
    "micro_recall": "micro R",
    "top_1_accuracy": "top-1",
    "top_3_accuracy": "top-3",
    "top_5_accuracy": "top-5",
}


def figure(value: float, decimals: int = 3) -> str:
    """A share of 1 as the paper prints it.

    >>> figure(0.8714), figure(1.0), figure(0.04, 2)
    ('.871', '1.000', '.04')
    """
    return f"{value:.{decimals}f}".removeprefix("0")


def ours(row: TableRow, metric: str, *, deviation: bool = True) -> str:
    """Mean and deviation over seeds, `.871 ± .012`; a dash where there is none."""
    spread = row["summary"].get(metric)
    if spread is None:
        return NOTHING
    deviation &= len(row["per_seed"]) > 1
    fewer = f" (n={len(row['per_seed'])})" if row["failed"] else ""
    return figure(spread["mean"]) + (f" ± {figure(spread['std'])}" if deviation else "") + fewer


def published(row: TableRow, metric: str) -> str:
    """The paper's figure to the decimals printed there; a dash where it has none."""
    value = row["published"].get(metric)
    decimals = 2 if metric.startswith("adiv") else 3
    return NOTHING if value is None else figure(value, decimals)


def has_published(result: TableResult) -> bool:
    """Whether the table has any published figure."""
    return any(row["published"] for row in result["rows"])


def judged_by(result: TableResult) -> str:
    """The metric that the table is read by: the headline metric, or its first."""
    return next((m for m in HEADLINES if m in result["metrics"]), result["metrics"][0])


def caption(result: TableResult) -> str:
    """What the figures are of, and what they are not."""
    return " ".join(t for t in (measured(result), result["note"], reservation(result)) if t)


def measured(result: TableResult) -> str:
    """The items, the seeds, the threshold, and how many labels are not in the averages."""
    seeds = len(result["seeds"])
    counts = [f"{n:,}" for n in dict.fromkeys(result["n_items"])]
    failed = any(row["failed"] for row in result["rows"])
    rows = "the rows that were made" if failed else "the table"
    items = {
        "complete": f"test items that have every input of {rows}",
        "all": "test items, whatever they lack",
    }[result["items"]]
    spread = "mean ± deviation over" if seeds > 1 else "of"
    text = f"{' / '.join(counts)} {items}; {spread} {seeds} seed{'s' if seeds > 1 else ''}."
    n_out = [len(names) for names in result["left_out"]]
    if any(n_out):
        shown = " / ".join(str(n) for n in dict.fromkeys(n_out))
        text += f" Averages leave out {shown} of {max(result['n_labels'])} labels (table.json)."
    at = result["threshold"]
    reports = [report for row in result["rows"] for report in row["reports"]]
    if at is not None and any(report["threshold"] is not None for report in reports):
        text += f" Precision, recall and F1 count a label as named from a score of {at:g} on."
    return text


def reservation(result: TableResult) -> str:
    """Why the figures are not to be held against the published ones; empty where they are."""
    if result["synthetic"]:
        return (
            "The built-in catalogue is synthetic and the networks are small: compare rows with "
            "each other, not with the published figures."
        )
    changes = [*([result["overlay"]] if result["overlay"] else []), *result["settings"]]
    return f"Not as published: changed by {', '.join(changes)}." if changes else ""


def sharing(result: TableResult) -> str:
    """How many steps there are, and how many times cells use them."""
    distinct = sum(step["distinct"] for step in result["steps"])
    uses = sum(step["uses"] for step in result["steps"])
    made = sum(step["made"] for step in result["steps"])
    each = ", ".join(f"{s['stage']} {s['distinct']} for {s['uses']}" for s in result["steps"])
    return f"{distinct} steps serve {uses} uses ({each}); {made} were made now."


def markdown(result: TableResult) -> str:
    """The table as Markdown."""
    with_published = has_published(result)
    heads, marks = ["row"], ["---"]
    for metric in result["metrics"]:
        heads += [TITLES.get(metric, metric)] + ["published"] * with_published
        marks += ["---:"] * (1 + with_published)
    lines = [f"# {result['title']}", "", caption(result), ""]
    lines += [f"| {' | '.join(heads)} |", f"|{'|'.join(marks)}|"]
    for row in result["rows"]:
        cells = [row["name"].replace("|", "\\|")]
        for metric in result["metrics"]:
            cells += [ours(row, metric)] + [published(row, metric)] * with_published
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", sharing(result)]
    faults = [f"- {row['name']}: {fault}" for row in result["rows"] for fault in row["failed"]]
    if faults:
        lines += ["", "Failed:", "", *faults]
    return "\n".join(lines) + "\n"


def as_csv(result: TableResult) -> str:
    """A line a row and metric: mean, deviation, number of seeds, published."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", "metric", "mean", "std", "n_seeds", "published", "failed"])
    for row in result["rows"]:
        for metric in result["metrics"]:
            spread = row["summary"].get(metric)
            figures = [spread["mean"], spread["std"]] if spread else ["", ""]
            writer.writerow(
                [
                    row["name"],
                    metric,
                    *figures,
                    len(row["per_seed"]),
                    row["published"].get(metric, ""),
                    "; ".join(row["failed"]),
                ]
            )
    return text.getvalue()


def rich_published(result: TableResult) -> Table:
    """The table for a terminal of 80 columns; deviations of one metric, table.md has all."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    with_published = has_published(result)
    table = Table(
        title=Text(result["title"], style="bold"),
        caption=Text(f"{caption(result)}\n{sharing(result)}"),
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        min_width=72,  # a narrow table would fold its caption into a strip
    )
    judged = judged_by(result)
    table.add_column("row")
    for metric in result["metrics"]:
        title = TITLES.get(metric, metric).replace("ROC-AUC", "AUC").replace("PR-AUC", "AP")
        table.add_column(title, justify="right", no_wrap=metric == judged)
        if with_published:
            table.add_column("pub.", justify="right", style="dim", no_wrap=True)
    for row in result["rows"]:
        cells = [Text(row["name"], style="red" if row["failed"] else "")]
        for metric in result["metrics"]:
            cells.append(Text(ours(row, metric, deviation=metric == judged)))
            cells += [Text(published(row, metric))] * with_published
        table.add_row(*cells)
    return table


def rich_plan(plan: PlanResult) -> Table:
    """The steps of an experiment for a terminal, in the order in which they will be made."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    left = [step for step in plan["steps"] if not step["done"]]
    names = {step["fingerprint"]: step for step in plan["steps"]}
    basis = (
        f"corrected by {plan['corrected_by']} steps timed here"
        if plan["corrected_by"]
        else "not yet corrected by any step timed here"
    )
    seconds = sum(step["estimate_s"] or 0 for step in left)
    rest = f"the others take about {duration(seconds)} ({basis})." if left else "none is left."
    table = Table(
        title=Text(plan["title"], style="bold"),
        caption=Text(
            f"{plan['n_cells']} cells on {plan['dataset']}: {len(plan['steps'])} steps, "
            f"{len(plan['steps']) - len(left)} done; {rest}"
        ),
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE,
    )
    for heading in ("step", "of", "needs", "for"):
        table.add_column(heading, overflow="fold")
    table.add_column("cost", justify="right", no_wrap=True)
    for step in plan["steps"]:
        needs = Text(", ".join(_need(names[parent]) for parent in step["needs"]))
        uses = f"{len(step['cells'])} cell{'s' if len(step['cells']) > 1 else ''}"
        table.add_row(step["stage"], Text(step["what"]), needs, uses, _cost(step))
    return table


def _need(step: PlannedStep) -> str:
    return f"{step['stage']} {step['what']}"


def _cost(step: PlannedStep) -> str:
    if step["done"]:
        took = step["took_s"]
        return "done" if took is None else f"done in {duration(took)}"
    return f"~ {duration(step['estimate_s'] or 0)}"


def duration(seconds: float) -> str:
    """A span of time to two figures or so.

    >>> duration(0.04), duration(48), duration(3000), duration(90_000)
    ('0.0 s', '48 s', '50 min', '25.0 h')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
