"""Cover art as plain shapes: a palette, a motif, a title; in the usual file formats."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, ...]  # red, green, blue
Drawing = ImageDraw.ImageDraw


class Palette(NamedTuple):
    """Colours by their use in the picture."""

    ground: Colour
    second: Colour
    figure: Colour
    accent: Colour
    type: Colour


FURTHER_LABEL_SIZE = 0.38  # of the sticker in a further label's style, as a share of the cover
COLOUR_JITTER = 22  # standard deviation, of 255
NOISE = 6.0  # standard deviation of the grain, of 255
SIZES_PX = ((300, 300),) * 6 + ((200, 200), (400, 400), (320, 280), (260, 300))
FORMATS = ("RGB.jpg",) * 12 + ("RGB.png",) * 3 + ("RGBA.png", "L.jpg", "P.png")

PALETTES: Mapping[str, tuple[Palette, ...]] = {
    "modern": (
        Palette((28, 60, 92), (20, 40, 70), (230, 226, 210), (70, 160, 170), (235, 235, 225)),
        Palette((70, 130, 150), (50, 100, 130), (24, 34, 60), (225, 220, 200), (15, 25, 45)),
        Palette((52, 60, 110), (40, 45, 90), (120, 170, 200), (235, 230, 215), (235, 235, 235)),
    ),
    "road": (
        Palette((226, 160, 90), (196, 100, 60), (92, 54, 36), (250, 220, 150), (60, 35, 25)),
        Palette((200, 130, 90), (230, 190, 140), (110, 60, 40), (250, 235, 190), (70, 40, 30)),
        Palette((150, 150, 140), (210, 170, 120), (96, 66, 44), (240, 200, 120), (250, 240, 220)),
    ),
    "bright": (
        Palette((250, 90, 150), (255, 190, 60), (40, 200, 200), (255, 250, 120), (255, 255, 255)),
        Palette((255, 200, 40), (255, 110, 80), (230, 40, 120), (60, 200, 220), (120, 20, 110)),
        Palette((60, 200, 210), (150, 240, 160), (250, 70, 140), (255, 230, 70), (255, 255, 255)),
    ),
    "dark": (
        Palette((14, 12, 16), (40, 36, 40), (120, 118, 120), (150, 20, 24), (190, 190, 190)),
        Palette((22, 8, 8), (60, 14, 14), (150, 140, 130), (190, 40, 30), (210, 200, 190)),
        Palette((24, 26, 30), (60, 64, 70), (8, 8, 10), (170, 170, 175), (220, 220, 220)),
    ),
    "hand": (
        Palette((240, 230, 205), (220, 208, 176), (84, 110, 70), (150, 90, 60), (70, 70, 50)),
        Palette((226, 226, 200), (200, 206, 170), (60, 90, 80), (170, 120, 70), (50, 60, 50)),
        Palette((235, 215, 190), (214, 190, 160), (110, 100, 60), (90, 120, 90), (80, 60, 40)),
    ),
}
# Size of the letters and places of artist and title as shares of the height; whether centred.
LETTERING: Mapping[str, tuple[float, float, float, bool]] = {
    "modern": (0.065, 0.84, 0.91, False),
    "road": (0.09, 0.03, 0.12, True),
    "bright": (0.15, 0.66, 0.82, True),
    "dark": (0.13, 0.03, 0.86, True),
    "hand": (0.075, 0.76, 0.84, True),
}


def save_cover(
    styles: Sequence[str], artist: str, title: str, rng: np.random.Generator, stem: Path
) -> Path:
    """Draws a cover in the first style with a sticker in the second; `stem` lacks the suffix."""
    size = SIZES_PX[int(rng.integers(len(SIZES_PX)))]
    image = _picture(styles[0], size, rng, (artist, title))
    if len(styles) > 1:
        small = (round(size[0] * FURTHER_LABEL_SIZE), round(size[1] * FURTHER_LABEL_SIZE))
        sticker = _picture(styles[1], small, rng)
        x, y = rng.integers(2, size=2) * np.subtract(size, small)
        image.paste(sticker, (int(x), int(y)))
    grain = rng.normal(0, NOISE, size=(size[1], size[0], 1)).astype(np.float32)
    image = Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8))
    mode, suffix = FORMATS[int(rng.integers(len(FORMATS)))].split(".")
    if mode == "RGBA":
        # A soft vignette: without the alpha channel the picture is still visible.
        mask = Image.new("L", size, 150)
        ImageDraw.Draw(mask).ellipse((0, 0, size[0], size[1]), fill=255)
        image.putalpha(mask)
    elif mode != "RGB":
        image = image.convert(mode)
    path = stem.with_suffix(f".{suffix}")
    image.save(path, quality=85, compress_level=3)  # of JPEG and of PNG
    return path


def _picture(
    style: str, size: tuple[int, int], rng: np.random.Generator, words: Sequence[str] = ()
) -> Image.Image:
    """A cover, with artist and title in the position and size of the style's family."""
    width, height = size
    family, motif = style.split(".")
    plain = PALETTES[family][int(rng.integers(len(PALETTES[family])))]
    # One shift of all colours and a small shift of each.
    shift = rng.normal(0, COLOUR_JITTER, size=3)
    palette = Palette(*(_as_colour(c + shift + rng.normal(0, 8, size=3)) for c in np.array(plain)))
    image = Image.new("RGB", size, palette.ground)
    draw = ImageDraw.Draw(image)
    MOTIFS[motif](draw, width, height, palette, rng)
    scale, artist_y, title_y, centred = LETTERING[family]
    for text, share in zip(words, (artist_y, title_y), strict=False):
        letters = text.upper() if family in ("bright", "dark") else text
        font = ImageFont.load_default(max(8.0, scale * height))
        if font.getlength(letters) > 0.92 * width:
            fitting = scale * height * 0.92 * width / font.getlength(letters)
            font = ImageFont.load_default(max(8.0, fitting))
        x = (width - font.getlength(letters)) / 2 if centred else 0.06 * width
        draw.text((x, share * height), letters, fill=palette.type, font=font)
    return image


def _as_colour(rgb: npt.NDArray[np.float64]) -> Colour:
    return tuple(np.clip(rgb, 0, 255).astype(int).tolist())


def _mixed(a: Colour, b: Colour, share: float) -> Colour:
    return _as_colour((1 - share) * np.array(a) + share * np.array(b))


def _disc(draw: Drawing, x: float, y: float, radius: float, colour: Colour) -> None:
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def _gradient(draw: Drawing, w: int, h: int, top: Colour, bottom: Colour) -> None:
    for y in range(h):
        draw.line((0, y, w, y), fill=_mixed(top, bottom, y / h))


def _draw_grid(draw: Drawing, w: int, h: int, p: Palette, rng: np.random.Generator) -> None:
    n = int(rng.integers(3, 6))
    for row, column in np.ndindex(n, n):
        x, y = (0.1 + 0.8 * column / n) * w, (0.06 + 0.76 * row / n) * h
        colour = (p.figure, p.accent, p.second)[int(rng.integers(3))]
        shape = draw.rectangle if rng.random() < 0.5 else draw.ellipse
        shape((x, y, x + 0.64 * w / n, y + 0.62 * h / n), fill=colour)


def _draw_bars(draw: Drawing, w: int, h: int, p: Palette, rng: np.random.Generator) -> None:
    n = int(rng.integers(6, 12))
    for i in range(n):
        top = rng.uniform(0.05, 0.6) * h
        colour = (p.figure, p.accent)[int(rng.random() < 0.3)]
        draw.rectangle(((i + 0.2) / n * w, top, (i + 0.8) / n * w, 0.82 * h), fill=colour)


def _draw_rings(draw: Drawing, w: int, h: int, p: Palette, rng: np.random.Generator) -> None:
    x, y = rng.uniform(0.3, 0.7) * w, rng.uniform(0.3, 0.55) * h
    for i, share in enumerate(np.arange(0.62, 0.05, -0.09)):
        _disc(draw, x, y, share * h, (p.figure, p.ground, p.accent, p.second)[i % 4])


def _draw_void(draw: Drawing, w: int, h: int, p: Palette, rng: np.random.Generator) -> None:
    _gradient(draw, w, h, p.second, p.figure)
    _disc(draw, rng.uniform(0.3, 0.7) * w, rng.uniform(0.3, 0.5) * h, 0.13 * h, p.accent)


def _draw_spotlight(draw: Drawing, w: int, h: int, p: Palette, rng: np.random.Generator) -> None:
    x, lamp = rng.uniform(0.35, 0.65) * w, rng.uniform(0.0, 1.0) * w
    draw.polygon([(lamp, 0), (x - 0.24 * w, 0.8 * h), (x + 0.24 * w, 0.8 * h)], fill=p.figure)
    draw.ellipse((x - 0.24 * w, 0.72 * h, x + 0.24 * w, 0.84 * h), fill=p.figure)
    draw.line((x, 0.5 * h, x, 0.79 * h), fill=p.second, width=max(2, w // 50))
    _disc(draw, x, 0.48 * h, 0.06 * h, p.accent)


def _sky(draw: Drawing, w: int, h: int, p: Palette, rng: np.random.Generator) -> float:
    """Sky and ground; returns the height of the horizon in pixels from the top."""
    horizon = rng.uniform(0.58, 0.72) * h
    _gradient(draw, w, h, p.ground, p.second)
    draw.rectangle((0, horizon, w, h), fill=p.figure)
    return horizon


def _draw_desert(draw: Drawing, w: int, h: int, p: Palette, rng: np.random.Generator) -> None:
    horizon = _sky(draw, w, h, p, rng)
    x = rng.uniform(0.25, 0.75) * w
    sun = (x - 0.2 * w, horizon - 0.2 * h, x + 0.2 * w, horizon + 0.2 * h)
    draw.pieslice(sun, 180, 360, p.accent)
    draw.polygon([(x, horizon), (0.35 * w, h), (0.65 * w, h)], fill=p.second)


def _draw_hills(draw: Drawing, w: int, h: int, p: Palette, rng: np.random.Generator) -> None:
    horizon = _sky(draw, w, h, p, rng)
    for i in range(3):
        phase, waves = rng.uniform(0, 6), rng.uniform(3, 7)
        level = horizon + (i - 1) * 0.1 * h
        ridge = [(x, level - 0.07 * h * np.sin(waves * x / w + phase)) for x in range(0, w + 5, 4)]
        draw.polygon([*ridge, (w, h), (0, h)], fill=_mixed(p.second, p.figure, 0.4 + 0.3 * i))


def _draw_town(draw: Drawing, w: int, h: int, p: Palette, rng: np.random.Generator) -> None:
    horizon = _sky(draw, w, h, p, rng)
    x = 0.0
    while x < w:
        width, top = rng.uniform(0.08, 0.2) * w, horizon - rng.uniform(0.05, 0.32) * h
        draw.rectangle((x, top, x + width, horizon + 2), fill=p.figure)
        draw.rectangle((x + 0.3 * width, top + 8, x + 0.5 * width, top + 16), fill=p.accent)
        x += width


def _draw_barn(draw: Drawing, w: int, h: int, p: Palette, rng: np.random.Generator) -> None:
    floor = _sky(draw, w, h, p, rng) + 0.08 * h
    x, half, eaves = rng.uniform(0.35, 0.65) * w, 0.2 * w, floor - 0.24 * h
    wall = _mixed(p.figure, (150, 30, 20), 0.6)
    draw.rectangle((x - half, eaves, x + half, floor), fill=wall)
    roof = [(x - 1.2 * half, eaves), (x, eaves - 0.17 * h), (x + 1.2 * half, eaves)]
    draw.polygon(roof, fill=_mixed(p.figure, (0, 0, 0), 0.5))
    draw.rectangle((x - 0.35 * half, floor - 0.15 * h, x + 0.35 * half, floor), fill=p.accent)


def _draw_figure(draw: Drawing, w: int, h: int, p: Palette, rng: np.random.Generator) -> None:
    horizon = _sky(draw, w, h, p, rng)
    x, foot = rng.uniform(0.3, 0.7) * w, horizon + 0.22 * h
    dark = _mixed(p.figure, (0, 0, 0), 0.6)
    _disc(draw, x, foot - 0.5 * h, 0.055 * h, dark)
    shoulders = foot - 0.43 * h
    left = [(x - 0.06 * w, foot), (x - 0.08 * w, shoulders)]
    right = [(x + 0.08 * w, shoulders), (x + 0.06 * w, foot)]
    draw.polygon([*left, *right], fill=dark)


def _draw_rays(draw: Drawing, w: int, h: int, p: Palette, rng: np.random.Generator) -> None:
    x, y, turn = rng.uniform(0.35, 0.65) * w, rng.uniform(0.3, 0.5) * h, rng.uniform(0, 30)
    reach = 1.5 * max(w, h)
    for i in range(0, 24, 2):
        box = (x - reach, y - reach, x + reach, y + reach)
        draw.pieslice(box, turn + 15 * i, turn + 15 * i + 15, fill=p.second)
    _disc(draw, x, y, 0.17 * h, p.figure)


def _draw_dots(draw: Drawing, w: int, h: int, p: Palette, rng: np.random.Generator) -> None:
    for _ in range(28):
        colour = (p.second, p.figure, p.accent)[int(rng.integers(3))]
        _disc(draw, rng.uniform(0, w), rng.uniform(0, h), rng.uniform(0.03, 0.1) * h, colour)


def _draw_face(draw: Drawing, w: int, h: int, p: Palette, rng: np.random.Generator) -> None:
    x, skin = rng.uniform(0.4, 0.6) * w, _mixed((200, 140, 100), p.accent, 0.15)
    draw.ellipse((x - 0.3 * w, 0.06 * h, x + 0.3 * w, 0.7 * h), fill=p.figure)
    draw.ellipse((x - 0.38 * w, 0.62 * h, x + 0.38 * w, 1.4 * h), fill=p.second)
    draw.ellipse((x - 0.19 * w, 0.16 * h, x + 0.19 * w, 0.66 * h), fill=skin)
    for side in (-1, 1):
        _disc(draw, x + side * 0.08 * w, 0.36 * h, 0.022 * h, (30, 20, 20))
    draw.chord((x - 0.07 * w, 0.46 * h, x + 0.07 * w, 0.56 * h), 0, 180, fill=(190, 30, 60))


def _draw_spikes(draw: Drawing, w: int, h: int, p: Palette, rng: np.random.Generator) -> None:
    x, y = 0.5 * w, rng.uniform(0.45, 0.58) * h
    for i in range(14):
        angle, reach = 2 * np.pi * (i + rng.uniform(-0.3, 0.3)) / 14, rng.uniform(0.25, 0.6) * h
        tip = (x + reach * np.cos(angle), y + reach * np.sin(angle))
        side = (0.05 * h * -np.sin(angle), 0.05 * h * np.cos(angle))
        base = [(x + side[0], y + side[1]), (x - side[0], y - side[1])]
        draw.polygon([tip, *base], fill=(p.figure, p.accent)[i % 2])
    _disc(draw, x, y, 0.1 * h, p.second)


def _draw_ruin(draw: Drawing, w: int, h: int, p: Palette, rng: np.random.Generator) -> None:
    _gradient(draw, w, h, p.ground, p.second)
    for _ in range(9):
        x, top, half = rng.uniform(0, w), rng.uniform(0.15, 0.5) * h, rng.uniform(0.02, 0.07) * w
        tip = (x + rng.uniform(-1, 1) * half, top)
        colour = _mixed(p.figure, p.ground, float(rng.uniform(0.1, 0.7)))
        draw.polygon([tip, (x + half, h), (x - half, h)], fill=colour)
    _disc(draw, rng.uniform(0.2, 0.8) * w, 0.3 * h, 0.07 * h, p.accent)


def _draw_sigil(draw: Drawing, w: int, h: int, p: Palette, rng: np.random.Generator) -> None:
    x, y, radius, points = 0.5 * w, 0.5 * h, 0.32 * h, int(rng.choice([5, 7]))
    line = max(2, round(0.022 * h))
    angles = rng.uniform(0, 6) + 2 * np.pi * np.arange(points + 1) * (points // 2) / points
    star = [(x + radius * np.cos(a), y + radius * np.sin(a)) for a in angles]
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=p.accent, width=line)
    draw.line(star, fill=p.accent, width=line)


def _draw_leaf(draw: Drawing, w: int, h: int, p: Palette, rng: np.random.Generator) -> None:
    draw.rectangle((0.07 * w, 0.06 * h, 0.93 * w, 0.94 * h), outline=p.figure, width=2)
    x = rng.uniform(0.42, 0.58) * w
    draw.line((x, 0.14 * h, x, 0.74 * h), fill=p.accent, width=max(2, w // 75))
    for i in range(5):
        y, reach = (0.2 + 0.11 * i) * h, rng.uniform(0.16, 0.28) * w
        for side in (-1, 1):
            middle, tip, drop = x + side * 0.5 * reach, x + side * reach, 0.06 * h
            blade = [(x, y + drop), (middle, y - drop), (tip, y), (middle, y + drop)]
            draw.polygon(blade, fill=p.figure)


def _draw_knot(draw: Drawing, w: int, h: int, p: Palette, rng: np.random.Generator) -> None:
    draw.rectangle((0.07 * w, 0.06 * h, 0.93 * w, 0.94 * h), outline=p.figure, width=2)
    radius, turn, line = 0.17 * h, rng.uniform(0, 2), max(3, w // 45)
    for i in range(4):
        x = 0.5 * w + 0.14 * h * np.cos(turn + i * np.pi / 2)
        y = 0.44 * h + 0.14 * h * np.sin(turn + i * np.pi / 2)
        box = (x - radius, y - radius, x + radius, y + radius)
        draw.ellipse(box, outline=(p.figure, p.accent)[i % 2], width=line)


# The motif NAME is the function _draw_NAME; it draws in an area of a width and a height in pixels.
MOTIFS: Mapping[str, Callable[[Drawing, int, int, Palette, np.random.Generator], None]] = {
    name.removeprefix("_draw_"): function
    for name, function in list(globals().items())
    if name.startswith("_draw_")
}
