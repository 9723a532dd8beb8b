"""One self-contained HTML page of an experiment, and everything else made from its table.json."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from mmgenre.disk.locks import replacing_alone
from mmgenre.measuring.results import headline_metric, required_keys
from mmgenre.measuring.table_results import TABLE_RESULT, TableResult, TableRow
from mmgenre.report import published
from mmgenre.report.bars import Dot, dots
from mmgenre.report.parts import by_label, confusion, read_result, refusals, script, template
from mmgenre.report.published import Classification
from mmgenre.report.tables import NOTHING, best_rows

PAGE, TABLE = "table.html", "table.md"
MOST_MARKED = 5  # rows in a figure of all labels; more could not be told apart
MOST_BESIDE = 10  # labels of a confusion matrix that fits beside its report
SAME = "not distinguishable"
MOST_OPEN = 3  # rows that are unfolded from the start


def write_experiment(folder: Path) -> tuple[Path, Path]:
    """Writes everything that is made from `folder`/table.json; returns the table and the page.

    table.md and table.csv hold the table, reports.md and reports.csv the classification reports,
    table.html everything. Each is written whole or not at all. Raises MmgenreError if table.json is
    missing, not JSON, or was written by another version.
    """
    absent = ". Run first: mmgenre run EXPERIMENT --dataset FILE"
    again = "Run the experiment again (mmgenre run): finished steps are reused, so it takes seconds"
    keys, rows = required_keys(TableResult), required_keys(TableRow)
    result = cast(
        TableResult, read_result(folder / TABLE_RESULT, keys, absent, again, within={"rows": rows})
    )
    files = {
        TABLE: published.markdown(result),
        "table.csv": published.as_csv(result),
        "reports.md": published.reports_markdown(result),
        "reports.csv": published.reports_csv(result),
        PAGE: render_experiment(result),
    }
    for name, text in files.items():
        with replacing_alone(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return folder / TABLE, folder / PAGE


def render_experiment(result: TableResult) -> str:
    """The page. Whatever comes from the data is escaped; the same result gives the same bytes."""
    rows, judged = result["rows"], published.judged_by(result)
    reports = [published.classification(row) for row in rows]
    title = published.TITLES.get(judged, judged)
    named = [row for row in rows if judged in row["summary"]]
    best = max(named, key=lambda row: row["summary"][judged]["mean"], default=None)
    headline = f"No row has a figure of {title}."
    if best is not None:  # the first of equals
        theirs = published.published(best, judged)
        # Figures of the synthetic catalogue are not to be compared with published ones.
        compares = theirs != NOTHING and not result["synthetic"]
        beside = f" (published: {theirs})" if compares else ""
        headline = f"Highest {title}: {best['name']}, {published.ours(best, judged)}{beside}."
    code, policy = script("page.js")
    return template("experiment").render(
        script=code,
        policy=policy,
        result=result,
        published=published,
        headline=headline,
        picture=_picture(result, judged),
        intervals=any(row["intervals"] for row in rows),
        equals=_equals(result, best),
        columns=[
            (published.TITLES.get(m, m), any(m in row["published"] for row in rows), m == judged)
            for m in result["metrics"]
        ],
        judged=title,
        rows=[
            _row(result, row, report, f"row-{k}")
            for k, (row, report) in enumerate(zip(rows, reports, strict=True), 1)
        ],
        compared=_compared(result, reports, best),
        legend=published.legend(overlapping=any(r and r.thresholds for r in reports)),
        unfolded=len(rows) <= MOST_OPEN,
        left_out=_left_out(result),
        refused=refusals(result["refused"]) if result["refused"] else None,
    )


def _picture(result: TableResult, judged: str) -> dict[str, Any] | None:
    """The judged metric of every row, with what was published."""
    lines = []
    for k, row in enumerate(result["rows"], 1):
        if (spread := row["summary"].get(judged)) is None:
            continue
        interval = row["intervals"].get(judged)
        if interval is None and spread["std"] > 0:
            interval = spread["mean"] - spread["std"], spread["mean"] + spread["std"]
        theirs = row["published"].get(judged)
        beside = published.published(row, judged)
        note = f"published {beside}" if theirs is not None else ""
        printed, href = str(published.ours(row, judged)), f"#row-{k}"
        lines.append(
            Dot(row["name"], spread["mean"], printed, interval, None, theirs, note=note, href=href)
        )
    return dots(lines) if lines else None


def _equals(result: TableResult, best: TableRow | None) -> dict[str, Any] | None:
    """The rows that cannot be told from the highest, and the others, if these were tested."""
    found = result["differences"]
    if not found or best is None:
        return None
    others: dict[bool, list[str]] = {True: [], False: []}
    for pair in found:
        if best["name"] in (pair["a"], pair["b"]):
            other = pair["b"] if pair["a"] == best["name"] else pair["a"]
            others[pair["verdict"] == SAME].append(other)
    return {"best": best["name"], "others": others[True], "told": others[False], "all": found}


def _row(
    result: TableResult, row: TableRow, report: Classification | None, key: str
) -> dict[str, Any]:
    """All that the page shows of one row."""
    cells = []
    for metric in result["metrics"]:
        own = published.ours(row, metric)
        best = row["name"] in best_rows(result["differences"]).get(metric, ())
        cells.append((best, own, published.published(row, metric)))
    labels = [line.name for line in report.labels] if report else []
    matrix = report and report.matrix
    return {
        **row,
        "id": key,
        "changes": ", ".join(_settings(row["changes"])),
        "cells": cells,
        "judged": str(published.ours(row, published.judged_by(result))),
        "report": report,
        "beside": len(labels) <= MOST_BESIDE,
        "confusion": matrix and confusion(matrix, labels, f"{key}-confusion"),
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
    rows = zip(result["rows"], reports, strict=True)
    known = {row["name"]: report for row, report in rows if report is not None}
    if not known:
        return None
    # Where all have thresholds, scores can be judged without one.
    ranked = all(report.thresholds for report in known.values())
    metric = published.COLUMNS[headline_metric(exclusive=not ranked).removeprefix("macro_")]
    supports: dict[str, str] = {}
    means: dict[str, dict[str, float | None]] = {name: {} for name in known}
    for name, report in known.items():
        column = report.columns.index(metric)
        for line in report.labels:
            supports.setdefault(line.name, line.count)
            own = line.figures[column]
            means[name][line.name] = own.spread["mean"] if own and own.spread else None
    columns = {name: [found.get(label) for label in supports] for name, found in means.items()}
    name = best["name"] if best is not None else NOTHING
    table = by_label(
        supports,
        columns,
        published.figure,
        metric,
        bars=name if name in columns and len(columns) <= MOST_MARKED else None,
        marks={other: other for other in columns if other != name},
    )
    return {**table, "best": name}


def _left_out(result: TableResult) -> list[tuple[str, list[str]]]:
    """(seeds, labels) that some average leaves out, one entry for seeds that leave out the same."""
    found: dict[tuple[str, ...], list[str]] = {}
    for seed, names in zip(result["seeds"], result["left_out"], strict=True):
        found.setdefault(tuple(names), []).append(str(seed))
    return [(", ".join(seeds), list(names)) for names, seeds in found.items() if names]
