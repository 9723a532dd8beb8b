"""Covers of every kind, sound and damaged, through `load_image`."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from mmgenre.errors import InputError
from mmgenre.image import decoding
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
    Image.frombytes("CMYK", (64, 64), pixels.tobytes()).save(path, quality=95)
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
    values[:, 32:] = 1.0
    values[32:, 32:] = 0.0
    Image.fromarray(values).save(path)
    assert [c[0] for c in centres(load_image(path, SMALL))] == [127, 255, 127, 0]


@pytest.mark.parametrize("bad", [7.0, -0.1, np.nan, np.inf])
def test_floats_of_another_range_are_refused(tmp_path: Path, bad: float) -> None:
    path = tmp_path / "float.tiff"
    values = np.full((64, 64), 0.5, np.float32)
    values[3, 3] = bad
    Image.fromarray(values).save(path)
    with pytest.raises(InputError, match=r"floats from .* allowed: 0 to 1"):
        load_image(path)


def test_integers_of_unknown_range_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "deep.tiff"
    Image.fromarray(np.full((64, 64), 200, np.int32)).save(path)
    with pytest.raises(InputError, match="integers of 32 bits, whose range is not known"):
        load_image(path)
    Image.fromarray(np.full((64, 64), 200 << 8, np.uint16)).save(path)
    assert (load_image(path) == 200).all()


def test_sixteen_bits_of_pgm_are_scaled(tmp_path: Path) -> None:
    path = tmp_path / "deep.pgm"
    path.write_bytes(b"P5 64 64 65535\n" + np.full((64, 64), 200 << 8, ">u2").tobytes())
    assert (load_image(path) == 200).all()


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


@pytest.mark.parametrize("size", [(1, 1), (1, 3), (1, 500), (500, 1), (7, 500), (2, 2)])
@pytest.mark.parametrize("suffix", ["gif", "png", "jpg"])
def test_placeholders_are_refused(tmp_path: Path, size: tuple[int, int], suffix: str) -> None:
    path = tmp_path / f"dot.{suffix}"
    Image.new("RGB", size, RED).save(path)
    assert code_of(path) == "too_small"


def test_small_covers_are_enlarged(tmp_path: Path) -> None:
    path = tmp_path / "small.gif"
    Image.new("RGB", (8, 10), RED).save(path)
    assert near(centres(load_image(path))[0], RED)
    assert load_image(path).shape == (256, 256, 3)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_cut_image_is_truncated(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cut.{suffix}"
    pixels = np.random.default_rng(0).integers(0, 255, (200, 200, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert code_of(path) == "truncated"


def as_png(pixels: NDArray[Any], kind: int, depth: int, interlaced: bool, n_bytes: int) -> bytes:
    """A PNG whose data end after so many bytes, as a whole stream; Pillow writes no such file."""
    height, width = pixels.shape[:2]
    scans = [pixels[y::dy, x::dx] for x, y, dx, dy in decoding.ADAM7] if interlaced else [pixels]
    rows = [row for scan in scans for row in scan if scan.size]
    packed = [np.packbits(row) if depth == 1 else row.astype(f">u{depth // 8}") for row in rows]
    raw = b"".join(b"\0" + row.tobytes() for row in packed)
    assert len(raw) > n_bytes
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlaced)
    palette = [(b"PLTE", bytes(range(9)))] if kind == 3 else []
    data = zlib.compress(raw[: len(raw) - n_bytes])
    parts = [
        (b"IHDR", header),
        *palette,
        (b"IDAT", data[:50]),
        (b"IDAT", data[50:]),
        (b"IEND", b""),
    ]
    return decoding.PNG_SIGNATURE + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in parts
    )


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("height", "width"), [(40, 31), (33, 64)])
@pytest.mark.parametrize(
    ("kind", "depth"), [(0, 1), (0, 8), (0, 16), (2, 8), (3, 8), (4, 8), (6, 8), (6, 16)]
)
def test_a_png_that_lacks_rows_is_refused(
    tmp_path: Path, kind: int, depth: int, height: int, width: int, interlaced: bool
) -> None:
    path = tmp_path / "x.png"
    channels = decoding.PNG_CHANNELS[kind]
    shape = (height, width) if channels == 1 else (height, width, channels)
    dark, light = np.zeros(shape, np.uint16), np.ones(shape, np.uint16)
    for pixels in (dark, light):
        path.write_bytes(as_png(pixels, kind, depth, interlaced, 0))
        load_image(path)
        for n_bytes in (1 + -(-width * channels * depth // 8) if not interlaced else 9, 99):
            path.write_bytes(as_png(pixels, kind, depth, interlaced, n_bytes))
            assert code_of(path) == "truncated"


def smooth(side: int = 400) -> Image.Image:
    noise = np.random.default_rng(2).integers(0, 255, (30, 30, 3)).astype(np.uint8)
    return Image.fromarray(noise).resize((side, side))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize(
    "how", [{}, {"progressive": True}, {"optimize": True, "subsampling": 0}], ids=str
)
def test_a_jpeg_that_lacks_data_is_refused(tmp_path: Path, mode: str, how: dict[str, Any]) -> None:
    path, buffer = tmp_path / "x.jpg", io.BytesIO()
    smooth().convert(mode).save(buffer, "JPEG", quality=92, **how)
    whole = buffer.getvalue()
    half, third = len(whole) // 2, len(whole) // 3
    for padded in (whole, whole + bytes(999), whole + whole, whole[:-2] + b"\xff" + whole[-2:]):
        path.write_bytes(padded)
        load_image(path)
    damaged = {
        "cut": whole[:half],
        "zeros to the end": whole[:half] + bytes(half),
        "cut, with an end": whole[:half] + whole[-2:],
        "lost bytes": whole[:third] + whole[third + 2000 :],
        "hole": whole[:half] + bytes(4096) + whole[half + 4096 :],
        "repeated bytes": whole[:half] + whole[half - 4000 :],
    }
    for name, data in damaged.items():
        path.write_bytes(data)
        with pytest.raises(InputError) as caught:
            load_image(path)
        assert caught.value.code == "truncated", name


def test_a_jpeg_with_restart_markers_that_lacks_some_is_refused(tmp_path: Path) -> None:
    path, buffer = tmp_path / "x.jpg", io.BytesIO()
    smooth().save(buffer, "JPEG", quality=92, restart_marker_rows=1)
    whole = buffer.getvalue()
    path.write_bytes(whole)
    load_image(path)
    first, second = (whole.index(bytes([0xFF, 0xD0 + n])) for n in (1, 3))
    path.write_bytes(whole[:first] + whole[second:])
    assert code_of(path) == "truncated"


def test_whole_progressive_jpegs_of_all_kinds_are_read(tmp_path: Path) -> None:
    rng, path = np.random.default_rng(4), tmp_path / "x.jpg"
    for k in range(60):
        height, width = rng.integers(8, 200, 2)
        noise = rng.integers(0, 255, (height, width, 3)).astype(np.uint8)
        picture = [Image.fromarray(noise), smooth(200), Image.new("RGB", (90, 70), "white")][k % 3]
        how: dict[str, Any] = {"quality": int(rng.integers(5, 100)), "subsampling": k % 3}
        how["restart_marker_blocks"] = int(rng.integers(0, 2) * rng.integers(1, 30))
        picture.convert(["RGB", "L", "CMYK"][k % 7 % 3]).save(path, progressive=True, **how)
        load_image(path, SMALL)


def test_most_holes_in_progressive_jpegs_are_found(tmp_path: Path) -> None:
    path, buffer = tmp_path / "x.jpg", io.BytesIO()
    smooth().save(buffer, "JPEG", quality=90, progressive=True)
    whole, rng = buffer.getvalue(), np.random.default_rng(5)
    first = whole.index(bytes([0xFF, 0xDA]))
    n_found = n_made = 0
    for size in (100, 4096) * 20:
        at = int(rng.integers(first, len(whole) - size - 2))
        for filling in (b"", bytes(size)):
            path.write_bytes(whole[:at] + filling + whole[at + size :])
            n_made += 1
            try:
                load_image(path, SMALL)
            except InputError:
                n_found += 1
    assert n_found >= 0.85 * n_made


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff"])
def test_damaged_metadata_do_not_matter(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x.{suffix}"
    picture = smooth(64)
    picture.save(path)
    expected = load_image(path, SMALL)
    noise = np.random.default_rng(3).bytes(300)
    exifs = (noise, b"Exif\0\0" + noise, b"Exif\0\0MM\0*\0\0\0\x08" + noise)
    for exif in exifs if suffix != "tiff" else ():
        picture.save(path, exif=exif, icc_profile=noise)
        np.testing.assert_array_equal(load_image(path, SMALL), expected)
    picture.save(path, icc_profile=noise)
    np.testing.assert_array_equal(load_image(path, SMALL), expected)


def test_damaged_chunks_of_a_png_do_not_matter(tmp_path: Path) -> None:
    path, text = tmp_path / "x.png", PngInfo()
    text.add_itxt("XML:com.adobe.xmp", "x" * 3_000_000, zip=True)  # Pillow allows a million
    picture = smooth(64)
    picture.save(path, pnginfo=text)
    expected = np.asarray(picture.resize((32, 32), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(load_image(path, SMALL), expected)
    picture.save(path, dpi=(72, 72))
    data = bytearray(path.read_bytes())
    data[data.index(b"pHYs") + 5] ^= 1  # its checksum is wrong now
    path.write_bytes(data)
    np.testing.assert_array_equal(load_image(path, SMALL), expected)
    data[data.index(b"IDAT") + 20] ^= 1
    path.write_bytes(data)
    assert code_of(path) in ("truncated", "unreadable")


def test_a_png_with_a_hole_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    smooth(300).save(path)
    whole = path.read_bytes()
    half, size = len(whole) // 2, len(whole) // 8
    for hole in (
        bytes(len(whole) - half),
        bytes(size) + whole[half + size :],
        whole[half + size :],
    ):
        path.write_bytes(whole[:half] + hole)
        assert code_of(path) in ("truncated", "unreadable")


def profile_with_other_primaries() -> bytes:
    """Those of sRGB with red and blue exchanged."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return (
        profile.replace(b"rXYZ", b"?XYZ").replace(b"bXYZ", b"rXYZ").replace(b"?XYZ", b"bXYZ")
    ).replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff"])
def test_colour_profiles_are_applied(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x.{suffix}"
    picture = Image.new("RGB", (64, 64), (200, 60, 30))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile, expected in (
        (srgb, (200, 60, 30)),
        (profile_with_other_primaries(), (30, 60, 200)),
    ):
        picture.save(path, icc_profile=profile, quality=95)
        assert near(centres(load_image(path, SMALL))[0], expected)
    Image.new("L", (64, 64), 99).save(path, icc_profile=srgb, quality=95)  # of other channels
    assert near(centres(load_image(path, SMALL))[0], (99, 99, 99))


@pytest.mark.parametrize("name", ["EPS", "TGA", "PCX", "ICO", "PDF"])
def test_formats_that_are_not_of_covers_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "cover.jpg"
    smooth(64).save(path, name)
    with pytest.raises(InputError, match="no image of the formats JPEG, MPO, PNG") as caught:
        load_image(path)
    assert caught.value.code == "unreadable"


def test_only_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    for path in (tmp_path, tmp_path / "pipe.jpg", Path("/dev/zero")):
        with pytest.raises(InputError, match="and no file"):
            load_image(path)


def test_the_name_does_not_decide_the_format(tmp_path: Path) -> None:
    path = tmp_path / "cover.jpg"
    for name in ("PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "JPEG2000", "MPO"):
        Image.new("RGB", (64, 64), RED).save(path, name)
        assert near(centres(load_image(path, SMALL))[0], RED)


def test_a_large_jpeg_is_decoded_at_a_smaller_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "large.jpg"
    smooth(800).save(path, quality=95)
    expected = load_image(path, SMALL)
    monkeypatch.setattr(decoding, "DRAFT_PIXELS", 100_000)
    found = load_image(path, SMALL)
    assert np.abs(found.astype(int) - expected).max() <= 6
    path.write_bytes(path.read_bytes()[:-5000] + b"\xff\xd9")
    assert code_of(path) == "truncated"


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["I;16", "RGB", "RGBA", "F"])
def test_memory_is_bounded(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("x.tiff" if mode == "F" else "x.png")
    Image.new(mode, (8000, 8000)).save(path)
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from mmgenre.image.decoding import load_image\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "load_image(Path(sys.argv[1]))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, check=True)
    assert int(done.stdout) < 1_000_000  # KiB


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    assert code_of(tmp_path / "absent.jpg") == "missing"
    assert code_of(tmp_path) == "unreadable"
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
