"""The authors' arrays, as their library reads them: labels, splits and published embeddings.

    items_index_{set}_{dataset}.tsv          one id a line; set is train, val or test
    y_{set}_class_{n}_{dataset}.npy          (items, n) of 0 and 1
    genre_labels_{dataset}.tsv               n names, one a line
    X_{set}_{name}_{dataset}.npy or .npz     (items, width), dense or sparse
    items_index_{set}_{name}_{dataset}.tsv   the ids of an X that lacks items

They unpack as `splits/` and `train_data/` of a folder such as ismir-data (dataset MuMu-albums) or
msdi-data (dataset MSD-I).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mmgenre.datasets.arrays import read_array, row_faults
from mmgenre.datasets.cards import load_card
from mmgenre.datasets.features import Features, make_features
from mmgenre.datasets.layout import (
    Published,
    files_below,
    flat_label,
    read_ids,
    read_lines,
    renamed_note,
)
from mmgenre.errors import ManifestError, StoreError
from mmgenre.items.manifest import SPLITS, Item, Split

CLASSES = re.compile(r"y_(?P<set>[^_]+)_class_(?P<n>\d+)_(?P<dataset>.+)\.np[yz]")
AUTHORS_DATASETS = ("msdi", "mumu")  # cards of the datasets whose arrays they published
# What else lies there, and why it is not read.
LEFT_OUT = {
    r"y_.+_(?!class_)[a-z]+_\d+_{dataset}\.npy": "label factors; our COSINE target fits its own",
    r"(class|user)_factors_.+_{dataset}\.npy": "label factors; our COSINE target fits its own",
    r"patches_.+_{dataset}_.+\.hdf5": "standardised spectrogram patches; not embeddings",
}


def read_tartarus(folder: Path, dataset: str | None = None) -> Published:
    """Reads one dataset of the authors' arrays, its embeddings as features by item id.

    Args:
        folder: what their archive unpacks to.
        dataset: its name in the files, needed where they belong to several.

    Raises:
        ManifestError: lists what is not there, and whatever in the files contradicts the rest.
    """
    files = _by_name(folder)
    known = sorted({m["dataset"] for m in map(CLASSES.fullmatch, files) if m})
    name = _choose(folder, known, dataset)
    # X_train_a_MSD-I.npy is not of a dataset I, if there is one of each name.
    longer = [other for other in known if other.endswith(f"_{name}")]
    ours = {n: p for n, p in files.items() if not any(f"_{o}." in n for o in longer)}
    faults: list[str] = []
    index = _read_index(ours, name, faults)
    labels, renamed = _read_labels(ours, name, index, faults)
    features, notes = _read_features(ours, name, index, faults)
    if faults:
        raise ManifestError(f"{folder} ({name})", faults)
    items = tuple(
        Item(item_id, split=split, labels=labels[split][row])
        for split, ids in index.items()
        for row, item_id in enumerate(ids)
    )
    unlabelled = [item.id for item in items if not item.labels]
    if unlabelled:
        notes.append(f"{len(unlabelled)} items have no genre (first: {unlabelled[0]!r})")
    notes.append("no artists or albums: no check sees whether the splits share them")
    return Published(f"{folder} ({name})", items, (*notes, *renamed), features=features)


def _by_name(folder: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    faults = []
    for path in files_below(folder):
        if path.name in files and path.name.startswith(("X_", "y_", "items_index", "genre_labels")):
            faults.append(f"{path.name!r} is there twice: {files[path.name]} and {path}; keep one")
        files[path.name] = path
    if faults:
        raise ManifestError(str(folder), faults)
    return files


def _choose(folder: Path, known: list[str], dataset: str | None) -> str:
    if not known:
        cards = [load_card(name) for name in AUTHORS_DATASETS]
        sources = "; ".join(f"{card.title}: {card.urls[0]}" for card in cards)
        fault = (
            "no file y_{set}_class_{n}_{dataset}.npy, the matrix of labels; unpack the authors' "
            f"data for the experiments here ({sources})"
        )
        raise ManifestError(str(folder), [fault])
    if dataset is None and len(known) > 1:
        fault = f"arrays of several datasets: {', '.join(known)}; name one with --dataset"
        raise ManifestError(str(folder), [fault])
    if dataset is not None and dataset not in known:
        raise ManifestError(str(folder), [f"no dataset {dataset!r}; has {', '.join(known)}"])
    return dataset or known[0]


def _split_of(text: str) -> Split | None:
    return next((split for split in SPLITS if split == text), None)


def _parts(files: Iterable[str], kind: str, dataset: str) -> dict[str, tuple[str, str]]:
    """Names `{kind}_{set}[_{name}]_{dataset}.{suffix}` -> (set, name)."""
    pattern = re.compile(rf"{kind}_([^_]+?)(?:_(.+))?_{re.escape(dataset)}\.(?:npy|npz|tsv)")
    found = ((file, pattern.fullmatch(file)) for file in files)
    return {file: (match[1], match[2] or "") for file, match in found if match}


def _read_index(
    files: Mapping[str, Path], dataset: str, faults: list[str]
) -> dict[Split, tuple[str, ...]]:
    """The ids of each split; an id in two splits is a fault."""
    for kind in ("items_index", "X", "y"):
        for file, (which, _) in _parts(files, kind, dataset).items():
            if which not in SPLITS:
                faults.append(f"{file}: unknown set {which!r}; sets are {', '.join(SPLITS)}")
    index: dict[Split, tuple[str, ...]] = {}
    place: dict[str, str] = {}
    for split in SPLITS:
        path = files.get(f"items_index_{split}_{dataset}.tsv")
        if path is None:
            faults.append(f"no file 'items_index_{split}_{dataset}.tsv', the ids of {split}")
            continue
        try:
            index[split] = read_ids(path)
        except ManifestError as error:
            faults += [f"{path.name}: {fault}" for fault in error.faults]
            continue
        faults += [f"{path.name}: {i!r} is in {place[i]}, too" for i in index[split] if i in place]
        place |= dict.fromkeys(index[split], split)
    return index


def _read_labels(
    files: Mapping[str, Path],
    dataset: str,
    index: Mapping[Split, tuple[str, ...]],
    faults: list[str],
) -> tuple[dict[Split, list[tuple[str, ...]]], list[str]]:
    """The labels of each row of each split, and what to say about their names."""
    matrices = {
        (match["set"], int(match["n"])): path
        for file, path in files.items()
        if (match := CLASSES.fullmatch(file)) and match["dataset"] == dataset
    }
    widths = sorted({n for _, n in matrices})
    if len(widths) > 1:
        faults.append(f"class matrices of several widths: {widths}; keep those of one")
        return {}, []
    names, notes = _read_names(files.get(f"genre_labels_{dataset}.tsv"), widths[0], faults)
    labels: dict[Split, list[tuple[str, ...]]] = {}
    for split, ids in index.items():
        path = matrices.get((split, widths[0]))
        if path is None:
            faults.append(f"no file 'y_{split}_class_{widths[0]}_{dataset}.npy', labels of {split}")
            continue
        matrix = _read_classes(path, (len(ids), widths[0]), faults)
        labels[split] = [tuple(names[j] for j in np.flatnonzero(row)) for row in matrix]
    return labels, notes


def _read_names(path: Path | None, n: int, faults: list[str]) -> tuple[list[str], list[str]]:
    if path is None:
        names = [f"class {j:03}" for j in range(n)]
        return names, [f"no file genre_labels_...: genres are named {names[0]!r} to {names[-1]!r}"]
    published = [line.strip() for line in read_lines(path)]
    names = [flat_label(name) for name in published]
    if len(names) != n or "" in names or len(set(names)) < n:
        faults.append(
            f"{path.name}: {len(names)} lines, {len(set(names) - {''})} distinct names; wants {n}"
        )
        return [f"class {j}" for j in range(n)], []
    return names, renamed_note(published)


def _read_classes(path: Path, shape: tuple[int, int], faults: list[str]) -> NDArray[np.bool_]:
    """The label matrix of one split, (items, n) bool; empty if it has faults."""
    try:
        array = read_array(path)
        wrong = row_faults(array)
    except StoreError as error:
        faults.append(str(error))
        return np.zeros((0, shape[1]), np.bool_)
    if not wrong and array.shape != shape:
        wrong.append(f"shape {array.shape}, but the index has {shape[0]} ids and {shape[1]} genres")
    dense = array.toarray() if isinstance(array, sparse.csr_array) else array
    if not wrong:
        rows = np.flatnonzero(~np.isin(dense, (0, 1)).all(axis=1))
        wrong += [f"row {rows[0]} holds other values than 0 and 1"] if rows.size else []
    faults += [f"{path.name}: {fault}" for fault in wrong]
    return np.zeros((0, shape[1]), np.bool_) if wrong else dense.astype(np.bool_)


def _read_features(
    files: Mapping[str, Path],
    dataset: str,
    index: Mapping[Split, tuple[str, ...]],
    faults: list[str],
) -> tuple[dict[str, tuple[Features, ...]], list[str]]:
    """Published embeddings by name, each in parts by split, and what is not there."""
    found: dict[str, dict[str, Features]] = {}
    for file, (part_of, name) in sorted(_parts(files, "X", dataset).items()):
        which = _split_of(part_of)
        if not name:
            faults.append(f"{file}: embeddings without a name; wants X_{{set}}_{{name}}_{dataset}")
        if which is None or which not in index or not name:
            continue  # each a fault by now
        own = files.get(f"items_index_{which}_{name}_{dataset}.tsv")
        try:
            ids = index[which] if own is None else read_ids(own)
            part = make_features(files[file], ids, read_array(files[file]))
        except (StoreError, ManifestError) as error:
            faults.append(str(error))
            continue
        strangers = sorted(set(ids) - set(index[which]))
        if strangers and own is not None:
            faults.append(
                f"{own.name}: {len(strangers)} ids not in {which}, first {strangers[0]!r}"
            )
        if which in found.setdefault(name, {}):
            faults.append(f"{file}: {found[name][which].source.name} is there, too; keep one")
        found[name][which] = part
    notes = []
    for name, parts in found.items():
        widths = {part.source.name: part.x.shape[1] for part in parts.values()}
        if len(set(widths.values())) > 1:
            faults.append(f"embeddings {name!r} of several widths: {widths}")
        n_ids = sum(len(part.ids) for part in parts.values())
        total = sum(map(len, index.values()))
        if n_ids < total:
            notes.append(f"embeddings {name!r}: {n_ids} of {total} items have a row")
    for pattern, why in LEFT_OUT.items():
        exact = re.compile(pattern.replace("{dataset}", re.escape(dataset)))
        names = sorted(file for file in files if exact.fullmatch(file))
        notes += [f"left out: {', '.join(names)} ({why})"] if names else []
    return {name: tuple(parts.values()) for name, parts in found.items()}, notes
