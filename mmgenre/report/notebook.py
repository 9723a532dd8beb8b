"""What a notebook shows of a result: the verdict and the figures of each set of modalities."""

from __future__ import annotations

from html import escape
from pathlib import Path

from mmgenre.errors import MmgenreError
from mmgenre.measuring import results
from mmgenre.measuring.results import FusionResult, headline_metric
from mmgenre.report import tables
from mmgenre.report.bars import Scale
from mmgenre.report.parts import read_run
from mmgenre.report.plots import printable


def fusion_html(result: FusionResult) -> str:
    """A fusion as a small table with bars; whatever comes from the data is escaped."""
    metric, items = headline_metric(exclusive=result["exclusive"]), tables.headline_items(result)
    lines, scale = [], Scale()
    for row in tables.plain_rows(result):
        shown = tables.metric_value(row, items, metric)
        width = scale.at(shown.value) if shown.value is not None else "0"
        ends = shown.interval
        interval = f"{tables.number(ends[0])}–{tables.number(ends[1])}" if ends else ""
        lines.append(
            f"<tr><th style='text-align:left'>{_text(tables.words(row))}</th>"
            f"<td style='width:12em'>{bar(width)}</td><td>{shown}</td><td>{interval}</td></tr>"
        )
    title = tables.columns(result)[metric]
    return (
        f"<p><strong>{_text(result['name'])}</strong>: {_text(tables.headline(result))}</p>"
        f"<table><thead><tr><th></th><th></th><th>{title}</th><th>95 % interval</th></tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table>"
    )


def run_html(folder: Path) -> str:
    """A run: its fusions as they were measured last, or what to do before there is something."""
    try:
        found = read_run(folder / results.RESULT, ", so nothing is measured yet", "Next: fuse")
    except MmgenreError as error:
        return f"<p>Run <code>{_text(str(folder))}</code>: {_text(str(error))}</p>"
    fusions = "".join(map(fusion_html, found["fusions"]))
    n_items, name = found["dataset"]["n_items"], _text(found["dataset"]["name"])
    return f"<p>Run <code>{_text(str(folder))}</code>: {n_items:,} items of {name}</p>{fusions}"


def bar(width: str) -> str:
    """A bar of a width in percent, which says nothing to screen readers."""
    return (
        f"<div aria-hidden='true' style='width:{width}%;height:.8em;background:#5b8fc7;"
        "min-width:1px'></div>"
    )


def _text(text: str) -> str:
    return escape(printable(text))
