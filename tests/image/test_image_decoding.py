"""Covers of every kind, sound and damaged, through `load_image`."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mmgenre.errors import InputError
from mmgenre.image.decoding import load_image
from mmgenre.image.settings import ImageInput

RED, GREEN, BLUE, WHITE, BLACK = (
    (255, 0, 0),
    (0, 255, 0),
    (0, 0, 255),
    (255, 255, 255),
    (0, 0, 0),
)
SMALL = ImageInput(size_px=32)


def code_of(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        load_image(path)
    assert str(path) in str(caught.value)
    return caught.value.code


def centres(pixels: NDArray[np.uint8]) -> list[tuple[int, ...]]:
    """Colours of the four quadrants: top left, top right, bottom left, bottom right."""
    low, high = pixels.shape[0] // 4, 3 * pixels.shape[0] // 4
    return [tuple(map(int, pixels[y, x])) for y in (low, high) for x in (low, high)]


def near(a: tuple[int, ...], b: tuple[int, ...], by: int = 8) -> bool:
    return all(abs(p - q) <= by for p, q in zip(a, b, strict=True))


# How a viewer turns the stored rows, by the definition of each EXIF orientation.
SHOWN: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    1: lambda s: s,
    2: lambda s: s[:, ::-1],
    3: lambda s: s[::-1, ::-1],
    4: lambda s: s[::-1],
    5: lambda s: s.transpose(1, 0, 2),
    6: lambda s: np.rot90(s, -1),
    7: lambda s: s[::-1, ::-1].transpose(1, 0, 2),
    8: lambda s: np.rot90(s, 1),
}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    stored = np.zeros((64, 64, 3), np.uint8)
    stored[:32, :32], stored[:32, 32:] = RED, GREEN
    stored[32:, :32], stored[32:, 32:] = BLUE, WHITE
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.jpg"
    Image.fromarray(stored).save(path, quality=95, subsampling=0, exif=exif)
    expected = centres(np.ascontiguousarray(SHOWN[orientation](stored)))
    got = centres(load_image(path, SMALL))
    assert all(near(a, b) for a, b in zip(got, expected, strict=True)), got


def test_transparency_lies_over_white(tmp_path: Path) -> None:
    path = tmp_path / "rgba.png"
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[:32, :32] = (*RED, 0)
    pixels[:32, 32:] = (*RED, 255)
    pixels[32:, :32] = (0, 0, 0, 51)  # a fifth black
    pixels[32:, 32:] = (*BLUE, 128)
    Image.fromarray(pixels).save(path)
    got = centres(load_image(path, SMALL))
    expected = [WHITE, RED, (204, 204, 204), (127, 127, 255)]
    assert all(near(a, b, 2) for a, b in zip(got, expected, strict=True)), got


def test_transparent_grey_lies_over_white(tmp_path: Path) -> None:
    path = tmp_path / "la.png"
    pixels = np.zeros((64, 64, 2), np.uint8)
    pixels[:, 32:] = (100, 255)
    Image.fromarray(pixels).save(path)
    assert centres(load_image(path, SMALL))[:2] == [WHITE, (100, 100, 100)]


@pytest.mark.parametrize("transparency", [0, bytes([0, 255])])
def test_a_palettes_transparent_colour_is_white(tmp_path: Path, transparency: int | bytes) -> None:
    path = tmp_path / "palette.png"
    indices = np.zeros((64, 64), np.uint8)
    indices[:, 32:] = 1
    image = Image.fromarray(indices)
    image.putpalette([*RED, *BLUE])
    assert image.mode == "P"
    image.save(path, transparency=transparency)
    assert centres(load_image(path, SMALL))[:2] == [WHITE, BLUE]
    image.save(path)
    assert centres(load_image(path, SMALL))[:2] == [RED, BLUE]


def test_a_cmyk_jpeg_keeps_its_colours(tmp_path: Path) -> None:
    path = tmp_path / "cmyk.jpg"
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[:32, :32] = (0, 255, 255, 0)
    pixels[:32, 32:] = (255, 0, 255, 0)
    pixels[32:, :32] = (0, 0, 0, 255)
    Image.fromarray(pixels, "CMYK").save(path, quality=95)
    got = centres(load_image(path, SMALL))
    expected = [RED, GREEN, BLACK, WHITE]
    assert all(near(a, b) for a, b in zip(got, expected, strict=True)), got


def test_grey_and_black_and_white(tmp_path: Path) -> None:
    path = tmp_path / "grey.png"
    Image.new("L", (40, 40), 100).save(path)
    assert (load_image(path, SMALL) == 100).all()
    bits = Image.new("1", (64, 64), 0)
    bits.paste(1, (32, 0, 64, 64))
    bits.save(path)
    assert centres(load_image(path, SMALL))[:2] == [BLACK, WHITE]


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path: Path) -> None:
    path = tmp_path / "deep.png"
    values = np.zeros((64, 64), np.uint16)
    values[:32, :32], values[:32, 32:] = 0x0100, 0x4000
    values[32:, :32], values[32:, 32:] = 0x80FF, 0xFFFF
    Image.fromarray(values).save(path)
    with Image.open(path) as image:
        assert image.mode.startswith("I")
    assert [c[0] for c in centres(load_image(path, SMALL))] == [1, 64, 128, 255]


def test_float_images_are_scaled(tmp_path: Path) -> None:
    path = tmp_path / "float.tiff"
    values = np.full((64, 64), 0.5, np.float32)
    values[:, 32:] = 7.0
    values[32:, 32:] = np.nan
    Image.fromarray(values).save(path)
    assert [c[0] for c in centres(load_image(path, SMALL))] == [127, 255, 127, 0]


@pytest.mark.parametrize("wide", [True, False])
def test_the_middle_of_an_oblong_is_kept(tmp_path: Path, wide: bool) -> None:
    path = tmp_path / "oblong.png"
    pixels = np.zeros((100, 300, 3), np.uint8)
    pixels[:, :100], pixels[:, 100:200], pixels[:, 200:] = RED, GREEN, BLUE
    Image.fromarray(pixels if wide else pixels.transpose(1, 0, 2).copy()).save(path)
    got = load_image(path, ImageInput(size_px=50))
    assert got.shape == (50, 50, 3)
    assert got.dtype == np.uint8
    assert (got[3:-3, 3:-3] == GREEN).all()


def test_small_covers_are_enlarged(tmp_path: Path) -> None:
    path = tmp_path / "dot.gif"
    Image.new("RGB", (1, 3), RED).save(path)
    assert near(centres(load_image(path))[0], RED)
    assert load_image(path).shape == (256, 256, 3)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_cut_image_is_truncated(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cut.{suffix}"
    pixels = np.random.default_rng(0).integers(0, 255, (200, 200, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert code_of(path) == "truncated"


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    assert code_of(tmp_path / "absent.jpg") == "missing"
    assert code_of(tmp_path) == "missing"
    for content in (b"", b"<html>Not found</html>", np.random.default_rng(1).bytes(5000)):
        path = tmp_path / "garbage.jpg"
        path.write_bytes(content)
        assert code_of(path) == "unreadable"
    header_only = tmp_path / "header.jpg"
    buffer = io.BytesIO()
    Image.new("RGB", (50, 50)).save(buffer, "JPEG")
    header_only.write_bytes(buffer.getvalue()[:30])
    assert code_of(header_only) in ("truncated", "unreadable")


# Below Pillow's own limit, where it warns, and where it raises.
@pytest.mark.parametrize("side", [8_001, 10_000, 60_000])
def test_a_huge_declared_size_is_refused_unread(tmp_path: Path, side: int) -> None:
    def chunk(name: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + checksum

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    path = tmp_path / "bomb.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(1000)))
        + chunk(b"IEND", b"")
    )
    assert code_of(path) == "too_large"


@pytest.mark.realdata
def test_real_covers_load(real_data: Path) -> None:
    paths = sorted((real_data / "real" / "covers").iterdir())
    assert len(paths) == 33
    for path in paths:
        pixels = load_image(path)
        assert pixels.shape == (256, 256, 3)
        assert pixels.std() > 4
