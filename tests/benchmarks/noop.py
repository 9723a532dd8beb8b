"""What `extract-features` and `fuse` cost when there is nothing to do, at many items.

A finished run of N inline texts is made by script, with the fingerprints that the commands expect.
Then `mmgenre extract-features` is called in a process of its own: wall clock with imports, peak
memory, whether torch was imported; and what is opened while `fuse` finds nothing to do in a small
run. The file cache is warm.

    python tests/benchmarks/noop.py [N ...]
"""

from __future__ import annotations

import csv
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mmgenre.disk.bundle import write_bundle
from mmgenre.disk.store import write_store
from mmgenre.pipeline.prepare import prepare_run
from mmgenre.pipeline.vectors import vectors_of

WIDTH, BLOCK = 4, 50_000
WORDS = ("slow sad piano loud guitar drum voice choir tape noise bass string brass synth").split()  # noqa: SIM905
CALL = """
import resource, sys, time
started = time.perf_counter()
from mmgenre.cli import main
sys.argv = ["mmgenre", "extract-features", "--run", {run!r}, "--modalities", "t"]
try:
    main()
except SystemExit as end:
    assert end.code == 0, end.code
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(time.perf_counter() - started, peak, "torch" in sys.modules)
"""


def text_of(k: int) -> str:
    """Some 150 characters, each item's own."""
    return f"Review {k}: " + " ".join(WORDS[(k * j) % len(WORDS)] for j in range(1, 24))


def write_manifest(path: Path, n: int) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "artist", "album", "split", "labels", "text"])
        for k in range(n):
            split = ("train", "val", "test")[0 if k % 10 < 8 else k % 10 - 7]
            # An artist is in one split only.
            artist = f"artist {split} {k // 50}"
            rows.writerow([f"item{k:07d}", artist, "", split, f"Genre {k % 40}", text_of(k)])


def blocks(n: int, *, texts: bool) -> Iterator[tuple[list[str], list[np.ndarray] | np.ndarray]]:
    for start in range(0, n, BLOCK):
        numbers = range(start, min(n, start + BLOCK))
        ids = [f"item{k:07d}" for k in numbers]
        if texts:
            yield ids, [np.frombuffer(text_of(k).encode(), np.uint8) for k in numbers]
        else:
            yield ids, np.ones((len(ids), WIDTH), np.float32)


def make_run(folder: Path, n: int) -> Path:
    manifest = folder / "items.csv"
    write_manifest(manifest, n)
    one = ["text.encoders=['vsm']"]
    run = prepare_run(folder / "run", manifest=manifest, recipe="quick", settings=one)
    [embedded] = vectors_of(run, "text").values()
    inputs, encoder = embedded.parents
    write_store(inputs.path, "text", blocks(n, texts=True), inputs.provenance, ragged=True)
    write_bundle(encoder.path, "text encoder", {"encoder": "vsm"}, {}, encoder.provenance)
    write_store(embedded.path, "text", blocks(n, texts=False), embedded.provenance)
    run.media["text"].save()
    assert all(artefact.is_current() for artefact in (inputs, encoder, embedded))
    return run.folder


def main() -> None:
    sizes = [int(argument) for argument in sys.argv[1:]] or [100_000, 1_000_000]
    for n in sizes:
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            run = make_run(Path(folder), n)
            print(f"{n:,} items: run made in {time.perf_counter() - started:.1f} s")
            before = {p: p.stat().st_mtime_ns for p in run.rglob("*") if p.is_file()}
            results = []
            for _ in range(3):
                code = CALL.format(run=str(run))
                # By a shell: a child's peak memory begins with that of whoever started it.
                done = subprocess.run(
                    ["sh", "-c", '"$0" -c "$1"; exit $?', sys.executable, code],
                    capture_output=True,
                    text=True,
                    check=True,
                )
                seconds, peak, torch = done.stdout.splitlines()[-1].split()
                results.append((float(seconds), float(peak), torch))
            after = {p: p.stat().st_mtime_ns for p in run.rglob("*") if p.is_file()}
            assert before == after, "something was written"
            seconds_all = sorted(s for s, _, _ in results)
            print(
                json.dumps(
                    {
                        "items": n,
                        "no-op, s: median, least, most": [
                            round(s, 2) for s in (seconds_all[1], seconds_all[0], seconds_all[2])
                        ],
                        "peak, MiB": round(max(p for _, p, _ in results)),
                        "torch imported": results[0][2],
                        "this process, MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
                        // 1024,
                    }
                )
            )


if __name__ == "__main__":
    main()
