"""Tables for a terminal of 80 columns. Names are printed as they are, never as markup."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from mmgenre.measuring.benchmark_results import BenchmarkFigure, BenchmarkResult
from mmgenre.measuring.results import FusionResult, headline_metric
from mmgenre.measuring.table_results import PlanResult, TableResult
from mmgenre.report import published, tables


def _table(title: str, caption: str | None, **options: Any) -> Table:
    left: dict[str, Any] = {"title_justify": "left", "caption_justify": "left"}
    shown = None if caption is None else Text(caption)
    return Table(title=Text(title, "bold"), caption=shown, box=box.SIMPLE, **left, **options)


def _short(title: str) -> str:
    return title.replace("ROC-AUC", "AUC").replace("PR-AUC", "AP")


def rich_table(fusion: FusionResult, items: tables.ItemSet | None = None) -> Table:
    """The fusion's table; the page has what does not fit. Deviations: headline metric only."""
    items = items or tables.headline_items(fusion)
    rows = tables.fusion_table(fusion, items)
    metrics, judged = tables.columns(fusion), headline_metric(exclusive=fusion["exclusive"])
    n_items = ", ".join(f"{n:,}" for n in sorted({row.n_items for row in rows})) or "no"
    table = _table(
        f"{fusion['name']}: {n_items} test items, {tables.ITEM_SETS[items]}",
        tables.headline(fusion) if items == tables.headline_items(fusion) else None,
    )
    table.add_column("row", no_wrap=True)
    for key, title in metrics.items():
        table.add_column(_short(title), justify="right", no_wrap=key == judged)
    for row in rows:
        cells = [
            Text(str(cell) if key == judged else cell.mean, style="bold" if best else "")
            for key, cell, best in zip(metrics, row.cells, row.best, strict=True)
        ]
        table.add_row(Text(row.name), *cells)
    return table


def rich_published(result: TableResult) -> Table:
    """The table of an experiment; deviations of one metric only, table.md has all."""
    with_published = published.has_published(result)
    caption = f"{published.caption(result)}\n{published.sharing(result)}"
    # A narrow table would fold its caption into a strip.
    table = _table(result["title"], caption, padding=(0, 1, 0, 0), pad_edge=False, min_width=72)
    judged = published.judged_by(result)
    table.add_column("row")
    for metric in result["metrics"]:
        title = _short(published.TITLES.get(metric, metric))
        table.add_column(title, justify="right", no_wrap=metric == judged)
        if with_published:
            table.add_column("pub.", justify="right", style="dim", no_wrap=True)
    for row in result["rows"]:
        cells = [Text(row["name"], style="red" if row["failed"] else "")]
        for metric in result["metrics"]:
            own = published.ours(row, metric)
            cells.append(Text(str(own) if metric == judged else f"{own.mean} {own.fewer}".strip()))
            cells += [Text(published.published(row, metric))] * with_published
        table.add_row(*cells)
    return table


def rich_plan(plan: PlanResult) -> Table:
    """The steps of an experiment, in the order in which they will be made."""
    left = [step for step in plan["steps"] if not step["done"]]
    names = {step["fingerprint"]: f"{step['stage']} {step['what']}" for step in plan["steps"]}
    known = [step["estimate_s"] for step in left if step["estimate_s"] is not None]
    rest = "none is left."
    if left:
        rest = f"about {duration(sum(known))} left" if known else "time unknown"
        if known and len(known) < len(left):
            rest += f" and {len(left) - len(known)} steps of unknown cost"
        rest += f" (medians of {plan['n_timed']} steps timed here)."
    table = _table(
        plan["title"],
        f"{plan['n_cells']} cells on {plan['dataset']}: {len(plan['steps'])} steps, "
        f"{len(plan['steps']) - len(left)} done; {rest}",
    )
    for heading in ("step", "of", "needs", "for"):
        table.add_column(heading, overflow="fold")
    table.add_column("cost", justify="right", no_wrap=True)
    for step in plan["steps"]:
        needs = Text(", ".join(names[parent] for parent in step["needs"]))
        uses = f"{len(step['cells'])} cell{'s' if len(step['cells']) > 1 else ''}, seed"
        uses += f"{'s' if len(step['seeds']) > 1 else ''} {', '.join(map(str, step['seeds']))}"
        took_s, estimate_s = step["took_s"], step["estimate_s"]
        cost = "done" if took_s is None else f"done in {duration(took_s)}"
        if not step["done"]:
            cost = "?" if estimate_s is None else f"~ {duration(estimate_s)}"
        table.add_row(step["stage"], Text(step["what"]), needs, uses, cost)
    return table


SPLITS_IN_WORDS = {"val": "validation", "test": "test"}
SHORT_METRICS = {"macro_f1": "F1", "macro_roc_auc": "AUC", "macro_pr_auc": "AP"}


def rich_benchmark(result: BenchmarkResult) -> Table:
    """All folders of a benchmark, one line a row and metric, beside the peers of these inputs."""
    rows = [row for folder in result["folders"] for row in folder["rows"]]
    paired = any(figure["paired"] for row in rows for figure in row["figures"].values())
    caption = "Macro averages, means over the splits. Peer: the best on validation of those inputs"
    if result["on"] == "val":
        caption += ", so its figures here are those that it was chosen by"
    if paired:
        caption += ". Interval: 95 %, over artists"
    table = _table(
        f"{result['recipe']} on {SPLITS_IN_WORDS[result['on']]} items", f"{caption}.",
        padding=(0, 1, 0, 0), pad_edge=False, min_width=72,
    )  # fmt: skip
    table.add_column("row", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("ours", justify="right", no_wrap=True)
    table.add_column("peer")
    table.add_column("peer's", justify="right", no_wrap=True)
    table.add_column("diff.", justify="right", no_wrap=True)
    if paired:
        table.add_column("interval", no_wrap=True)
        table.add_column("verdict", no_wrap=True)
    for folder in result["folders"]:
        table.add_section()
        table.add_row(Text(folder["name"], style="bold"))
        for row in folder["rows"]:
            for k, (metric, figure) in enumerate(row["figures"].items()):
                first = [Text(row["name"]), Text(row["peer"] or "")] if k == 0 else ["", ""]
                cells = [tables.number(figure["ours"])]
                other = [tables.number(figure["peer"]), _signed(figure["difference"])]
                table.add_row(
                    first[0], SHORT_METRICS[metric], *cells, first[1], *other,
                    *(_interval(figure) if paired else ()),
                )  # fmt: skip
    return table


def _signed(value: float | None) -> str:
    return tables.NOTHING if value is None else f"{value:+.3f}"


def _interval(figure: BenchmarkFigure) -> tuple[str, str]:
    """The interval and the verdict; empty without the peer's scores."""
    found = figure["paired"]
    if found is None:
        return "", ""
    return f"{_signed(found['low'])} to {_signed(found['high'])}", found["verdict"]


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
