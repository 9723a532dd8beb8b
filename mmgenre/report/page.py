"""One self-contained HTML page of a run: no request leaves it, and it reads without scripts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from mmgenre.disk.files import replacing
from mmgenre.disk.provenance import sha256_file
from mmgenre.errors import MmgenreError
from mmgenre.explain.description import QUALITATIVE, Qualitative
from mmgenre.measuring.results import (
    RESULT,
    Curve,
    FusionResult,
    Metrics,
    Row,
    RunResult,
    headline_metric,
)
from mmgenre.report import plots, qualitative, tables
from mmgenre.report.made_from import MOST_LABELS, dataset, recipe
from mmgenre.report.parts import confusion, environment

REPORT = "report.html"


def write_report(run: Path) -> Path:
    """Reads `run`/metrics.json and, if it is there, qualitative.json; writes `run`/report.html.

    The page is written whole or not at all. A qualitative.json that goes with other metrics is not
    shown; `stages.describing.make_report` makes it anew first.

    Raises:
        MmgenreError: metrics.json is missing or is not one.
    """
    source, target = run / RESULT, run / REPORT
    if not source.is_file():
        raise MmgenreError(
            f"{source}: not there, so there is nothing to report yet. "
            f"Run first: mmgenre fuse --run {run}"
        )
    try:
        result = json.loads(source.read_text(encoding="utf-8"))
    except ValueError as error:
        raise MmgenreError(
            f"{source}: not valid JSON ({error}). Run again: mmgenre fuse --run {run}"
        ) from error
    missing = RunResult.__required_keys__ - set(result if isinstance(result, dict) else ())
    if missing:
        raise MmgenreError(
            f"{source}: lacks {', '.join(sorted(missing))}; was it written by another version? "
            f"Run again: mmgenre fuse --run {run}"
        )
    described = qualitative.read(run / QUALITATIVE, sha256_file(source))
    with replacing(target) as temporary:
        temporary.write_text(render(cast(RunResult, result), described), encoding="utf-8")
    return target


def render(result: RunResult, described: Qualitative | str = qualitative.NOT_DESCRIBED) -> str:
    """The page. Whatever comes from the data is escaped; the same result gives the same bytes.

    Args:
        result: metrics.json.
        described: qualitative.json, or why it is not shown.
    """
    encoders = [
        _panel(
            encoder["curve"],
            f"encoder-{k}",
            f"{name}: {encoder['network']}",
            f"{encoder['n_parameters']:,} parameters, {encoder['embedding_dim']:,}-d",
        )
        for k, (name, encoder) in enumerate(result["encoders"].items())
    ]
    return (
        environment()
        .get_template("page.html.jinja")
        .render(
            run=result["run"],
            made_by=result["made_by"],
            dataset=dataset(result),
            fusions=[_fusion(fusion, k) for k, fusion in enumerate(result["fusions"], 1)],
            shown=qualitative.shown(described),
            encoders=encoders,
            recipe=recipe(result["recipe"]),
            colours=plots.COLOURS,
        )
    )


def _fusion(fusion: FusionResult, k: int) -> dict[str, Any]:
    """All that the page shows of one fusion; figures are of the headline's items."""
    items, metric = tables.headline_items(fusion), headline_metric(exclusive=fusion["exclusive"])
    singles, whole = tables.compared(fusion)
    result, metrics = tables.on(whole, items) if whole else None, _first(whole, items)
    key, n_seeds = f"fusion-{k}", len(fusion["seeds"])
    panels = [_panel(fusion["joint"], f"{key}-joint", "joint space", "")] if fusion["joint"] else []
    panels += [
        _panel(row["curve"], f"{key}-row-{j}", row["name"], "")
        for j, row in enumerate(fusion["rows"])
    ]
    return {
        "id": key,
        "name": fusion["name"],
        "head": fusion["head"],
        "exclusive": fusion["exclusive"],
        "n_labels": len(fusion["labels"]),
        "n_seeds": n_seeds,
        "headline": tables.headline(fusion),
        "metric": tables.columns(fusion)[metric],
        "columns": tables.columns(fusion),
        "headline_column": list(tables.columns(fusion)).index(metric),
        "items": tables.ITEM_SETS[items],
        "n_items": result["n_items"] if result else 0,
        "tables": [(s, tables.fusion_table(fusion, s)) for s in tables.ITEM_SETS],
        "bars": plots.headline_bars(fusion, items, f"{key}-bars") if fusion["rows"] else None,
        "labels": _labels(singles, whole, items, fusion["exclusive"], key) if metrics else None,
        "confusion": _confusion(fusion, metrics, key) if fusion["exclusive"] and metrics else None,
        "left_out": _left_out(whole),
        "panels": panels,
        "whole": whole["name"] if whole else tables.NOTHING,
    }


def _first(row: Row | None, items: tables.ItemSet) -> Metrics | None:
    """A row's metrics of the first seed."""
    result = tables.on(row, items) if row else None
    return result["per_seed"][0] if result and result["per_seed"] else None


def _by_support(metrics: Metrics) -> list[str]:
    per_label = metrics.get("per_label") or {}
    return sorted(per_label, key=lambda name: (-per_label[name]["support"], name))


def _labels(
    singles: Sequence[Row], whole: Row | None, items: tables.ItemSet, exclusive: bool, key: str
) -> dict[str, Any] | None:
    """One metric of every label: the single modalities against the whole."""
    rows = [row for row in (*singles, whole) if row and (_first(row, items) or {}).get("per_label")]
    if whole is None or whole not in rows:
        return None
    metric, title = ("f1", "F1") if exclusive else ("roc_auc", "ROC-AUC")
    per_row = [(_first(row, items) or {})["per_label"] for row in rows]
    names = _by_support(_first(whole, items) or {})
    supports = [per_row[-1][name]["support"] for name in names]
    values = [[(labels.get(name) or {}).get(metric) for name in names] for labels in per_row]
    figure = plots.per_label(
        names[:MOST_LABELS],
        [f"{n:,}" for n in supports[:MOST_LABELS]],
        (whole["name"], values[-1][:MOST_LABELS]),
        {row["inputs"][0]: v[:MOST_LABELS] for row, v in zip(rows[:-1], values, strict=False)},
        title,
        f"{key}-labels",
    )
    columns_ = [[tables.number(v) for v in column] for column in values]
    return {
        "metric": title,
        "figure": figure,
        "names": [row["name"] for row in rows],
        "rows": list(zip(names, supports, zip(*columns_, strict=True), strict=True)),
        "shown": min(len(names), MOST_LABELS),
    }


def _confusion(fusion: FusionResult, metrics: Metrics, key: str) -> dict[str, Any] | None:
    matrix = metrics.get("confusion_matrix")
    return confusion(matrix, fusion["labels"], f"{key}-confusion") if matrix else None


def _left_out(whole: Row | None) -> list[tuple[str, str, list[str]]]:
    """(metrics, items, labels) of the labels that a macro mean could not include."""
    result = []
    for items, title in tables.ITEM_SETS.items():
        metrics = _first(whole, items) or {}
        f1, auc = metrics.get("left_out_of_f1") or [], metrics.get("left_out_of_auc") or []
        found = [("F1 and AUC", f1)] if f1 == auc else [("F1", f1), ("AUC", auc)]
        result += [(metric, title, labels) for metric, labels in found if labels]
    return result


def _panel(curve: Curve, key: str, title: str, detail: str) -> dict[str, Any]:
    """A learning curve with its caption; no figure where no epoch was recorded."""
    n = len(curve["epochs"])
    kept = f"best epoch {curve['best_epoch']} of {n}" if n else "no epoch recorded"
    return {
        "title": title,
        "detail": ", ".join(part for part in (detail, kept) if part),
        "figure": plots.learning_curve(curve, key, title) if n else None,
    }
