"""What a page shows of one fusion: verdict, certainty, what modalities add, right and wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmgenre.items.modalities import MODALITIES, modality_of
from mmgenre.measuring import results
from mmgenre.measuring.results import FusionResult, Result, Row, headline_metric
from mmgenre.report import tables
from mmgenre.report.bars import Dot, about_zero, dots, span, style
from mmgenre.report.parts import by_label, confusion, panel


def fusion(result: FusionResult, key: str) -> dict[str, Any]:
    """One fusion; figures are of the items that its headline is about."""
    items, metric = tables.headline_items(result), headline_metric(exclusive=result["exclusive"])
    columns = tables.columns(result)
    singles, whole = tables.compared(result)
    matrix = _first(whole, items).get("confusion_matrix") if result["exclusive"] else None
    measured = tables.on(whole, items) if whole else None
    return {
        **result,
        "id": key,
        "n_labels": len(result["labels"]),
        "n_seeds": len(result["seeds"]),
        "headline": tables.headline(result),
        "metric": columns[metric],
        "columns": columns,
        "headline_column": list(columns).index(metric),
        "items": tables.ITEM_SETS[items],
        "n_items": measured["n_items"] if measured else 0,
        "n_groups": measured["n_groups"] if measured else 0,
        "tables": [(s, tables.fusion_table(result, s)) for s in tables.ITEM_SETS],
        "picture": _picture(result, items, metric),
        "pairs": _pairs(result, items, whole),
        "adds": _adds(result, items, metric),
        "labels": _labels(singles, whole, items, result["exclusive"]),
        "buckets": _buckets(measured, metric),
        "levels": _levels(measured, columns),
        "confusion": confusion(matrix, result["labels"], f"{key}-confusion") if matrix else None,
        "left_out": _left_out(whole),
        "panels": list(_panels(result, key)),
        "whole": whole["name"] if whole else tables.NOTHING,
    }


def own_fusion(fusions: Sequence[FusionResult], recipe: Mapping[str, Any]) -> int:
    """The position of the fusion that a run's recipe asks for; 0 where that is not known."""
    task = (recipe.get("labels") or {}).get("task")
    head = (recipe.get("fusion") or {}).get("head")
    asked = [(f["exclusive"], f["head"]) == (task == "single", head) for f in fusions]
    return asked.index(True) if True in asked else 0


def _picture(result: FusionResult, items: tables.ItemSet, metric: str) -> dict[str, Any] | None:
    """What each set of modalities reaches, and what random scores and the commonest genre reach."""
    lines = []
    _, whole = tables.compared(result)
    for k, row in enumerate(sorted(tables.plain_rows(result), key=_place)):
        shown = tables.metric_value(row, items, metric)
        if shown.value is None:
            continue
        mark = style(row["inputs"][0], k) if len(row["inputs"]) == 1 else ("", "disc")
        name, own = tables.words(row), None if row is whole else mark
        lines.append(Dot(name, shown.value, shown.mean, shown.interval, own, note=row["name"]))
    guessing: dict[str, float | None] = {}
    for name, title in (("random", "random scores"), ("commonest", "always the commonest")):
        spread = result["baselines"][name]["summary"].get(metric) if result["baselines"] else None
        guessing[title] = spread["mean"] if spread else None
    if guessing["random scores"] is None and not result["exclusive"]:
        guessing["random scores"] = 0.5  # of any ROC-AUC
    if guessing["always the commonest"] == guessing["random scores"]:
        del guessing["always the commonest"]
    return dots(lines, lines_at=guessing) if lines else None


def _pairs(result: FusionResult, items: tables.ItemSet, whole: Row | None) -> dict[str, Any] | None:
    """Differences of rows in the headline metric; in sentences those of the whole with others."""
    metric = headline_metric(exclusive=result["exclusive"])
    found = [d for d in result["differences"].get(items, []) if d["metric"] == metric]
    if not found or whole is None:
        return None
    told: dict[str, list[str]] = {"better": [], "not distinguishable": [], "worse": []}
    for row in tables.plain_rows(result):
        if pair := tables.difference(result, whole["name"], row["name"], items):
            told[pair["verdict"]].append(row["name"])
    told = {verdict: names for verdict, names in told.items() if names}
    return {"told": told, "all": sorted(found, key=lambda pair: -abs(pair["value"]))}


def _adds(result: FusionResult, items: tables.ItemSet, metric: str) -> list[dict[str, Any]]:
    """For each modality of the whole: what it reaches alone, and what is lost without it."""
    _, whole = tables.compared(result)
    if whole is None:
        return []
    own = tables.metric_value(whole, items, metric).value
    by_inputs = {_modalities(row): row for row in tables.plain_rows(result)}
    found: list[dict[str, Any]] = []
    if own is None or len(_modalities(whole)) < 2:
        return found
    for k, modality in enumerate(dict.fromkeys(map(modality_of, whole["inputs"]))):
        alone = by_inputs.get(frozenset({modality}))
        rest = by_inputs.get(_modalities(whole) - {modality})
        if rest is None or (without := tables.metric_value(rest, items, metric).value) is None:
            continue
        pair = tables.difference(result, whole["name"], rest["name"], items)
        found.append(
            {
                "modality": modality,
                "mark": style(modality, k),
                "alone": tables.metric_value(alone, items, metric).mean if alone else None,
                "rest": tables.words(rest),
                "without": f"{without:.3f}",
                "gain": pair["value"] if pair else own - without,
                "interval": (pair["low"], pair["high"]) if pair else None,
                "verdict": pair["verdict"] if pair else None,
            }
        )
    scale = about_zero(e for add in found for e in (add["gain"], *(add["interval"] or ())))
    for add in found:
        add["zero"] = scale.at(0)
        add["bar"] = span(scale, min(add["gain"], 0), max(add["gain"], 0))
        add["ci"] = span(scale, *add["interval"]) if add["interval"] else None
    return found


def _place(row: Row) -> tuple[int, list[int]]:
    """By the number of modalities, then in their usual order."""
    order, own = list(MODALITIES), _modalities(row)
    return len(own), sorted(order.index(m) if m in order else len(order) for m in own)


def _modalities(row: Row) -> frozenset[str]:
    return frozenset(map(modality_of, row["inputs"]))


def _first(row: Row | None, items: tables.ItemSet) -> results.Metrics:
    """A row's metrics of the first seed; empty where there are none."""
    result = tables.on(row, items) if row else None
    return result["per_seed"][0] if result and result["per_seed"] else {}


def _labels(
    singles: Sequence[Row], whole: Row | None, items: tables.ItemSet, exclusive: bool
) -> dict[str, Any] | None:
    """One metric of every label: the single modalities beside the row of all modalities."""
    singles = sorted(singles, key=_place)
    rows = [*singles, *([whole] if whole else [])]
    per_label = {r["name"]: found for r in rows if (found := _first(r, items).get("per_label"))}
    if whole is None or whole["name"] not in per_label:
        return None
    metric, title = ("f1", "F1") if exclusive else ("roc_auc", "ROC-AUC")
    own = per_label[whole["name"]]
    names = sorted(own, key=lambda name: (-own[name]["support"], name))
    return by_label(
        {name: f"{own[name]['support']:,}" for name in names},
        {row: [f1[name][metric] for name in names] for row, f1 in per_label.items()},
        tables.number,
        title,
        bars=whole["name"],
        marks={r["name"]: r["inputs"][0] for r in singles if r["name"] in per_label},
    )


def _buckets(measured: Result | None, metric: str) -> dict[str, Any] | None:
    """The headline metric of labels with many, some and few training items."""
    lines = []
    for bucket in measured["buckets"] if measured else ():
        spread = bucket["summary"].get(metric)
        if spread is not None and tables.number(spread["mean"]) != tables.NOTHING:
            least, most = bucket["n_train"]
            note = f"{bucket['n_labels']:,} labels of {least:,} to {most:,} training items"
            printed = tables.number(spread["mean"])
            lines.append(Dot(bucket["name"], spread["mean"], printed, note=note))
    return dots(lines) if lines else None


def _levels(measured: Result | None, columns: Mapping[str, str]) -> dict[str, Any] | None:
    """Figures of parents, leaves and all labels of a taxonomy, raw and closed upward."""
    levels = measured["levels"] if measured else []
    names = [m for m in columns if any(m in level["raw"] for level in levels)]
    rows = [
        (level["name"], how, [tables.number(own[m]["mean"] if m in own else None) for m in names])
        for level in levels
        for how, own in (("as scored", level["raw"]), ("closed upward", level["closed"]))
    ]
    return {"columns": [columns[m] for m in names], "rows": rows} if rows and names else None


def _left_out(whole: Row | None) -> list[tuple[str, str, list[str]]]:
    """(metrics, items, labels) of the labels that a macro mean could not include."""
    found = []
    for items, title in tables.ITEM_SETS.items():
        f1, auc = (_first(whole, items).get(f"left_out_of_{name}") or [] for name in ("f1", "auc"))
        alike = [("F1 and AUC", f1)] if f1 == auc else [("F1", f1), ("AUC", auc)]
        found += [(metric, title, labels) for metric, labels in alike if labels]
    return found


def _panels(result: FusionResult, key: str) -> Iterator[dict[str, Any]]:
    """The learning curves of the joint space and of heads that were trained."""
    if result["joint"]:
        yield panel(result["joint"], f"{key}-joint", "joint space")
    for j, row in enumerate(result["rows"]):
        if row["curve"]:
            yield panel(row["curve"], f"{key}-row-{j}", row["name"])
