"""A row of an experiment: its head, or its encoder alone, and the scores of all test items."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from mmgenre.disk.files import write_json
from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import FeatureStore, write_store
from mmgenre.errors import MmgenreError
from mmgenre.items.manifest import Modality
from mmgenre.learning.processes import by_main
from mmgenre.measuring import metrics
from mmgenre.pipeline.align import feature_table
from mmgenre.pipeline.experiment import Cell
from mmgenre.pipeline.features import labels_of
from mmgenre.pipeline.fuse import fusion_data, train_head
from mmgenre.pipeline.run import Run
from mmgenre.reading.network import load_task_head

ROW_SCORES, ROW = "scores.h5", "row.json"


@dataclass(frozen=True)
class RowScores:
    """What a row says of the test items.

    `ids`: of the items that have scores; `scores`: (n, n_labels); `complete`: (n,) whether the
    item has every input of the row.
    """

    ids: tuple[str, ...]
    scores: NDArray[np.float32]
    complete: NDArray[np.bool_]
    threshold: float | None


def score_row(
    run: Run, cell: Cell, joined: Sequence[str], folder: Path, provenance: Provenance
) -> Path:
    """Trains what a row needs, scores the test items, writes both into `folder`.

    Several processes train together.

    Raises:
        MmgenreError: a split has no item with any of the inputs.
    """
    if cell.scores == "encoder":
        return by_main(lambda: _score_encoder(run, cell, folder, provenance), lambda: folder)
    data = fusion_data(run, run.recipe, [cell.inputs], joined)
    trained = train_head(data, run.recipe, cell.inputs, run.recipe.seed)
    row = RowScores(
        run.manifest.ids("test"),
        trained.scores.astype(np.float32),
        data.complete,
        trained.model.threshold,
    )

    def write() -> Path:
        trained.model.save(folder / "model", provenance)
        return _write_row(row, cell, folder, provenance)

    return by_main(write, lambda: folder)


def _score_encoder(run: Run, cell: Cell, folder: Path, provenance: Provenance) -> Path:
    ids, scores, threshold = _scores_of_encoder(run, cast(Modality, cell.inputs[0]))
    row = RowScores(ids, scores.astype(np.float32), np.ones(len(ids), dtype=bool), threshold)
    return _write_row(row, cell, folder, provenance)


def _write_row(row: RowScores, cell: Cell, folder: Path, provenance: Provenance) -> Path:
    about = {"name": cell.name, "inputs": cell.inputs, "threshold": row.threshold}
    write_json(folder / ROW, about)
    blocks = [(row.ids, row.complete[:, None].astype(np.uint8))]
    write_store(folder / ROW_SCORES, "complete", blocks, provenance)
    # Written last: its fingerprint says that everything beside it is there.
    write_store(folder / ROW_SCORES, "scores", [(row.ids, row.scores)], provenance)
    return folder


def read_row(folder: Path) -> RowScores:
    """Reads what `score_row` wrote."""
    with FeatureStore(folder / ROW_SCORES, "scores") as store:
        ids, scores = store.ids, store.take(store.ids)
    with FeatureStore(folder / ROW_SCORES, "complete") as store:
        complete = store.take(ids)[:, 0].astype(bool)
    threshold = json.loads((folder / ROW).read_text(encoding="utf-8"))["threshold"]
    return RowScores(ids, scores, complete, threshold)


def _scores_of_encoder(
    run: Run, modality: Modality
) -> tuple[tuple[str, ...], NDArray[np.float64], float | None]:
    """An encoder's own scores of the test items that it has embedded; threshold by validation."""
    head = load_task_head(run.encoder(modality), modality)
    found: dict[str, tuple[tuple[str, ...], NDArray[np.float64]]] = {}
    for split in ("val", "test"):
        table = feature_table(run, [modality], run.manifest.ids(split))
        table = table.select(table.present[modality])
        if not len(table):
            raise MmgenreError(f"{run.dataset}: no {split} item has usable {modality}")
        found[split] = table.ids, head.scores(table.x[modality])
    threshold = None
    if not run.recipe.exclusive:
        ids, scores = found["val"]
        threshold = metrics.best_threshold(labels_of(run, ids, run.recipe), scores)
    return (*found["test"], threshold)
