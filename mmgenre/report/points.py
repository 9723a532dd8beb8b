"""Items as points in two dimensions, coloured by genre."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

from markupsafe import Markup

from mmgenre.explain.description import Point, PointMap
from mmgenre.report.plots import COLOURS, shorten
from mmgenre.report.svg import drawing, inline

# Twelve genres: six colours that all colour visions tell apart, each as a disc and as a triangle.
INKS = (*COLOURS.values(), "#CC79A7", "#E69F00", "#56B4E9")
STYLES = [(ink, marker) for marker in ("o", "^") for ink in INKS]
Styles = Mapping[str, tuple[str, str]]  # genre -> colour, marker
REST = "#B4BDC9"
AXES: tuple[Literal["x"], Literal["y"]] = ("x", "y")


def genre_styles(maps: Sequence[PointMap]) -> Styles:
    """Colour and marker of the twelve genres that the maps have most; in all maps the same."""
    counts = Counter(point["genre"] for points in maps for point in points["points"])
    order = sorted(counts, key=lambda genre: (-counts[genre], genre))
    return dict(zip(order, STYLES, strict=False))


def point_map(points: PointMap, styles: Styles, key: str) -> Markup:
    """The map with its legend; genres beyond the twelfth are grey and said to be."""
    all_ = points["points"]
    size = 30 if len(all_) <= 400 else 12
    wide, high = (max(p[a] for p in all_) - min(p[a] for p in all_) for a in AXES)
    with drawing(7.4, min(max(5.2 * high / max(wide, 1e-9), 2.4), 5.6)) as (figure, axes):
        groups: dict[str, list[Point]] = {"": [], **{genre: [] for genre in styles}}
        for point in all_:
            groups[point["genre"] if point["genre"] in styles else ""].append(point)
        for genre, here in groups.items():
            if not here:
                continue
            ink, marker = styles.get(genre, (REST, "o"))
            name = shorten(genre, 24)
            if here is groups[""]:
                name = f"{len({point['genre'] for point in here})} other genres"
            axes.scatter(
                [p["x"] for p in here],
                [p["y"] for p in here],
                s=size,
                c=ink,
                marker=marker,
                alpha=0.8,
                linewidths=0.4,
                edgecolors="white",
                label=f"{name} ({len(here):,})",
            )
        axes.margins(0.04)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(True)
        axes.set_aspect("equal")
        handles, labels = axes.get_legend_handles_labels()
        if groups[""]:  # drawn first, named last
            handles, labels = [*handles[1:], handles[0]], [*labels[1:], labels[0]]
        figure.legend(handles, labels, loc="outside right center", frameon=False, markerscale=1.2)
    label = f"{points['name']}: t-SNE map, coloured by genre"
    return inline(figure, key, label, crop=True)
