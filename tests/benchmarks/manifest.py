"""A manifest of a million items with inline text: seconds and memory of reading and asking.

    python tests/benchmarks/manifest.py            # two minutes; needs 1 GB of memory and of disk
    python tests/benchmarks/manifest.py 100000     # another number of items

Each figure is of one call in a process of its own that has read the manifest before, the peak of
its memory that of the whole process, imports included. The file is in the file cache.
"""

from __future__ import annotations

import csv
import resource
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mmgenre.items.labels import LabelSpace
from mmgenre.items.manifest import Manifest
from mmgenre.items.splits import find_leaks

WORDS = ("slow", "guitar", "over", "drums", "and", "voices", "from", "the", "old", "town")
COLUMNS = ("id", "artist", "album", "split", "labels", "audio", "image", "text_file", "text")

CALLS: dict[str, Callable[[Manifest, Path], object]] = {
    "nothing more": lambda manifest, path: None,
    "rows('text')": lambda manifest, path: deque(manifest.rows("text"), maxlen=0),
    "ids()": lambda manifest, path: manifest.ids(),
    "ids('train', having text)": lambda manifest, path: manifest.ids("train", ["text"]),
    "count('train', having text)": lambda manifest, path: manifest.count("train", ["text"]),
    "labels('train')": lambda manifest, path: manifest.labels("train"),
    "task_digest": lambda manifest, path: manifest.task_digest,
    "LabelSpace.of, encode": lambda manifest, path: LabelSpace.of(
        manifest.labels(), exclusive=False
    ).encode(manifest.labels()),
    "info()": lambda manifest, path: manifest.info(),
    "find_leaks": lambda manifest, path: find_leaks(manifest),
    "write": lambda manifest, path: manifest.write(path.with_name("copy.csv")),
}


def generate(path: Path, n: int) -> None:
    """Items of n / 20 artists, in 40 genres, with about 150 characters of text each."""
    rng = np.random.default_rng(0)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for k in range(n):
            artist = int(rng.integers(n // 20))
            genres = sorted({f"Genre {g}" for g in rng.geometric(0.15, size=2) if g <= 40})
            split = ("train", "val", "test")[min(artist % 10 // 8 + (artist % 10 == 9), 2)]
            text = " ".join(WORDS[w] for w in rng.integers(len(WORDS), size=29))
            artist_name, album = f"Artist {artist}", f"Album {artist}-{rng.integers(5)}"
            labels = ";".join(genres) or "Genre 1"
            writer.writerow([f"item-{k:07d}", artist_name, album, split, labels, "", "", "", text])


def measure(path: Path, name: str) -> None:
    """Reads the manifest, makes one call, and prints the figures of both."""
    started = time.perf_counter()
    manifest = Manifest.read(path)
    read = time.perf_counter()
    CALLS[name](manifest, path)
    called = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{name:<30}{read - started:9.2f} s{called - read:9.2f} s{peak:9.0f} MB", flush=True)


def main() -> None:
    """Prints the table."""
    if len(sys.argv) > 2:
        measure(Path(sys.argv[1]), sys.argv[2])
        return
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "items.csv"
        generate(path, n)
        print(f"{n} items, {path.stat().st_size / 1e6:.0f} MB")
        print(f"{'after reading':<30}{'read':>11}{'call':>11}{'peak':>12}")
        for name in CALLS:
            subprocess.run([sys.executable, __file__, str(path), name], check=True)


if __name__ == "__main__":
    main()
