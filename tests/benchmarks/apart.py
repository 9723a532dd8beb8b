"""Inputs in parts beside merged ones: disk while they are finished, seconds, random windows.

Seconds are those of the processor, so that a shared machine moves them less.

    python tests/benchmarks/apart.py [PARTS]   # 40, of 2 MB each
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from time import process_time

import numpy as np

from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import FeatureStore, merge_stores, parts_folder, write_store

ROWS, FRAMES, BINS = 16, 646, 96  # a part: clips of 30 s as the audio network reads them
WINDOW, BATCH, BATCHES = 323, 32, 30
MADE = Provenance("inputs", 1, {})


def most_used(folder: Path, act: Callable[[], object]) -> tuple[int, float]:
    """The most bytes that a folder took meanwhile, and the seconds."""
    most, done = 0, Event()

    def look() -> None:
        nonlocal most
        while not done.wait(0.02):
            most = max(most, used(folder))

    thread = Thread(target=look)
    thread.start()
    start = process_time()
    act()
    seconds = process_time() - start
    done.set()
    thread.join()
    return max(most, used(folder)), seconds


def used(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_blocks * 512
        except FileNotFoundError:  # it was renamed meanwhile
            continue
    return total


def windows_a_second(store: FeatureStore, rng: np.random.Generator) -> float:
    start = process_time()
    for _ in range(BATCHES):
        ids = [store.ids[k] for k in rng.integers(0, len(store), BATCH)]
        store.windows(ids, rng.integers(0, FRAMES - WINDOW, BATCH).tolist(), WINDOW, fill=0)
    return BATCHES * BATCH / (process_time() - start)


def main(folder: Path, n_parts: int) -> None:
    for apart in (False, True):
        target, rng = folder / "audio.h5", np.random.default_rng(0)
        parts = []
        for k in range(n_parts):
            rows = list(rng.standard_normal((ROWS, FRAMES, BINS), np.float32).astype(np.float16))
            ids = [f"{k}-{j}" for j in range(ROWS)]
            path = parts_folder(target) / f"{k:06d}.h5"
            parts.append(write_store(path, "audio", [(ids, rows)], MADE, ragged=True))
        size = used(folder)

        def finish(target: Path = target, apart: bool = apart, parts: list[Path] = parts) -> None:
            merge_stores(parts, target, "audio", apart=apart)

        most, seconds = most_used(folder, finish)
        if not apart:
            shutil.rmtree(parts_folder(target))
        with FeatureStore(target, "audio") as store:
            start = process_time()
            store.verify()
            verified = process_time() - start
        with FeatureStore(target, "audio") as store:
            rates = [windows_a_second(store, np.random.default_rng(k)) for k in (1, 1, 2)]
        print(
            f"{'apart' if apart else 'merged'}: parts {size / 1e6:,.0f} MB, at most "
            f"{most / 1e6:,.0f} MB; finished in {seconds:.1f} s, verified in {verified:.1f} s; "
            f"windows/s: first {rates[0]:,.0f}, again {rates[1]:,.0f}, others {rates[2]:,.0f}"
        )
        shutil.rmtree(parts_folder(target), ignore_errors=True)
        target.unlink()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="mmgenre-") as chosen:
        main(Path(chosen), int(sys.argv[1]) if len(sys.argv) > 1 else 40)
