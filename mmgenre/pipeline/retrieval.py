"""How well the modalities of a run find each other in its joint space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmgenre.errors import MmgenreError
from mmgenre.fusion.table import FeatureTable
from mmgenre.items.item import Split
from mmgenre.items.modalities import modality_of
from mmgenre.measuring.differences import groups_of
from mmgenre.measuring.retrieval import Retrieval, evaluate_retrieval, match_ranks
from mmgenre.pipeline.align import feature_table
from mmgenre.pipeline.run import DEFAULT_RUN, open_run
from mmgenre.pipeline.search import space_of

Recalls = dict[tuple[str, str], Retrieval]  # (modality of the query, of what it finds)


def recall_in_run(
    run: Path | str = DEFAULT_RUN, split: Split = "val", fusion: str | None = None
) -> Recalls:
    """Recall and ranks of matches among the items of a split, for each two modalities, both ways.

    Raises:
        MmgenreError: as `space_of`; or no item of the split has two modalities in the joint space.
    """
    folder = Path(run)
    manifest, space = open_run(folder).manifest, space_of(folder, fusion)
    ids = manifest.ids(split)
    table = feature_table({name: (space.store, name) for name in space.inputs}, ids)
    found = recalls(table, groups_of(ids, [manifest[i].artist for i in ids]))
    if not found:
        raise MmgenreError(f"{folder}: no {split} item has two modalities in its joint space")
    return found


def recalls(table: FeatureTable, groups: Sequence[str]) -> Recalls:
    """The same of joint vectors; `groups`: of each item, its artist.

    As a search does, a query is the mean of the unit vectors of its modality's views, and what it
    is compared with the mean of its cosines with them.
    """
    units = _units(table)
    found: Recalls = {}
    for one, other in permutations(units, 2):
        both = np.flatnonzero(units[one].any(axis=1) & units[other].any(axis=1))
        if len(both):
            queries, items = units[one][both], units[other][both]
            lengths = np.linalg.norm(queries, axis=1, keepdims=True)
            ranks = match_ranks(queries / lengths @ items.T)
            found[one, other] = evaluate_retrieval(ranks, [groups[k] for k in both.tolist()])
    return found


def _units(table: FeatureTable) -> Mapping[str, NDArray[np.float64]]:
    """Modality -> mean of the unit vectors of its views, (n, dim); zeros where it is absent."""
    sums: dict[str, NDArray[np.float64]] = {}
    counts: dict[str, NDArray[np.float64]] = {}
    for name, x in table.unit().x.items():
        modality = modality_of(name)
        sums[modality] = sums.get(modality, 0) + x.astype(np.float64)
        counts[modality] = counts.get(modality, 0) + table.present[name].astype(np.float64)
    return {m: sums[m] / np.maximum(counts[m], 1)[:, None] for m in sums}
