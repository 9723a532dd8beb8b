"""One self-contained HTML page of a run: no request leaves it, and it reads without scripts.

A new section is a line in SECTIONS, its function, and templates/ID.html.jinja, which shows what the
function returns.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, cast

from mmgenre.disk.locks import replacing_alone
from mmgenre.disk.provenance import sha256_file
from mmgenre.disk.records import EditedError, read_record
from mmgenre.explain.results import QUALITATIVE, Qualitative, WordsResult
from mmgenre.items.manifest import SPLITS
from mmgenre.items.modalities import MODALITIES
from mmgenre.measuring import results
from mmgenre.measuring.results import FusionResult, Row, RunResult, headline_metric
from mmgenre.report import plots, tables
from mmgenre.report.parts import MOST_LABELS, by_label, confusion, read_result, refusals, template

REPORT = "report.html"
PARTS = ("words", "heat", "neighbours", "factors", "covers", "guesses", "human")
ABSENT = "This run has none."


def write_report(run: Path) -> Path:
    """Reads `run`/metrics.json and, if it is there, qualitative.json; writes `run`/report.html.

    The page is written whole or not at all. A qualitative.json of other metrics is not shown;
    `pipeline.qualitative.make_report` first computes it anew. Raises MmgenreError if metrics.json
    is missing or cannot be used.
    """
    source, again = run / results.RESULT, f"mmgenre fuse --run {run}"
    absent = f", so there is nothing to report yet. Run first: {again}"
    result = read_result(source, RunResult.__required_keys__, absent, f"Run again: {again}")
    found = read_qualitative(run / QUALITATIVE, sha256_file(source))
    with replacing_alone(run / REPORT) as temporary:
        temporary.write_text(render(cast(RunResult, result), found), encoding="utf-8")
    return run / REPORT


def not_shown(reason: str) -> Qualitative:
    """A qualitative.json without any part, all for one reason."""
    missing = dict.fromkeys(PARTS, reason)
    content = {"fingerprint": "", "metrics_sha256": "", **dict.fromkeys(PARTS), "missing": missing}
    return cast(Qualitative, content)


NOT_COMPUTED = not_shown("Not computed for this page. Run: mmgenre report RUN")


def read_qualitative(path: Path, metrics_sha256: str) -> Qualitative:
    """A run's qualitative.json, or why no part of it is shown."""
    if not path.is_file():
        return NOT_COMPUTED
    try:
        content = read_record(path)
        lacking = Qualitative.__required_keys__ - set(content)
    except EditedError:
        fault = "was edited or damaged since it was written"
    except ValueError:
        fault = "is damaged"
    else:
        if not lacking and content["metrics_sha256"] == metrics_sha256:
            return cast(Qualitative, content)
        fault = "belongs to other metrics than this page"
        if lacking:
            fault = f"lacks {', '.join(sorted(lacking))}"
    return not_shown(f"{path.name} {fault}. Run: mmgenre report RUN")


def render(result: RunResult, found: Qualitative = NOT_COMPUTED) -> str:
    """The page. Whatever comes from the data is escaped; the same result gives the same bytes.

    In `found["missing"]`: why parts are not shown.
    """
    fusions = [fusion(one, f"fusion-{k}") for k, one in enumerate(result["fusions"], 1)]
    sections: list[tuple[str, str, str, Any]]
    sections = [(shown["id"], shown["name"], "fusion", shown) for shown in fusions]
    sections += [(key, t, key, build(result, found)) for key, (t, build) in SECTIONS.items()]
    return template("page").render(
        run=result["run"],
        made_by=result["made_by"],
        dataset=dataset(result, found),
        notes=result.get("notes", []),
        fusions=fusions,
        sections=sections,
        plots=plots,
    )


def fusion(result: FusionResult, key: str) -> dict[str, Any]:
    """One fusion; figures are of the items that its headline is about."""
    items, metric = tables.headline_items(result), headline_metric(exclusive=result["exclusive"])
    columns = tables.columns(result)
    singles, whole = tables.compared(result)
    matrix = _first(whole, items).get("confusion_matrix") if result["exclusive"] else None
    measured = tables.on(whole, items) if whole else None
    curves = [("joint", "joint space", result["joint"])] if result["joint"] else []
    curves += [
        (f"row-{j}", row["name"], curve)
        for j, row in enumerate(result["rows"])
        if (curve := row["curve"])
    ]
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
        "tables": [(s, tables.fusion_table(result, s)) for s in tables.ITEM_SETS],
        "bars": plots.headline_bars(result, items, f"{key}-bars") if result["rows"] else None,
        "labels": _labels(singles, whole, items, result["exclusive"], key),
        "confusion": confusion(matrix, result["labels"], f"{key}-confusion") if matrix else None,
        "left_out": _left_out(whole),
        "panels": [_panel(curve, f"{key}-{name}", title) for name, title, curve in curves],
        "whole": whole["name"] if whole else tables.NOTHING,
    }


def _first(row: Row | None, items: tables.ItemSet) -> results.Metrics:
    """A row's metrics of the first seed; empty where there are none."""
    result = tables.on(row, items) if row else None
    return result["per_seed"][0] if result and result["per_seed"] else {}


def _labels(
    singles: Sequence[Row], whole: Row | None, items: tables.ItemSet, exclusive: bool, key: str
) -> dict[str, Any] | None:
    """One metric of every label: the single modalities beside the row of all modalities."""
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
        f"{key}-labels",
        bars=whole["name"],
        marks={r["name"]: r["inputs"][0] for r in singles if r["name"] in per_label},
    )


def _left_out(whole: Row | None) -> list[tuple[str, str, list[str]]]:
    """(metrics, items, labels) of the labels that a macro mean could not include."""
    found = []
    for items, title in tables.ITEM_SETS.items():
        f1, auc = (_first(whole, items).get(f"left_out_of_{name}") or [] for name in ("f1", "auc"))
        alike = [("F1 and AUC", f1)] if f1 == auc else [("F1", f1), ("AUC", auc)]
        found += [(metric, title, labels) for metric, labels in alike if labels]
    return found


def _panel(curve: results.Curve, key: str, title: str, detail: str = "") -> dict[str, Any]:
    """A learning curve with its caption; no figure where no epoch was recorded."""
    steps = {epoch["epoch"]: epoch["step"] for epoch in curve["epochs"] if "step" in epoch}
    n, best = len(curve["epochs"]), curve["best_epoch"]
    kept = f"best epoch {best} of {n}" if n else "no epoch recorded"
    if best in steps:
        kept = f"best step {steps[best]:,} of {max(steps.values()):,}"
    return {
        "title": title,
        "detail": f"{detail}{kept}",
        "figure": plots.learning_curve(curve, key, title) if n else None,
    }


def curves(result: RunResult, _: Qualitative) -> list[dict[str, Any]]:
    """The encoders' learning curves; the template adds those of the fusions."""
    return [
        _panel(
            encoder["curve"],
            f"encoder-{k}",
            f"{name}: {encoder['network']}",
            f"{encoder['n_parameters']:,} parameters, {encoder['embedding_dim']:,}-d, ",
        )
        for k, (name, encoder) in enumerate(result["encoders"].items())
    ]


def dataset(result: RunResult, _: Qualitative) -> dict[str, Any]:
    """Counts by split and modality, labels by frequency, and the number of refused inputs."""
    data = result["dataset"]
    counts = sorted(data["label_counts"].items(), key=lambda pair: (-pair[1], pair[0]))
    having = {m: data["modalities"][m] for m in _ordered(MODALITIES, data["modalities"])}
    sums = {m: sum(by_split.values()) for m, by_split in having.items()}
    splits = [(split, data["splits"][split]) for split in _ordered(SPLITS, data["splits"])]
    rows = [(s, n, [_of(by_split.get(s, 0), n) for by_split in having.values()]) for s, n in splits]
    total = sum(data["splits"].values())
    per_split = ", ".join(f"{n:,} {split}" for split, n in splits) or "no splits"
    line = [f"{data['n_items']:,} items ({per_split})", f"{len(counts):,} labels"]
    tail = plots.long_tail([n for _, n in counts], "tail") if len(counts) > MOST_LABELS else None
    return {
        "name": data["name"],
        "synthetic": data["synthetic"],
        "line": ", ".join([*line, *(f"{m} for {n:,}" for m, n in sums.items())]),
        "modalities": list(having),
        "rows": [*rows, ("total", total, [_of(n, total) for n in sums.values()])],
        "counts": counts,
        "most": MOST_LABELS,
        "tail": tail,
        "n_refused": len(data["refused"]),
    }


def _ordered(first: Iterable[str], names: Mapping[str, object]) -> list[str]:
    """The names in their usual order, unknown ones at the end."""
    return [n for n in first if n in names] + sorted(n for n in names if n not in first)


def _of(n: int, total: int) -> str:
    return f"{n:,} ({n / total:.0%})" if total else f"{n:,}"


def recipe(result: RunResult, _: Qualitative) -> list[tuple[str, list[tuple[str, str]]]]:
    """Sections of the recipe and their settings; values as JSON."""
    settings = result["recipe"]
    top = {key: v for key, v in settings.items() if not isinstance(v, Mapping)}
    sections = [("(top level)", top)] if top else []
    sections += [(key, dict(v)) for key, v in settings.items() if isinstance(v, Mapping)]
    return [
        (name, [(k, json.dumps(v, ensure_ascii=False)) for k, v in values.items()])
        for name, values in sections
    ]


def apart(_: RunResult, found: Qualitative) -> dict[str, Any]:
    """What tells genres apart: words, places on covers, neighbours, maps of albums."""
    missing = {**dict.fromkeys(PARTS, ABSENT), **found["missing"]}
    named = {"factors": found["factors"], "covers": found["covers"]}
    maps = [points for points in named.values() if points]
    styles = plots.genre_styles(maps)
    return {
        **found,
        "words": found["words"] and _words(found["words"]),
        "maps": [
            {
                **points,
                "figure": plots.map_figure(points, styles, f"map-{k}"),
                "grey": len({point["genre"] for point in points["points"]} - set(styles)),
            }
            for k, points in enumerate(maps)
        ],
        "no_maps": dict.fromkeys(missing[name] for name, points in named.items() if not points),
        "missing": missing,
    }


def _words(words: WordsResult) -> dict[str, Any]:
    """Words with a higher gain than the best word has by chance, for and against each genre."""
    genres, against = [], False
    for genre in words["genres"]:
        telling = [w for w in genre["words"] if w["bits"] > genre["chance_bits"]]
        against |= any(not w["speaks_for"] for w in telling)
        genres.append({**genre, "words": telling})
    most = max(len(genre["words"]) for genre in words["genres"])
    return {**words, "genres": genres, "against": against, "most": most}


def guesses(_: RunResult, found: Qualitative) -> dict[str, Any]:
    """The first guesses of both heads, and why there are none.

    For each head: right first guesses, items with a right guess, and genres named at all.
    """
    names: tuple[Literal["logistic", "cosine"], ...] = ("logistic", "cosine")
    shown = []
    for table in found["guesses"] or []:
        heads = []
        for name in names:
            rows = [item[name] for item in table["items"]]
            first = sum(row[0]["right"] for row in rows)
            within = sum(any(guess["right"] for guess in row) for row in rows)
            genres = len({guess["genre"] for row in rows for guess in row})
            heads.append({"name": name.upper(), "first": first, "within": within, "genres": genres})
        shown.append({**table, "heads": heads})
    return {"tables": shown, "missing": found["missing"].get("guesses", ABSENT)}


def human(_: RunResult, found: Qualitative) -> dict[str, Any]:
    """One table per fusion: F1 by genre, two columns for each row that the annotator did."""
    shown = []
    for name, group in groupby(found["human"] or [], key=lambda agreement: agreement["fusion"]):
        rows = list(group)
        f1s = [zip(a["genres"], a["human"], a["model"], strict=True) for a in rows]
        cells = [{genre: [f"{h:.2f}", f"{m:.2f}"] for genre, h, m in f1} for f1 in f1s]
        names = sorted({genre for own in cells for genre in own})
        nothing = [tables.NOTHING, tables.NOTHING]
        genres = {g: [cell for own in cells for cell in own.get(g, nothing)] for g in names}
        shown.append({"fusion": name, "rows": rows, "genres": genres})
    return {"tables": shown, "missing": found["missing"].get("human", ABSENT)}


# Behind the sections of the fusions: the anchor of each, which is the name of its template, its
# title in the navigation, and what makes `shown` in the template.
SECTIONS: dict[str, tuple[str, Callable[[RunResult, Qualitative], Any]]] = {
    "apart": ("What tells genres apart", apart),
    "guesses": ("Guesses", guesses),
    "human": ("Human", human),
    "curves": ("Learning curves", curves),
    "dataset": ("Dataset", dataset),
    "refused": ("Refused", lambda result, _: refusals(result["dataset"]["refused"])),
    "recipe": ("Recipe", recipe),
}
