"""Cover art as plain shapes: a palette, a layout, a title; in the file formats one meets."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mmgenre.datasets.synthetic.layouts import LAYOUTS, Drawing, Palette, as_colour

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


def draw_cover(
    styles: Sequence[str], artist: str, title: str, rng: np.random.Generator
) -> tuple[Image.Image, str]:
    """A cover in the first style with a sticker in the second, and its suffix with the dot."""
    size = SIZES_PX[int(rng.integers(len(SIZES_PX)))]
    image = _picture(styles[0], size, rng, artist, title)
    if len(styles) > 1:
        small = (round(size[0] * FURTHER_LABEL_SIZE), round(size[1] * FURTHER_LABEL_SIZE))
        sticker = _picture(styles[1], small, rng)
        corner = [
            int(rng.integers(2)) * (whole - part) for whole, part in zip(size, small, strict=True)
        ]
        image.paste(sticker, (corner[0], corner[1]))
    grain = rng.normal(0, NOISE, size=(size[1], size[0], 1)).astype(np.float32)
    image = Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8))
    mode, suffix = FORMATS[int(rng.integers(len(FORMATS)))].split(".")
    if mode == "RGBA":
        # A soft vignette: whoever drops the alpha channel sees the picture all the same.
        mask = Image.new("L", size, 150)
        ImageDraw.Draw(mask).ellipse((0, 0, size[0], size[1]), fill=255)
        image.putalpha(mask)
    elif mode != "RGB":
        image = image.convert(mode)
    return image, f".{suffix}"


def save_cover(image: Image.Image, path: Path) -> None:
    """Writes the cover in the format that the path's suffix names."""
    if path.suffix == ".jpg":
        image.save(path, quality=85)
    else:
        image.save(path, compress_level=3)


def _picture(
    style: str,
    size: tuple[int, int],
    rng: np.random.Generator,
    artist: str | None = None,
    title: str | None = None,
) -> Image.Image:
    family, layout = style.split(".")
    palettes = PALETTES[family]
    palette = _jittered(palettes[int(rng.integers(len(palettes)))], rng)
    image = Image.new("RGB", size, palette.ground)
    draw = ImageDraw.Draw(image)
    LAYOUTS[layout](draw, size, palette, rng)
    if artist is not None and title is not None:
        _letter(draw, size, family, palette, artist, title)
    return image


def _jittered(palette: Palette, rng: np.random.Generator) -> Palette:
    """The palette in another light: all colours shifted alike, and each a little on its own."""
    shift = rng.normal(0, COLOUR_JITTER, size=3)
    return Palette(*(as_colour(np.array(c) + shift + rng.normal(0, 8, size=3)) for c in palette))


def _letter(
    draw: Drawing, size: tuple[int, int], family: str, palette: Palette, artist: str, title: str
) -> None:
    """Artist and title, where and as large as the family sets them."""
    width, height = size
    scale, artist_y, title_y, centred = {
        "modern": (0.065, 0.84, 0.91, False),
        "road": (0.09, 0.03, 0.12, True),
        "bright": (0.15, 0.66, 0.82, True),
        "dark": (0.13, 0.03, 0.86, True),
        "hand": (0.075, 0.76, 0.84, True),
    }[family]
    for words, share in ((artist, artist_y), (title, title_y)):
        letters = words.upper() if family in ("bright", "dark") else words
        font = ImageFont.load_default(max(8.0, scale * height))
        if font.getlength(letters) > 0.92 * width:
            font = ImageFont.load_default(
                max(8.0, scale * height * 0.92 * width / font.getlength(letters))
            )
        x = (width - font.getlength(letters)) / 2 if centred else 0.06 * width
        draw.text((x, share * height), letters, fill=palette.type, font=font)
