"""Maps of items as points that can be named, focused and played."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from mmgenre.explain.results import PointMap
from mmgenre.report.bars import SERIES

# Twelve genres: six colours that all colour visions tell apart, each as a disc and as a triangle.
INKS = (*(colour for colour, _ in SERIES), "#E69F00", "#56B4E9")
STYLES = [(ink, shape) for shape in ("disc", "triangle") for ink in INKS]
OTHER = ("#8A94A0", "disc")
WIDTH, HIGHEST, LOWEST = 100.0, 78.0, 32.0  # of a map, in its own units
MARGIN, MANY = 2.5, 400  # above so many points they are smaller
Styles = Mapping[str, tuple[str, str]]  # genre -> colour, shape


def genre_styles(maps: Sequence[PointMap]) -> Styles:
    """Colour and shape of the twelve most frequent genres of the maps; in all maps the same."""
    counts = Counter(point["genre"] for points in maps for point in points["points"])
    order = sorted(counts, key=lambda genre: (-counts[genre], genre))
    return dict(zip(order, STYLES, strict=False))


def point_picture(points: PointMap, styles: Styles, plays: Mapping[str, str]) -> dict[str, Any]:
    """A map's points in the units of its picture, and its legend.

    `plays`: id -> id of the element that plays an excerpt of the item.
    """
    xs, ys = ([point[axis] for point in points["points"]] for axis in ("x", "y"))
    wide = max(max(xs) - min(xs), 1e-9)
    inner = WIDTH - 2 * MARGIN
    high = min(max(inner * (max(ys) - min(ys)) / wide, LOWEST), HIGHEST)
    tall = max(max(ys) - min(ys), 1e-9)
    scale = min(inner / wide, high / tall)
    radius = 0.75 if len(xs) <= MANY else 0.5
    shown = []
    counts: Counter[str] = Counter()
    for point in points["points"]:
        known = point["genre"] in styles
        counts[point["genre"] if known else ""] += 1
        colour, shape = styles.get(point["genre"], OTHER)
        x = WIDTH / 2 + scale * (point["x"] - (max(xs) + min(xs)) / 2)
        y = high / 2 + MARGIN - scale * (point["y"] - (max(ys) + min(ys)) / 2)
        title = f"{point['title']} · {point['genre']}"
        playing = plays.get(point["id"], "")
        shown.append((bool(playing), known, _path(shape, x, y, radius), colour, title, playing))
    shown.sort(key=lambda point: point[:2])  # grey ones below, those that play on top
    grey = len({point["genre"] for point in points["points"]} - set(styles))
    legend = [(genre, *styles[genre], counts[genre]) for genre in styles if counts[genre]]
    if grey:
        legend.append((f"{grey} other genres", *OTHER, counts[""]))
    return {
        "size": f"{WIDTH:g} {high + 2 * MARGIN:.1f}",
        "points": [point[2:] for point in shown],
        "legend": legend,
        "n_playing": sum(point[0] for point in shown),
    }


def _path(shape: str, x: float, y: float, r: float) -> str:
    if shape == "disc":
        return f"M{x - r:.1f} {y:.1f}a{r} {r} 0 1 0 {2 * r:g} 0a{r} {r} 0 1 0 -{2 * r:g} 0"
    r *= 1.15
    return f"M{x:.1f} {y - r:.1f}l{r:.2f} {1.8 * r:.2f}h-{2 * r:.2f}z"
