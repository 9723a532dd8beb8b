"""Items without a genre: nothing learns from them, and a fusion names their genres."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from mmgenre.fusion.ensemble import SolvedFusion
from mmgenre.fusion.head import FusionModel
from mmgenre.fusion.ranking import Asked, rank
from mmgenre.fusion.shares import players_of
from mmgenre.fusion.table import IN_MEMORY_BYTES
from mmgenre.fusion.tagger import AT_ONCE
from mmgenre.fusion.trust import Trust
from mmgenre.items.item import LIST_SEPARATOR
from mmgenre.pipeline.align import Places, feature_table
from mmgenre.pipeline.run import Run
from mmgenre.pipeline.tables import presence

COLUMNS = ("id", "genres", "best", "score", "from", "unsure")


def write_predictions(
    path: Path,
    run: Run,
    model: FusionModel | SolvedFusion,
    places: Places,
    trust: Trust | None,
) -> None:
    """Writes the genres of the run's items that have none: one row each, if any input is there.

    `genres`: those that the model names, likeliest first; `best`: the likeliest one, with its
    `score`; `from`: the modalities it was judged by; `unsure`: why no genre is named, if so. No
    file if every item has a genre.
    """
    ids = run.unlabelled
    if not ids:
        return
    own = {name: places[name] for name in model.widths}
    order = tuple(players_of(own))
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        rows.writeheader()
        for table in feature_table(own, ids, IN_MEMORY_BYTES).blocks(AT_ONCE):
            table = table.select(np.asarray(presence(table).any(axis=1)))
            for found in rank(model, trust, table, order, Asked(), {}):
                best = found.genres[0]
                rows.writerow(
                    {
                        "id": found.id,
                        "genres": LIST_SEPARATOR.join(found.named),
                        "best": best.name,
                        "score": f"{best.score:.4f}",
                        "from": "+".join(found.used),
                        "unsure": found.unsure or "",
                    }
                )
