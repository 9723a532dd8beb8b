"""Damaged media of every kind, made from sound files, and what a run must make of each.

A run may list a damaged file ("listed"), or must read it as the sound one ("same"); of a file in
which only some content has changed ("either") it may list or read what is there.
"""

from __future__ import annotations

import gzip
import io
import os
import pickle
import random
import socket
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile
from PIL import Image

Expected = Literal["listed", "same", "either"]
AS_IT_IS = "as it is"


@dataclass(frozen=True)
class Damaged:
    """A file (or an inline text), what it was made from, and what must become of it."""

    name: str
    source: Path | str
    expected: Expected
    made_from: Path | None = None


# Damage of bytes, whatever they mean: name -> (bytes -> bytes, what is expected).
Damage = Callable[[bytes], bytes]


def _flipped(count: int) -> Damage:
    def flip(data: bytes) -> bytes:
        rng, damaged = random.Random(count), bytearray(data)
        for place in rng.sample(range(len(data)), min(count, len(data))):
            damaged[place] ^= 1 << rng.randrange(8)
        return bytes(damaged)

    return flip


def _cut(share: float) -> Damage:
    return lambda data: data[: round(share * len(data))]


def _hole(data: bytes) -> bytes:
    third = len(data) // 3
    return data[:third] + bytes(third) + data[2 * third :]


def _permuted(data: bytes) -> bytes:
    step = max(1, len(data) // 8)
    blocks = [data[k : k + step] for k in range(0, len(data), step)]
    return b"".join(blocks[:1] + blocks[:0:-1])


COMMON: dict[str, tuple[Damage, Expected]] = {
    "empty": (lambda data: b"", "listed"),
    "one byte": (lambda data: data[:1], "listed"),
    "60 bytes": (lambda data: data[:60], "listed"),
    "only zeros": (lambda data: bytes(len(data)), "listed"),
    "noise": (lambda data: random.Random(0).randbytes(len(data)), "listed"),
    "gzip": (gzip.compress, "listed"),
    "pickle": (pickle.dumps, "either"),  # of an MP3: frames follow the first bytes
    "1 bit": (_flipped(1), "either"),
    "20 bits": (_flipped(20), "either"),
    "1000 bits": (_flipped(1000), "either"),
    "reversed": (lambda data: data[::-1], "listed"),
    "permuted": (_permuted, "either"),
}
MEDIA: dict[str, tuple[Damage, Expected]] = {
    "a fifth": (_cut(0.2), "listed"),
    "a half": (_cut(0.5), "listed"),
    "without the last tenth": (_cut(0.9), "listed"),
    "without a beginning": (lambda data: data[len(data) // 3 :], "either"),
    "hole": (_hole, "listed"),
    "joined": (lambda data: data + data, "either"),
    "joined with noise": (lambda data: data + random.Random(1).randbytes(4000), "either"),
}
TEXT: dict[str, tuple[Damage, Expected]] = {
    "UTF-16 without a mark": (lambda data: data.decode().encode("utf-16-le"), "listed"),
    "UTF-16": (lambda data: data.decode().encode("utf-16"), "same"),
    "UTF-8 with a mark": (lambda data: b"\xef\xbb\xbf" + data, "same"),
    "Latin-1": (lambda data: data + "Grüße".encode("latin-1"), "listed"),
    "a NUL": (lambda data: data[:50] + b"\0" + data[50:], "listed"),
    "cut in a character": (lambda data: data + "é".encode()[:1], "listed"),
    "only markup": (lambda data: b"<p><br/></p>" * 50, "listed"),
    "only signs": (lambda data: b"... !? --- ", "listed"),
    "only spaces": (lambda data: b" \n\t" * 100_000, "listed"),
}


def damaged_media(folder: Path, modality: str, good: Sequence[Path]) -> Iterator[Damaged]:
    """Every kind of damage of each sound file, and files that never were sound."""
    folder.mkdir(parents=True, exist_ok=True)
    kinds = COMMON | (TEXT if modality == "text" else MEDIA)
    for path in good:
        data = path.read_bytes()
        yield Damaged(AS_IT_IS, path, "either", path)
        for name, (damage, expected) in kinds.items():
            made = folder / f"{path.stem[:12]}-{name.replace(' ', '-')}{path.suffix}"
            made.write_bytes(damage(data))
            if name in STILL_MEDIA.get(path.suffix, ()):
                expected = "either"
            yield Damaged(f"{path.name}: {name}", made, expected, path)
    yield from _odd_files(folder / "odd", modality, good[0])
    yield from {"audio": _audio, "image": _images, "text": _texts}[modality](folder, good[0])


# What is left is a shorter or an odd one, but one that a listener or reader would accept, too.
# Frames of an MP3 of constant bit rate need no header (docs/promises).
STILL_MEDIA = {
    ".mp3": ("a fifth", "a half", "without the last tenth", "reversed"),
    ".txt": ("one byte", "60 bytes", "reversed"),
}


def _odd_files(folder: Path, modality: str, good: Path) -> Iterator[Damaged]:
    """What is no regular file, or has the name of another kind."""
    folder.mkdir()
    end = good.suffix
    (folder / f"folder{end}").mkdir()
    os.mkfifo(folder / f"pipe{end}")
    (folder / f"loop{end}").symlink_to(folder / f"loop{end}")
    (folder / f"dangling{end}").symlink_to(folder / "nothing")
    (folder / f"device{end}").symlink_to("/dev/zero")
    with (folder / f"sparse{end}").open("wb") as file:
        file.truncate(1 << 36)  # 64 GiB of nothing
    bound = socket.socket(socket.AF_UNIX)
    here = os.open(folder, os.O_RDONLY)
    bound.bind(f"/proc/self/fd/{here}/socket{end}")  # a short name: 108 bytes at most
    os.close(here)
    bound.close()
    for name in ("folder", "pipe", "loop", "dangling", "device", "sparse", "socket", "gone"):
        yield Damaged(name, folder / f"{name}{end}", "listed")
    linked, renamed = folder / f"link{end}", folder / f"renamed.{_other_suffix(modality)}"
    linked.symlink_to(good)
    renamed.write_bytes(good.read_bytes())
    yield Damaged("link", linked, "same", good)
    yield Damaged("another suffix", renamed, "same", good)
    others = {
        "html": b"<!doctype html><title>404</title><p>Not found. Nothing to hear here.",
        "json": b'{"error": "not found"}',
        "elf": b"\x7fELF" + bytes(2000),
        "zip": b"PK\x03\x04" + random.Random(2).randbytes(2000),
        "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n(x) (w) file quit\n",
        "svg": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='http://a.example/x'/></svg>",
    }
    for name, data in others.items():
        path = folder / f"{name}{end}"
        path.write_bytes(data)
        said = modality == "text" and name in ("html", "json", "eps", "svg")
        yield Damaged(name, path, "either" if said else "listed")


def _other_suffix(modality: str) -> str:
    return {"audio": "wav", "image": "gif", "text": "md"}[modality]


def _audio(folder: Path, good: Path) -> Iterator[Damaged]:
    rate, n = 22_050, 22_050 * 8
    tone = 0.3 * np.sin(np.arange(n) / 9)
    made = {
        "silence": np.zeros(n),
        "constant": np.full(n, 0.4),
        "opposite channels": np.stack([tone, -tone], axis=1),
        "not a number": np.where(np.arange(n) == 5000, np.nan, tone),
        "infinite": np.where(np.arange(n) == 5000, np.inf, tone),
        "a click": np.where(np.arange(n) == 5000, 1.0, 0.0),
        "ten samples": tone[:10],
        "no samples": tone[:0],
    }
    for name, samples in made.items():
        path = folder / f"{name.replace(' ', '-')}.wav"
        soundfile.write(path, samples, rate, subtype="FLOAT")
        # Channels that cancel out are read as the louder one.
        yield Damaged(name, path, "either" if name == "opposite channels" else "listed")
    soundfile.write(folder / "plain.wav", tone, rate)
    plain = (folder / "plain.wav").read_bytes()
    lies = {
        "4 Hz": (24, struct.pack("<I", 4)),
        "no channels": (22, bytes(2)),
        "65535 channels": (22, b"\xff\xff"),
        "24 bits": (34, struct.pack("<H", 24)),
        "2 GB of data": (40, struct.pack("<I", 0x7FFF0000)),
    }
    for name, (at, lie) in lies.items():
        path = folder / f"{name.replace(' ', '-')}.wav"
        path.write_bytes(plain[:at] + lie + plain[at + len(lie) :])
        # A length near the limit of 32 bits is what a pipe writes.
        yield Damaged(name, path, "either" if name == "2 GB of data" else "listed")


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _images(folder: Path, good: Path) -> Iterator[Damaged]:
    def header(width: int, height: int) -> bytes:
        return _png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))

    signature, end = b"\x89PNG\r\n\x1a\n", _png_chunk(b"IEND", b"")
    text = _png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 26)))
    pixels = _png_chunk(b"IDAT", zlib.compress(bytes(100 * 301)))
    made = {
        "60000 x 60000": signature + header(60_000, 60_000) + pixels + end,
        "no width": signature + header(0, 100) + pixels + end,
        "no pixels": signature + header(100, 100) + end,
        "no height": signature + header(100, 0) + pixels + end,
        "too few rows": signature + header(100, 200) + pixels + end,
    }
    for name, data in made.items():
        path = folder / f"{name.replace(' ', '-')}.png"
        path.write_bytes(data)
        yield Damaged(name, path, "listed")
    # Only the picture counts.
    bomb = io.BytesIO()
    Image.open(good).convert("RGB").save(bomb, "PNG")
    whole = bomb.getvalue()
    (folder / "sound.png").write_bytes(whole)
    (folder / "64-MB-of-comment.png").write_bytes(whole[:33] + text + whole[33:])
    yield Damaged("64 MB of comment", folder / "64-MB-of-comment.png", "either")
    Image.new("RGB", (1, 1)).save(folder / "placeholder.png")
    yield Damaged("1 x 1", folder / "placeholder.png", "listed")
    Image.new("RGB", (100, 100)).save(folder / "sound.tga")
    yield Damaged("a format that is not allowed", folder / "sound.tga", "listed")


def _texts(folder: Path, good: Path) -> Iterator[Damaged]:
    del folder, good
    inline = {
        "inline: signs": "?!…",
        "inline: markup": "<b></b>&nbsp;",
        "inline: zero width": "\u200b\u200d\ufeff",
    }
    for name, text in inline.items():
        yield Damaged(name, text, "listed")
