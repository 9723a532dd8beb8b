"""Figures as inline SVG: text stays text, the same numbers give the same bytes."""

from __future__ import annotations

import io
import re
import warnings
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mmgenre.explain.results import PointMap
from mmgenre.items.modalities import AUDIO, IMAGE, MODALITIES, TEXT
from mmgenre.measuring.results import Curve, FusionResult, headline_metric
from mmgenre.report import tables

INK = "#22272E"
FONT = "system-ui, sans-serif"
# Colours and markers of what is no modality.
SERIES = [*((m.colour, m.marker) for m in (AUDIO, TEXT, IMAGE)), ("#CC79A7", "D")]
TRAINING, VALIDATION = AUDIO.colour, TEXT.colour  # losses
WHOLE, OTHER = "#5B6B7F", "#B4BDC9"
Styles = Mapping[str, tuple[str, str]]  # genre -> colour, marker
# Twelve genres: six colours that all colour visions tell apart, each as a disc and as a triangle.
INKS = (*(colour for colour, _ in SERIES), "#E69F00", "#56B4E9")
STYLES = [(ink, marker) for marker in ("o", "^") for ink in INKS]
COUNTED_CLASSES, NAMED_CLASSES = 40, 80  # above: a matrix without counts; without names
LONGEST_NAME = 34

_STYLE: dict[str, object] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "mmgenre",
    "text.parse_math": False,  # a label may hold dollar signs
    "font.family": "DejaVu Sans",  # comes with matplotlib, so widths are the same everywhere
    "font.size": 9.0,
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
    "axes.edgecolor": "#8A94A0",
    **dict.fromkeys(("axes.spines.top", "axes.spines.right"), False),
    "axes.axisbelow": True,
    "grid.color": "#E3E7EC",
    "figure.constrained_layout.use": True,
}
_NUMBER, _FONT = re.compile(r"\d+\.\d+"), re.compile(r"font-family: 'DejaVu Sans';? ?")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def printable(text: str) -> str:
    """What XML and UTF-8 cannot hold becomes the replacement character."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)


@contextmanager
def drawing(width_in: float, height_in: float) -> Iterator[tuple[Figure, Axes]]:
    """A figure of its own, outside any global state, in the report's style."""
    with rc_context(_STYLE):  # type: ignore[arg-type]
        figure = Figure(figsize=(width_in, height_in))
        yield figure, figure.add_subplot()


def inline(figure: Figure, key: str, label: str, *, crop: bool = False) -> Markup:
    """The figure as an <svg> element for an HTML page: no namespaces, ids unique by `key`."""
    buffer, box = io.BytesIO(), "tight" if crop else None
    with rc_context(_STYLE), warnings.catch_warnings():  # type: ignore[arg-type]
        # The browser draws the text, so glyphs that matplotlib's own font lacks do not matter.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(buffer, format="svg", metadata={"Date": None}, bbox_inches=box)
    root = ET.fromstring(buffer.getvalue())
    for parent in list(root.iter()):
        for child in [c for c in parent if c.tag.rpartition("}")[2] in ("metadata", "style")]:
            parent.remove(child)
    used = set(re.findall(r"(?:href=\"|url\()#([\w-]+)", buffer.getvalue().decode()))
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        old, element.attrib = dict(element.attrib), {}
        for name, value in old.items():
            name = name.rpartition("}")[2]
            if name == "id":
                if value not in used:
                    continue
                value = f"{key}-{value}"
            elif name == "href" and value.startswith("#"):
                value = f"#{key}-{value[1:]}"
            elif name == "style":
                value = _FONT.sub("", value)
            elif name in ("x", "y", "d"):  # 0.01 pixel is enough, and saves bytes
                value = _NUMBER.sub(lambda n: f"{float(n[0]):.2f}".rstrip("0").rstrip("."), value)
            if name != "transform" or not value.startswith("rotate(-0 "):
                element.attrib[name] = re.sub(r"url\(#", f"url(#{key}-", value)
        for space in ("text", "tail"):
            if not (getattr(element, space) or "x").strip():
                setattr(element, space, None)
    width = round(float(root.attrib["viewBox"].split()[2]) * 96 / 72)
    root.attrib = {
        "viewBox": root.attrib["viewBox"],
        "role": "img",
        "aria-label": printable(label),
        "style": f"max-width:{width}px;min-width:{round(width * 0.68)}px;font-family:{FONT}",
    }
    return Markup(ET.tostring(root, encoding="unicode"))


def shorten(text: str, longest: int = LONGEST_NAME) -> str:
    """A name that fits beside an axis; it loses its middle: taxonomy paths differ at the end.

    >>> shorten("Classical/Contemporary Instrumental", 18)
    'Classi…nstrumental'
    """
    text = " ".join(printable(text).split())
    head = longest // 3
    return text if len(text) <= longest else f"{text[:head]}…{text[head + 1 - longest :]}"


def headline_bars(fusion: FusionResult, items: tables.ItemSet, key: str) -> Markup:
    """The headline metric of every row; errors over seeds, or the interval of a single seed."""
    metric = headline_metric(exclusive=fusion["exclusive"])
    rows, title = fusion["rows"], tables.columns(fusion)[metric]
    _, whole = tables.compared(fusion)
    with drawing(6.0, 0.55 + 0.3 * len(rows)) as (figure, axes):
        _name_rows(axes, [row["name"] for row in rows])
        axes.set(xlim=(0, 1), xlabel=title)
        if metric == "macro_roc_auc":
            axes.axvline(0.5, color=INK, linewidth=0.8, linestyle=":")
        for y, row in enumerate(rows):
            shown = tables.metric_value(row, items, metric)
            axes.text(1.02, y, str(shown), transform=axes.get_yaxis_transform(), va="center")
            if shown.value is None:
                continue
            single = row["inputs"][0] if len(row["inputs"]) == 1 else ""
            colour = WHOLE if row is whole else _style(single, (OTHER, ""))[0]
            axes.barh(y, shown.value, height=0.68, color=colour)
            low, high = shown.interval or (shown.value, shown.value)
            if shown.std is not None:
                low, high = shown.value - shown.std, shown.value + shown.std
            if low < high:
                error = [[max(shown.value - low, 0.0)], [max(high - shown.value, 0.0)]]
                axes.errorbar(shown.value, y, xerr=error, color=INK, linewidth=1.2, capsize=3)
    return inline(figure, key, f"{title} of each row of {fusion['name']}")


def per_label(
    supports: Mapping[str, str],
    whole: tuple[str, Sequence[float | None]],
    singles: Mapping[str, Sequence[float | None]],
    metric: str,
    key: str,
) -> Markup:
    """Bars of one row, (name, values), and marks of the others, name -> values; a line per label.

    `supports`: label -> test items, as printed. A modality keeps its colour, others take one in
    turn.
    """
    with drawing(7.6, 0.95 + 0.235 * len(supports)) as (figure, axes):
        ys = np.arange(len(supports))
        _name_rows(axes, [f"{shorten(name)}  ({items})" for name, items in supports.items()])
        axes.set(xlim=(0, 1), xlabel=metric)
        lengths = np.array(whole[1], float)  # None becomes NaN
        axes.barh(ys, lengths, height=0.7, color="#CBD2DB", label=shorten(whole[0]))
        for y in np.flatnonzero(np.isnan(lengths)).tolist():
            axes.text(0.01, y, "not measured", va="center", fontsize=8, color="#5B6570")
        for k, (name, values) in enumerate(singles.items()):
            colour, marker = _style(name, SERIES[k % len(SERIES)])
            apart = ys + 0.18 * (k - (len(singles) - 1) / 2)  # so that equal values can be seen
            floats = np.array(values, float)
            (marks,) = axes.plot(floats, apart, color=colour, label=shorten(name), clip_on=False)
            marks.set(marker=marker, ls="", markersize=5, mec="white", mew=0.5)
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
        by_rank = "" if named else " (rank of the label by support)"
        axes.set(xlabel=f"predicted{by_rank}", ylabel=f"true{by_rank}")
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
    told = "confusion matrix: true labels in rows, predicted in columns"
    return inline(figure, key, told, crop=True)


def learning_curve(curve: Curve, key: str, label: str) -> Markup:
    """Training and validation loss by epoch or step, the kept one marked; one small panel."""
    # Without steps where the budget is counted in epochs.
    place = {epoch["epoch"]: epoch.get("step", epoch["epoch"]) for epoch in curve["epochs"]}
    x, marker = list(place.values()), "." if len(place) < 3 else ""
    with drawing(3.0, 1.9) as (figure, axes):
        training = [epoch["train_loss"] for epoch in curve["epochs"]]
        validation = {epoch["epoch"]: epoch["val_loss"] for epoch in curve["epochs"]}
        axes.plot(x, training, color=TRAINING, marker=marker)
        axes.plot(x, list(validation.values()), color=VALIDATION, marker=marker)
        best = curve["best_epoch"]
        if best in validation:
            axes.axvline(place[best], color="#8A94A0", linestyle=":", linewidth=1)
            axes.plot(place[best], validation[best], "o", color=VALIDATION, markerfacecolor="white")
        axes.grid(axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
        in_steps = any("step" in epoch for epoch in curve["epochs"])
        axes.set(xlabel="step" if in_steps else "epoch", ylabel="loss")
    return inline(figure, key, f"learning curve of {label}")


def long_tail(counts: Sequence[int], key: str) -> Markup:
    """Items of each label against the label's rank, on a logarithmic scale."""
    with drawing(7.6, 2.4) as (figure, axes):
        edges = np.arange(len(counts) + 1) + 0.5
        axes.stairs(counts, edges, fill=True, color=WHOLE, baseline=0.5)
        axes.set_yscale("log", nonpositive="clip")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.minorticks_off()
        axes.set(xlim=(0.4, len(counts) + 0.6), ylim=(0.8, None))
        axes.set(xlabel="labels, most frequent first", ylabel="items (log scale)")
    return inline(figure, key, "number of items of each label, most frequent first")


def _style(name: str, other: tuple[str, str]) -> tuple[str, str]:
    """Colour and marker of an input's modality, of a joint vector, too; else the other ones."""
    known = MODALITIES.get(name.rpartition(".")[2])
    return (known.colour, known.marker) if known else other


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Horizontal lines, first name on top."""
    axes.set_yticks(range(len(names)), [shorten(name, LONGEST_NAME + 10) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0, pad=6)
    axes.grid(axis="x")


def genre_styles(maps: Sequence[PointMap]) -> Styles:
    """Colour and marker of the twelve most frequent genres of the maps; in all maps the same."""
    counts = Counter(point["genre"] for points in maps for point in points["points"])
    order = sorted(counts, key=lambda genre: (-counts[genre], genre))
    return dict(zip(order, STYLES, strict=False))


def map_figure(points: PointMap, styles: Styles, key: str) -> Markup:
    """The map with its legend; genres beyond the twelfth are grey, which the legend says."""
    xy = np.array([(point["x"], point["y"]) for point in points["points"]])
    genres = np.array([point["genre"] for point in points["points"]])
    others = ~np.isin(genres, list(styles))
    groups = [(f"{len(set(genres[others]))} other genres", others, (OTHER, "o"))]
    groups += [(shorten(genre, 24), genres == genre, style) for genre, style in styles.items()]
    wide, high = np.ptp(xy, axis=0)
    with drawing(7.4, min(max(5.2 * high / max(wide, 1e-9), 2.4), 5.6)) as (figure, axes):
        for name, here, (ink, marker) in groups:
            if not here.any():
                continue
            (x, y), label = xy[here].T, f"{name} ({here.sum():,})"
            dots = axes.scatter(x, y, 30 if len(xy) <= 400 else 12, ink, marker=marker, label=label)
            dots.set(alpha=0.8, linewidths=0.4, edgecolors="white")
        axes.margins(0.04)
        axes.set(xticks=[], yticks=[], aspect="equal")
        axes.spines[:].set_visible(True)
        handles, labels = axes.get_legend_handles_labels()
        if others.any():  # drawn first, named last
            handles, labels = [*handles[1:], handles[0]], [*labels[1:], labels[0]]
        figure.legend(handles, labels, loc="outside right center", frameon=False, markerscale=1.2)
    return inline(figure, key, f"{points['name']}: t-SNE map, coloured by genre", crop=True)
