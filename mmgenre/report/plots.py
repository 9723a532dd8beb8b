"""Figures as inline SVG: text stays text, the same numbers give the same bytes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from mmgenre.measuring.results import Curve, FusionResult, headline_metric
from mmgenre.report.svg import INK, drawing, inline, printable
from mmgenre.report.tables import (
    ItemSet,
    columns,
    compared,
    deviation,
    interval,
    mean,
    number,
)

# Okabe and Ito's palette: told apart with any of the common colour visions.
COLOURS = {"audio": "#0072B2", "text": "#D55E00", "image": "#009E73"}
MARKERS = {"audio": "o", "text": "s", "image": "^"}
OTHERS = [*zip(COLOURS.values(), MARKERS.values(), strict=True), ("#CC79A7", "D")]  # not modalities
WHOLE, OTHER = "#5B6B7F", "#B4BDC9"
COUNTED_CLASSES, NAMED_CLASSES = 40, 80  # above: a matrix without counts; without names
LONGEST_NAME = 34


def shorten(text: str, longest: int = LONGEST_NAME) -> str:
    """A name that fits beside an axis; it loses its middle: taxonomy paths differ at the end.

    >>> shorten("Classical/Contemporary Instrumental", 18)
    'Classi…nstrumental'
    """
    text = " ".join(printable(text).split())
    head = longest // 3
    return text if len(text) <= longest else f"{text[:head]}…{text[head + 1 - longest :]}"


def headline_bars(fusion: FusionResult, items: ItemSet, key: str) -> Markup:
    """The headline metric of every row; errors over seeds, or the interval of a single seed."""
    metric = headline_metric(exclusive=fusion["exclusive"])
    rows = fusion["rows"]
    _, whole = compared(fusion)
    with drawing(6.0, 0.55 + 0.3 * len(rows)) as (figure, axes):
        _name_rows(axes, [row["name"] for row in rows])
        axes.set_xlim(0, 1)
        axes.set_xlabel(columns(fusion)[metric])
        if metric == "macro_roc_auc":
            axes.axvline(0.5, color=INK, linewidth=0.8, linestyle=":")
        for y, row in enumerate(rows):
            value, std = mean(row, items, metric), deviation(row, items, metric)
            pair = interval(row, items, metric)
            text = number(value) if std is None else f"{number(value)} ± {number(std)}"
            axes.text(1.02, y, text, transform=axes.get_yaxis_transform(), va="center")
            if value is None:
                continue
            single = row["inputs"][0] if len(row["inputs"]) == 1 else ""
            colour = WHOLE if row is whole else COLOURS.get(single.rpartition(".")[2], OTHER)
            axes.barh(y, value, height=0.68, color=colour)
            if std is not None:
                error: ArrayLike = [[std], [std]]
            elif pair is not None:
                error = [[max(value - pair[0], 0.0)], [max(pair[1] - value, 0.0)]]
            else:
                continue
            axes.errorbar(value, y, xerr=error, color=INK, linewidth=1.2, capsize=3)
    return inline(figure, key, f"{columns(fusion)[metric]} of each row of {fusion['name']}")


def per_label(
    names: Sequence[str],
    supports: Sequence[str],
    whole: tuple[str, Sequence[float | None]],
    singles: Mapping[str, Sequence[float | None]],
    metric: str,
    key: str,
) -> Markup:
    """A bar for the whole and a mark for each of the others, one line a label.

    Args:
        names: of the labels.
        supports: test items of each, as printed.
        whole: name and values of the bars.
        singles: name -> values of marks; a modality keeps its colour, others take one in turn.
        metric: what the values are.
        key: of the figure, unlike any other on the page.
    """
    with drawing(7.6, 0.95 + 0.235 * len(names)) as (figure, axes):
        ys = np.arange(len(names))
        shown = [f"{shorten(n)}  ({s})" for n, s in zip(names, supports, strict=True)]
        _name_rows(axes, shown)
        axes.set_xlim(0, 1)
        axes.set_xlabel(metric)
        axes.barh(ys, _floats(whole[1]), height=0.7, color="#CBD2DB", label=shorten(whole[0]))
        for y in (y for y, value in enumerate(whole[1]) if value is None):
            axes.text(0.01, y, "not measured", va="center", fontsize=8, color="#5B6570")
        for k, (name, values) in enumerate(singles.items()):
            modality = name.rpartition(".")[2]
            colour, marker = OTHERS[k % len(OTHERS)]
            axes.plot(
                _floats(values),
                ys + 0.18 * (k - (len(singles) - 1) / 2),  # so that equal values stay apart
                linestyle="",
                marker=MARKERS.get(modality, marker),
                markersize=5,
                markeredgecolor="white",
                markeredgewidth=0.5,
                color=COLOURS.get(modality, colour),
                label=shorten(name),
                clip_on=False,
            )
        figure.legend(loc="outside upper center", ncols=4, frameon=False)
    return inline(figure, key, f"{metric} of each label")


def confusion(matrix: Sequence[Sequence[int]], names: Sequence[str], key: str) -> Markup:
    """Rows true, columns predicted; colour is the share of the row, text the count.

    Labels come by support, so that those without a test item are last.
    """
    counts = np.asarray(matrix, dtype=np.int64)
    totals, n = counts.sum(axis=1), len(counts)
    share = counts / np.maximum(totals[:, None], 1)
    if n > COUNTED_CLASSES:
        share = share[totals > 0]  # hundreds of labels: most of the page would be empty rows
    cell = 0.4 if n <= 20 else 0.25 if n <= COUNTED_CLASSES else 0.13
    side, named = min(max(cell * n, 1.6), 9.6), n <= NAMED_CLASSES
    high = max(side * len(share) / n, 1.0)
    size = 8.5 if n <= 20 else 7 if n <= COUNTED_CLASSES else 5.5
    with drawing(side + (1.9 if named else 0.9), high + (1.5 if named else 0.6)) as (figure, axes):
        image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1, interpolation="none")
        bar = figure.colorbar(image, ax=axes, shrink=min(1.0, 2.5 / high), pad=0.02)
        bar.set_label("share of the true label", fontsize=8)
        bar.ax.tick_params(labelsize=8)
        axes.spines[:].set_visible(False)
        axes.set_xlabel("predicted" if named else "predicted (rank of the label by support)")
        axes.set_ylabel("true" if named else "true (rank of the label by support)")
        if named:
            short = [shorten(name, 24) for name in names]
            axes.set_xticks(range(n), short, rotation=90, fontsize=size)
            rows = [f"{name} ({t})" for name, t in zip(short, totals, strict=True)]
            axes.set_yticks(range(len(share)), rows[: len(share)], fontsize=size)
            axes.tick_params(length=0)
        else:
            step = 10 if n <= 120 else 25 if n <= 300 else 100
            for axis, end in ((axes.xaxis, n), (axes.yaxis, len(share))):
                ticks = [0, *range(step - 1, end, step)]
                axis.set_ticks(ticks, [str(tick + 1) for tick in ticks])
        if n <= COUNTED_CLASSES:
            for i, j in np.argwhere(counts):
                ink = "white" if share[i, j] > 0.55 else INK
                text = axes.text(j, i, str(counts[i, j]), fontsize=size - 0.5, color=ink)
                text.set(ha="center", va="center", in_layout=False)  # inside its cell anyway
    label = "confusion matrix: true labels in rows, predicted in columns"
    return inline(figure, key, label, crop=True)


def learning_curve(curve: Curve, key: str, label: str) -> Markup:
    """Training and validation loss by epoch, the kept epoch marked; one small panel."""
    epochs = [epoch["epoch"] for epoch in curve["epochs"]]
    marker = "." if len(epochs) < 3 else ""
    with drawing(3.0, 1.9) as (figure, axes):
        for part, colour in (("train_loss", COLOURS["audio"]), ("val_loss", COLOURS["text"])):
            losses = {e["epoch"]: e[part] for e in curve["epochs"]}  # type: ignore[literal-required]
            axes.plot(epochs, _floats(list(losses.values())), color=colour, marker=marker)
            best = losses.get(curve["best_epoch"])
            if part == "val_loss" and best is not None:
                axes.axvline(curve["best_epoch"], color="#8A94A0", linestyle=":", linewidth=1)
                axes.plot(curve["best_epoch"], best, "o", color=colour, markerfacecolor="white")
        axes.grid(axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
        axes.set_xlabel("epoch")
        axes.set_ylabel("loss")
    return inline(figure, key, f"learning curve of {label}")


def long_tail(counts: Sequence[int], key: str) -> Markup:
    """Items of each label against the label's rank, on a logarithmic scale."""
    with drawing(7.6, 2.4) as (figure, axes):
        edges = np.arange(len(counts) + 1) + 0.5
        axes.stairs(counts, edges, fill=True, color=WHOLE, baseline=0.5)
        axes.set_yscale("log", nonpositive="clip")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.minorticks_off()
        axes.set_ylim(bottom=0.8)
        axes.set_xlim(0.4, len(counts) + 0.6)
        axes.set_xlabel("labels, most frequent first")
        axes.set_ylabel("items (log scale)")
    return inline(figure, key, "number of items of each label, most frequent first")


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Horizontal lines, first name on top."""
    axes.set_yticks(range(len(names)), [shorten(name, LONGEST_NAME + 10) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0, pad=6)
    axes.grid(axis="x")


def _floats(values: Sequence[float | None]) -> list[float]:
    return [math.nan if value is None else value for value in values]
