"""What a run was made from, as the page shows it: dataset and recipe."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mmgenre.measuring.results import RunResult
from mmgenre.report import plots
from mmgenre.report.parts import refusals

MOST_LABELS = 40  # in a figure; more are in the table below it
SPLITS = ("train", "val", "test")
MODALITIES = ("audio", "text", "image")


def dataset(result: RunResult) -> dict[str, Any]:
    """Counts per split and modality, labels by frequency, and what was refused."""
    data = result["dataset"]
    counts = sorted(data["label_counts"].items(), key=lambda pair: (-pair[1], pair[0]))
    splits = _ordered(SPLITS, data["splits"])
    modalities = _ordered(MODALITIES, data["modalities"])
    rows: list[tuple[str, int, list[str]]] = []
    for split in splits:
        n = data["splits"][split]
        rows.append((split, n, [_of(data["modalities"][m].get(split, 0), n) for m in modalities]))
    total, sums = sum(data["splits"].values()), {}
    for m in modalities:
        sums[m] = sum(data["modalities"][m].values())
    rows.append(("total", total, [_of(sums[m], total) for m in modalities]))
    per_split = ", ".join(f"{n:,} {split}" for split, n, _ in rows[:-1]) or "no splits"
    line = [f"{data['n_items']:,} items ({per_split})", f"{len(counts):,} labels"]
    line += [f"{m} for {sums[m]:,}" for m in modalities]
    return {
        "name": data["name"],
        "synthetic": data["synthetic"],
        "line": ", ".join(line),
        "modalities": modalities,
        "rows": rows,
        "counts": counts,
        "most": MOST_LABELS,
        "tail": plots.long_tail([n for _, n in counts], "tail")
        if len(counts) > MOST_LABELS
        else None,
        "refused": refusals(data["refused"]),
    }


def recipe(settings: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Sections and their settings; values as JSON."""
    top = {key: v for key, v in settings.items() if not isinstance(v, Mapping)}
    sections = [("(top level)", top)] if top else []
    sections += [(key, dict(v)) for key, v in settings.items() if isinstance(v, Mapping)]
    return [
        (name, [(k, json.dumps(v, ensure_ascii=False)) for k, v in values.items()])
        for name, values in sections
    ]


def _ordered(first: Sequence[str], names: Mapping[str, object]) -> list[str]:
    """The names in their usual order, unknown ones at the end."""
    return [n for n in first if n in names] + sorted(n for n in names if n not in first)


def _of(n: int, total: int) -> str:
    return f"{n:,} ({n / total:.0%})" if total else f"{n:,}"
