"""The big shapes of a cover: plain functions that draw one layout each, from a palette."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import ImageDraw

Colour = tuple[int, int, int]
Drawing = ImageDraw.ImageDraw


class Palette(NamedTuple):
    """Colours by their part in the picture."""

    ground: Colour
    second: Colour
    figure: Colour
    accent: Colour
    type: Colour


Layout = Callable[[Drawing, tuple[int, int], Palette, np.random.Generator], None]


def as_colour(rgb: npt.NDArray[np.float64]) -> Colour:
    """The nearest colour there is to three numbers."""
    red, green, blue = (int(value) for value in np.clip(rgb, 0, 255))
    return red, green, blue


def _mixed(a: Colour, b: Colour, share: float) -> Colour:
    return as_colour((1 - share) * np.array(a) + share * np.array(b))


def _disc(draw: Drawing, x: float, y: float, radius: float, colour: Colour) -> None:
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def _gradient(draw: Drawing, size: tuple[int, int], top: Colour, bottom: Colour) -> None:
    for y in range(size[1]):
        draw.line((0, y, size[0], y), fill=_mixed(top, bottom, y / size[1]))


def _grid(draw: Drawing, size: tuple[int, int], p: Palette, rng: np.random.Generator) -> None:
    w, h = size
    n = int(rng.integers(3, 6))
    for row in range(n):
        for column in range(n):
            x, y = (0.1 + 0.8 * column / n) * w, (0.06 + 0.76 * row / n) * h
            colour = (p.figure, p.accent, p.second)[int(rng.integers(3))]
            box = (x, y, x + 0.64 * w / n, y + 0.62 * h / n)
            if rng.random() < 0.5:
                draw.rectangle(box, fill=colour)
            else:
                draw.ellipse(box, fill=colour)


def _bars(draw: Drawing, size: tuple[int, int], p: Palette, rng: np.random.Generator) -> None:
    w, h = size
    n = int(rng.integers(6, 12))
    for i in range(n):
        top = rng.uniform(0.05, 0.6) * h
        colour = (p.figure, p.accent)[int(rng.random() < 0.3)]
        draw.rectangle(((i + 0.2) / n * w, top, (i + 0.8) / n * w, 0.82 * h), fill=colour)


def _rings(draw: Drawing, size: tuple[int, int], p: Palette, rng: np.random.Generator) -> None:
    w, h = size
    x, y = rng.uniform(0.3, 0.7) * w, rng.uniform(0.3, 0.55) * h
    for i, share in enumerate(np.arange(0.62, 0.05, -0.09)):
        _disc(draw, x, y, share * h, (p.figure, p.ground, p.accent, p.second)[i % 4])


def _void(draw: Drawing, size: tuple[int, int], p: Palette, rng: np.random.Generator) -> None:
    w, h = size
    _gradient(draw, size, p.second, p.figure)
    _disc(draw, rng.uniform(0.3, 0.7) * w, rng.uniform(0.3, 0.5) * h, 0.13 * h, p.accent)


def _spotlight(draw: Drawing, size: tuple[int, int], p: Palette, rng: np.random.Generator) -> None:
    w, h = size
    x, lamp = rng.uniform(0.35, 0.65) * w, rng.uniform(0.0, 1.0) * w
    draw.polygon([(lamp, 0), (x - 0.24 * w, 0.8 * h), (x + 0.24 * w, 0.8 * h)], fill=p.figure)
    draw.ellipse((x - 0.24 * w, 0.72 * h, x + 0.24 * w, 0.84 * h), fill=p.figure)
    draw.line((x, 0.5 * h, x, 0.79 * h), fill=p.second, width=max(2, w // 50))
    _disc(draw, x, 0.48 * h, 0.06 * h, p.accent)


def _sky(draw: Drawing, size: tuple[int, int], p: Palette, rng: np.random.Generator) -> float:
    """Sky and ground; returns the height of the horizon in pixels from the top."""
    w, h = size
    horizon = rng.uniform(0.58, 0.72) * h
    _gradient(draw, size, p.ground, p.second)
    draw.rectangle((0, horizon, w, h), fill=p.figure)
    return horizon


def _desert(draw: Drawing, size: tuple[int, int], p: Palette, rng: np.random.Generator) -> None:
    w, h = size
    horizon = _sky(draw, size, p, rng)
    x = rng.uniform(0.25, 0.75) * w
    draw.pieslice(
        (x - 0.2 * w, horizon - 0.2 * h, x + 0.2 * w, horizon + 0.2 * h), 180, 360, p.accent
    )
    draw.polygon([(x, horizon), (0.35 * w, h), (0.65 * w, h)], fill=p.second)


def _hills(draw: Drawing, size: tuple[int, int], p: Palette, rng: np.random.Generator) -> None:
    w, h = size
    horizon = _sky(draw, size, p, rng)
    for i in range(3):
        phase, waves = rng.uniform(0, 6), rng.uniform(3, 7)
        level = horizon + (i - 1) * 0.1 * h
        ridge = [(x, level - 0.07 * h * np.sin(waves * x / w + phase)) for x in range(0, w + 5, 4)]
        draw.polygon([*ridge, (w, h), (0, h)], fill=_mixed(p.second, p.figure, 0.4 + 0.3 * i))


def _town(draw: Drawing, size: tuple[int, int], p: Palette, rng: np.random.Generator) -> None:
    w, h = size
    horizon = _sky(draw, size, p, rng)
    x = 0.0
    while x < w:
        width, top = rng.uniform(0.08, 0.2) * w, horizon - rng.uniform(0.05, 0.32) * h
        draw.rectangle((x, top, x + width, horizon + 2), fill=p.figure)
        draw.rectangle((x + 0.3 * width, top + 8, x + 0.5 * width, top + 16), fill=p.accent)
        x += width


def _barn(draw: Drawing, size: tuple[int, int], p: Palette, rng: np.random.Generator) -> None:
    w, h = size
    floor = _sky(draw, size, p, rng) + 0.08 * h
    x, half, eaves = rng.uniform(0.35, 0.65) * w, 0.2 * w, floor - 0.24 * h
    wall = _mixed(p.figure, (150, 30, 20), 0.6)
    draw.rectangle((x - half, eaves, x + half, floor), fill=wall)
    roof = [(x - 1.2 * half, eaves), (x, eaves - 0.17 * h), (x + 1.2 * half, eaves)]
    draw.polygon(roof, fill=_mixed(p.figure, (0, 0, 0), 0.5))
    draw.rectangle((x - 0.35 * half, floor - 0.15 * h, x + 0.35 * half, floor), fill=p.accent)


def _figure(draw: Drawing, size: tuple[int, int], p: Palette, rng: np.random.Generator) -> None:
    w, h = size
    horizon = _sky(draw, size, p, rng)
    x, foot = rng.uniform(0.3, 0.7) * w, horizon + 0.22 * h
    dark = _mixed(p.figure, (0, 0, 0), 0.6)
    _disc(draw, x, foot - 0.5 * h, 0.055 * h, dark)
    draw.polygon(
        [
            (x - 0.08 * w, foot - 0.43 * h),
            (x + 0.08 * w, foot - 0.43 * h),
            (x + 0.06 * w, foot),
            (x - 0.06 * w, foot),
        ],
        fill=dark,
    )


def _rays(draw: Drawing, size: tuple[int, int], p: Palette, rng: np.random.Generator) -> None:
    w, h = size
    x, y, turn = rng.uniform(0.35, 0.65) * w, rng.uniform(0.3, 0.5) * h, rng.uniform(0, 30)
    reach = 1.5 * max(w, h)
    for i in range(0, 24, 2):
        box = (x - reach, y - reach, x + reach, y + reach)
        draw.pieslice(box, turn + 15 * i, turn + 15 * i + 15, fill=p.second)
    _disc(draw, x, y, 0.17 * h, p.figure)


def _dots(draw: Drawing, size: tuple[int, int], p: Palette, rng: np.random.Generator) -> None:
    w, h = size
    for _ in range(28):
        colour = (p.second, p.figure, p.accent)[int(rng.integers(3))]
        _disc(draw, rng.uniform(0, w), rng.uniform(0, h), rng.uniform(0.03, 0.1) * h, colour)


def _face(draw: Drawing, size: tuple[int, int], p: Palette, rng: np.random.Generator) -> None:
    w, h = size
    x, skin = rng.uniform(0.4, 0.6) * w, _mixed((200, 140, 100), p.accent, 0.15)
    draw.ellipse((x - 0.3 * w, 0.06 * h, x + 0.3 * w, 0.7 * h), fill=p.figure)
    draw.ellipse((x - 0.38 * w, 0.62 * h, x + 0.38 * w, 1.4 * h), fill=p.second)
    draw.ellipse((x - 0.19 * w, 0.16 * h, x + 0.19 * w, 0.66 * h), fill=skin)
    for side in (-1, 1):
        _disc(draw, x + side * 0.08 * w, 0.36 * h, 0.022 * h, (30, 20, 20))
    draw.chord((x - 0.07 * w, 0.46 * h, x + 0.07 * w, 0.56 * h), 0, 180, fill=(190, 30, 60))


def _spikes(draw: Drawing, size: tuple[int, int], p: Palette, rng: np.random.Generator) -> None:
    w, h = size
    x, y = 0.5 * w, rng.uniform(0.45, 0.58) * h
    for i in range(14):
        angle, reach = 2 * np.pi * (i + rng.uniform(-0.3, 0.3)) / 14, rng.uniform(0.25, 0.6) * h
        tip = (x + reach * np.cos(angle), y + reach * np.sin(angle))
        side = (0.05 * h * -np.sin(angle), 0.05 * h * np.cos(angle))
        base = [(x + side[0], y + side[1]), (x - side[0], y - side[1])]
        draw.polygon([tip, *base], fill=(p.figure, p.accent)[i % 2])
    _disc(draw, x, y, 0.1 * h, p.second)


def _ruin(draw: Drawing, size: tuple[int, int], p: Palette, rng: np.random.Generator) -> None:
    w, h = size
    _gradient(draw, size, p.ground, p.second)
    for _ in range(9):
        x, top, half = rng.uniform(0, w), rng.uniform(0.15, 0.5) * h, rng.uniform(0.02, 0.07) * w
        tip = (x + rng.uniform(-1, 1) * half, top)
        colour = _mixed(p.figure, p.ground, float(rng.uniform(0.1, 0.7)))
        draw.polygon([tip, (x + half, h), (x - half, h)], fill=colour)
    _disc(draw, rng.uniform(0.2, 0.8) * w, 0.3 * h, 0.07 * h, p.accent)


def _sigil(draw: Drawing, size: tuple[int, int], p: Palette, rng: np.random.Generator) -> None:
    w, h = size
    x, y, radius, points = 0.5 * w, 0.5 * h, 0.32 * h, int(rng.choice([5, 7]))
    line = max(2, round(0.022 * h))
    angles = rng.uniform(0, 6) + 2 * np.pi * np.arange(points + 1) * (points // 2) / points
    star = [(x + radius * np.cos(a), y + radius * np.sin(a)) for a in angles]
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=p.accent, width=line)
    draw.line(star, fill=p.accent, width=line)


def _leaf(draw: Drawing, size: tuple[int, int], p: Palette, rng: np.random.Generator) -> None:
    w, h = size
    draw.rectangle((0.07 * w, 0.06 * h, 0.93 * w, 0.94 * h), outline=p.figure, width=2)
    x = rng.uniform(0.42, 0.58) * w
    draw.line((x, 0.14 * h, x, 0.74 * h), fill=p.accent, width=max(2, w // 75))
    for i in range(5):
        y, reach = (0.2 + 0.11 * i) * h, rng.uniform(0.16, 0.28) * w
        for side in (-1, 1):
            tip, drop = x + side * reach, 0.06 * h
            draw.polygon(
                [
                    (x, y + drop),
                    (x + side * 0.5 * reach, y - drop),
                    (tip, y),
                    (x + side * 0.5 * reach, y + drop),
                ],
                fill=p.figure,
            )


def _knot(draw: Drawing, size: tuple[int, int], p: Palette, rng: np.random.Generator) -> None:
    w, h = size
    draw.rectangle((0.07 * w, 0.06 * h, 0.93 * w, 0.94 * h), outline=p.figure, width=2)
    radius, turn, line = 0.17 * h, rng.uniform(0, 2), max(3, w // 45)
    for i in range(4):
        x = 0.5 * w + 0.14 * h * np.cos(turn + i * np.pi / 2)
        y = 0.44 * h + 0.14 * h * np.sin(turn + i * np.pi / 2)
        box = (x - radius, y - radius, x + radius, y + radius)
        draw.ellipse(box, outline=(p.figure, p.accent)[i % 2], width=line)


LAYOUTS: Mapping[str, Layout] = {
    "grid": _grid,
    "bars": _bars,
    "rings": _rings,
    "void": _void,
    "spotlight": _spotlight,
    "desert": _desert,
    "hills": _hills,
    "town": _town,
    "barn": _barn,
    "figure": _figure,
    "rays": _rays,
    "dots": _dots,
    "face": _face,
    "spikes": _spikes,
    "ruin": _ruin,
    "sigil": _sigil,
    "leaf": _leaf,
    "knot": _knot,
}
