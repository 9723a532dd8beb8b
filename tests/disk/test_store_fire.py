"""The store under fire: killed writers, full disks, damaged bytes, two writers at once."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import FeatureStore, write_store

PROVENANCE = Provenance("stage", 1, {})


def run_script(source: str, *words: object, limit_s: float) -> str:
    """Stdout of a process of its own, so that a crash or a hang is seen as such."""
    done = subprocess.run(
        [sys.executable, "-c", source, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=limit_s,
    )
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


WRITER = """
import sys
import numpy as np
from pathlib import Path
from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import write_store
rows = np.arange(400_000, dtype=np.float32).reshape(1000, 400)
ids = [str(k) for k in range(1000)]
blocks = [(ids[k:k + 50], rows[k:k + 50]) for k in range(0, 1000, 50)]
version = 0
print("ready", flush=True)
while True:
    version += 1
    write_store(Path(sys.argv[1]), "v", blocks, Provenance("kill", version, {}))
"""


@pytest.mark.parametrize("kills", [10, pytest.param(40, marks=pytest.mark.slow)])
def test_a_killed_writer_leaves_a_whole_file(tmp_path: Path, kills: int) -> None:
    """SIGKILL at random moments of a writer that replaces the same file again and again."""
    path = tmp_path / "a.h5"
    rows = np.arange(400_000, dtype=np.float32).reshape(1000, 400)
    ids = [str(k) for k in range(1000)]
    keep = np.random.default_rng(0).random((20, 8), np.float32)
    write_store(path, "keep", [([str(k) for k in range(20)], keep)], PROVENANCE)
    started = time.perf_counter()
    write_store(path, "v", [(ids, rows)], Provenance("kill", 0, {}))
    took_s = time.perf_counter() - started
    moments = random.Random(0)
    seen = set()
    for _ in range(kills):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        time.sleep(moments.uniform(0.0, 3 * took_s))  # busy machines write slowly
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        with FeatureStore(path, "v") as store:
            store.verify()
            np.testing.assert_array_equal(store.take(ids), rows)
            seen.add(store.provenance["stage_version"])
        with FeatureStore(path, "keep") as store:
            store.verify()
    assert max(seen) > 0, "no writer got far enough to replace the file"
    # What the killed left behind blocks nobody, and goes.
    write_store(path, "v", [(ids, rows)], PROVENANCE)
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]


MUTATE = """
import json, sys
from pathlib import Path
import numpy as np
from mmgenre.errors import StoreError
from mmgenre.disk.store import FeatureStore, content_hash, merge_stores, store_info, verify_stores

whole, path = Path(sys.argv[1]), Path(sys.argv[2])
first, last = int(sys.argv[3]), int(sys.argv[4])
with FeatureStore(whole, "v") as v, FeatureStore(whole, "r") as r:
    ids, vectors, rows = v.ids, v.take(v.ids), [r.read(i) for i in r.ids]
    starts = [k * 3 for k in range(len(ids))]
    windows, lengths = r.windows(ids, starts, 50, fill=-1), r.lengths(ids)
bytes_, hash_ = whole.read_bytes(), content_hash(whole)
used = np.flatnonzero(np.frombuffer(bytes_, np.uint8))  # zeros are mostly room to spare

def read_v():
    with FeatureStore(path, "v") as s:
        assert s.ids == ids and s.fingerprint == "FINGERPRINT"
        np.testing.assert_array_equal(s.take(ids), vectors)
        np.testing.assert_array_equal(s.take(ids[3:5]), vectors[3:5])
        s.verify()
def read_r():
    with FeatureStore(path, "r") as s:
        np.testing.assert_array_equal(s.windows(ids, starts, 50, fill=-1), windows)
        assert s.lengths(ids) == lengths
        for i, row in zip(ids, rows):
            np.testing.assert_array_equal(s.read(i), row)
        s.verify()
def merged():
    merge_stores([path], path.with_name("merged.h5"), "r")
    with FeatureStore(path.with_name("merged.h5"), "r") as s:
        np.testing.assert_array_equal(s.read(ids[1]), rows[1])
def hashed():
    # A damaged name drops a group out of sight or gives it another one.
    with FeatureStore(path, "v"), FeatureStore(path, "r"):
        assert content_hash(path) == hash_

counts = {"refused": 0, "same": 0}
for seed in range(first, last):
    rng = np.random.default_rng(seed)
    damaged = bytearray(bytes_)
    kind = seed % 4
    if kind == 0:
        del damaged[rng.integers(len(damaged)):]
    else:
        for place in rng.choice(used, 4 ** (kind - 1)):
            damaged[place] = rng.integers(256)
    path.write_bytes(damaged)
    verify_stores([path])  # never raises
    for look in (read_v, read_r, merged, hashed, lambda: store_info(path)):
        print(seed, getattr(look, "__name__", ""), file=sys.stderr, flush=True)
        try:
            look()
        except StoreError:
            counts["refused"] += 1
        else:
            counts["same"] += 1
print(json.dumps(counts))
"""


@pytest.mark.parametrize("batch", [0, *(pytest.param(k, marks=pytest.mark.slow) for k in (1, 2))])
def test_a_mutated_file_is_refused_or_reads_as_it_was(tmp_path: Path, batch: int) -> None:
    """300 mutations: a quarter cut short, the others with 1, 4 or 16 bytes changed."""
    whole = tmp_path / "whole.h5"
    rng = np.random.default_rng(0)
    ids = [f"item {k}" for k in range(20)]
    clips = [rng.standard_normal((int(n), 3)).astype(np.float16) for n in rng.integers(0, 90, 20)]
    write_store(whole, "r", [(ids, clips)], PROVENANCE, ragged=True)
    write_store(whole, "v", [(ids, rng.random((20, 8), np.float32))], PROVENANCE)
    source = MUTATE.replace("FINGERPRINT", PROVENANCE.fingerprint)
    said = run_script(source, whole, tmp_path / "a.h5", 100 * batch, 100 * batch + 100, limit_s=120)
    counts = json.loads(said)
    assert sum(counts.values()) == 500
    assert counts["refused"] > 150
    assert counts["same"] > 30


FULL = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import write_store

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
limit = int(sys.argv[2])
if limit >= 0:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
blocks = [
    ([str(k)], np.full((1, 1 << 14), k, np.float32)) for k in range(64)  # 64 KiB each
]
try:
    write_store(Path(sys.argv[1]), "v", blocks, Provenance("full", 1, {}))
except Exception as error:
    print(type(error).__name__, error)
"""


def check_full(path: Path, limit: int, cause: str) -> None:
    write_store(path, "v", [(["a"], np.ones((1, 8), np.float32))], PROVENANCE)
    before = path.read_bytes()
    said = run_script(FULL, path, limit, limit_s=60)
    assert said.startswith(f"StoreError {path}: cannot be written: {cause}; the earlier file")
    assert f"Make room, or get the right to write in {path.parent}" in said
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("limit", [0, 100, 3_000, 150_000, 2_000_000, 4_190_000])
def test_a_file_that_may_not_grow(tmp_path: Path, limit: int) -> None:
    check_full(tmp_path / "a.h5", limit, "File too large (EFBIG)")


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no program `mount` here")
    if done.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk(tiny_disk: Path) -> None:
    check_full(tiny_disk / "a.h5", -1, "No space left on device (ENOSPC)")


def test_a_folder_that_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = run_script(FULL, tmp_path / "file" / "a.h5", -1, limit_s=60)
    assert "StoreError" in said
    assert "cannot be written: File exists (EEXIST)" in said
