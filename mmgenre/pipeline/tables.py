"""What heads of a fusion learn from and are measured on: joined rows of all splits."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmgenre.errors import MmgenreError, RecipeError
from mmgenre.fusion.ensemble import SolvedFusion
from mmgenre.fusion.head import FusionModel
from mmgenre.fusion.table import FeatureTable
from mmgenre.fusion.trust import Trust
from mmgenre.items.item import SPLITS, Split
from mmgenre.items.modalities import MODALITIES
from mmgenre.measuring.curves import Curve
from mmgenre.measuring.results import Choice
from mmgenre.pipeline import scores as of
from mmgenre.pipeline.align import feature_table
from mmgenre.pipeline.recipe import Recipe
from mmgenre.pipeline.run import Run

NUMBER = re.compile(r"\d{1,3}(?:\.\d+)?")  # a percentage
SCORED: tuple[of.On, ...] = ("val", "test")


class Scored(NamedTuple):
    """Scores of the items of a split."""

    ids: tuple[str, ...]
    scores: NDArray[np.float32]  # (n, R, K, L)
    given: NDArray[np.uint8]  # (n, inputs), as in `scores.Scores`


class Made(NamedTuple):
    """What the folder holds; `given` as in `scores.Scores`."""

    scored: Mapping[of.On, Scored]
    thresholds: list[list[float | None]]  # R x K
    curves: list[Curve | None]  # R, of the first seed
    model: FusionModel | SolvedFusion | None  # of the last row, first seed
    choices: list[Choice | None] | None = None  # R: how the inputs of each are joined
    trust: Trust | None = None  # of the model


def tables_of(
    run: Run, recipe: Recipe, heads: of.Heads, most_bytes: int | None = None
) -> tuple[dict[Split, FeatureTable], dict[of.On, NDArray[np.uint8]]]:
    """Rows of all inputs by split, and which of them items of validation and test have.

    Of the test items, the share that the recipe says is hidden. `most_bytes`: see `feature_table`.
    """
    places = {name: heads.places[name] for name in heads.inputs}
    tables = {split: feature_table(places, run.manifest.ids(split), most_bytes) for split in SPLITS}
    there = presence(tables["test"])
    share = recipe.fusion.missing_share
    fixed = hidden_by_columns(run, recipe, tables["test"].ids)
    tables["test"] = tables["test"].hide(share, recipe.seed, fixed)
    left = presence(tables["test"])
    given: dict[of.On, NDArray[np.uint8]] = {
        "val": np.where(presence(tables["val"]), of.PRESENT, of.ABSENT).astype(np.uint8),
        "test": np.where(left, of.PRESENT, np.where(there, of.HIDDEN, of.ABSENT)).astype(np.uint8),
    }
    return tables, given


def hidden_by_columns(run: Run, recipe: Recipe, ids: Sequence[str]) -> dict[str, NDArray[np.bool_]]:
    """Modality -> which items lack it by a column of the manifest, (n,); {} without such columns.

    An item keeps a modality if its number, a percentage, is at most the share that is not hidden.

    Raises:
        RecipeError: an item has no such number, or the modality is none.
    """
    kept = 100 * (1 - recipe.fusion.missing_share) + 1e-6
    hidden: dict[str, NDArray[np.bool_]] = {}
    for modality, column in recipe.fusion.missing_by.items():
        if modality not in MODALITIES:
            known = ", ".join(MODALITIES)
            raise RecipeError(f"fusion.missing_by: {modality!r} is no modality; known are {known}")
        cells = [run.manifest[item_id].extra.get(column) or "" for item_id in ids]
        odd = [(i, c) for i, c in zip(ids, cells, strict=True) if not NUMBER.fullmatch(c)]
        if odd:
            item_id, cell = odd[0]
            raise RecipeError(
                f"fusion.missing_by: column {column!r} of {run.dataset} needs a number from 0 to "
                f"100 for every test item; {item_id!r} has {cell!r}"
            )
        hidden[modality] = np.array([float(cell) > kept for cell in cells], dtype=bool)
    return hidden


def presence(table: FeatureTable) -> NDArray[np.bool_]:
    """Which inputs each item has, (n, inputs)."""
    return np.stack([table.present[name] for name in table.x], axis=1)


def check_row(
    row: of.RowInputs, tables: Mapping[Split, FeatureTable]
) -> dict[Split, NDArray[np.bool_]]:
    """Which items of training and validation have any input of a row; `tables` are of these.

    Raises:
        MmgenreError: none of a split has.
    """
    splits: tuple[Split, ...] = ("train", "val")
    having = {s: np.asarray(presence(tables[s]).any(axis=1)) for s in splits}
    if empty := [split for split, items in having.items() if not items.any()]:
        raise MmgenreError(
            f"row {row.name}: no {' and no '.join(empty)} item has {' or '.join(row.inputs)}; "
            "leave it out with --modalities, or draw other splits with --set seed=N"
        )
    return having
