"""Cover files to squares of RGB bytes."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from mmgenre.errors import InputError
from mmgenre.image.settings import ImageInput

MAX_PIXELS = 64_000_000  # 8000 x 8000; larger files are mistakes or attacks


def load_image(path: Path, config: ImageInput | None = None) -> NDArray[np.uint8]:
    """Decodes a cover into (size_px, size_px, 3) bytes, RGB.

    EXIF orientation is applied; transparent images are composited over white; palette, grey, CMYK
    and 16-bit images become 8-bit RGB; the shorter side is scaled to `size_px`, the middle kept.
    InputError: missing, unreadable, truncated or too_large.
    """
    config = config or ImageInput()
    where = str(path)
    if not path.is_file():
        raise InputError("missing", where, "no such file")
    try:
        with Image.open(path) as opened:
            width, height = opened.size
            if width * height > MAX_PIXELS:
                raise InputError("too_large", where, f"{width} x {height} > {MAX_PIXELS:,} pixels")
            opened.load()
            image = to_rgb(ImageOps.exif_transpose(opened))
    except UnidentifiedImageError:
        raise InputError("unreadable", where, "no image format that Pillow knows") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError("too_large", where, str(error)) from None
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
        # Only the text of Pillow's error distinguishes a truncated file from other damage.
        truncated = "truncated" in str(error).lower()
        raise InputError("truncated" if truncated else "unreadable", where, str(error)) from None
    fitted = ImageOps.fit(image, (config.size_px,) * 2, method=Image.Resampling.BICUBIC)
    return np.asarray(fitted, dtype=np.uint8)


def to_rgb(image: Image.Image) -> Image.Image:
    """Converts an image of any Pillow mode to RGB."""
    if image.mode.startswith("I;16") or image.mode == "I":
        # convert("RGB") would clip 16-bit values at 255.
        values = np.asarray(image, dtype=np.int64).clip(0, 65_535)
        image = Image.fromarray((values >> 8).astype(np.uint8))
    elif image.mode == "F":
        values = np.nan_to_num(np.asarray(image, dtype=np.float64))
        image = Image.fromarray((values.clip(0, 1) * 255).astype(np.uint8))
    if image.has_transparency_data:
        layered = image.convert("RGBA")
        white = Image.new("RGBA", layered.size, "white")
        return Image.alpha_composite(white, layered).convert("RGB")
    return image.convert("RGB")
