"""Items whose genre is told by one word, one sound and one pattern of the cover, and by nothing
else: so it is known which piece a model must have judged by.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL import Image

from mmgenre import GenreTagger, Manifest
from mmgenre.fusion.prediction import Prediction

GENRES = ("Folk", "Jazz", "Rock")
WORDS = {"Folk": "fiddle", "Jazz": "saxophone", "Rock": "distortion"}
RATE_HZ, TRACK_S, SOUND_S = 22_050, 16.0, 1.0
SIDE = 96  # px
CORNERS = ("top left", "top right", "bottom left", "bottom right")
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Plant:
    """Where the genre of an item stands."""

    word: str
    start_s: float  # of the sound
    corner: str


@dataclass(frozen=True)
class Planted:
    manifest: Path
    where: dict[str, Plant]  # by item

    @property
    def test(self) -> Manifest:
        return Manifest(i for i in Manifest.read(self.manifest) if i.split == "test")


def make_planted(folder: Path, n: int, *, seed: int = 0) -> Planted:
    """As many items, half of them to train."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    where, rows = {}, []
    for k in range(n):
        genre, item = GENRES[k % len(GENRES)], f"i{k:03}"
        plant = Plant(
            WORDS[genre],
            float(rng.uniform(0, TRACK_S - SOUND_S)),
            CORNERS[int(rng.integers(len(CORNERS)))],
        )
        soundfile.write(folder / f"{item}.wav", track(genre, plant.start_s, rng), RATE_HZ)
        Image.fromarray(cover(genre, plant.corner, rng)).save(folder / f"{item}.png")
        split = ("train", "train", "val", "test")[k // len(GENRES) % 4]
        media = f"{item}.wav", f"{item}.png", text(plant.word, rng)
        rows.append([item, f"artist {k}", f"album {k}", split, genre, *media])
        where[item] = plant
    path = folder / "manifest.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        header = ["id", "artist", "album", "split", "labels", "audio", "image", "text"]
        csv.writer(file).writerows([header, *rows])
    return Planted(path, where)


def text(planted: str, rng: np.random.Generator, n: int = 40) -> str:
    """Words that every genre has, and once among them the planted one."""
    words = [f"word{k}" for k in rng.integers(120, size=n)]
    words.insert(int(rng.integers(n)), planted.capitalize())
    return " ".join(words) + "."


def track(genre: str, start_s: float, rng: np.random.Generator) -> Floats:
    """A chord with noise, and for a second the softer sound of the genre.

    Softer, since levels are relative to the loudest of a track: else every second told the genre.
    """
    t = np.arange(int(TRACK_S * RATE_HZ)) / RATE_HZ
    samples = 0.01 * rng.standard_normal(len(t))
    for hz in rng.uniform(100, 400, 3):
        samples += 0.15 * np.sin(2 * np.pi * hz * t)
    s = np.arange(int(SOUND_S * RATE_HZ)) / RATE_HZ
    sound = {
        "Folk": np.sin(2 * np.pi * 1500 * s),  # a whistle
        "Jazz": np.sign(np.sin(2 * np.pi * 60 * s)),  # a hum
        "Rock": rng.standard_normal(len(s)) * (s % 0.25 < 0.1),  # beats
    }[genre]
    first = int(start_s * RATE_HZ)
    samples[first : first + len(s)] += 0.14 * sound
    return samples.clip(-1, 1)


def cover(genre: str, corner: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A picture of random soft colours with the pattern of the genre in a corner."""
    coarse = rng.integers(60, 196, (4, 4, 3), dtype=np.uint8)
    soft = Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    found = np.array(soft)
    k = np.arange(SIDE // 3)
    stripes = {
        "Folk": (k[:, None] // 4 + 0 * k) % 2,
        "Jazz": (k // 4 + 0 * k[:, None]) % 2,
        "Rock": (k[:, None] // 4 + k // 4) % 2,
    }[genre]
    rows = slice(0, len(k)) if corner.startswith("top") else slice(SIDE - len(k), SIDE)
    columns = slice(0, len(k)) if corner.endswith("left") else slice(SIDE - len(k), SIDE)
    found[rows, columns] = 255 * stripes[..., None]
    return found


def strongest_is_planted(prediction: Prediction, plant: Plant) -> tuple[bool, float]:
    """Whether the piece with the largest share is the planted one, and its share of the score."""
    reasons = prediction.reasons
    assert reasons is not None
    found: list[tuple[float, bool]] = [
        *((word.share, word.name == plant.word) for word in reasons.words),
        *(
            (span.share, _overlap_s(span.start_s, span.end_s, plant) > 0.5)
            for span in reasons.seconds
        ),
        *_cells(reasons.cover, plant),
    ]
    share, is_planted = max(found)
    return is_planted, share


def _overlap_s(start_s: float, end_s: float, plant: Plant) -> float:
    return min(end_s, plant.start_s + SOUND_S) - max(start_s, plant.start_s)


def _cells(grid: Sequence[Sequence[float]], plant: Plant) -> Iterator[tuple[float, bool]]:
    third = len(grid) // 3  # the squares that lie in the corner for the most part
    for r, row in enumerate(grid):
        for c, share in enumerate(row):
            is_row = r < third if plant.corner.startswith("top") else r >= len(grid) - third
            is_column = c < third if plant.corner.endswith("left") else c >= len(row) - third
            yield share, is_row and is_column


def hits_of(tagger: GenreTagger, planted: Planted, modality: str) -> tuple[float, float, float]:
    """Of the test items, by one modality alone: how many are named rightly, of how many the planted
    piece has the largest share, and the median of the largest shares.
    """
    items = [replace(i, media={modality: i.media[modality]}) for i in planted.test]
    predictions, _ = tagger.predict_manifest(Manifest(items), explain=True, workers=1)
    assert len(predictions) == len(items) >= 9
    labels = {i.id: i.labels for i in items}
    named = [p.genres[0].name in labels[p.id] for p in predictions]
    found = [strongest_is_planted(p, planted.where[p.id]) for p in predictions]
    share = float(np.median([share for _, share in found]))
    return float(np.mean(named)), float(np.mean([hit for hit, _ in found])), share
