"""Generated clips through a tiny frozen audio model: by mmgenre, and by the loop everyone writes.

    python tests/benchmarks/frozen_audio.py 2000       # minutes
    python tests/benchmarks/frozen_audio.py 100000 --clip 2 --rounds 1     # an hour on two cores

Few distinct files, many rows. The loop reads with soundfile, resamples with soxr, and embeds
windows in batches of 16 with torch on all cores, in the same type and with the same windows. Sides
run in turn; a third run is killed half-way and goes on. Memory is of this process and its children.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import soundfile
import soxr
from numpy.typing import NDArray

from mmgenre.audio.frozen import windows_of
from mmgenre.audio.settings import AudioInput
from mmgenre.disk.store import FeatureStore, parts_folder
from mmgenre.frozen.settings import FrozenInput
from mmgenre.items.item import Item
from mmgenre.items.manifest import Manifest
from mmgenre.reading.extraction import (
    LARGE_PARTS,
    MANY_ROWS,
    PART_ROWS,
    extract_inputs,
)

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
RATE_HZ, DISTINCT, BATCH, WINDOW_S = 44_100, 20, 16, 5.0
MIB = 1 << 20
Floats = NDArray[np.float32]


def clips(folder: Path, seconds: float) -> list[Path]:
    """Distinct stereo files of chords and noise."""
    rng = np.random.default_rng(0)
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    made = []
    for k in range(DISTINCT):
        tones = sum(np.sin(2 * np.pi * f * t) for f in rng.uniform(80, 2000, 4))
        noise = rng.normal(0, 0.3, (2, len(t)))
        samples = (0.1 * (tones + noise) * (1 + np.sin(2 * np.pi * rng.uniform(1, 4) * t))).T
        made.append(folder / f"{k:02d}.{'mp3' if k % 2 else 'flac'}")
        soundfile.write(made[-1], samples.astype(np.float32), RATE_HZ)
    return made


class Peak:
    """The largest resident memory of this process and its children, sampled every half second."""

    def __init__(self) -> None:
        self.mib: list[float] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        own = psutil.Process()
        while not self._over.wait(0.5):
            total = 0
            for process in [own, *own.children(recursive=True)]:
                try:
                    total += process.memory_info().rss
                except psutil.Error:
                    continue
            self.mib.append(total / MIB)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def by_loop(model: Path, files: Sequence[Path]) -> dict[Path, Floats]:
    """File -> vector, by the usual script."""
    import torch
    import transformers as untyped

    of: Any = untyped
    network = of.HubertModel.from_pretrained(model, dtype=torch.float32).eval()
    rate_hz = of.AutoFeatureExtractor.from_pretrained(model).sampling_rate
    waiting: list[tuple[Path, Floats]] = []
    sums: dict[Path, list[Floats]] = {}

    @torch.inference_mode()
    def embed() -> None:
        x = torch.from_numpy(np.stack([window for _, window in waiting]))
        x = (x - x.mean(1, keepdim=True)) / (x.var(1, correction=0, keepdim=True) + 1e-7).sqrt()
        rows = network(x).last_hidden_state.mean(1).numpy()
        for (file, _), row in zip(waiting, rows, strict=True):
            sums.setdefault(file, []).append(row)
        waiting.clear()

    for file in files:
        samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
        mono = soxr.resample(samples.mean(1), rate, rate_hz)
        for window in windows_of(mono.astype(np.float32), round(WINDOW_S * rate_hz)):
            waiting.append((file, window))
            if len(waiting) == BATCH:
                embed()
    if waiting:
        embed()
    return {file: np.mean(rows, axis=0) for file, rows in sums.items()}


def settings(model: Path) -> AudioInput:
    frozen = FrozenInput(model=f"dir:{model}", window_s=WINDOW_S)
    return AudioInput(excerpt_s=60.0, frozen=frozen)


def by_mmgenre(model: Path, manifest: Manifest, target: Path) -> Path:
    return extract_inputs(manifest, "audio", settings(model), target)


def _killed(model: Path, manifest: Manifest, target: Path) -> None:
    by_mmgenre(model, manifest, target)


def resumed(model: Path, manifest: Manifest, target: Path) -> tuple[int, int]:
    """Kills a run with half of the parts read, and goes on: parts there, and of how many."""
    n = len(manifest.items)
    n_parts = -(-n // (PART_ROWS * (LARGE_PARTS if n >= MANY_ROWS else 1)))
    process = multiprocessing.get_context("spawn").Process(
        target=_killed, args=(model, manifest, target)
    )
    process.start()
    folder = parts_folder(target)
    while process.is_alive() and len(list(folder.glob("*.h5"))) < n_parts // 2:
        time.sleep(0.2)
    process.kill()
    process.join()
    there = len(list(folder.glob("*.h5")))
    by_mmgenre(model, manifest, target)
    return there, n_parts


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("n", type=int, nargs="?", default=400, help="rows")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--clip", type=float, default=10.0, help="seconds of each")
    chosen = parser.parse_args()
    from tiny_models import hubert

    n: int = chosen.n
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model, files = hubert(folder / "model"), clips(folder, chosen.clip)
        items = [Item(f"i{k:06d}", media={"audio": (files[k % DISTINCT],)}) for k in range(n)]
        manifest, rows = Manifest(items), [files[k % DISTINCT] for k in range(n)]
        ratios = []
        for k in range(chosen.rounds):
            started = time.perf_counter()
            with Peak() as peak:
                store = by_mmgenre(model, manifest, folder / f"r{k}.h5")
            own = time.perf_counter() - started
            started = time.perf_counter()
            plain = by_loop(model, rows)
            loop = time.perf_counter() - started
            ratios.append(loop / own)
            quarters = [
                round(float(part.max())) for part in np.array_split(peak.mib, 4) if len(part)
            ]
            print(
                f"round {k}: mmgenre {n / own:,.1f}/s, loop {n / loop:,.1f}/s, ratio "
                f"{loop / own:.2f}; largest MiB in each quarter of the time: {quarters}",
                flush=True,
            )
            with FeatureStore(store, "audio") as found:
                worst = max(
                    float(np.abs(found.read(f"i{j:06d}#0") - plain[files[j]]).max())
                    for j in range(min(n, DISTINCT))
                )
                print(f"largest difference between the sides: {worst:.1e}", flush=True)
        print(f"ratio: {np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
        there, n_parts = resumed(model, manifest, folder / "again.h5")
        with (
            FeatureStore(folder / "again.h5", "audio") as again,
            FeatureStore(store, "audio") as one,
        ):
            same = np.array_equal(again.take(one.ids), one.take(one.ids))
        print(f"killed with {there} of {n_parts} parts; resumed: same numbers: {same}")
        print(f"cores: {len(os.sched_getaffinity(0))}, load before: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
