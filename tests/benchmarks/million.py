"""A catalogue of a million items with three vectors each: seconds, memory and disk of every step.

Vectors of 2048 are generated for three modalities, of which an item lacks a fifth, with 250 labels
and artists of some ten items; a head on audio, text and image is trained by mini-batches from one
seed (`--subsets`: one on each of their seven subsets). Each step runs in a process of its own. Its
memory is the highest `RssAnon` of that process and those that it starts, looked up 20 times a
second: what it holds itself, without the page cache and the pages of files.

    python tests/benchmarks/million.py --items 10000 100000     # some minutes
    python tests/benchmarks/million.py --items 1000000 --folder DISK   # needs 45 GB there, hours
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import write_store

MODALITIES = ("audio", "text", "image")
WIDTH, N_LABELS, MISSING, OF_ARTIST, BLOCK = 2048, 250, 0.2, 10, 10_000
EPOCHS, BATCH = 1, 1024
STEPS = ("fuse", "measure", "predict", "search")


def labels_of(start: int, stop: int) -> NDArray[np.intp]:
    """Up to three labels of each item, (n, 3), the commoner ones for more of them."""
    rng = np.random.default_rng((1, start))
    return np.asarray((N_LABELS * rng.random((stop - start, 3)) ** 2).astype(np.intp))


def write_manifest(path: Path, n: int) -> None:
    """Items in splits by artist, 80/10/10."""
    parts = np.random.default_rng(2).choice(
        ["train", "val", "test"], n // OF_ARTIST + 1, p=[0.8, 0.1, 0.1]
    )
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "artist", "split", "labels"])
        for start in range(0, n, BLOCK):
            stop = min(start + BLOCK, n)
            for k, own in zip(range(start, stop), labels_of(start, stop).tolist(), strict=True):
                names = ";".join(f"Genre {g:03d}" for g in sorted(set(own)))
                artist = k // OF_ARTIST
                writer.writerow([f"item{k:07d}", f"Artist {artist}", parts[artist], names])


def vectors(n: int, modality: int) -> Iterator[tuple[list[str], NDArray[np.float16]]]:
    """The prototypes of an item's labels, and noise, of four fifths of the items."""
    rng = np.random.default_rng((3, modality))
    prototypes = rng.standard_normal((N_LABELS, WIDTH), np.float32)
    noise = rng.standard_normal(1 << 22, np.float32)
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        x = prototypes[labels_of(start, stop)].sum(axis=1)
        for row, place in zip(x, rng.integers(len(noise) - WIDTH, size=len(x)), strict=True):
            row += 8 * noise[place : place + WIDTH]
        here = np.flatnonzero(rng.random(len(x)) >= MISSING)
        yield [f"item{start + k:07d}" for k in here], x[here].astype(np.float16)


def generate(folder: Path, n: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_manifest(folder / "items.csv", n)
    for k, name in enumerate(MODALITIES):
        write_store(folder / f"{name}.h5", name, vectors(n, k), Provenance("generated", 1, {}))


def step(name: str, folder: Path, *, subsets: bool = False) -> None:
    """One step, in a process that does nothing else."""
    run, features = folder / "run", {name: folder / f"{name}.h5" for name in MODALITIES}
    if name == "fuse":
        from mmgenre.pipeline.commands import fuse

        training = {"max_epochs": EPOCHS, "batch_size": BATCH, "learning_rate": 0.01}
        fusion = {"solver": "sgd", "combine": "concatenation", "training": training}
        settings = {"labels": {"task": "multi"}, "fusion": fusion, "joint": {"training": training}}
        result = fuse(
            run=run, manifest=folder / "items.csv", features=features, seeds=1, joint=False,
            inputs=None if subsets else MODALITIES, settings=settings,
        )  # fmt: skip
        row = result["rows"][-1]
        figures = {k: row["all"]["summary"][k]["mean"] for k in ("macro_roc_auc", "macro_pr_auc")}
        print(json.dumps(figures))
    elif name == "measure":
        from mmgenre.pipeline.measure import evaluate
        from mmgenre.pipeline.run import open_run

        for kept in (run / "fusion").glob("*/*.json"):
            if kept.name != "fusion.json":
                kept.unlink()
        evaluate(open_run(run))
    elif name == "predict":
        from typer.testing import CliRunner

        from mmgenre.cli import app

        given = [f"--features={name}={path}" for name, path in features.items()]
        out = ["--format", "csv", "--out", str(folder / "predictions.csv")]
        done = CliRunner().invoke(app, ["predict", str(run), *given, *out])
        assert done.exit_code == 0, done.output
    elif name == "search":
        from mmgenre.disk.store import FeatureStore
        from mmgenre.fusion.nearest import Gallery, Views

        with FeatureStore(run / "features.h5", "audio") as store:
            query = store.take(store.ids[:1])[0].astype(np.float32)
            found = Views([Gallery(store)]).nearest(query, 10)
        assert found[0].id == store.ids[0]


def anonymous(pid: int) -> int:
    """Bytes that a process and those that it started hold, page cache and files apart."""
    found = 0
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        found = 1024 * int(status.partition("RssAnon:")[2].split()[0])
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (OSError, IndexError):
        return found
    return found + sum(anonymous(int(child)) for child in children)


def measured(name: str, folder: Path, *, subsets: bool = False) -> dict[str, float]:
    """Seconds and peak memory of a step."""
    started, peak = time.perf_counter(), 0
    words = [sys.executable, __file__, "--step", name, "--folder", str(folder)]
    with subprocess.Popen([*words, *["--subsets"] * subsets]) as process:
        while process.poll() is None:
            peak = max(peak, anonymous(process.pid))
            time.sleep(0.05)
    took = time.perf_counter() - started
    return {"s": took, "MB": peak / 1e6, "failed": float(process.returncode != 0)}


def size(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e9


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--items", type=int, nargs="+", default=[10_000])
    parser.add_argument("--folder", type=Path, help="where; default: a temporary folder")
    parser.add_argument("--steps", nargs="+", default=STEPS, choices=STEPS)
    parser.add_argument("--subsets", action="store_true", help="heads of all subsets")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        step(given.step, given.folder, subsets=given.subsets)
        return
    if given.folder is not None:
        given.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="mmgenre-", dir=given.folder) as temporary:
        for n in given.items:
            folder = Path(temporary) / str(n)
            started = time.perf_counter()
            generate(folder, n)
            took = time.perf_counter() - started
            print(f"{n:,} items: {size(folder):.1f} GB, generated in {took:.0f} s", flush=True)
            for name in given.steps:
                found = measured(name, folder, subsets=given.subsets)
                failed = "  FAILED" * bool(found["failed"])
                print(
                    f"{name:<10}{found['s']:8.0f} s {found['MB']:8.0f} MB"
                    f"{size(folder):8.1f} GB on disk{failed}",
                    flush=True,
                )
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
