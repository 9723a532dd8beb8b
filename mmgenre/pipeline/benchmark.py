"""A recipe on folders of several splits each, beside what peers reached on the same splits.

A folder has `manifest-0.csv`, `manifest-1.csv` and `manifest-2.csv`: the same items in other
splits. Their media lie in the folder itself, in a folder `media` beside it, or below one that is
named. `vectors.npz`, if there, gives inputs made elsewhere: `ids`, and `X_audio` in the place of
audio, other `X_NAME` as inputs called NAME. `peers.json`, if there, has the figures of other
systems:

    {"main": "f1" | "auc", "peers": {name: {"group": "i+t", "val": 0.81,
        "test": {"auc": {"mean": 0.80}, "ap": {"mean": 0.42}}}}}

`main` is f1 where every item has one label. A group names modalities by their letters, in any
order; its peer is the one that is best on validation.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mmgenre.datasets.arrays import read_npz
from mmgenre.datasets.features import IDS
from mmgenre.disk.files import without_links
from mmgenre.errors import MmgenreError, StoreError
from mmgenre.items.labels import LabelSpace, ancestors
from mmgenre.items.modalities import MODALITIES, Modality
from mmgenre.learning.processes import place
from mmgenre.measuring.benchmark_results import (
    BenchmarkFigure,
    BenchmarkFolder,
    BenchmarkResult,
    BenchmarkRow,
)
from mmgenre.measuring.differences import MACRO_METRICS, Pair, groups_of, paired_difference
from mmgenre.measuring.metrics import Floats
from mmgenre.measuring.results import FusionResult, PairedResult, Row
from mmgenre.pipeline.artefact import FAILURES
from mmgenre.pipeline.commands import extract_features, fuse
from mmgenre.pipeline.measure import measured
from mmgenre.pipeline.notes import fusion_notes, of_all_or_some, run_notes
from mmgenre.pipeline.prepare import prepare_run
from mmgenre.pipeline.run import Run
from mmgenre.pipeline.scores import Scores, read_scores
from mmgenre.pipeline.vectors import give_features
from mmgenre.progress import Progress, silent

DEFAULT_RUNS = Path("runs/benchmark")
SPLIT_NUMBERS = (0, 1, 2)  # of manifest-0.csv, ...
MEDIA = "media"  # beside the folders, or in them
VECTORS, PEERS = "vectors.npz", "peers.json"
VECTORS_OF = "X_"
On = Literal["val", "test"]
# Whether an item has one label -> our metric -> the peers' name of it; the first is the main one.
METRICS: Mapping[bool, Mapping[str, str]] = {
    True: {"macro_f1": "f1"},
    False: {"macro_roc_auc": "auc", "macro_pr_auc": "ap"},
}
PER_LABEL = {"macro_f1": "f1", "macro_roc_auc": "roc_auc", "macro_pr_auc": "pr_auc"}


@dataclass(frozen=True)
class Peer:
    """The peer of a set of modalities, with the means of its figures by our metrics' names."""

    name: str
    group: str  # "i+t", as peers.json writes it
    figures: Mapping[str, float]


@dataclass(frozen=True)
class Peers:
    """What peers.json says of one split: the peer of each set of letters."""

    exclusive: bool
    chosen: Mapping[frozenset[str], Peer]


@dataclass(frozen=True)
class PeerScores:
    """Scores of the chosen peers: arrays `SPLIT|GROUP` (n, L), `SPLIT|ids` (n,), `labels` (L,)."""

    path: Path
    arrays: Mapping[str, NDArray[Any]]

    def of(self, split: int, group: str, ids: Sequence[str], labels: Sequence[str]) -> Floats:
        """Scores of items by a group's peer, (len(ids), len(labels)).

        Raises:
            StoreError: an array, an item or a label is missing.
        """
        wanted = ("labels", f"{split}|{IDS}", f"{split}|{group}")
        if missing := [name for name in wanted if name not in self.arrays]:
            found = ", ".join(self.arrays) or "nothing"
            raise StoreError(f"{self.path}: no array {', '.join(missing)}; it has {found}")
        own, found_ids, scores = (self.arrays[name] for name in wanted)
        if sorted(own.tolist()) != sorted(labels):
            raise StoreError(
                f"{self.path}: scores of {len(own)} labels ({', '.join(own.tolist()[:3])}, ...), "
                f"the manifest has {len(labels)} ({', '.join(labels[:3])}, ...)"
            )
        rows = {item_id: k for k, item_id in enumerate(found_ids.tolist())}
        if unknown := [item_id for item_id in ids if item_id not in rows]:
            raise StoreError(
                f"{self.path}: split {split}: no scores for {len(unknown)} of {len(ids)} items "
                f"(first: {unknown[0]!r}); were they made of other manifests, or of another split?"
            )
        columns = [own.tolist().index(label) for label in labels]
        return scores[np.ix_([rows[i] for i in ids], columns)].astype(np.float64)


def run_benchmark(
    folders: Sequence[Path | str],
    *,
    on: On = "val",
    recipe: str = "default",
    settings: Sequence[str] = (),
    modalities: Sequence[Modality] = tuple(MODALITIES),
    media_roots: Sequence[Path] = (),
    runs: Path | str = DEFAULT_RUNS,
    peer_scores: Path | None = None,
    seeds: int | None = None,
    progress: Progress = silent,
) -> BenchmarkResult:
    """Runs a recipe on every split of every folder, and compares each row with its peer.

    The failure of a folder is listed, and the others go on.

    Args:
        folders: each with its manifests.
        on: the split that figures are of. Choose by val; test is opened once.
        recipe: name or TOML file.
        settings: `section.key=value` changes to the recipe.
        modalities: those that are used, of those that any item has.
        media_roots: further folders that media may lie in, at any depth.
        runs: each split has a run in RUNS/FOLDER'S NAME-NUMBER.
        peer_scores: folder with FOLDER'S NAME.npz, see `PeerScores`, which every folder with a
            peers.json needs then; None: in `runs`, where there are any.
        seeds: how many heads are trained for each row.
        progress: progress callback.

    Raises:
        MmgenreError: two folders have one name, or this is one of several processes.
    """
    if place()[1] > 1:
        raise MmgenreError("benchmark works in one process; launch it without torchrun")
    names = [without_links(Path(folder)).name for folder in folders]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise MmgenreError(f"several folders are called {', '.join(twice)}; their runs would clash")
    result: BenchmarkResult = {
        "made_by": f"mmgenre {version('mmgenre')}",
        "recipe": recipe,
        "settings": list(settings),
        "on": on,
        "folders": [],
        "failed": [],
    }
    how: dict[str, Any] = {"recipe": recipe, "settings": settings, "modalities": modalities}
    how |= {"media_roots": media_roots, "on": on, "seeds": seeds, "progress": progress}
    for name, folder in zip(names, map(Path, folders), strict=True):
        scores = (Path(runs) if peer_scores is None else peer_scores) / f"{name}.npz"
        try:
            peers = read_peers(folder / PEERS, on)
            known = None
            if peers is not None and (peer_scores is not None or scores.is_file()):
                known = PeerScores(scores, _arrays(scores))
            splits = [
                _run_split(folder, number, Path(runs) / f"{name}-{number}", **how)
                for number in SPLIT_NUMBERS
            ]
            result["folders"].append(_compared(folder, name, splits, peers, known))
        except FAILURES as error:
            kind = "" if isinstance(error, MmgenreError) else f"{type(error).__name__}: "
            result["failed"].append({"folder": str(folder), "error": f"{kind}{error}"})
    return result


def read_peers(path: Path, on: On) -> Peers | None:
    """The peer of each set of modalities and its figures on a split; None: there is no such file.

    Of validation peers.json has the main metric alone.

    Raises:
        MmgenreError: the file is damaged, or is not what the docstring above says.
    """
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        exclusive = {"f1": True, "auc": False}[content["main"]]
        best: dict[frozenset[str], tuple[float, Peer]] = {}
        for name, peer in content["peers"].items():
            val = float(peer["val"])
            metrics = METRICS[exclusive].items()
            figures = (
                {next(iter(METRICS[exclusive])): val}
                if on == "val"
                else {ours: float(peer["test"][theirs]["mean"]) for ours, theirs in metrics}
            )
            group = frozenset(peer["group"].split("+"))
            if group not in best or val > best[group][0]:
                best[group] = val, Peer(name, peer["group"], figures)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise MmgenreError(
            f"{path}: not figures of peers ({type(error).__name__}: {error})"
        ) from error
    return Peers(exclusive, {group: peer for group, (_, peer) in best.items()})


@dataclass(frozen=True)
class _Split:
    """A finished run of one split: figures and scores of the items measured."""

    run: Run
    result: FusionResult
    scores: Scores

    @property
    def notes(self) -> list[str]:
        """What a person should know of the run and of its fusion."""
        target = self.run.recipe.target.name
        return [*run_notes(self.run), *fusion_notes(self.result, target, self.run.folder)]

    @property
    def labels(self) -> dict[str, str]:
        """Label as the manifest names it -> genre of the task.

        Peers know the labels that the manifest names. Where an item may have many, our task also
        has the genres above them, which are left out of the averages here.
        """
        own = sorted({name for row in self.run.manifest.labels() for name in row})
        return {name: ancestors(name)[0] if self.result["exclusive"] else name for name in own}

    def figure(self, row: Row, metric: str) -> float | None:
        """Macro average on all items, mean over the seeds; None if no label can be measured."""
        key = PER_LABEL[metric]
        genres = sorted(set(self.labels.values()) & set(self.result["labels"]))
        seeds = []
        for found in row["all"]["per_seed"]:
            values = [found["per_label"][name][key] for name in genres]
            seeds.append([value for value in values if value is not None])
        return float(np.mean([np.mean(known) for known in seeds])) if all(seeds) else None

    def pairs(self, row: int, theirs: Floats) -> list[Pair]:
        """Scores of a row, one pair a seed, beside a peer's: (n, labels) in their order."""
        ids = self.scores.ids
        space = LabelSpace(tuple(self.result["labels"]), self.result["exclusive"])
        genres = list(self.labels.values())
        learned = [k for k, genre in enumerate(genres) if genre in space.names]
        columns, theirs = [space.names.index(genres[k]) for k in learned], theirs[:, learned]
        y = self.run.truth(ids, space=space)[:, columns]
        groups = groups_of(ids, [self.run.manifest[i].artist for i in ids])
        ours = self.scores.values[:, row].astype(np.float64)  # (n, seeds, genres)
        return [Pair(y, ours[:, k][:, columns], theirs, groups) for k in range(ours.shape[1])]


def _run_split(
    folder: Path,
    number: int,
    run_folder: Path,
    *,
    on: On,
    recipe: str,
    settings: Sequence[str],
    modalities: Sequence[Modality],
    media_roots: Sequence[Path],
    seeds: int | None,
    progress: Progress,
) -> _Split:
    manifest = folder / f"manifest-{number}.csv"

    def told(task: str, done: int, total: int) -> None:
        progress(f"{run_folder.name} {task}", done, total)

    own: dict[str, Any] = {"manifest": manifest, "progress": told}
    own["media_roots"] = [*media_roots, without_links(folder).parent / MEDIA]
    run = prepare_run(run_folder, recipe=recipe, settings=settings, **own)
    if (folder / VECTORS).is_file():
        _give_vectors(run, folder / VECTORS, modalities)
    run = replace(run)  # what was given is read anew
    learned = [m for m in modalities if m not in run.given and run.manifest.count(having=[m])]
    if learned:
        extract_features(run=run_folder, modalities=learned, **own)
    result = fuse(modalities, run=run_folder, seeds=seeds, **own)
    fusion = run.fusions / result["name"]
    return _Split(run, measured(run, fusion, on), read_scores(fusion, on))


def _give_vectors(run: Run, path: Path, modalities: Sequence[Modality]) -> None:
    """Gives a run the arrays X_NAME of an archive; `ids` are common to all.

    Rows that are zero, or have a value that is not finite, are items without a vector.
    """
    arrays = _arrays(path)
    named = {name.removeprefix(VECTORS_OF): name for name in arrays if name.startswith(VECTORS_OF)}
    expected = len(arrays.get(IDS, ()))
    if not (
        named and expected and all(arrays[n].shape[:-1] == (expected,) for n in named.values())
    ):
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise StoreError(
            f"{path}: expected {IDS} (n,) and arrays {VECTORS_OF}NAME (n, width); got {shapes}"
        )
    with TemporaryDirectory() as temporary:
        sources = {}
        for name, key in named.items():
            if name in modalities or name not in MODALITIES:
                vectors = arrays[key]
                has = np.isfinite(vectors).all(axis=1) & vectors.any(axis=1)
                sources[name] = Path(temporary) / f"{name}.npz"
                np.savez(sources[name], ids=arrays[IDS][has], x=vectors[has])
        if sources:
            give_features(run, sources)


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    arrays = read_npz(path)
    if not isinstance(arrays, dict):
        raise StoreError(f"{path}: a sparse array, not an archive of arrays")
    return arrays


def _compared(
    folder: Path,
    name: str,
    splits: Sequence[_Split],
    peers: Peers | None,
    scores: PeerScores | None,
) -> BenchmarkFolder:
    first = splits[0].result
    tables = [[row["name"] for row in split.result["rows"]] for split in splits]
    if tables[1:] != tables[:-1]:
        shown = "; ".join(", ".join(table) for table in tables)
        raise MmgenreError(f"{folder}: its splits have other rows than each other: {shown}")
    if peers is not None:
        _check_task(folder, splits[0], peers)
    rows: list[BenchmarkRow] = []
    for k, row in enumerate(first["rows"]):
        letters = frozenset(row["name"].lower().split("+"))
        peer = peers.chosen.get(letters) if peers else None
        pairs: list[Pair] = []
        if peer and scores:
            for number, split in zip(SPLIT_NUMBERS, splits, strict=True):
                theirs = scores.of(number, peer.group, split.scores.ids, list(split.labels))
                pairs += split.pairs(k, theirs)
        figures = {m: _figure(m, k, splits, peer, pairs) for m in METRICS[first["exclusive"]]}
        rows.append(
            {
                "name": row["name"],
                "inputs": row["inputs"],
                "peer": peer.name if peer else None,
                "figures": figures,
            }
        )
    refused = sorted({refusal for split in splits for refusal in split.run.refused})
    return {
        "name": name,
        "folder": str(folder),
        "runs": [str(split.run.folder) for split in splits],
        "exclusive": first["exclusive"],
        "n_items": [len(split.scores.ids) for split in splits],
        "rows": rows,
        "notes": of_all_or_some(
            {f"split {k}": split.notes for k, split in zip(SPLIT_NUMBERS, splits, strict=True)}
        ),
        "refused": [vars(refusal) for refusal in refused],
    }


def _figure(
    metric: str, row: int, splits: Sequence[_Split], peer: Peer | None, pairs: Sequence[Pair]
) -> BenchmarkFigure:
    per_split = [split.figure(split.result["rows"][row], metric) for split in splits]
    known = [value for value in per_split if value is not None]
    ours = float(np.mean(known)) if known else None
    theirs = peer.figures.get(metric) if peer else None
    paired: PairedResult | None = None
    if pairs:
        paired = paired_difference(pairs, MACRO_METRICS[metric]).result()
    return {
        "ours": ours,
        "per_split": per_split,
        "peer": theirs,
        "difference": None if ours is None or theirs is None else ours - theirs,
        "paired": paired,
    }


def _check_task(folder: Path, split: _Split, peers: Peers) -> None:
    """MmgenreError if our figures are of another task than the peers'."""
    words = {True: "one label", False: "several labels"}
    exclusive = split.result["exclusive"]
    if exclusive != peers.exclusive:
        raise MmgenreError(
            f"{folder / PEERS}: figures for {words[peers.exclusive]} an item, but this task has "
            f"{words[exclusive]}; leave out labels.task"
        )
    genres = list(split.labels.values())
    if merged := sorted({genre for genre in genres if genres.count(genre) > 1}):
        raise MmgenreError(
            f"{folder / PEERS}: the peers tell apart labels that the task with one label merges "
            f"into {', '.join(merged)}; without peers.json our own figures are shown"
        )
