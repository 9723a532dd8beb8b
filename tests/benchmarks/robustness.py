"""What wrong labels and a rare genre cost `default`, and what they cost the scikit-learn peers.

    python tests/benchmarks/robustness.py OUT FOLDER...

FOLDER are sets as of `mmgenre benchmark` (../shared/data/dev/NAME) with one genre an item. OUT gets
the changed sets of each, runs, and the peers' figures on them:

- NAME-noise-K: a tenth of the training items, drawn anew for each K, have the labels of another
  training item;
- NAME-rare: of the most frequent genre, training keeps one item for 50 others.

Figures are of validation items. What noise costs us more than the peers has its interval over
artists. Without folders nothing is done.
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
from numpy.typing import NDArray

from mmgenre.items.modalities import MODALITIES
from mmgenre.measuring.differences import difference_of, groups_of, macro_f1
from mmgenre.measuring.jackknife import common_blocks
from mmgenre.pipeline.benchmark import SPLIT_NUMBERS
from mmgenre.pipeline.run import open_run
from mmgenre.pipeline.scores import read_scores

SHARED = Path(__file__).parents[3] / "shared/peers"
NOISE, DRAWS, RARE, SEED = 0.1, 3, 50, 0xBAD
Floats = NDArray[np.float64]
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


class Sides:
    """Our scores and the peers' of the validation items of one split, by row (A, T, A+T)."""

    def __init__(self, run: Path, peers: Path, number: int) -> None:
        opened = open_run(run)
        scores = read_scores(next(p for p in opened.fusions.iterdir() if p.is_dir()), "val")
        self.ids = list(scores.ids)
        names = list(opened.labels().names)
        self.y = np.array([[opened.manifest[i].labels[0] == g for g in names] for i in self.ids])
        self.groups = groups_of(self.ids, [opened.manifest[i].artist for i in self.ids])
        # Several rows may have one name: views come first, the whole of the modality last.
        rows = {row["name"]: k for k, row in enumerate(scores.about["rows"])}
        self.ours = {row: scores.values[:, k, 0].astype(float) for row, k in rows.items()}
        self.theirs = {}
        with np.load(peers) as file:
            where = {i: k for k, i in enumerate(file[f"{number}|ids"].tolist())}
            for key in file.files:
                split, _, group = key.partition("|")
                if split == str(number) and group != "ids":
                    row = "+".join(m.short for m in MODALITIES.values() if m.short in group).upper()
                    self.theirs[row] = file[key][[where[i] for i in self.ids]]


def costs(
    folder: Path, noisy: list[Path], runs: Path
) -> dict[str, tuple[Floats, tuple[float, float]]]:
    """Row -> what noise costs us and the peers, and the interval of the difference.

    The means over all draws and splits. An artist that is left out is left out of all of them.
    """
    script = [sys.executable, str(Path(__file__).with_name("peer_scores.py"))]
    command = [*script, *map(str, (folder, *noisy)), "--out", str(runs)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def sides(which: Path, number: int) -> Sides:
        return Sides(runs / f"{which.name}-{number}", runs / f"{which.name}.npz", number)

    clean = [sides(folder, number) for number in SPLIT_NUMBERS]
    pairs = [(clean[n], sides(other, n)) for n in SPLIT_NUMBERS for other in noisy]
    every, each = common_blocks([side.groups for side in clean])
    blocks_of = {id(side): own for side, own in zip(clean, each, strict=True)}

    def lost(before: Sides, after: Sides, row: str) -> list[Floats]:
        blocks = blocks_of[id(before)]
        own = [(side.ours[row], side.theirs[row]) for side in (before, after)]
        return [macro_f1(before.y, own[0][k], blocks) - macro_f1(after.y, own[1][k], blocks)
                for k in (0, 1)]  # fmt: skip

    found = {}
    for row in clean[0].theirs:
        both = np.nanmean([lost(*pair, row) for pair in pairs], axis=0)
        d = difference_of(both[0] - both[1], every)
        found[row] = both[:, 0], (d.low, d.high)
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
        measured(folder, runs)
        noisy = [sets / f"{folder.name}-noise-{draw}" for draw in range(DRAWS)]
        for draw, target in enumerate(noisy):
            measured(changed_set(folder, target, partial(with_noise, draw=draw)), runs)
        for row, (lost, (low, high)) in costs(folder, noisy, runs).items():
            print(
                f"{folder.name} {row}: noise costs ours {lost[0]:+.3f}, theirs {lost[1]:+.3f}, "
                f"difference {lost[0] - lost[1]:+.3f} [{low:+.3f}, {high:+.3f}]"
            )
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
