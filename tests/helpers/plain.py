"""A dozen items with short media of their own, and settings with which a run takes a second."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image
from small import SIZES

from mmgenre.items.item import Item, Split

# Encoders that are made, not trained, and heads that are solved.
FIXED = (
    *SIZES,
    "audio.encoders=['statistics']",
    "text.encoders=['linear']",
    "image.encoders=['descriptors']",
)
# Two of each modality, trained ones among them.
TRAINED = (
    *SIZES,
    "audio.encoders=['cnn', 'timbre', 'statistics']",
    "text.encoders=['vsm', 'linear']",
    "image.encoders=['network', 'descriptors']",
)
RATE_HZ = 22_050
GENRES = ("Jazz", "Rock")
WORDS = {
    "Jazz": "brushed cymbals warm trumpet ballad standards walking bass smoky late club quartet",
    "Rock": "loud guitars riff stadium drums chorus amplifier band heavy distortion shout power",
}
ARTISTS = ("Aces", "Bees", "Cats", "Dogs", "Elks", "Foes")
SPLITS: tuple[Split, ...] = ("train", "train", "train", "val", "test", "test")
FORMATS = ("wav", "mp3", "ogg", "flac")


MEDIA = ("audio", "image", "text")


def plain_items(folder: Path, n: int = 12, media: Sequence[str] = MEDIA) -> list[Item]:
    """Items of two genres and six artists, in all splits; jazz is tones and blue, rock is not."""
    folder.mkdir(parents=True, exist_ok=True)
    items = []
    for k in range(n):
        rng = np.random.default_rng(k)
        genre = k % 2
        t = np.arange(3 * RATE_HZ) / RATE_HZ
        sound = 0.3 * np.sin(2 * np.pi * (220 + 20 * k) * t)
        sound += (0.02 + 0.1 * genre) * rng.standard_normal(len(t))
        audio = folder / f"{k:02d}.{FORMATS[k // 2 % len(FORMATS)]}"
        soundfile.write(audio, np.clip(sound, -1, 1), RATE_HZ)
        pixels = rng.integers(0, 120, (96, 96, 3), dtype=np.uint8)
        pixels[..., 0 if genre else 2] += 120
        image = folder / f"{k:02d}.{'png' if k // 2 % 2 else 'jpg'}"
        Image.fromarray(pixels).save(image)
        text = folder / f"{k:02d}.txt"
        text.write_text(
            f"Record {k}: {' '.join(rng.choice(WORDS[GENRES[genre]].split(), 20))}.",
            encoding="utf-8",
        )
        found = {"audio": audio, "image": image, "text": text}
        items.append(
            Item(
                f"item-{k:02d}",
                artist=f"The {ARTISTS[k // 2 % 6]} {k // 12}",
                split=SPLITS[k // 2 % 6],
                labels=(GENRES[genre],),
                media={m: (found[m],) for m in media},
            )
        )
    return items
