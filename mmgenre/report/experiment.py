"""One self-contained HTML page of an experiment, and everything else made from its table.json."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from markupsafe import Markup

from mmgenre.disk.files import replacing
from mmgenre.errors import MmgenreError
from mmgenre.measuring.results import TABLE_RESULT, TableResult, TableRow, headline_metric
from mmgenre.report import plots, published
from mmgenre.report.classification import (
    COLUMNS,
    Classification,
    classification,
    legend,
    reports_csv,
    reports_markdown,
)
from mmgenre.report.made_from import MOST_LABELS
from mmgenre.report.parts import confusion, environment, refusals
from mmgenre.report.tables import NOTHING

PAGE, TABLE = "table.html", "table.md"
MOST_MARKED = 5  # rows that a figure of all labels can tell apart
MOST_BESIDE = 10  # labels of a matrix that fits beside its report
MOST_OPEN = 3  # rows that are unfolded from the start


def write_experiment(folder: Path) -> tuple[Path, Path]:
    """Makes all that a reader sees from `folder`/table.json; returns the table and the page.

    table.md and table.csv hold the table, reports.md and reports.csv the classification reports,
    table.html everything. Each is written whole or not at all.

    Raises:
        MmgenreError: table.json is missing or is not one.
    """
    result = read_table(folder)
    files = {
        TABLE: published.markdown(result),
        "table.csv": published.as_csv(result),
        "reports.md": reports_markdown(result),
        "reports.csv": reports_csv(result),
        PAGE: render_experiment(result),
    }
    for name, text in files.items():
        with replacing(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return folder / TABLE, folder / PAGE


def read_table(folder: Path) -> TableResult:
    """Reads an experiment's table.json.

    Raises:
        MmgenreError: it is missing, not JSON, or was written by another version.
    """
    source = folder / TABLE_RESULT
    if not source.is_file():
        raise MmgenreError(f"{source}: not there. Run first: mmgenre run EXPERIMENT --dataset FILE")
    try:
        result = json.loads(source.read_text(encoding="utf-8"))
    except ValueError as error:
        raise MmgenreError(
            f"{source}: not valid JSON ({error}). Run the experiment again: mmgenre run"
        ) from error
    has = set(result) if isinstance(result, dict) else set()
    missing = TableResult.__required_keys__ - has
    for row in result["rows"] if "rows" in has else ():
        missing |= {f"rows.{key}" for key in TableRow.__required_keys__ - set(row)}
    if missing:
        raise MmgenreError(
            f"{source}: lacks {', '.join(sorted(missing))}; was it written by another version? "
            "Run the experiment again (mmgenre run): its steps are kept, so that takes seconds"
        )
    return cast(TableResult, result)


def render_experiment(result: TableResult) -> str:
    """The page. Whatever comes from the data is escaped; the same result gives the same bytes."""
    reports = [classification(row) for row in result["rows"]]
    judged = published.judged_by(result)
    best = _best(result)
    return (
        environment()
        .get_template("experiment.html.jinja")
        .render(
            result=result,
            title=result["title"],
            measured=published.measured(result),
            reservation=published.reservation(result),
            headline=_headline(result, best),
            columns=[
                {
                    "title": published.TITLES.get(metric, metric),
                    "published": any(metric in row["published"] for row in result["rows"]),
                }
                for metric in result["metrics"]
            ],
            judged=published.TITLES.get(judged, judged),
            judged_column=result["metrics"].index(judged),
            rows=[
                _row(result, row, report, k)
                for k, (row, report) in enumerate(zip(result["rows"], reports, strict=True), 1)
            ],
            compared=_compared(result, reports, best),
            legend=legend(overlapping=any(r is not None and r.thresholds for r in reports)),
            unfolded=len(result["rows"]) <= MOST_OPEN,
            sharing=published.sharing(result),
            left_out=_left_out(result),
            refused=refusals(result["refused"]),
        )
    )


def _best(result: TableResult) -> TableRow | None:
    """The row with the highest mean of the metric that the table is read by; first of equals."""
    judged = published.judged_by(result)
    rows = [row for row in result["rows"] if judged in row["summary"]]
    return max(rows, key=lambda row: row["summary"][judged]["mean"], default=None)


def _headline(result: TableResult, best: TableRow | None) -> str:
    judged = published.judged_by(result)
    title = published.TITLES.get(judged, judged)
    if best is None:
        return f"No row has a figure of {title}."
    text = f"Highest {title}: {best['name']}, {published.ours(best, judged)}"
    theirs = published.published(best, judged)
    return f"{text}{f' (published: {theirs})' if theirs != NOTHING else ''}."


def _row(
    result: TableResult, row: TableRow, report: Classification | None, k: int
) -> dict[str, Any]:
    """All that the page shows of one row."""
    judged = published.judged_by(result)
    cells = []
    for metric in result["metrics"]:
        means = [r["summary"][metric]["mean"] for r in result["rows"] if metric in r["summary"]]
        own = row["summary"].get(metric)
        best = own is not None and published.figure(own["mean"]) == published.figure(max(means))
        ours, pm, rest = published.ours(row, metric).partition(" ")
        cells.append(
            {
                "ours": ours,
                "rest": pm + rest,
                "published": published.published(row, metric),
                "best": best,
            }
        )
    shown = report and report.matrix
    return {
        "id": f"row-{k}",
        "name": row["name"],
        "inputs": ", ".join(row["inputs"]),
        "scores": row["scores"],
        "changes": ", ".join(_settings(row["changes"])),
        "cells": cells,
        "judged": published.ours(row, judged),
        "failed": row["failed"],
        "report": report,
        "beside": report is not None and len(report.labels) <= MOST_BESIDE,
        "confusion": confusion(shown, [line.name for line in report.labels], f"row-{k}-confusion")
        if report and shown
        else None,
    }


def _settings(changes: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """{"image": {"network": "cnn-5x5"}} -> image.network = "cnn-5x5"."""
    for key, value in changes.items():
        if isinstance(value, Mapping):
            yield from _settings(value, f"{above}{key}.")
        else:
            yield f"{above}{key} = {json.dumps(value, ensure_ascii=False)}"


def _compared(
    result: TableResult, reports: Sequence[Classification | None], best: TableRow | None
) -> dict[str, Any] | None:
    """One figure of every label at every row, a mean over seeds."""
    rows = [(row, r) for row, r in zip(result["rows"], reports, strict=True) if r is not None]
    if not rows:
        return None
    ranked = all(r.thresholds for _, r in rows)  # then scores can be judged without a threshold
    metric = COLUMNS[headline_metric(exclusive=not ranked).removeprefix("macro_")]
    supports: dict[str, str] = {}
    means: list[dict[str, float | None]] = []
    for _, report in rows:
        column = report.columns.index(metric)
        found: dict[str, float | None] = {}
        for line in report.labels:
            supports.setdefault(line.name, line.count)
            own = line.figures[column]
            found[line.name] = own.spread["mean"] if own and own.spread else None
        means.append(found)
    names = list(supports)
    values = {
        row["name"]: [m.get(n) for n in names] for (row, _), m in zip(rows, means, strict=True)
    }
    figure: Markup | None = None
    if best is not None and best["name"] in values and len(rows) <= MOST_MARKED:
        whole = best["name"]
        figure = plots.per_label(
            names[:MOST_LABELS],
            [supports[name] for name in names[:MOST_LABELS]],
            (whole, values[whole][:MOST_LABELS]),
            {name: v[:MOST_LABELS] for name, v in values.items() if name != whole},
            metric,
            "compared",
        )
    cells = [
        [NOTHING if v is None else published.figure(v) for v in column]
        for column in values.values()
    ]
    return {
        "metric": metric,
        "figure": figure,
        "best": best["name"] if best is not None else NOTHING,
        "shown": min(len(names), MOST_LABELS),
        "names": list(values),
        "rows": list(zip(names, supports.values(), zip(*cells, strict=True), strict=True)),
    }


def _left_out(result: TableResult) -> list[tuple[str, list[str]]]:
    """(seeds, labels) that some average leaves out; seeds that leave out the same are together."""
    found: dict[tuple[str, ...], list[str]] = {}
    for seed, names in zip(result["seeds"], result["left_out"], strict=True):
        found.setdefault(tuple(names), []).append(str(seed))
    return [(", ".join(seeds), list(names)) for names, seeds in found.items() if names]
