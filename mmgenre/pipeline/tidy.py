"""What a run measured, as tables for other programs: items.csv, metrics.csv, LaTeX."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mmgenre.disk.files import replacing
from mmgenre.disk.tables import spreadsheet_cell, write_table
from mmgenre.errors import MmgenreError
from mmgenre.measuring.frames import TIDY, metric_rows
from mmgenre.pipeline.measure import current_fusions, measured
from mmgenre.pipeline.run import Run
from mmgenre.pipeline.scores import On, read_scores
from mmgenre.report.latex import latex_table
from mmgenre.report.tables import ItemSet

TOP = 5  # genres of an item
JOINED = ";"
ITEMS = (
    "fusion", "row", "id", "split", "truth",
    *(f"{name}_{k}" for k in range(1, TOP + 1) for name in ("top", "score")), "margin",
)  # fmt: skip


def item_rows(run: Run, folder: Path) -> Iterator[dict[str, Any]]:
    """A row for each validation and test item of a fusion, by its last row, the whole.

    Scores are means over the seeds; `margin` is the first less the second. `truth` are the labels
    of the fusion's task, joined by semicolons.
    """
    splits: tuple[On, ...] = ("val", "test")
    for split in splits:
        scores = read_scores(folder, split)
        names, row = scores.about["labels"], scores.about["rows"][-1]["name"]
        values = scores.values[:, -1].mean(axis=1)
        order = np.argsort(-values, axis=1, kind="stable")[:, :TOP]
        space = run.space(exclusive=scores.about["exclusive"])
        truth = run.truth(scores.ids, space=space)
        for k, item_id in enumerate(scores.ids):
            own = {"fusion": folder.name, "row": row, "id": item_id, "split": split}
            own["truth"] = JOINED.join(space.names[j] for j in np.flatnonzero(truth[k]))
            best = values[k, order[k]]
            for n, (j, score) in enumerate(zip(order[k], best, strict=True), 1):
                own |= {f"top_{n}": names[j], f"score_{n}": float(score)}
            yield own | {"margin": float(best[0] - best[1]) if len(best) > 1 else None}


def write_tables(run: Run, folder: Path, fusion: str | None = None) -> list[Path]:
    """Writes items.csv, metrics.csv, and FUSION-ITEMS.tex of each table, into a folder.

    Args:
        run: the run.
        folder: made if it is not there; files of these names in it are replaced.
        fusion: of this one alone; None: of all.

    Raises:
        MmgenreError: the run has no fusion, or not this one.
    """
    fusions = [f for f in current_fusions(run) if fusion in (None, f.name)]
    if not fusions:
        known = ", ".join(f.name for f in current_fusions(run)) or "none"
        raise MmgenreError(
            f"{run.folder}: has no fusion{f' {fusion}' if fusion else ''}; there are: {known}; "
            f"make one: mmgenre fuse --run {run.folder}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    results = [measured(run, own) for own in fusions]
    tidy = (row for result in results for row in metric_rows(result))
    items = (row for own in fusions for row in item_rows(run, own))
    written = [_csv(folder / "items.csv", ITEMS, items), _csv(folder / "metrics.csv", TIDY, tidy)]
    sets: tuple[ItemSet, ...] = ("complete", "all")
    for result in results:
        for which in sets:
            if which == "all" or any(row["complete"] is not None for row in result["rows"]):
                path = folder / f"{result['name']}-{which}.tex"
                with replacing(path) as temporary:
                    temporary.write_text(latex_table(result, which), encoding="utf-8")
                written.append(path)
    return written


def _csv(path: Path, columns: tuple[str, ...], rows: Iterator[dict[str, Any]]) -> Path:
    cells = ([_cell(row.get(name)) for name in columns] for row in rows)
    write_table(path, columns, cells)
    return path


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(spreadsheet_cell(value))
