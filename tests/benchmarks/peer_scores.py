"""Scores of the scikit-learn peers, for the paired intervals of `mmgenre benchmark`.

    python tests/benchmarks/peer_scores.py FOLDER... [--out runs/benchmark] [--test]

Each folder has what ../shared/peers/peers.py reads and the peers.json that it wrote. For every
group of modalities the peer that is best on validation is fitted once more, with the options that
were chosen on each split, and OUT/FOLDER'S NAME.npz gets its scores of the validation items, with
--test also those of the test items. That the peers are the same is checked by their validation
figures. Descriptors of media are kept in OUT/peers-cache. Without a folder nothing is done.
"""

from __future__ import annotations

import argparse
import csv
import importlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmgenre.pipeline.benchmark import DEFAULT_RUNS, PEERS, SPLIT_NUMBERS, read_peers

SHARED = Path(__file__).parents[3] / "shared/peers"
# Of a mean validation figure: descriptors of media differ in their last digits between machines.
TOLERANCE = 1e-3
Score = Callable[[NDArray[np.intp]], NDArray[np.float64]]  # rows of a manifest -> (rows, L)


def fitted(peers: Any, view: Any, Y: Any, rows: Any, make: Any) -> Score:
    """Fits a pipeline as peers.py does, and scores as it does: means where the view is missing."""
    X, here = view
    single = bool((Y.sum(1) == 1).all())
    fit = rows[here[rows]]
    kept = Y[fit].any(0) & ~Y[fit].all(0)
    model = make().fit(X[fit], Y[fit].argmax(1) if single else Y[fit][:, kept])

    def score(wanted: NDArray[np.intp]) -> NDArray[np.float64]:
        have = here[wanted]
        found = np.zeros((have.sum(), Y.shape[1]))
        if single:
            found = peers.scores_of(model, X[wanted[have]], Y.shape[1])
        else:
            has = hasattr(model, "decision_function")
            found[:, kept] = (model.decision_function if has else model.predict_proba)(
                X[wanted[have]]
            )
        scores = np.tile(found.mean(0) if len(found) else Y[fit].mean(0), (len(wanted), 1))
        scores[have] = found
        return scores

    return score


def split_scores(
    peers: Any, folder: Path, number: int, content: dict[str, Any], chosen: dict[str, str],
    *, with_test: bool,
) -> tuple[dict[str, NDArray[Any]], dict[str, float]]:  # fmt: skip
    """The arrays of one split, and the main validation figure of each group."""
    names, Y, split, views = peers.load(folder, number)
    single = bool((Y.sum(1) == 1).all())
    train, val, test = (np.flatnonzero(split == s) for s in ("train", "val", "test"))
    made: dict[str, Score] = {}
    best: dict[str, tuple[float, Score]] = {}  # modality -> its best peer on this split
    figures: dict[str, float] = {}
    for (modality, view), (X, here) in views.items():
        for name, option, make in peers.peers_of(view, single):
            found = content["peers"].get(name)
            if found is None or found["options"][number] != option:
                continue
            made[name] = fitted(peers, (X, here), Y, train, make)
            figure = peers.measure(Y[val], made[name](val), single)[content["main"]]
            letter = peers.LETTER[modality]
            if letter not in best or figure > best[letter][0]:
                best[letter] = figure, made[name]
    part = [val, test] if with_test else [val]
    manifest = folder / f"manifest-{number}.csv"
    with manifest.open(newline="", encoding="utf8") as file:
        ids = [row["id"] for row in csv.DictReader(file)]  # in the order of `load`
    arrays: dict[str, NDArray[Any]] = {
        "labels": np.array(names),
        f"{number}|ids": np.array([ids[k] for rows in part for k in rows]),
    }

    def of(group: str, name: str, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        if "+" not in group:
            return made[name](rows)
        both = rows if rows is val else np.concatenate([val, rows])
        known = np.arange(len(val))
        parts = [peers.standard(best[m][1](both), known, single) for m in group.split("+")]
        return np.asarray(sum(parts)[-len(rows) :])

    for group, name in chosen.items():
        scores = [of(group, name, rows) for rows in part]
        figures[group] = peers.measure(Y[val], scores[0], single)[content["main"]]
        arrays[f"{number}|{group}"] = np.concatenate(scores)
    return arrays, figures


def write_scores(peers: Any, folder: Path, out: Path, *, with_test: bool) -> Path:
    """Makes OUT/FOLDER'S NAME.npz; ends the program if these are other peers than peers.json's."""
    found = read_peers(folder / PEERS, "val")
    if found is None:
        sys.exit(f"{folder / PEERS}: no such file; write it with peers.py")
    content = json.loads((folder / PEERS).read_text(encoding="utf-8"))
    chosen = {peer.group: peer.name for peer in found.chosen.values()}
    name = folder.resolve().name
    os.environ["PEERS_CACHE"] = str(out / "peers-cache" / name)
    Path(os.environ["PEERS_CACHE"]).mkdir(parents=True, exist_ok=True)
    arrays: dict[str, NDArray[Any]] = {}
    figures = []
    for number in SPLIT_NUMBERS:
        own, of_groups = split_scores(peers, folder, number, content, chosen, with_test=with_test)
        arrays |= own
        figures.append(of_groups)
    others = []
    for group, peer in chosen.items():
        ours = float(np.mean([of_split[group] for of_split in figures]))
        before = content["peers"][peer]["val"]
        print(f"{name}: {group}: {peer}: {ours:.5f} on validation, {before:.5f} in {PEERS}")
        others += [peer] if abs(ours - before) > TOLERANCE else []
    if others:
        sys.exit(f"{folder}: not the peers of {PEERS}: {', '.join(others)}; another scikit-learn?")
    path = out / f"{name}.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--out", type=Path, default=DEFAULT_RUNS)
    parser.add_argument("--test", action="store_true")
    given = parser.parse_args()
    if not given.folders:  # as `make bench` calls it
        print(__doc__)
        return
    sys.path.insert(0, str(SHARED))
    peers = importlib.import_module("peers")
    for folder in given.folders:
        print(write_scores(peers, folder, given.out, with_test=given.test))


if __name__ == "__main__":
    main()
