"""What becomes of covers and tracks on their way through shops, blogs and archives."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageFont, ImageOps

Picture = Image.Image
EditCover = Callable[[Picture], Picture]
Samples = NDArray[np.float32]  # (n, channels)
EditSound = Callable[[Samples, int], tuple[Samples, int]]  # samples, rate in Hz -> the same
CUT = 0.03  # of a side
WRITTEN_AT_ONCE = 4096  # libsndfile's Vorbis encoder dies of longer blocks


def in_turn(*edits: EditCover) -> EditCover:
    def edit(image: Picture) -> Picture:
        for step in edits:
            image = step(image)
        return image

    return edit


def crop(left: float = 0, top: float = 0, right: float = 0, bottom: float = 0) -> EditCover:
    def edit(image: Picture) -> Picture:
        w, h = image.size
        return image.crop(
            (round(left * w), round(top * h), w - round(right * w), h - round(bottom * h))
        )

    return edit


def border(share: float, colour: str) -> EditCover:
    return lambda image: ImageOps.expand(image, max(1, round(share * image.width)), colour)


def grey(image: Picture) -> Picture:
    return image.convert("L").convert("RGB")


def scaled(share: float) -> EditCover:
    return lambda image: image.resize((round(share * image.width), round(share * image.height)))


def advisory(image: Picture) -> Picture:
    """A black and white label at the lower right."""
    image = image.copy()
    (w, h), draw = image.size, ImageDraw.Draw(image)
    x, y, wide, high = 0.77 * w, 0.84 * h, 0.2 * w, 0.13 * h
    draw.rectangle((x, y, x + wide, y + high), "white", "black")
    for start, stop in ((0.08, 0.32), (0.7, 0.94)):
        draw.rectangle((x + 0.05 * wide, y + start * high, x + 0.95 * wide, y + stop * high), 0)
    font = ImageFont.load_default(size=max(6, high / 4))
    draw.text((x + 0.06 * wide, y + 0.36 * high), "ADVISORY", "black", font)
    return image


def sale(image: Picture) -> Picture:
    """A red corner at the upper right."""
    image = image.copy()
    (w, h), draw = image.size, ImageDraw.Draw(image)
    draw.polygon([(w, 0), (0.74 * w, 0), (w, 0.26 * h)], "red")
    draw.text((0.88 * w, 0.04 * h), "SALE", "yellow", ImageFont.load_default(size=max(6, w / 20)))
    return image


def round_sticker(image: Picture) -> Picture:
    """A yellow disc at the upper left."""
    image = image.copy()
    (w, h), draw = image.size, ImageDraw.Draw(image)
    draw.ellipse((0.05 * w, 0.05 * h, 0.25 * w, 0.25 * h), "yellow", "black")
    draw.text((0.09 * w, 0.12 * h), "NEW", "black", ImageFont.load_default(size=max(6, w / 18)))
    return image


def brighter(factor: float) -> EditCover:
    return lambda image: ImageEnhance.Brightness(image).enhance(factor)


@dataclass(frozen=True)
class CoverEdit:
    edit: EditCover = lambda image: image
    suffix: str = ".jpg"
    options: dict[str, Any] = field(default_factory=lambda: {"quality": 85})

    def __call__(self, source: Path, target: Path) -> Path:
        """Writes the edited picture; `target` has no suffix."""
        with Image.open(source) as opened:
            layered = opened.convert("RGBA")
        image = Image.new("RGB", layered.size, "white")
        image.paste(layered, mask=layered)
        target = target.with_name(target.name + self.suffix)
        self.edit(image).save(target, **self.options)
        return target


ALL_SIDES = crop(CUT, CUT, CUT, CUT)
COVER_EDITS: dict[str, CoverEdit] = {
    "left side off": CoverEdit(crop(left=CUT)),
    "right side off": CoverEdit(crop(right=CUT)),
    "top off": CoverEdit(crop(top=CUT)),
    "bottom off": CoverEdit(crop(bottom=CUT)),
    "corner off": CoverEdit(crop(left=CUT, top=CUT)),
    "all sides off": CoverEdit(ALL_SIDES),
    "white border": CoverEdit(border(0.05, "white")),
    "black border": CoverEdit(border(0.05, "black")),
    "thin border": CoverEdit(border(0.01, "black")),
    "wide border": CoverEdit(border(0.1, "grey")),
    "red border": CoverEdit(border(0.04, "crimson")),
    "grey": CoverEdit(grey),
    "advisory label": CoverEdit(advisory),
    "sale corner": CoverEdit(sale),
    "round sticker": CoverEdit(round_sticker),
    "small": CoverEdit(scaled(0.5)),
    "tiny": CoverEdit(scaled(0.35)),
    "enlarged": CoverEdit(scaled(2)),
    "stretched": CoverEdit(lambda image: image.resize((300, 280))),
    "quality 30": CoverEdit(options={"quality": 30}),
    "quality 15": CoverEdit(options={"quality": 15}),
    "PNG": CoverEdit(suffix=".png", options={}),
    "WebP": CoverEdit(suffix=".webp", options={"quality": 60}),
    "brighter": CoverEdit(brighter(1.3)),
    "darker": CoverEdit(brighter(0.7)),
    "more contrast": CoverEdit(lambda image: ImageEnhance.Contrast(image).enhance(1.3)),
    "more colour": CoverEdit(lambda image: ImageEnhance.Color(image).enhance(1.6)),
    "sides off, grey": CoverEdit(in_turn(ALL_SIDES, grey), options={"quality": 40}),
    "label, brighter, border": CoverEdit(in_turn(advisory, brighter(1.2), border(0.05, "white"))),
    "corner off, sale, small": CoverEdit(in_turn(crop(left=CUT, bottom=CUT), sale, scaled(0.6))),
    "sides off, border": CoverEdit(in_turn(ALL_SIDES, border(0.06, "black"))),
    "grey, darker, border": CoverEdit(in_turn(grey, brighter(0.75), border(0.04, "white"))),
    "sticker, grey, sides off": CoverEdit(in_turn(round_sticker, grey, ALL_SIDES)),
    "everything": CoverEdit(
        in_turn(crop(CUT, 0, 0, CUT), advisory, brighter(1.15), border(0.03, "black"), scaled(0.7)),
        options={"quality": 45},
    ),
}


def one_channel(x: Samples, rate: int) -> tuple[Samples, int]:
    return x.mean(axis=1, keepdims=True), rate


def at_rate(rate_hz: int) -> EditSound:
    return lambda x, rate: (np.asarray(soxr.resample(x, rate, rate_hz), np.float32), rate_hz)


def quieter(db: float) -> EditSound:
    return lambda x, rate: (x * np.float32(10 ** (-db / 20)), rate)


def late(seconds: float) -> EditSound:
    """Begins later: what comes before is gone."""
    return lambda x, rate: (x[round(seconds * rate) :], rate)


def after_silence(seconds: float) -> EditSound:
    return lambda x, rate: (np.pad(x, ((round(seconds * rate), 0), (0, 0))), rate)


def part(start: float, stop: float) -> EditSound:
    return lambda x, rate: (x[round(start * len(x)) : round(stop * len(x))], rate)


def noisy(db: float) -> EditSound:
    """White noise so many dB below the track's power."""

    def edit(x: Samples, rate: int) -> tuple[Samples, int]:
        noise = np.random.default_rng(0).standard_normal(x.shape)
        level = np.sqrt((x**2).mean()) * 10 ** (-db / 20)
        return (x + noise * level).astype(np.float32), rate

    return edit


def inverted(x: Samples, rate: int) -> tuple[Samples, int]:
    return -x, rate


@dataclass(frozen=True)
class SoundEdit:
    edits: tuple[EditSound, ...] = ()
    suffix: str = ".flac"
    subtype: str | None = None
    level: float | None = None  # of compression: 0 is the best quality, 1 the least

    def __call__(self, source: Path, target: Path) -> Path:
        """Writes the edited track; `target` has no suffix."""
        x, rate = soundfile.read(source, dtype="float32", always_2d=True)
        for edit in self.edits:
            x, rate = edit(x, rate)
        target = target.with_name(target.name + self.suffix)
        kind = {".flac": "FLAC", ".wav": "WAV", ".mp3": "MP3"}.get(self.suffix, "OGG")
        subtype = "OPUS" if self.suffix == ".opus" else self.subtype
        how = {"format": kind, "subtype": subtype, "compression_level": self.level}
        with soundfile.SoundFile(target, "w", rate, x.shape[1], **how) as file:
            for start in range(0, len(x), WRITTEN_AT_ONCE):
                file.write(x[start : start + WRITTEN_AT_ONCE].clip(-1, 1))
        return target


SOUND_EDITS: dict[str, SoundEdit] = {
    "MP3, high rate": SoundEdit(suffix=".mp3", level=0.1),
    "MP3, low rate": SoundEdit(suffix=".mp3", level=0.95),
    "Vorbis, low rate": SoundEdit(suffix=".ogg", level=0.95),
    "Opus": SoundEdit((at_rate(48_000),), ".opus", level=0.9),
    "FLAC": SoundEdit(),
    "WAV of 24 bits": SoundEdit(suffix=".wav", subtype="PCM_24"),
    "22 050 Hz": SoundEdit((at_rate(22_050),), ".wav"),
    "16 000 Hz": SoundEdit((at_rate(16_000),)),
    "11 025 Hz": SoundEdit((at_rate(11_025),), ".wav"),
    "mono": SoundEdit((one_channel,)),
    "12 dB quieter": SoundEdit((quieter(12),)),
    "24 dB quieter, MP3": SoundEdit((quieter(24),), ".mp3"),
    "inverted": SoundEdit((inverted,)),
    "1.37 s late": SoundEdit((late(1.37),)),
    "4.02 s late, MP3": SoundEdit((late(4.02),), ".mp3", level=0.5),
    "half a second of silence": SoundEdit((after_silence(0.51),)),
    "the middle half": SoundEdit((part(0.25, 0.75),), ".ogg", level=0.5),
    "the second half": SoundEdit((part(0.5, 1),)),
    "a third": SoundEdit((part(0.4, 0.73),)),
    "noise at -40 dB": SoundEdit((noisy(40),)),
    "noise at -30 dB": SoundEdit((noisy(30),)),
    "mono, 16 000 Hz, MP3": SoundEdit((one_channel, at_rate(16_000)), ".mp3", level=0.9),
    "late, quieter, Vorbis": SoundEdit((late(2.3), quieter(10)), ".ogg", level=0.7),
    "half, noise, mono": SoundEdit((part(0.3, 0.8), one_channel, noisy(40))),
    "everything": SoundEdit(
        (late(1.8), one_channel, at_rate(22_050), quieter(8), noisy(40)), ".mp3", level=0.8
    ),
}


def in_first_half(name: str) -> bool:
    """Whether thresholds may be chosen on what has this name; they are judged on the rest."""
    return zlib.crc32(name.encode()) % 2 == 0
