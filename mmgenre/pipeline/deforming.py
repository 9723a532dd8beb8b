"""Media made worse on purpose, as the world does: louder, noisier, coded, blurred, cut."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from mmgenre.audio.decoding import open_excerpt
from mmgenre.audio.settings import AudioInput
from mmgenre.errors import MmgenreError
from mmgenre.image.decoding import load_image
from mmgenre.image.settings import ImageInput
from mmgenre.items.labels import closure
from mmgenre.text.decoding import load_text

Samples = NDArray[np.float32]  # (n, channels), full scale = 1
SIDE_PX = 512  # of a cover that is deformed
MP3_KBPS = ((32_000, 320, 32), (16_000, 160, 8), (0, 64, 8))  # from a rate in Hz on: most, least


@dataclass(frozen=True)
class Known:
    """What a kind of deformation is of, how it is told, and which values it takes."""

    medium: str
    said: str
    example: str = ""  # "": takes no value
    range: tuple[float, float] = (-np.inf, np.inf)


KNOWN = {
    "gain": Known("audio", "{:+g} dB", "-12", (-60, 60)),
    "noise": Known("audio", "white noise at {:g} dB", "15", (-20, 100)),
    "mp3": Known("audio", "mp3 of {:g} kbit/s", "32", (8, 320)),
    "stretch": Known("audio", "{:g} times as fast", "1.1", (0.25, 4)),
    "lowpass": Known("audio", "nothing above {:g} Hz", "4000", (50, 100_000)),
    "words": Known("text", "the first {:g} words", "20", (1, 1_000_000)),
    "genres": Known("text", "without names of genres"),
    "blur": Known("image", "blurred by {:g} % of its side", "2", (0, 50)),
    "jpeg": Known("image", "JPEG of quality {:g}", "10", (1, 95)),
    "grey": Known("image", "without colours"),
}


@dataclass(frozen=True)
class Deformation:
    """One way to make a medium worse, and how much."""

    name: str
    value: float | None

    @property
    def medium(self) -> str:
        return KNOWN[self.name].medium

    def __str__(self) -> str:
        return KNOWN[self.name].said.format(self.value)


def deformation(given: str) -> Deformation:
    """`gain=-12` -> a deformation.

    Raises:
        MmgenreError: no such deformation, or a value that it cannot have.
    """
    name, _, value = given.partition("=")
    known = KNOWN.get(name)
    if known is None:
        all_of_them = "; ".join(
            f"{n}{'=' + k.example if k.example else ''}" for n, k in KNOWN.items()
        )
        raise MmgenreError(f"--deform {given}: no such deformation; known are {all_of_them}")
    if not known.example:
        if value:
            raise MmgenreError(f"--deform {given}: {name} takes no value")
        return Deformation(name, None)
    try:
        number = float(value)
    except ValueError:
        number = np.nan
    low, high = known.range
    if not low <= number <= high:
        raise MmgenreError(
            f"--deform {given}: must be a number from {low:g} to {high:g}, "
            f"as {name}={known.example}"
        )
    return Deformation(name, number)


def deformed(
    how: Deformation, media: Sequence[Path | str], folder: Path, stem: str, genres: Iterable[str]
) -> tuple[Path | str, ...]:
    """The media of an item, deformed; files lie in `folder`, their names begin with `stem`.

    `genres`: all that the model knows, whose names `genres` takes out of texts.

    Raises:
        InputError: media that cannot be read.
    """
    if how.medium == "audio":
        return tuple(
            _track(how, Path(file), folder / f"{stem}-{k}") for k, file in enumerate(media)
        )
    if how.medium == "text":
        text = load_text(media)
        return (_masked(text, genres) if how.name == "genres" else _first(text, how.value or 0),)
    return tuple(
        _cover(how, Path(file), folder / f"{stem}-{k}.png") for k, file in enumerate(media)
    )


def names_a_genre(text: str, labels: Iterable[str]) -> bool:
    """Whether a text holds the name of one of the genres."""
    return _pattern(labels).search(text) is not None


def _masked(text: str, genres: Iterable[str]) -> str:
    """A text without the names of genres; one that would be empty is a dash."""
    return _pattern(genres).sub(" ", text).strip() or "-"


def _pattern(genres: Iterable[str]) -> re.Pattern[str]:
    """Matches names of genres and of their parents, whatever stands between their words."""
    names = {part for genre in closure(genres) for part in re.split(r"[/,;&]", genre)}
    words = [re.findall(r"\w+", name) for name in names]
    found = sorted((r"\W*".join(map(re.escape, own)) for own in words if own), key=len)
    return re.compile(rf"(?<!\w)(?:{'|'.join(found[::-1])})s?(?!\w)", re.IGNORECASE)


def _first(text: str, n_words: float) -> str:
    return " ".join(text.split()[: int(n_words)])


def _track(how: Deformation, file: Path, stem: Path) -> Path:
    rate_hz, blocks = open_excerpt(file, AudioInput())
    samples = np.concatenate([block.copy() for block in blocks])
    value = how.value or 0.0
    if how.name == "mp3":
        return _coded(samples, rate_hz, value, stem.with_suffix(".mp3"))
    changed = SOUNDS[how.name](samples, rate_hz, value)
    path = stem.with_suffix(".wav")
    soundfile.write(path, changed, rate_hz, subtype="FLOAT")
    return path


def _gain(samples: Samples, _: int, db: float) -> Samples:
    return np.asarray(np.clip(samples * np.float32(10 ** (db / 20)), -1, 1), np.float32)


def _noise(samples: Samples, _: int, snr_db: float) -> Samples:
    """White noise, so many dB below the signal; the same at every call."""
    power = float(np.mean(np.square(samples, dtype=np.float64)))
    noise = np.random.default_rng(0).standard_normal(samples.shape, np.float32)
    return samples + noise * np.float32(np.sqrt(power / 10 ** (snr_db / 10)))


def _stretch(samples: Samples, _: int, speed: float) -> Samples:
    """Faster or slower at the same pitch."""
    import librosa

    stretched = librosa.effects.time_stretch(samples.T, rate=speed)
    return np.ascontiguousarray(stretched.T, np.float32)


def _lowpass(samples: Samples, rate_hz: int, hz: float) -> Samples:
    from scipy.signal import butter, sosfiltfilt

    if hz >= rate_hz / 2:
        return samples
    sections = butter(8, hz, fs=rate_hz, output="sos")
    return np.asarray(sosfiltfilt(sections, samples, axis=0), np.float32)


SOUNDS: dict[str, Callable[[Samples, int, float], Samples]] = {
    "gain": _gain,
    "noise": _noise,
    "stretch": _stretch,
    "lowpass": _lowpass,
}


def _coded(samples: Samples, rate_hz: int, kbps: float, path: Path) -> Path:
    most, least = next((high, low) for hz, high, low in MP3_KBPS if rate_hz >= hz)
    level = float(np.clip((most - kbps) / (most - least), 0, 0.99))
    peak = max(1.0, float(np.abs(samples).max()))
    with soundfile.SoundFile(
        path, "w", rate_hz, samples.shape[1], format="MP3",
        bitrate_mode="CONSTANT", compression_level=level,
    ) as file:  # fmt: skip
        file.write(samples / peak)
    return path


def _cover(how: Deformation, file: Path, path: Path) -> Path:
    cover = Image.fromarray(load_image(file, ImageInput(size_px=SIDE_PX)))
    value = how.value or 0.0
    if how.name == "blur":
        cover = cover.filter(ImageFilter.GaussianBlur(value / 100 * SIDE_PX))
    elif how.name == "jpeg":
        coded = BytesIO()
        cover.save(coded, "JPEG", quality=int(value))
        cover = Image.open(coded)
    else:
        cover = cover.convert("L").convert("RGB")
    cover.save(path)
    return path
