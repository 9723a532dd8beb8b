"""The figures of a fusion from its scores, and of which code they are."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from mmgenre.disk.scratch import scratch
from mmgenre.measuring import by_value, evaluation, jackknife, metrics, results
from mmgenre.measuring.by_value import row_blocks
from mmgenre.measuring.evaluation import Measured, Scored
from mmgenre.measuring.results import FusionResult, Row, judged
from mmgenre.pipeline.scores import Scores


def figures_of(
    name: str, scores: Scores, everything: Scored, n_train: Sequence[int], folder: Path
) -> FusionResult:
    """All figures of a fusion from its scores; thresholds may be those of each item.

    `folder`: for what is too large for memory.
    """
    about, complete = scores.about, scores.complete
    kept, sets = {"all": np.ones_like(complete)}, {"all": everything}
    # Where evaluation hides inputs, no item is known to have all.
    if complete.any() and not about["hidden"]:
        kept["complete"], sets["complete"] = complete, everything.select(complete)

    def measured(row: int, items: str) -> Measured:
        here = kept[items]
        own = [_of_row(scores, row, k, here, folder) for k in range(len(about["seeds"]))]
        thresholds = [
            t[here] if isinstance(t, np.ndarray) else t for t in about["rows"][row]["thresholds"]
        ]
        has_input = scores.has_input(row)[here]
        return evaluation.measure(sets[items], own, thresholds, has_input, n_train)

    found = {
        items: {row["name"]: measured(k, items) for k, row in enumerate(about["rows"])}
        for items in sets
    }
    rows: list[Row] = []
    for row in about["rows"]:
        figures: Row = {
            "name": row["name"],
            "inputs": row["inputs"],
            "all": found["all"][row["name"]].result,
            "complete": found["complete"][row["name"]].result if "complete" in found else None,
            "curve": row["curve"],
        }
        if "choice" in row:
            figures["choice"] = row["choice"]
        rows.append(figures)
    return {
        "name": name,
        "head": about["head"],
        "exclusive": about["exclusive"],
        "labels": about["labels"],
        "seeds": about["seeds"],
        "rows": rows,
        "baselines": evaluation.baselines(
            everything, n_train, seed=about["seeds"][0], folder=folder
        ),
        "differences": {
            items: evaluation.differences(
                {name: own[name] for name in judged(about["rows"])}, sets[items].blocks
            )
            for items, own in found.items()
        },
        "too_small": evaluation.too_small(sets.get("complete", everything)),
        "joint": about["joint"],
    }


def _of_row(
    scores: Scores, row: int, seed: int, here: NDArray[np.bool_], folder: Path
) -> NDArray[np.float64]:
    """The scores of some items by a row's head, (m, L)."""
    rows = np.flatnonzero(here)
    found: Any = scratch((len(rows), scores.values.shape[-1]), np.float64, folder)
    for own in row_blocks(*found.shape):
        found[own] = scores.values[rows[own], row, seed]
    return cast(NDArray[np.float64], found)


@cache
def code_of_figures() -> str:
    """Hash of the code that computes figures."""
    code = "".join(map(inspect.getsource, (evaluation, jackknife, metrics, by_value, results)))
    return hashlib.sha256(code.encode()).hexdigest()[:16]
