"""How many of the first 50 suspects are planted: 10 % of the training items get others' labels.

    python tests/benchmarks/suspects.py MANIFEST... [--modalities a,t,i] [--trained]
    python tests/benchmarks/suspects.py synthetic

Validation and test items stay as they are and are not looked at. Real sets have wrong labels of
their own, which count as mistakes here: precision is what it is at least.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np

from mmgenre import Manifest, extract_features, fuse
from mmgenre.datasets.synthetic import make_catalogue
from mmgenre.items.modalities import parse_modalities
from mmgenre.items.splits import split_anew
from mmgenre.pipeline.run import open_run
from mmgenre.pipeline.suspects import suspects

SHARE, FIRST = 0.1, 50
FIXED = {
    "audio.encoders": ["statistics"],
    "text.encoders": ["linear"],
    "image.encoders": ["descriptors"],
}


def planted(items: Manifest, seed: int) -> tuple[Manifest, set[str]]:
    """The manifest with the labels of some training items exchanged for those of others.

    Each gets the labels of an item that shares none with it.
    """
    rng = np.random.default_rng(seed)
    train = [i for i in items.ids("train") if items[i].labels]
    chosen = set(rng.choice(train, round(SHARE * len(train)), replace=False).tolist())
    labels = {}
    for item_id in sorted(chosen):
        own = _broadest(items[item_id].labels)
        others = [i for i in train if not own & _broadest(items[i].labels)]
        labels[item_id] = items[str(rng.choice(others))].labels
    return Manifest([replace(i, labels=labels.get(i.id, i.labels)) for i in items]), chosen


def _broadest(labels: tuple[str, ...]) -> set[str]:
    return {label.partition("/")[0] for label in labels}


def measure(source: Path, modalities: str, *, trained: bool, seed: int) -> str:
    """A line of figures."""
    roots = [source.parent, source.parent.parent]
    items = Manifest.read(source, media_roots=roots)
    if not items.count("train"):
        items = split_anew(items, (0.8, 0.1, 0.1), 0)
    items, chosen = planted(items, seed)
    with tempfile.TemporaryDirectory(prefix="mmgenre-benchmark-") as folder:
        file = items.write(Path(folder) / "manifest.csv")
        run, wanted = Path(folder) / "run", parse_modalities(modalities)
        began = perf_counter()
        how = {} if trained else FIXED
        extract_features(
            file, run=run, recipe="default", modalities=wanted, media_roots=roots, settings=how
        )
        if trained:
            fuse(wanted, run=run)  # cross-fits the encoders
        made_s = perf_counter() - began
        began = perf_counter()
        found = suspects(open_run(run))
    took_s = perf_counter() - began
    hits = [s.id in chosen for s in found.found]
    n = len(items.ids("train"))
    return (
        f"{source.parent.name}, seed {seed}: {n} training items, {len(chosen)} planted; precision "
        f"at {FIRST} {np.mean(hits[:FIRST]):.2f} (by chance {len(chosen) / n:.2f}); "
        f"{len(hits)} suspects hold {sum(hits) / len(chosen):.2f} of the planted; by "
        f"{', '.join(f'{k} {v:.2f}' for k, v in found.by.items())}; run {made_s:.0f} s, "
        f"looking {took_s:.0f} s"
    )


def main() -> None:
    """Prints a line for each manifest and seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manifests", nargs="+", help="manifests, or: synthetic")
    parser.add_argument("--modalities", default="a,t,i")
    parser.add_argument("--trained", action="store_true", help="with encoders that are trained")
    parser.add_argument("--seeds", type=int, default=1)
    given = parser.parse_args()
    for name in given.manifests:
        with tempfile.TemporaryDirectory(prefix="mmgenre-benchmark-") as folder:
            path = Path(name)
            if name == "synthetic":
                path = make_catalogue(Path(folder) / "synthetic", seed=1, n_albums=500)
            for seed in range(given.seeds):
                line = measure(path, given.modalities, trained=given.trained, seed=seed)
                sys.stdout.write(line + "\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
