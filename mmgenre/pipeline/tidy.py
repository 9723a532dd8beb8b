"""What a run measured, as tables for other programs: items, figures and steps as CSV, LaTeX."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmgenre.disk.files import replacing
from mmgenre.disk.tables import spreadsheet_cell, write_table
from mmgenre.errors import MmgenreError
from mmgenre.fusion.experts import FOLDS
from mmgenre.items.item import SPLITS, Split
from mmgenre.measuring.frames import TIDY, metric_rows
from mmgenre.pipeline.measure import current_fusions, measured
from mmgenre.pipeline.run import Run
from mmgenre.pipeline.scores import Scores, read_scores
from mmgenre.pipeline.slices import UNKNOWN, columns_of, parts_of
from mmgenre.pipeline.steps import steps_of
from mmgenre.report.latex import latex_steps, latex_table
from mmgenre.report.tables import ItemSet

TOP = 5  # genres of an item
JOINED = ";"
SLICE = "slice_"  # begins the name of a column of slices, which no other column then has
ABOUT_ITEM = ("fusion", "row", "id", "split", "fold", "truth")
JUDGED = (
    *(f"{name}_{k}" for k in range(1, TOP + 1) for name in ("top", "score")), "margin",
)  # fmt: skip

STEPS = ("stage", "what", "seconds", "n_parameters", "made_by", "fingerprint")


def item_columns(by: Sequence[str] = ()) -> tuple[str, ...]:
    """The columns of items.csv, with a slice of each item by columns of the manifest.

    >>> item_columns(["language"])[4:9]
    ('fold', 'truth', 'slice_language', 'top_1', 'score_1')
    """
    return (*ABOUT_ITEM, *(f"{SLICE}{column}" for column in by), *JUDGED)


def item_rows(run: Run, folder: Path, by: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
    """A row for each item of a fusion's splits; scores are of its last row, the whole.

    `truth` are the labels of the fusion's task, joined by semicolons. `fold`: the part of its split
    that an item was left out with when heads (training) or the calibration of scores (validation)
    were cross-fitted. Scores are means over the seeds, `margin` is the first less the second;
    training items have none, as the heads have learned from them. `by`: columns of the manifest;
    slices are those of `mmgenre slices --on` the item's split.
    """
    about = read_scores(folder, "test").about
    space = run.space(exclusive=about["exclusive"])
    for split in SPLITS:
        scores = None if split == "train" else read_scores(folder, split)
        ids = run.manifest.ids(split) if scores is None else scores.ids
        folds = _folds(run, split, about)
        truth = run.truth(ids, space=space)
        slices = {f"{SLICE}{column}": _slices(run, ids, column, split) for column in by}
        best = [{}] * len(ids) if scores is None else _best(scores)
        for k, item_id in enumerate(ids):
            yield {
                "fusion": folder.name,
                "row": about["rows"][-1]["name"],
                "id": item_id,
                "split": split,
                "fold": folds.get(item_id),
                "truth": JOINED.join(space.names[j] for j in np.flatnonzero(truth[k])),
                **{column: parts[k] for column, parts in slices.items()},
                **best[k],
            }


def _folds(run: Run, split: Split, about: Mapping[str, Any]) -> Mapping[str, int]:
    """Item -> the fold that was left out with it; {} where nothing was cross-fitted."""
    is_solved = about.get("solver") == "lbfgs"  # trained heads learn from all at once
    if split == "val" or (split == "train" and is_solved):
        return run.folds(FOLDS, split).of
    return {}


def _slices(run: Run, ids: Sequence[str], column: str, split: Split) -> list[str]:
    """The slices of a split's items, of which none may have a value of the column."""
    if column not in columns_of(run, ids):
        return [UNKNOWN] * len(ids)
    return parts_of(run, ids, column, split)


def _best(scores: Scores) -> list[dict[str, Any]]:
    """The first genres of each item, their scores, and the margin."""
    names = scores.about["labels"]
    values = scores.values[:, -1].mean(axis=1)
    order = np.argsort(-values, axis=1, kind="stable")[:, :TOP]
    found = []
    for own, at in zip(values, order, strict=True):
        row: dict[str, Any] = {}
        for n, j in enumerate(at, 1):
            row |= {f"top_{n}": names[j], f"score_{n}": float(own[j])}
        margin = float(own[at[0]] - own[at[1]]) if len(at) > 1 else None
        found.append(row | {"margin": margin})
    return found


def write_tables(
    run: Run, folder: Path, fusion: str | None = None, *, by: Sequence[str] = ()
) -> list[Path]:
    """Writes items.csv, metrics.csv, steps.csv, steps.tex and FUSION-ITEMS.tex of each table.

    Args:
        run: the run.
        folder: where to; made if it is not there; files of these names in it are replaced.
        fusion: of this one alone; None: of all.
        by: columns of the manifest, by each of which items.csv has the slice of an item.

    Raises:
        MmgenreError: the run has no fusion, or not this one, or no item has a value of a column.
    """
    fusions = [f for f in current_fusions(run) if fusion in (None, f.name)]
    if not fusions:
        known = ", ".join(f.name for f in current_fusions(run)) or "none"
        raise MmgenreError(
            f"{run.folder}: has no fusion{f' {fusion}' if fusion else ''}; there are: {known}; "
            f"make one: mmgenre fuse --run {run.folder}"
        )
    _check_columns(run, by)
    folder.mkdir(parents=True, exist_ok=True)
    results = [measured(run, own) for own in fusions]
    tidy = (row for result in results for row in metric_rows(result))
    items = (row for own in fusions for row in item_rows(run, own, by))
    written = [
        _csv(folder / "items.csv", item_columns(by), items),
        _csv(folder / "metrics.csv", TIDY, tidy),
    ]
    steps = steps_of(run, fusions)
    written.append(_csv(folder / "steps.csv", STEPS, (dict(step) for step in steps)))
    written.append(_text(folder / "steps.tex", latex_steps(steps, run.folder.name)))
    sets: tuple[ItemSet, ...] = ("complete", "all")
    for result in results:
        for which in sets:
            if which == "all" or any(row["complete"] is not None for row in result["rows"]):
                path = folder / f"{result['name']}-{which}.tex"
                written.append(_text(path, latex_table(result, which)))
    return written


def _check_columns(run: Run, by: Sequence[str]) -> None:
    """MmgenreError, before anything is written, if a column is given twice or has no value."""
    known = columns_of(run, [i for split in SPLITS for i in run.manifest.ids(split)]) if by else []
    for k, column in enumerate(by):
        if column not in known:
            raise MmgenreError(
                f"--by {column}: no item of {run.folder} has a value of it; columns of the "
                f"manifest that can be named: {', '.join(known) or 'none'}"
            )
        if column in by[:k]:
            raise MmgenreError(f"--by {column}: is given twice; give each column once")


def _text(path: Path, text: str) -> Path:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def _csv(path: Path, columns: tuple[str, ...], rows: Iterator[dict[str, Any]]) -> Path:
    cells = ([_cell(row.get(name)) for name in columns] for row in rows)
    write_table(path, columns, cells)
    return path


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(spreadsheet_cell(value))
