"""Pictures that pages draw with HTML alone: they fit any width, and their numbers are text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmgenre.items.modalities import AUDIO, IMAGE, MODALITIES, TEXT, modality_of

# Colours and marks of what is no modality, in turn. Marks are told apart without colours, too.
SHAPES = {"o": "disc", "s": "square", "^": "triangle", "D": "diamond"}
SERIES = [*((m.colour, m.marker) for m in (AUDIO, TEXT, IMAGE)), ("#CC79A7", "D")]


@dataclass(frozen=True)
class Scale:
    """Values from `low` to `high` on the width of a picture."""

    low: float = 0.0
    high: float = 1.0

    @classmethod
    def of(cls, values: Iterable[float | None], *, step: float = 0.1) -> Scale:
        """From a step below the least value to 1 or the step above the highest."""
        known = [value for value in values if value is not None and math.isfinite(value)]
        low = math.floor(min(known, default=0.0) / step + 1e-9) * step
        high = max(1.0, math.ceil(max(known, default=1.0) / step - 1e-9) * step)
        return cls(round(min(low, high - step), 6), round(high, 6))

    def at(self, value: float) -> str:
        """Where a value is, in percent of the width; beyond the ends, at the end.

        >>> Scale(0.5, 1.0).at(0.75), Scale().at(2)
        ('50.00', '100.00')
        """
        share = (value - self.low) / (self.high - self.low)
        return f"{100 * min(max(share, 0.0), 1.0):.2f}"

    @property
    def ticks(self) -> list[tuple[str, str]]:
        """(place, text): at most six."""
        step = next(s for s in (0.1, 0.2, 0.5, 1.0) if (self.high - self.low) / s < 5.5)
        first = math.ceil(self.low / step - 1e-9)
        values = [k * step for k in range(first, math.floor(self.high / step + 1e-9) + 1)]
        return [(self.at(value), f"{value:.1f}") for value in values]


def style(name: str, k: int) -> tuple[str, str]:
    """Colour and shape of an input's modality; of something else, the k-th in turn."""
    known = MODALITIES.get(modality_of(name))
    colour, marker = (known.colour, known.marker) if known else SERIES[k % len(SERIES)]
    return colour, SHAPES.get(marker, "disc")


def about_zero(ends: Iterable[float]) -> Scale:
    """A scale that holds 0 and all ends of bars, with room on both sides of 0."""
    low, high = min([0.0, *(found := list(ends))]), max([0.0, *found])
    room = 0.06 * max(high - low, 1e-6)
    return Scale(low - room, high + room)


def span(scale: Scale, low: float, high: float) -> tuple[str, str]:
    """Left end and width of a bar, in percent."""
    left = float(scale.at(low))
    return f"{left:.2f}", f"{float(scale.at(high)) - left:.2f}"


@dataclass(frozen=True)
class Dot:
    """A line of a picture: a value with its interval."""

    name: str
    value: float
    printed: str
    interval: tuple[float, float] | None = None
    mark: tuple[str, str] | None = None  # colour, shape; None: the accent's
    beside: float | None = None  # a published figure
    note: str = ""
    href: str = ""


def dots(
    lines: Sequence[Dot], *, lines_at: Mapping[str, float | None] | None = None
) -> dict[str, Any]:
    """A picture of values on one scale; `lines_at`: name -> value of a vertical line."""
    known = {name: v for name, v in (lines_at or {}).items() if v is not None}
    ends = [end for line in lines for end in (line.interval or ())]
    besides = [line.beside for line in lines]
    scale = Scale.of([*(line.value for line in lines), *ends, *known.values(), *besides])
    return {
        "scale": scale,
        "lines": lines,
        "guessing": [(name, scale.at(value), f"{value:.3f}") for name, value in known.items()],
        "has_interval": any(line.interval for line in lines),
    }


def label_bars(
    supports: Mapping[str, str],
    whole: Sequence[float | None],
    singles: Mapping[str, tuple[Sequence[float | None], str]],
    *,
    chance: float | None = None,
) -> dict[str, Any]:
    """Bars of one row and marks of others for each label, the highest first.

    `supports`: label -> test items, as printed. `singles`: name -> values, and an input, whose
    colour and shape its marks have. `chance`: what guessing reaches.
    """
    order = sorted(range(len(whole)), key=lambda j: _falling(whole[j]))
    labels = list(supports)
    marks = {name: style(own, k) for k, (name, (_, own)) in enumerate(singles.items())}
    scale = Scale()
    return {
        "scale": scale,
        "chance": None if chance is None else scale.at(chance),
        "legend": [(name, *mark) for name, mark in marks.items()],
        "lines": [
            {
                "name": labels[j],
                "n": supports[labels[j]],
                "value": (value := _finite(whole[j])),
                "width": scale.at(value) if value is not None else None,
                "marks": [
                    (name, *marks[name], scale.at(own), f"{own:.3f}")
                    for name, (values, _) in singles.items()
                    if (own := _finite(values[j])) is not None
                ],
            }
            for j in order
        ],
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _falling(value: float | None) -> float:
    known = _finite(value)
    return math.inf if known is None else -known
