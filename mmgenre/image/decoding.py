"""Cover files to squares of RGB bytes."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from mmgenre.disk.files import check_file
from mmgenre.errors import InputError
from mmgenre.image import jpeg
from mmgenre.image.settings import ImageInput

# By content, whatever the name says. Of Pillow's other formats some start programs (EPS), some have
# no signature, and none is that of covers.
FORMATS = ("JPEG", "MPO", "PNG", "GIF", "WEBP", "BMP", "TIFF", "JPEG2000", "PPM", "AVIF")
MAX_PIXELS = 64_000_000  # 8000 x 8000; larger files are mistakes or attacks
MAX_BYTES = 1 << 29  # of a file: 8 for each of so many pixels
MIN_SIDE_PX = 8  # smaller ones stand for a cover that is missing
DRAFT_PIXELS = 16_000_000  # JPEGs above are decoded at half the size or less: less memory
ORIENTATION, BITS_PER_SAMPLE = 0x0112, 0x0102  # tags of EXIF, of TIFF
TURNED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_PICTURE = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}  # chunks without which there is none
PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
# Passes of an interlaced PNG: first column and row, steps between columns and rows.
ADAM7 = (
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
    (0, 1, 1, 2),
)  # fmt: skip
INFLATED_BYTES = 1 << 20  # at once
DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, struct.error)


def load_image(path: Path, config: ImageInput | None = None) -> NDArray[np.uint8]:
    """Decodes a cover into (size_px, size_px, 3) bytes, RGB.

    EXIF orientation is applied and colours become sRGB; metadata that are damaged are left out.
    Transparent images are composited over white; palette, grey, CMYK and 16-bit images, and floats
    from 0 to 1, become 8-bit RGB; the shorter side is scaled to `size_px`, the middle kept.
    InputError: missing, unreadable, truncated, too_large or too_small.
    """
    check_file(path)
    if (size := path.stat().st_size) > MAX_BYTES:
        raise InputError("too_large", str(path), f"{size:,} bytes; at most {MAX_BYTES:,}")
    return decode_image(path, path.read_bytes(), config or ImageInput())


def decode_image(path: Path, data: bytes, config: ImageInput) -> NDArray[np.uint8]:
    """`load_image` of a file whose bytes were read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's are about metadata
        try:
            return _decode(path, data, config.size_px)
        except InputError as error:
            # Pillow refuses whole files for damaged metadata.
            picture = _without_metadata(data) if error.code in ("unreadable", "truncated") else None
            if picture is None:
                raise
            return _decode(path, picture, config.size_px)


def _decode(path: Path, data: bytes, size_px: int) -> NDArray[np.uint8]:
    where = str(path)
    try:
        with Image.open(io.BytesIO(data), formats=_formats()) as opened:
            width, height = opened.size
            if width * height > MAX_PIXELS:
                raise InputError("too_large", where, f"{width} x {height} > {MAX_PIXELS:,} pixels")
            if min(width, height) < MIN_SIDE_PX:
                what = f"{width} x {height} pixels, which is no cover but stands for one"
                least = f"at least {MIN_SIDE_PX} x {MIN_SIDE_PX} are needed"
                raise InputError("too_small", where, f"{what}; {least}")
            if width * height > DRAFT_PIXELS:
                opened.draft(opened.mode, (2 * size_px, 2 * size_px))
            if opened.format == "PNG" and not _has_true_checksums(data):
                raise InputError("truncated", where, "damaged: a checksum of its data is wrong")
            is_jpeg = opened.format in jpeg.FORMATS
            watched = jpeg.watched(data, opened) if is_jpeg else None
            opened.load()
            if opened.format == "PNG" and _lacks_rows(data, opened):
                what = "damaged: its data do not give as many rows as it declares"
                raise InputError("truncated", where, what)
            is_whole = watched is not None and watched.is_whole
            if is_jpeg and not is_whole and not jpeg.is_whole(data, opened.size):
                what = "damaged: its data do not give as many rows as it declares"
                raise InputError("truncated", where, what)
            profile, orientation = opened.info.get("icc_profile"), _orientation(opened)
            image = _over_white(_to_8_bits(where, opened))
            fitted = ImageOps.fit(image, (size_px, size_px), method=Image.Resampling.BICUBIC)
            if orientation in TURNED:
                fitted = fitted.transpose(TURNED[orientation])
            return np.asarray(_to_srgb(fitted, profile), dtype=np.uint8)
    except UnidentifiedImageError:
        what = f"no image of the formats {', '.join(FORMATS)}; convert it"
        raise InputError("unreadable", where, what) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError("too_large", where, str(error)) from None
    except DAMAGE as error:
        # Only the text of Pillow's error distinguishes a truncated file from other damage.
        truncated = "truncated" in str(error).lower()
        raise InputError("truncated" if truncated else "unreadable", where, str(error)) from None


@cache
def _formats() -> tuple[str, ...]:
    """Those of `FORMATS` that this version of Pillow has."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _to_8_bits(where: str, image: Image.Image) -> Image.Image:
    """The image, or one of 8 bits if its values have more. InputError: their range is not known."""
    tags = image.tag_v2 if isinstance(image, TiffImageFile) else {}
    depth = tags.get(BITS_PER_SAMPLE, (16,))
    if image.mode == "F":
        values = np.array(image)
        least, most = float(values.min()), float(values.max())
        if not (least >= 0 and most <= 1):  # also of NaN
            what = f"floats from {least:g} to {most:g}; allowed: 0 to 1"
            raise InputError("unreadable", where, what)
        values *= 255
        return Image.fromarray(values.astype(np.uint8))
    if not image.mode.startswith("I"):
        return image
    if depth != (16,):
        what = f"integers of {depth[0]} bits, whose range is not known; save it with 8 or 16"
        raise InputError("unreadable", where, what)
    # Not convert("RGB"), which would clip at 255.
    return Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))


def _over_white(image: Image.Image) -> Image.Image:
    """An image of mode RGB, L or CMYK, without transparency."""
    if image.has_transparency_data:
        layered = image if image.mode == "RGBA" else image.convert("RGBA")
        white = Image.new("RGB", layered.size, "white")
        white.paste(layered, mask=layered)
        return white
    if image.mode == "1":
        return image.convert("L")
    return image if image.mode in ("RGB", "L", "CMYK") else image.convert("RGB")


def _orientation(image: Image.Image) -> int | None:
    try:
        orientation: int | None = image.getexif().get(ORIENTATION)
    except Exception:  # whatever damaged metadata raise, the picture is there
        return None
    return orientation


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """RGB by the colour profile, unless there is none, or it is damaged or of other channels."""
    try:
        if not profile:
            return image if image.mode == "RGB" else image.convert("RGB")
        source = ImageCms.getOpenProfile(io.BytesIO(profile))
        if "srgb" not in ImageCms.getProfileDescription(source).lower():
            converted = ImageCms.profileToProfile(image, source, _srgb(), outputMode="RGB")
            return image.convert("RGB") if converted is None else converted
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        pass
    return image.convert("RGB")


@cache
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _without_metadata(data: bytes) -> bytes | None:
    """A PNG or JPEG with nothing but its picture; None for what is no such file."""
    if data.startswith(PNG_SIGNATURE):
        return b"".join(_png_picture(data))
    return jpeg.picture(data)


def _png_picture(data: bytes) -> Iterator[bytes]:
    yield PNG_SIGNATURE
    yield from (chunk for chunk in _chunks(data) if chunk[4:8] in PNG_PICTURE)


def _chunks(data: bytes) -> Iterator[bytes]:
    """The chunks of a PNG file, each with its length, name, content and checksum."""
    at = len(PNG_SIGNATURE)
    while at + 12 <= len(data):
        stop = at + 12 + int.from_bytes(data[at : at + 4], "big")
        yield data[at:stop]
        at = stop


def _has_true_checksums(data: bytes) -> bool:
    """Whether the picture of a PNG file is undamaged; Pillow does not look at its checksums."""
    chunks = [chunk for chunk in _chunks(data) if chunk[4:8] in PNG_PICTURE]
    sums = [int.from_bytes(chunk[-4:], "big") for chunk in chunks]
    return sums == [zlib.crc32(chunk[4:-4]) for chunk in chunks]


def _lacks_rows(data: bytes, image: Image.Image) -> bool:
    """Whether the data of a PNG end before its last row, which Pillow then leaves as zeros."""
    width, height = image.size
    # Two: of an interlaced picture one of them is of the last pass.
    last = np.asarray(image.crop((0, height - 2, width, height))).reshape(2, -1)
    if last.any(axis=1).all():
        return False
    _, _, depth, kind, _, _, interlaced = struct.unpack(">IIBBBBB", data[16:29])
    bits = PNG_CHANNELS[kind] * depth
    expected = 0
    for x, y, dx, dy in ADAM7 if interlaced else ((0, 0, 1, 1),):
        columns, rows = len(range(x, width, dx)), len(range(y, height, dy))
        expected += rows * (1 + -(-columns * bits // 8)) if columns else 0
    inflate, found = zlib.decompressobj(), 0
    for chunk in _chunks(data):
        left = chunk[8:-4] if chunk[4:8] == b"IDAT" else b""
        while left:
            found += len(inflate.decompress(left, INFLATED_BYTES))
            left = inflate.unconsumed_tail
    return found + len(inflate.flush()) < expected
