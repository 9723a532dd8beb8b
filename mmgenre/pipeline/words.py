"""Rows of frozen models that compare an item with the names of genres; nothing is fitted to labels.

n items, R rows, K seeds, L labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from mmgenre.frozen.models import Medium
from mmgenre.frozen.zero_shot import similarities, words_of
from mmgenre.items.modalities import MODALITIES
from mmgenre.measuring import metrics
from mmgenre.pipeline import scores as of
from mmgenre.pipeline.recipe import Recipe
from mmgenre.pipeline.run import Run
from mmgenre.pipeline.tables import SCORED, Made, Scored, check_row, tables_of


def with_words(run: Run, recipe: Recipe, heads: of.Heads, made: Made) -> Made:
    """What heads have made, and beside it the rows of words, in the order of `heads.rows`."""
    rows = {k: row for k, row in enumerate(heads.rows) if row.words}
    if not rows:
        return made
    tables, _ = tables_of(run, recipe, heads)
    y = run.truth(run.manifest.ids("val"), recipe)
    scored, thresholds, curves = dict(made.scored), list(made.thresholds), list(made.curves)
    choices = None if made.choices is None else list(made.choices)
    for k, row in rows.items():
        having = check_row(row, {s: tables[s].only(row.inputs) for s in ("train", "val")})
        own = _scores(run, recipe, row, tables)
        for split in SCORED:
            held = scored[split]
            scored[split] = held._replace(scores=_insert(held, k, own[split]))
        threshold = None
        if not recipe.exclusive:
            val = having["val"]
            threshold = metrics.best_threshold(y[val], own["val"][val].astype(np.float64))
        thresholds.insert(k, [threshold] * scored["val"].scores.shape[2])
        curves.insert(k, None)
        if choices is not None:
            choices.insert(k, None)
    return made._replace(scored=scored, thresholds=thresholds, curves=curves, choices=choices)


def _scores(
    run: Run, recipe: Recipe, row: of.RowInputs, tables: Mapping[Any, Any]
) -> dict[of.On, NDArray[np.float32]]:
    """Cosines of items and genres, (n, L); of an item without the input those of the average."""
    [name] = row.inputs
    assert row.words is not None
    medium = cast(Medium, MODALITIES[name.partition(".")[0]].medium)
    words = words_of(row.words, medium, run.labels(recipe).names)
    train = tables["train"]
    average = similarities(train.x[name][train.present[name]], words).mean(axis=0)
    found: dict[of.On, NDArray[np.float32]] = {}
    for split in SCORED:
        table = tables[split]
        cosines = similarities(table.x[name], words)
        found[split] = np.where(table.present[name][:, None], cosines, average).astype(np.float32)
    return found


def _insert(scored: Scored, row: int, scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scores (n, L) as a further row of (n, R, K, L), the same at every seed."""
    return np.insert(scored.scores, row, scores[:, None], axis=1)
