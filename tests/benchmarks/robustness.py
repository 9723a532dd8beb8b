"""What wrong labels and a rare genre cost `default`, and what they cost the scikit-learn peers.

    python tests/benchmarks/robustness.py OUT FOLDER...

FOLDER are sets as of `mmgenre benchmark` (../shared/data/dev/NAME), with one genre an item for the
second question. OUT gets the changed sets of each, runs, and the peers' figures on them:

- NAME-noise-K: a tenth of the training items, drawn anew for each K, have the labels of another
  training item;
- NAME-rare: of the most frequent genre, training keeps one item for 50 others.

Figures are of validation items. Without folders nothing is done.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmgenre.pipeline.benchmark import SPLIT_NUMBERS
from mmgenre.pipeline.run import open_run
from mmgenre.pipeline.scores import read_scores

SHARED = Path(__file__).parents[3] / "shared/peers"
NOISE, DRAWS, RARE, SEED = 0.1, 3, 50, 0xBAD
Rows = list[dict[str, str]]


def with_noise(rows: Rows, number: int, draw: int) -> Rows:
    """Rows of a manifest, with other labels for a tenth of the training items."""
    rng = np.random.default_rng((SEED + draw, number))
    train = [k for k, row in enumerate(rows) if row["split"] == "train"]
    changed = [dict(row) for row in rows]
    for k in rng.choice(train, round(NOISE * len(train)), replace=False):
        others = [j for j in train if rows[j]["labels"] != rows[k]["labels"]]
        changed[k]["labels"] = rows[rng.choice(others)]["labels"]
    return changed


def frequent(rows: Rows) -> str:
    """The most frequent genre of training."""
    names = [row["labels"] for row in rows if row["split"] == "train"]
    return max(sorted(set(names)), key=names.count)


def with_a_rare_genre(rows: Rows, number: int) -> Rows:
    """Rows without most training items of the most frequent genre."""
    rng, genre = np.random.default_rng((SEED, number)), frequent(rows)
    train = [k for k, row in enumerate(rows) if row["split"] == "train"]
    own = [k for k in train if rows[k]["labels"] == genre]
    n = max(2, round((len(train) - len(own)) / RARE))
    left_out = set(rng.permutation(own)[n:].tolist())
    return [row for k, row in enumerate(rows) if k not in left_out]


def changed_set(folder: Path, out: Path, change: Any) -> Path:
    """The set with changed manifests, in `out`."""
    out.mkdir(parents=True, exist_ok=True)
    for number in SPLIT_NUMBERS:
        with (folder / f"manifest-{number}.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        with (out / f"manifest-{number}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(change(rows, number))
    beside = {
        out / "vectors.npz": folder / "vectors.npz",
        out.parent / "media": folder / "../media",
    }
    for link, source in beside.items():
        if source.exists() and not link.exists():
            link.symlink_to(source.resolve())
    return out


def measured(folder: Path, runs: Path) -> dict[str, tuple[float, float]]:
    """Row -> main validation figure, ours and the peer's, by `mmgenre benchmark`."""
    if not (folder / "peers.json").exists():
        cache = {"PEERS_CACHE": str(runs / "peers-cache" / folder.name)}
        command = [sys.executable, str(SHARED / "peers.py"), str(folder)]
        subprocess.run(command, check=True, env=os.environ | cache, stdout=subprocess.DEVNULL)
    command = [sys.executable, "-m", "mmgenre", "benchmark", str(folder), "--on", "val", "--json"]
    done = subprocess.run([*command, "--runs", str(runs)], check=False, capture_output=True)
    found = {}
    for row in json.loads(done.stdout)["folders"][0]["rows"]:
        if row["peer"] is not None:
            figures = [f for f in row["figures"].values() if f["peer"] is not None]
            found[row["name"]] = figures[0]["ours"], figures[0]["peer"]
    return found


def recall(folder: Path, runs: Path, number: int) -> tuple[float, float]:
    """Recall of the genre made rare by the whole, ours and the peer's."""
    run = open_run(runs / f"{folder.name}-rare-{number}")
    with (folder / f"manifest-{number}.csv").open(newline="", encoding="utf-8") as file:
        genre = frequent(list(csv.DictReader(file)))
    fusion = next(path for path in run.fusions.iterdir() if path.is_dir())
    scores = read_scores(fusion, "val")
    names = list(run.labels().names)
    truth = np.array([run.manifest[i].labels[0] == genre for i in scores.ids])
    ours = scores.values[:, -1, 0].argmax(axis=1) == names.index(genre)
    with np.load(runs / f"{folder.name}-rare.npz") as peers:
        groups = [key for key in peers.files if key.startswith(f"{number}|")]
        group = max((key for key in groups if not key.endswith("|ids")), key=len)
        where = {i: k for k, i in enumerate(peers[f"{number}|ids"].tolist())}
        rows = peers[group][[where[i] for i in scores.ids]]
        theirs = rows.argmax(axis=1) == peers["labels"].tolist().index(genre)
    return float(ours[truth].mean()), float(theirs[truth].mean())


def main(out: Path, folders: list[Path]) -> None:
    """Prints a line a row for noise, and a line a split for the rare genre."""
    sets, runs = out / "sets", out / "runs"
    for folder in folders:
        clean, after = measured(folder, runs), []
        for draw in range(DRAWS):
            noisy = sets / f"{folder.name}-noise-{draw}"
            after.append(measured(changed_set(folder, noisy, partial(with_noise, draw=draw)), runs))
        for row in clean:
            lost = np.array([np.subtract(clean[row], noisy[row]) for noisy in after])
            said = [" ".join(f"{x:+.3f}" for x in (*own, own.mean())) for own in lost.T]
            print(f"{folder.name} {row}: noise costs ours {said[0]}, theirs {said[1]} (last: mean)")
        with (folder / "manifest-0.csv").open(newline="", encoding="utf-8") as file:
            if any(";" in row["labels"] for row in csv.DictReader(file)):
                continue
        rare = changed_set(folder, sets / f"{folder.name}-rare", with_a_rare_genre)
        measured(rare, runs)
        script = [sys.executable, str(Path(__file__).with_name("peer_scores.py")), str(rare)]
        subprocess.run([*script, "--out", str(runs)], check=True, stdout=subprocess.DEVNULL)
        for number in SPLIT_NUMBERS:
            ours, theirs = recall(folder, runs, number)
            print(f"{folder.name} {number}: recall of a rare genre {ours:.2f}, theirs {theirs:.2f}")


if __name__ == "__main__":
    if len(sys.argv) > 2:
        main(Path(sys.argv[1]), [Path(f) for f in sys.argv[2:]])
    else:
        print(__doc__)
