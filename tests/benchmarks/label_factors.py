"""Label factors (PPMI + SVD) of real genre tags: what is near to what, and how long it takes.

    python tests/benchmarks/label_factors.py

../shared/data/labels: 55 094 tracks x 87 genres (MTG-Jamendo); d = 50.
"""

from __future__ import annotations

import csv
import gzip
import time
from pathlib import Path

import numpy as np

from mmgenre.items.labels import LabelSpace
from mmgenre.learning.targets import label_factors, ppmi

TAGS = Path(__file__).parents[3] / "shared/data/labels/jamendo_genres.tsv.gz"
SHOWN = (
    "rock", "jazz", "metal", "hiphop", "techno", "ambient", "classical", "reggae", "country", "folk"
)  # fmt: skip


def main() -> None:
    """Prints the time and the five nearest genres (by cosine) of ten."""
    with gzip.open(TAGS, "rt", encoding="utf-8", newline="") as file:
        rows = [row["labels"] for row in csv.DictReader(file, delimiter="\t")]
    labels = [row.replace(",", ";").split(";") for row in rows]
    space = LabelSpace.of(labels, exclusive=False)
    y = space.encode(labels)
    times = []
    for _ in range(5):
        started = time.perf_counter()
        factors = label_factors(ppmi(y), 50)
        times.append(time.perf_counter() - started)
    print(f"{y.shape[0]:,} x {y.shape[1]}, d = 50: median {np.median(times) * 1000:.0f} ms of 5")
    unit = factors / np.linalg.norm(factors, axis=1, keepdims=True)
    cosines = unit @ unit.T
    for name in SHOWN:
        j = space.names.index(name)
        near = [k for k in np.argsort(-cosines[j]) if k != j][:5]
        print(f"{name:<10}" + ", ".join(f"{space.names[k]} {cosines[j, k]:.2f}" for k in near))


if __name__ == "__main__":
    main()
