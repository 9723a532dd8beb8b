"""What it costs to add items to a finished run, and to have media that were only moved.

A run of N items with a text file and a small cover each is finished by the commands; then a few
items are added, and then every file is copied to a new one of the same bytes.

    python tests/benchmarks/adding.py [N] [added] [text,image]
"""

from __future__ import annotations

import csv
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from noop import text_of
from PIL import Image

from mmgenre.pipeline.commands import extract_features, fuse

SETTINGS = (
    "text.encoders=['vsm']",
    "text.hidden_dim=64",
    "text.embedding_dim=64",
    "text.training.max_steps=40",
    "image.encoders=['descriptors']",
    "image.input.size_px=40",
    "image.crop_px=32",
    "fusion.cross_fit=2",
)


def make_media(folder: Path, n: int) -> None:
    rng = np.random.default_rng(0)
    for k in range(n):
        (folder / f"{k}.txt").write_text(text_of(k), encoding="utf-8")
        pixels = rng.integers(0, 255, (40, 40, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{k}.png")


def write_manifest(path: Path, folder: Path, n: int) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "artist", "labels", "text_file", "image"])
        for k in range(n):
            files = (f"{folder.name}/{k}.{suffix}" for suffix in ("txt", "png"))
            rows.writerow([f"item{k:07d}", f"artist {k // 5}", f"Genre {k % 8}", *files])
    return path


def timed(what: str, call: Callable[[], object]) -> None:
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(json.dumps({"what": what, "s": round(wall, 1), "CPU s": round(cpu, 1)}), flush=True)


def main() -> None:
    given = (*sys.argv[1:], *("10000", "5", "text,image")[len(sys.argv) - 1 :])
    n, n_added, modalities = int(given[0]), int(given[1]), tuple(given[2].split(","))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        media, run = folder / "media", folder / "run"
        media.mkdir()
        make_media(media, n + n_added)
        manifest = write_manifest(folder / "m.csv", media, n)

        def extract() -> None:
            extract_features(run=run, modalities=modalities, workers=1)

        timed(
            f"{n:,} items: extract-features",
            lambda: extract_features(
                manifest,
                run=run,
                modalities=modalities,
                recipe="quick",
                settings=SETTINGS,
                workers=1,
            ),
        )
        timed("fuse", lambda: fuse(modalities, run=run))
        timed("extract-features, nothing to do", extract)
        write_manifest(manifest, media, n + n_added)
        timed(f"{n_added} more: extract-features", extract)
        timed("fuse", lambda: fuse(modalities, run=run))
        timed("extract-features, nothing to do", extract)
        shutil.copytree(media, folder / "copy")
        shutil.rmtree(media)
        (folder / "copy").rename(media)
        timed("all files copied: extract-features", extract)
        timed("extract-features, nothing to do", extract)


if __name__ == "__main__":
    main()
