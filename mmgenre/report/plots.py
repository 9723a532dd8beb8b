"""Figures as inline SVG: text stays text, the same numbers give the same bytes."""

from __future__ import annotations

import io
import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mmgenre.explain.results import LackingResult, ReliabilityResult
from mmgenre.items.modalities import AUDIO, TEXT
from mmgenre.measuring.curves import Curve

INK = "#22272E"
FONT = "system-ui, sans-serif"
TRAINING, VALIDATION = AUDIO.colour, TEXT.colour  # losses
WHOLE = "#5B6B7F"
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
    **dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"), "none"),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right"), False),
    "axes.axisbelow": True,
    "grid.color": "#E3E7EC",
    "figure.constrained_layout.use": True,
}
# What light and dark pages draw in other colours: the page's own, by the names in its CSS.
THEME = {
    INK.lower(): "var(--ink)",
    "#ffffff": "var(--page)",
    "#8a94a0": "var(--faint)",
    "#e3e7ec": "var(--line)",
    WHOLE.lower(): "var(--bar)",
}
_SHARE = (0.36, 0.62, 0.86)  # over whatever the page is; dark pages darken it, see page.css
SHARES = LinearSegmentedColormap.from_list("shares", [(*_SHARE, 0.0), (*_SHARE, 1.0)])
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
                value = _themed(_FONT.sub("", value))
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


def _themed(style: str) -> str:
    for colour, variable in THEME.items():
        style = style.replace(colour, variable)
    return style


def shorten(text: str, longest: int = LONGEST_NAME) -> str:
    """A name that fits beside an axis; it loses its middle: taxonomy paths differ at the end.

    >>> shorten("Classical/Contemporary Instrumental", 18)
    'Classi…nstrumental'
    """
    text = " ".join(printable(text).split())
    head = longest // 3
    return text if len(text) <= longest else f"{text[:head]}…{text[head + 1 - longest :]}"


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
        image = axes.imshow(share, cmap=SHARES, vmin=0, vmax=1, interpolation="none")
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
                text = axes.text(j, i, str(counts[i, j]), fontsize=size - 0.5)
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


def reliability(found: ReliabilityResult, key: str) -> Markup:
    """What is so, by what was said; discs grow with the number of judgements."""
    with drawing(3.9, 3.4) as (figure, axes):
        axes.plot([0, 1], [0, 1], color="#8A94A0", linestyle=":", linewidth=1)
        shares = np.asarray(found["n"]) / sum(found["n"])
        axes.plot(found["said"], found["true"], color=TRAINING, linewidth=1.2)
        axes.scatter(found["said"], found["true"], 20 + 200 * shares, TRAINING, clip_on=False)
        axes.grid()
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        axes.set(xlabel="probability that was said", ylabel="share that is so")
    return inline(figure, key, "reliability: the share that is so, by the probability said")


def lacking(found: LackingResult, title: str, key: str) -> Markup:
    """The headline metric by the share of the modalities that is hidden."""
    known = [(s, v) for s, v in zip(found["shares"], found["curve"], strict=True) if v is not None]
    with drawing(3.9, 2.9) as (figure, axes):
        axes.plot(*zip(*known, strict=True), color=TRAINING, marker="o", markersize=4)
        axes.grid(axis="y")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.set(xlabel="modalities hidden at random", ylabel=title)
    return inline(figure, key, f"{title} by the share of the modalities that is hidden")
