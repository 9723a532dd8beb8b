"""The arrays of Oramas 2018, as their library Tartarus reads them: labels, splits, embeddings.

    items_index_{set}_{dataset}.tsv          one id per line; set is train, val or test
    y_{set}_class_{n}_{dataset}.npy          (items, n) of 0 and 1
    genre_labels_{dataset}.tsv               n names, one per line
    X_{set}_{name}_{dataset}.npy or .npz     (items, width), dense or sparse
    items_index_{set}_{name}_{dataset}.tsv   the ids of an X that lacks items

They unpack as `splits/` and `train_data/` of a folder such as ismir-data (dataset MuMu-albums) or
msdi-data (dataset MSD-I).
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from mmgenre.datasets import sources
from mmgenre.datasets.arrays import dense, read_array, row_faults
from mmgenre.datasets.features import Features
from mmgenre.datasets.sources import Published, refuse
from mmgenre.errors import ManifestError, StoreError
from mmgenre.items.item import SPLITS, Item, Split
from mmgenre.items.notes import NO_ARTISTS_NOTE

PREFIXES = ("X_", "y_", "items_index", "genre_labels")  # of the files that are read
CLASSES = re.compile(r"y_(?P<set>[^_]+)_class_(?P<n>\d+)_(?P<dataset>.+)\.np[yz]")
CARDS = ("msdi", "mumu")  # the datasets whose arrays are published
# Other files of the archives, and why they are not read.
LEFT_OUT = {
    r"y_.+_(?!class_)[a-z]+_\d+_{dataset}\.npy": "label factors; our COSINE target fits its own",
    r"(class|user)_factors_.+_{dataset}\.npy": "label factors; our COSINE target fits its own",
    r"patches_.+_{dataset}_.+\.hdf5": "standardised spectrogram patches; not embeddings",
}

Files = Mapping[str, Path]  # by name
Index = dict[Split, tuple[str, ...]]  # the ids of each split


def read_tartarus(folder: Path, dataset: str | None = None) -> Published:
    """Reads one dataset of an unpacked archive, its embeddings as features by item id.

    `dataset` is its name in the files, needed where they belong to several. A ManifestError lists
    the missing files, and whatever in the files contradicts the rest.
    """
    names = [path.name for path in sources.files_below(folder)]
    files = sources.find_files(folder, (name for name in names if name.startswith(PREFIXES)))
    known = sorted({m["dataset"] for m in map(CLASSES.fullmatch, files) if m})
    name = _choose(folder, known, dataset)
    # X_train_a_MSD-I.npy does not belong to a dataset I, if there is one of each name.
    longer = [other for other in known if other.endswith(f"_{name}")]
    ours = {n: p for n, p in files.items() if not any(f"_{o}." in n for o in longer)}
    faults: list[str] = []
    index = _read_index(ours, name, faults)
    labels, renamed = _read_labels(ours, name, index, faults)
    features = _read_features(ours, name, index, faults)
    refuse(f"{folder} ({name})", faults)
    items = tuple(
        Item(item_id, split=split, labels=labels[split][row])
        for split, ids in index.items()
        for row, item_id in enumerate(ids)
    )
    counts = {group: sum(len(part.ids) for part in parts) for group, parts in features.items()}
    notes = [
        f"embeddings {group!r}: {n_rows} of {len(items)} items have a row"
        for group, n_rows in counts.items()
        if n_rows < len(items)
    ]
    for pattern, why in LEFT_OUT.items():
        exact = pattern.replace("{dataset}", re.escape(name))
        others = sorted(other for other in names if re.fullmatch(exact, other))
        notes += [f"left out: {', '.join(others)} ({why})"] if others else []
    unlabelled = [item.id for item in items if not item.labels]
    notes += sources.found_note(unlabelled, "items have no genre")
    notes += [NO_ARTISTS_NOTE, *renamed]
    return Published(f"{folder} ({name})", items, tuple(notes), features=features)


def _choose(folder: Path, known: list[str], dataset: str | None) -> str:
    if not known:
        cards = map(sources.load_card, CARDS)
        places = "; ".join(f"{card.title}: {card.urls[0]}" for card in cards)
        fault = (
            "no file y_{set}_class_{n}_{dataset}.npy, the matrix of labels; unpack the data for "
            f"the experiments of Oramas 2018 here ({places})"
        )
    elif dataset is None and len(known) > 1:
        fault = f"arrays of several datasets: {', '.join(known)}; choose one with --dataset"
    elif dataset is not None and dataset not in known:
        fault = f"no dataset {dataset!r}; datasets here are {', '.join(known)}"
    else:
        return dataset or known[0]
    raise ManifestError(str(folder), [fault])


def _parts(files: Iterable[str], kind: str, dataset: str) -> dict[str, tuple[str, str]]:
    """Names `{kind}_{set}[_{name}]_{dataset}.{suffix}` -> (set, name)."""
    pattern = re.compile(rf"{kind}_([^_]+?)(?:_(.+))?_{re.escape(dataset)}\.(?:npy|npz|tsv)")
    found = ((file, pattern.fullmatch(file)) for file in files)
    return {file: (match[1], match[2] or "") for file, match in found if match}


def _read_index(files: Files, dataset: str, faults: list[str]) -> Index:
    """The ids of each split; an id in two splits is a fault."""
    for kind in ("items_index", "X", "y"):
        for file, (part_of, _) in _parts(files, kind, dataset).items():
            if part_of not in SPLITS:
                faults.append(f"{file}: unknown set {part_of!r}; sets are {', '.join(SPLITS)}")
    index: Index = {}
    place: dict[str, str] = {}
    for split in SPLITS:
        path = files.get(f"items_index_{split}_{dataset}.tsv")
        if path is None:
            faults.append(f"no file 'items_index_{split}_{dataset}.tsv', the ids of {split}")
            continue
        try:
            index[split] = sources.read_ids(path)
        except ManifestError as error:
            faults += [f"{path.name}: {fault}" for fault in error.faults]
            continue
        both = [i for i in index[split] if i in place]
        faults += [f"{path.name}: {i!r} is also in {place[i]}" for i in both]
        place |= dict.fromkeys(index[split], split)
    return index


def _read_labels(
    files: Files, dataset: str, index: Index, faults: list[str]
) -> tuple[dict[Split, list[tuple[str, ...]]], list[str]]:
    """The labels of each row of each split, and notes on their names."""
    matches = {path: CLASSES.fullmatch(file) for file, path in files.items()}
    ours = {path: m for path, m in matches.items() if m and m["dataset"] == dataset}
    matrices = {(m["set"], int(m["n"])): path for path, m in ours.items()}
    n, *other_widths = sorted({n for _, n in matrices})
    if other_widths:
        faults.append(f"class matrices of several widths: {[n, *other_widths]}; keep those of one")
        return {}, []
    names, notes = _read_names(files.get(f"genre_labels_{dataset}.tsv"), n, faults)
    labels: dict[Split, list[tuple[str, ...]]] = {}
    for split, ids in index.items():
        path = matrices.get((split, n))
        if path is None:
            faults.append(f"no file 'y_{split}_class_{n}_{dataset}.npy', labels of {split}")
            continue
        try:
            array = read_array(path)
        except StoreError as error:
            faults.append(str(error))
            continue
        wrong = row_faults(array)
        if not wrong and array.shape != (len(ids), n):
            wrong = [f"shape {array.shape}, but the index has {len(ids)} ids and {n} genres"]
        elif not wrong:
            matrix = dense(array)  # (items, n)
            rows = np.flatnonzero(~np.isin(matrix, (0, 1)).all(axis=1))
            wrong = [f"row {row} has values other than 0 and 1" for row in rows[:1]]
            labels[split] = [tuple(names[j] for j in np.flatnonzero(row)) for row in matrix]
        if wrong:
            faults.append(f"{path.name}: {'; '.join(wrong)}")
    return labels, notes


def _read_names(path: Path | None, n: int, faults: list[str]) -> tuple[list[str], list[str]]:
    """The n names of the genres, and notes on them."""
    names = [f"class {j:03}" for j in range(n)]
    if path is None:
        return names, [f"no file genre_labels_...: genres are named {names[0]!r} to {names[-1]!r}"]
    published = sources.read_lines(path)
    labels = [sources.flat_label(name) for name in published]
    distinct = len(set(labels) - {""})
    if len(labels) == distinct == n:
        return labels, sources.renamed_note(published)
    faults.append(f"{path.name}: {len(labels)} lines, {distinct} distinct names; expected {n}")
    return names, []


def _read_features(
    files: Files, dataset: str, index: Index, faults: list[str]
) -> dict[str, tuple[Features, ...]]:
    """Published embeddings by name, each in parts by split."""
    found: dict[str, dict[str, Features]] = {}
    by_set = {str(split): ids for split, ids in index.items()}
    for file, (part_of, name) in sorted(_parts(files, "X", dataset).items()):
        if not name:
            expected = f"X_{{set}}_{{name}}_{dataset}"
            faults.append(f"{file}: embeddings without a name; expected {expected}")
        if part_of not in by_set or not name:
            continue  # each is listed as a fault already
        own = files.get(f"items_index_{part_of}_{name}_{dataset}.tsv")
        try:
            ids = by_set[part_of] if own is None else sources.read_ids(own)
            part = Features(files[file], ids, read_array(files[file]))
        except (StoreError, ManifestError) as error:
            faults.append(str(error))
            continue
        strangers = sorted(set(ids) - set(by_set[part_of]))
        if strangers and own is not None:
            first = f"first {strangers[0]!r}"
            faults.append(f"{own.name}: {len(strangers)} ids are not in {part_of}, {first}")
        if part_of in found.setdefault(name, {}):
            faults.append(f"{file}: {found[name][part_of].source.name} exists as well; keep one")
        found[name][part_of] = part
    for name, parts in found.items():
        widths = {part.source.name: part.x.shape[1] for part in parts.values()}
        if len(set(widths.values())) > 1:
            faults.append(f"embeddings {name!r} of several widths: {widths}")
    return {name: tuple(parts.values()) for name, parts in found.items()}
