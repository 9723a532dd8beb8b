"""The feature store: patches, covers and rows a second, beside plain h5py; what a write costs.

    python tests/benchmarks/store.py     # a minute; needs 1 GB of memory and 400 MB of disk

The caches are warm. Sides of a ratio run in turn in this process, after a round that does not
count; medians of the others, and the range. "Plain h5py" slices the very same file, whose
checksums HDF5 compares at each read; ours has them compared once for each chunk and opening.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
from _sides import Side, in_turn, show
from numpy.typing import NDArray

from mmgenre.audio.sources import AudioSource
from mmgenre.disk.locks import claimed
from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import FeatureStore, merge_stores, write_store

N_CLIPS, FRAMES, BATCH, BATCHES, ROUNDS = 1_000, 322, 32, 40, 7
N_COVERS, N_VECTORS = 512, 8_000
PROVENANCE = Provenance("benchmark", 1, {})


def clips_part(path: Path, first: int, last: int) -> Path:
    """Log CQTs of clips of about 30 s."""
    rng = np.random.default_rng(first)
    rows = [
        (rng.standard_normal((int(n), 96), np.float32) * 20 - 40).astype(np.float16)
        for n in rng.integers(640, 653, last - first)
    ]
    ids = [str(k) for k in range(first, last)]
    return write_store(path, "audio", [(ids, rows)], PROVENANCE, ragged=True)


def patches(folder: Path) -> None:
    """15-s patches of random clips at random places, in batches."""
    parts = [clips_part(folder / f"{k}.h5", k, k + 50) for k in range(0, N_CLIPS, 50)]
    started = time.perf_counter()
    path = merge_stores(parts, folder / "clips.h5", "audio")
    took = time.perf_counter() - started
    size = path.stat().st_size / 1e6
    print(f"{len(parts)} parts of {size:.0f} MB merged and verified in {took:.2f} s")

    rng = np.random.default_rng(0)
    drawn = [[str(k) for k in rng.integers(0, N_CLIPS, BATCH)] for _ in range(BATCHES)]

    def read(store: FeatureStore) -> None:
        source = AudioSource(store, FRAMES, 1)
        for ids in drawn:
            source.views(ids, rng)

    def read_anew() -> None:
        with FeatureStore(path, "audio") as store:
            read(store)

    with h5py.File(path) as file, FeatureStore(path, "audio") as store:
        data, offsets = file["audio/data"], file["audio/offsets"][:]

        def slices() -> None:
            for ids in drawn:
                lows = [int(offsets[int(k)]) for k in ids]
                highs = [int(offsets[int(k) + 1]) - FRAMES for k in ids]
                starts = [int(rng.integers(a, b + 1)) for a, b in zip(lows, highs, strict=True)]
                np.stack([data[start : start + FRAMES] for start in starts])

        show(
            f"Patches of {FRAMES} x 96 float16, batches of {BATCH}",
            in_turn(
                {
                    "plain h5py, a slice each": slices,
                    "AudioSource.views": lambda: read(store),
                    "... of a file just opened": read_anew,
                },
                ROUNDS,
            ),
            "/s",
            BATCH * BATCHES,
        )


def rows(folder: Path) -> None:
    """Covers and vectors, by id."""
    rng = np.random.default_rng(0)
    cases: list[tuple[str, NDArray[np.uint8] | NDArray[np.float32], int]] = [
        ("Covers of 256 px", rng.integers(0, 256, (N_COVERS, 256, 256, 3), np.uint8), 32),
        ("Vectors of 2048 float32", rng.random((N_VECTORS, 2048), np.float32), 256),
    ]
    for title, values, batch in cases:
        ids = [str(k) for k in range(len(values))]
        path = write_store(folder / "rows.h5", "v", [(ids, values)], PROVENANCE)
        drawn = [rng.choice(len(ids), batch, replace=False) for _ in range(8)]
        with h5py.File(path) as file, FeatureStore(path, "v") as store:

            def plain(
                data: h5py.Dataset = file["v/data"], drawn: list[NDArray[np.intp]] = drawn
            ) -> None:
                for picked in drawn:
                    np.stack([data[k] for k in picked])

            def ours(store: FeatureStore = store, drawn: list[NDArray[np.intp]] = drawn) -> None:
                for picked in drawn:
                    store.take([str(k) for k in picked])

            show(
                f"{title}, batches of {batch}",
                in_turn({"plain h5py, a row each": plain, "store.take": ours}, ROUNDS),
                "/s",
                batch * len(drawn),
            )


def writes(folder: Path) -> None:
    """What the guarantees of a write cost where there is little to write."""
    values = np.ones((32, 8), np.float32)
    ids = [str(k) for k in range(32)]

    def plain() -> None:
        with h5py.File(folder / "plain.h5", "w") as file:
            file.create_dataset("data", data=values, chunks=(32, 8), fletcher32=True)

    def claim() -> None:
        with claimed(folder / "claim.h5"):
            pass

    def repeat(side: Side) -> Side:
        return lambda: [side() for _ in range(50)]

    show(
        "Small writes",
        in_turn(
            {
                "write_store": repeat(
                    lambda: write_store(folder / "s.h5", "v", [(ids, values)], PROVENANCE)
                ),
                "plain h5py, nothing synced": repeat(plain),
                "claiming alone": repeat(claim),
            },
            ROUNDS,
        ),
        "/s",
        50,
    )


def main() -> None:
    """Prints all tables."""
    for part in (patches, rows, writes):
        with tempfile.TemporaryDirectory() as folder:
            part(Path(folder))


if __name__ == "__main__":
    main()
