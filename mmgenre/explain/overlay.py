"""Heat laid over a cover, and pictures as bytes that a page can hold."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

from mmgenre.disk.locks import replacing_alone
from mmgenre.errors import MmgenreError

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
COLOURS = "inferno"  # perceptually even, and readable without telling red from green
OPACITY = 0.65  # of the hottest place
QUALITY = 85  # of JPEG; PNG ignores it


def overlay(cover: NDArray[np.uint8], heat: NDArray[np.floating]) -> NDArray[np.uint8]:
    """A cover in pale grey with its heat in colour, RGB bytes (side, side, 3) like the cover.

    Cold places stay grey, so that the only colours are those of the heat, (side, side). Raises
    ValueError for other shapes, or heat outside of [0, 1].
    """
    if cover.ndim != 3 or cover.shape != (*heat.shape, 3):
        raise ValueError(
            f"cover {cover.shape} and heat {heat.shape}: must be (side, side, 3) and (side, side)"
        )
    if not ((heat >= 0) & (heat <= 1)).all():
        raise ValueError(f"heat from {heat.min()} to {heat.max()}: must be within 0 and 1")
    grey = cover @ np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
    ground = (0.25 * 255 + 0.75 * grey)[:, :, None]
    # From the middle of the colour map: its dark end would look like a shadow on the cover.
    colour = colormaps[COLOURS](0.35 + 0.6 * heat)[:, :, :3] * 255
    opacity = (OPACITY * heat)[:, :, None]
    return np.asarray((ground * (1 - opacity) + colour * opacity).round(), dtype=np.uint8)


def jpeg_base64(picture: NDArray[np.uint8], side: int) -> str:
    """RGB bytes (n, n, 3) scaled to `side` pixels, as JPEG in base64."""
    scaled = Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    scaled.save(buffer, format="JPEG", quality=QUALITY)
    return base64.b64encode(buffer.getvalue()).decode()


def save_heat(path: Path | str, cover: NDArray[np.uint8], heat: NDArray[np.floating]) -> Path:
    """Writes `overlay(cover, heat)` as .png, .jpg or .jpeg, whole or not at all; returns the path.

    Raises MmgenreError for another ending, and ValueError as `overlay` does.
    """
    target = Path(path)
    if target.suffix.lower() not in FORMATS:
        raise MmgenreError(
            f"{target}: unknown picture format; the name must end in {', '.join(FORMATS)}"
        )
    picture = Image.fromarray(overlay(cover, heat))
    with replacing_alone(target) as temporary:
        picture.save(temporary, format=FORMATS[target.suffix.lower()], quality=QUALITY)
    return target
