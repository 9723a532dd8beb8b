"""Items without a genre: nothing learns from them, and a fusion names their genres."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmgenre.fusion.ensemble import SolvedFusion
from mmgenre.fusion.head import FusionModel
from mmgenre.items.manifest import LIST_SEPARATOR
from mmgenre.pipeline.align import Places, feature_table
from mmgenre.pipeline.run import Run
from mmgenre.pipeline.tables import presence

COLUMNS = ("id", "genres", "best", "score", "from")
AT_ONCE = 10_000  # items; vectors of a million would not fit into memory


def write_predictions(
    path: Path, run: Run, model: FusionModel | SolvedFusion, places: Places
) -> None:
    """Writes the genres of the run's items that have none: one row each, if any input is there.

    `genres`: those that the model names, likeliest first; `best`: the likeliest one, with its
    `score`; `from`: the inputs it was judged by. No file if every item has a genre.
    """
    ids = run.unlabelled
    if not ids:
        return
    own = {name: places[name] for name in model.widths}
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        rows.writeheader()
        for first in range(0, len(ids), AT_ONCE):
            table = feature_table(own, ids[first : first + AT_ONCE])
            there = presence(table)
            scores = model.scores(table)
            for item_id, has, row in zip(table.ids, there, scores, strict=True):
                if has.any():
                    inputs = [name for name, here in zip(table.x, has, strict=True) if here]
                    rows.writerow({"id": item_id, "from": "+".join(inputs), **_named(model, row)})


def _named(model: FusionModel | SolvedFusion, scores: NDArray[np.float64]) -> Mapping[str, str]:
    names, order = model.labels.names, np.argsort(-scores, kind="stable")
    least = model.threshold
    chosen = order[:1] if least is None else [j for j in order if scores[j] >= least]
    best = order[0]
    return {
        "genres": LIST_SEPARATOR.join(names[j] for j in chosen),
        "best": names[best],
        "score": f"{scores[best]:.4f}",
    }
