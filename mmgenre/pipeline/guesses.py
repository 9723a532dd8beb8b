"""The best guesses of LOGISTIC beside those of COSINE, on the same items."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from mmgenre.errors import MmgenreError
from mmgenre.explain import results
from mmgenre.items.labels import LabelSpace
from mmgenre.items.modalities import JOINT
from mmgenre.measuring.results import FusionResult, Row
from mmgenre.pipeline.run import Run
from mmgenre.pipeline.scores import read_scores
from mmgenre.pipeline.shown_covers import N_ITEMS, opened
from mmgenre.report import tables

N_GUESSES = 3


def guess_tables(run: Run, fusions: Sequence[FusionResult]) -> list[results.GuessTable]:
    """LOGISTIC beside COSINE, for every pair of fusions that differ in nothing else."""
    found = []
    for one, other in product(fusions, fusions):
        alike = all(one[k] == other[k] for k in ("exclusive", "labels"))
        alike &= [r["inputs"] for r in one["rows"]] == [r["inputs"] for r in other["rows"]]
        if (one["head"], other["head"]) != ("logistic", "cosine") or not alike:
            continue
        _, row = tables.compared(one)
        if row is not None and one["seeds"][0] == other["seeds"][0]:
            found.append(_guess_table(run, one, other, row))
    if not found:
        raise MmgenreError(
            "No two fusions differ in their head alone. "
            "Run: mmgenre fuse --head logistic, and --head cosine"
        )
    return found


def _guess_table(run: Run, one: FusionResult, other: FusionResult, row: Row) -> results.GuessTable:
    space = LabelSpace(tuple(one["labels"]), one["exclusive"])
    inputs = {name.removeprefix(JOINT) for name in row["inputs"]}
    complete = set(run.manifest.ids("test"))
    for name in inputs:
        with opened(run.embeddings(name), name) as store:
            complete &= set(store.ids)
    if not complete:
        raise MmgenreError(f"No test item has all of {', '.join(sorted(inputs))}.")
    ids = sorted(complete)[:N_ITEMS]
    truth = run.truth(ids, space=space)
    logistic, cosine = (  # first seed, (n, n_labels)
        read_scores(run.fusions / fusion["name"]).of(row["name"], fusion["seeds"][0], ids)
        for fusion in (one, other)
    )
    return {
        "logistic": one["name"],
        "cosine": other["name"],
        "row": row["name"],
        "seed": one["seeds"][0],
        "n_complete": len(complete),
        "items": [
            {
                "id": item_id,
                "truth": [space.names[j] for j in np.flatnonzero(truth[k])],
                "logistic": best_guesses(logistic[k], truth[k], space.names),
                "cosine": best_guesses(cosine[k], truth[k], space.names),
            }
            for k, item_id in enumerate(ids)
        ],
    }


def best_guesses(
    scores: NDArray[np.floating], truth: NDArray[np.bool_], names: Sequence[str]
) -> list[results.Guess]:
    """The best-scored genres of one item, best first, ties in the order of the names."""
    return [
        {"genre": names[j], "score": float(scores[j]), "right": bool(truth[j])}
        for j in np.argsort(-scores, kind="stable")[:N_GUESSES]
    ]
