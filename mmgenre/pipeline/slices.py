"""How good a fusion is on parts of its items, by a column of the manifest. Nothing is trained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TypedDict

import numpy as np

from mmgenre.errors import MmgenreError
from mmgenre.fusion.whole import model_of
from mmgenre.items.labels import LabelSpace
from mmgenre.measuring import jackknife as jk
from mmgenre.measuring.differences import OF_LABELS, BlockMetric, groups_of
from mmgenre.measuring.jackknife import Blocks, Without
from mmgenre.measuring.metrics import Bools, Floats
from mmgenre.measuring.results import headline_metric
from mmgenre.pipeline.run import Run
from mmgenre.pipeline.scores import On, read_scores

BINS = 4  # of a column of numbers with more values than slices are shown
MOST = 20
REST, UNKNOWN = "all others", "not stated"


class Slice(TypedDict):
    """Items with one value, or numbers in one range, beside all the others.

    `figure` and `difference` are of the genres that can be measured on both sides, `n_labels`.
    """

    name: str
    n_items: int
    n_groups: int
    n_labels: int
    figure: float | None  # None: no genre can be measured on both sides
    low: float | None
    high: float | None
    difference: float | None  # less the figure of the others
    difference_low: float | None
    difference_high: float | None
    p_holm: float | None
    verdict: str  # "better" | "worse" | "not distinguishable" | "cannot be measured"


class Slices(TypedDict):
    """What `mmgenre slices` shows."""

    fusion: str
    row: str
    on: On
    column: str
    metric: str
    slices: list[Slice]


def slices(
    run: Run, column: str, *, fusion: str | None = None, row: str | None = None, on: On = "val"
) -> Slices:
    """A row of a fusion (default: the one with most inputs) on the items of each value.

    A column of numbers with more than 20 values is cut into quarters. Of names the 20 most frequent
    are shown. Items of an artist stand or fall together, also between a slice and the others.

    Raises:
        MmgenreError: no such column, fusion or row, or all items have the same value.
    """
    folder = model_of(run.folder, fusion)[0].parent
    scores = read_scores(folder, on)
    about = scores.about
    names = [own["name"] for own in about["rows"]]
    chosen = names[-1] if row is None else row
    if chosen not in names:
        raise MmgenreError(f"{folder}: has no row {row}; its rows are {', '.join(names)}")
    parts = parts_of(run, scores.ids, column, on)
    if len(set(parts)) < 2:
        raise MmgenreError(f"{run.folder}: every {on} item has {column} {parts[0]!r}")
    labels = LabelSpace(tuple(about["labels"]), about["exclusive"])
    own = scores.values[:, names.index(chosen)].astype(np.float64)
    metric = headline_metric(exclusive=labels.exclusive)
    y = run.truth(scores.ids, space=labels)
    groups = groups_of(scores.ids, [run.manifest[i].artist for i in scores.ids])
    seeds = [own[:, k] for k in range(own.shape[1])]
    return {
        "fusion": folder.name,
        "row": chosen,
        "on": on,
        "column": column,
        "metric": metric,
        "slices": measured(y, seeds, groups, parts, metric),
    }


def parts_of(run: Run, ids: Sequence[str], column: str, which: str) -> list[str]:
    """The slice of each of some items by a column of the manifest; `which` they are, for the error.

    Raises:
        MmgenreError: none of them has a value of it.
    """
    values = [run.manifest[i].extra.get(column, "") for i in ids]
    if not any(values):
        told = ", ".join(columns_of(run, ids)) or "none"
        raise MmgenreError(
            f"{run.folder}: no {which} item has a value of {column!r}; its columns: {told}"
        )
    return parted(values)


def columns_of(run: Run, ids: Sequence[str]) -> list[str]:
    """The further columns of the manifest of which some of these items have a value, sorted."""
    rows = (run.manifest[i].extra for i in ids)
    return sorted({name for extra in rows for name, cell in extra.items() if cell})


def parted(values: Sequence[str]) -> list[str]:
    """The slice of each item: its value, or the range of its number."""
    stated = [value for value in values if value]
    numbers = [_number(value) for value in stated]
    if len(set(stated)) > MOST and None not in numbers:
        known = np.array(numbers, float)
        edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)))
        at = np.clip(np.searchsorted(edges, known, side="right") - 1, 0, len(edges) - 2)
        names = [
            f"{known[at == k].min():g} to {known[at == k].max():g}" if (at == k).any() else ""
            for k in range(len(edges) - 1)
        ]
        found = iter([names[k] for k in at.tolist()])
        return [next(found) if value else UNKNOWN for value in values]
    most = {name for name, _ in Counter(stated).most_common(MOST)}
    return [(value if value in most else REST) if value else UNKNOWN for value in values]


def measured(
    y: Bools, seeds: Sequence[Floats], groups: Sequence[str], parts: Sequence[str], metric: str
) -> list[Slice]:
    """The slices in the order of their first numbers or names, against all others each."""
    blocks = jk.blocks_of(groups)
    of = OF_LABELS[metric]
    found: list[Slice] = []
    for name in sorted(set(parts), key=_in_order):
        here = np.array([part == name for part in parts])
        sides = [_without(of, y[kept], seeds, kept, blocks) for kept in (here, ~here)]
        both = np.isfinite(sides[0][0]) & np.isfinite(sides[1][0])
        of_side = [
            {group for group, own in zip(groups, kept, strict=True) if own}
            for kept in (here, ~here)
        ]
        one: Slice = {
            "name": name, "n_items": int(here.sum()), "n_groups": len(of_side[0]),
            "n_labels": int(both.sum()), "figure": None, "low": None, "high": None,
            "difference": None, "difference_low": None, "difference_high": None,
            "p_holm": None, "verdict": "cannot be measured",
        }  # fmt: skip
        if both.any():
            inner, outer = (jk.macro(side[:, both]) for side in sides)
            # Degrees of freedom of the smaller side: few artists are few in any company.
            df = max(1, min(map(len, of_side)) - 1)
            one["figure"] = float(inner[0])
            span = jk.interval(jk.jackknife(inner, blocks)._replace(df=df), len(of_side[0]))
            one["low"], one["high"] = span or (None, None)
            apart = jk.jackknife(inner - outer, blocks)._replace(df=df)
            one["difference"], one["p_holm"] = apart.value, jk.p_value(apart)
            one["difference_low"], one["difference_high"] = jk.difference_interval(apart)
        found.append(one)
    known = [one for one in found if one["p_holm"] is not None]
    for one, p in zip(known, jk.holm([one["p_holm"] or 0.0 for one in known]), strict=True):
        told = "better" if (one["difference"] or 0) > 0 else "worse"
        one["p_holm"], one["verdict"] = p, told if p < 0.05 else "not distinguishable"
    return found


def _without(
    of: BlockMetric, y: Bools, seeds: Sequence[Floats], kept: Bools, blocks: Blocks
) -> Without:
    own = Blocks(blocks.of[kept], blocks.sizes)
    return np.asarray(np.mean([of(y, s[kept], own) for s in seeds], axis=0))


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if np.isfinite(number) else None


def _in_order(name: str) -> tuple[int, float, str]:
    """Numbers and ranges first, in their order; items without a value last."""
    number = _number(name.partition(" to ")[0])
    rank = {UNKNOWN: 3, REST: 2}.get(name, 0 if number is not None else 1)
    return rank, number or 0.0, name
