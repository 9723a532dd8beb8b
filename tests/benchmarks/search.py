"""Time of a search among N vectors, exact and by an index, and the memory that it takes.

A store of N random vectors is written, then searched in a process of its own with the given number
of threads. "first" opens the store and compares the checksum of every row; "later" is the median of
the searches after it, of the same opened store. The file cache is warm.

    python tests/benchmarks/search.py [N] [WIDTH] [float32|float16] [THREADS] [--index]
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import write_store
from mmgenre.fusion.approximate import write_index

BLOCK = 20_000
QUERIES = 9
CALL = """
import json, sys, time
from pathlib import Path
import loky, numpy as np
from mmgenre.disk.store import FeatureStore
from mmgenre.fusion.approximate import IndexedViews, index_folder
from mmgenre.fusion.nearest import Gallery, Views
path, width, threads, by_index, n_queries = json.loads(sys.argv[1])
loky.cpu_count = lambda: threads
queries = np.random.default_rng(1).standard_normal((n_queries, width)).astype(np.float32)
def peak():  # of this program alone: `getrusage` also counts what started it
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024
before = peak()
def clocks():
    return np.array([time.perf_counter(), time.process_time()])
started = clocks()
with FeatureStore(path, "audio") as store:
    views = IndexedViews(index_folder(Path(path)), [store]) if by_index else Views([Gallery(store)])
    found, seconds = [], []
    for query in queries:
        found.append([match.id for match in views.nearest(query, 10)])
        seconds.append((clocks() - started).tolist())
        started = clocks()
print(json.dumps({"seconds": seconds, "mb": peak() - before, "found": found}))
"""


def blocks(n: int, width: int, dtype: str) -> Iterator[tuple[list[str], np.ndarray]]:
    rng = np.random.default_rng(0)
    for start in range(0, n, BLOCK):
        own = range(start, min(n, start + BLOCK))
        rows = rng.standard_normal((len(own), width), dtype=np.float32)
        yield [f"item{k:08d}" for k in own], rows.astype(dtype)


def searched(path: Path, width: int, threads: int, *, by_index: bool) -> list[list[str]]:
    given = json.dumps([str(path), width, threads, by_index, QUERIES])
    done = subprocess.run(
        [sys.executable, "-c", CALL, given], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    seconds = np.array(found["seconds"])  # (n, 2): of the clock, and of all cores
    (first, own), (later, own_later) = seconds[0], np.median(seconds[1:], axis=0)
    print(
        f"{'by index' if by_index else 'exact'}: first {first:.2f} s ({own:.2f} s of cores), later "
        f"{later:.3f} s ({own_later:.3f} s of cores), {found['mb']:.0f} MB more",
        flush=True,
    )
    ids: list[list[str]] = found["found"]
    return ids


def main() -> None:
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    n, width, dtype, threads = [*words, *["1000000", "256", "float32", "2"][len(words) :]]
    with tempfile.TemporaryDirectory(prefix="mmgenre-") as folder:
        path = Path(folder) / "vectors.h5"
        write_store(path, "audio", blocks(int(n), int(width), dtype), Provenance("joint", 2, {}))
        size = path.stat().st_size / 1e9
        print(f"{int(n):,} vectors of {width} {dtype}, {size:.1f} GB; {threads} threads")
        exact = searched(path, int(width), int(threads), by_index=False)
        if "--index" in sys.argv:
            write_index(path, ["audio"])
            nearly = searched(path, int(width), int(threads), by_index=True)
            pairs = zip(exact, nearly, strict=True)
            recall = np.mean([len(set(one) & set(other)) / 10 for one, other in pairs])
            print(f"of the ten nearest the index gives {recall:.2f}")


if __name__ == "__main__":
    main()
