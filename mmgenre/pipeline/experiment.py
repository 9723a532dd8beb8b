"""Experiments: recipes with a section `[table]`, whose every cell is a recipe of its own."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from mmgenre.config import Settings, checked
from mmgenre.disk.files import without_links
from mmgenre.errors import RecipeError
from mmgenre.items.modalities import JOINT, MODALITIES, modality_of
from mmgenre.measuring.metrics import metric_names
from mmgenre.pipeline import recipe as recipes
from mmgenre.pipeline.recipe import Recipe

OVERLAY = "synthetic"  # the recipe laid over an experiment on the built-in catalogue


class RowConfig(Settings):
    """A row of the table.

    `scores`: by a fusion head over the inputs, or by the "encoder" itself, which needs exactly one
    input. `set`: the settings in which the row differs. `published`: a figure for each metric of
    the table, in their order; nan where there is none.
    """

    name: str = Field(min_length=1)
    inputs: tuple[str, ...] = Field(strict=False, min_length=1)
    scores: Literal["head", "encoder"] = "head"
    set: dict[str, Any] = Field(default_factory=dict)
    published: tuple[float, ...] | None = Field(None, strict=False)

    @model_validator(mode="after")
    def _inputs_are_known(self) -> Self:
        plain = {modality_of(name) for name in self.inputs}
        if plain - MODALITIES.keys() or len(set(self.inputs)) < len(self.inputs):
            known = ", ".join([*MODALITIES, *(f"{JOINT}{m}" for m in MODALITIES)])
            raise ValueError(f"inputs {list(self.inputs)}: each at most once of {known}")
        if self.scores == "encoder" and self.inputs not in {(m,) for m in MODALITIES}:
            raise ValueError("scores='encoder': an encoder scores one of audio, text, image alone")
        return self


class TableConfig(Settings):
    """The rows, multiplied by the values of the axes.

    `items`: measured are test items that have the inputs of every row, or all test items.
    `threshold`: the score from which an overlapping genre counts as named; None: each row's own,
    from validation. `axes`: setting -> values, or name of an axis -> {name of a value: settings}.
    """

    title: str
    note: str = ""  # what a reader of the figures must know
    dataset: str | None = None  # the card of the dataset that the published figures are of
    metrics: tuple[str, ...] = Field(strict=False, min_length=1)
    items: Literal["complete", "all"] = "complete"
    threshold: float | None = None
    seeds: tuple[int, ...] = Field((0, 1, 2), strict=False, min_length=1)
    rows: tuple[RowConfig, ...] = Field(strict=False, min_length=1)
    axes: dict[str, list[Any] | dict[str, dict[str, Any]]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _rows_fit(self) -> Self:
        known = metric_names()
        if unknown := [name for name in self.metrics if name not in known]:
            raise ValueError(f"metrics {', '.join(unknown)}: known are {', '.join(known)}")
        names = [row.name for row in self.rows]
        if len(set(names)) < len(names):
            raise ValueError("rows: two of the same name")
        for row in self.rows:
            where, n = f"row {row.name!r}", len(row.published or ())
            if row.published is not None and n != len(self.metrics):
                raise ValueError(f"{where}: {n} published figures for {len(self.metrics)} metrics")
            if row.published is not None and self.axes:
                raise ValueError(f"{where}: published figures do not go with axes")
            if row.scores == "encoder" and self.items == "all":
                raise ValueError(
                    f"{where}: an encoder scores no item that lacks its modality; measure on "
                    "items = 'complete'"
                )
        if empty := [name for name, values in self.axes.items() if not values]:
            raise ValueError(f"axes {', '.join(empty)}: without a value")
        return self


@dataclass(frozen=True)
class Cell:
    """A row of the table at one point of the axes."""

    name: str
    inputs: tuple[str, ...]
    scores: Literal["head", "encoder"]
    changes: Mapping[str, Any]
    published: Mapping[str, float]

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities that it reads."""
        plain = {modality_of(name) for name in self.inputs}
        return tuple(m for m in MODALITIES if m in plain)


@dataclass(frozen=True)
class Experiment:
    """A table of cells over one base."""

    name: str
    table: TableConfig
    values: Mapping[str, Any]  # of the base, the overlay and the file, `table` apart
    overlay: str | None
    settings: tuple[str, ...]
    cells: tuple[Cell, ...]

    def recipe(self, cell: Cell, seed: int) -> Recipe:
        """The whole recipe of a cell: the base, the cell's difference, then single settings."""
        above = cell.changes, {"seed": seed}, *map(recipes.parse_setting, self.settings)
        values = recipes.decided(recipes.merge(self.values, *above))
        return recipes.validate(values, where=f"{self.name}, row {cell.name!r}")


def small_overlay(name: str) -> str | None:
    """The recipe that brings an experiment of ours to the size of the built-in catalogue.

    The `synthetic` beside the experiment, else the one of all; None for one's own experiment.
    """
    own = without_links(recipes.recipe_folder())
    path = without_links(Path(name) if name.endswith(".toml") else own / f"{name}.toml")
    if not path.is_relative_to(own):
        return None
    beside = path.with_name(f"{OVERLAY}.toml")
    return str(beside) if beside.is_file() else OVERLAY


def load_experiment(
    name: str, *, overlay: str | None = None, settings: Sequence[str] = ()
) -> Experiment:
    """Reads an experiment and resolves every cell, so that a mistake shows before any work.

    `name`: of one that comes with mmgenre, or a TOML file. The recipe `overlay` is laid over the
    base, to run it in another size; rows stand above it, and settings above everything.
    RecipeError names the nearest known ones of an unknown recipe, key or value.
    """
    values = recipes.read_values(name)
    if overlay is not None:
        values = recipes.merge(values, recipes.read_values(overlay))
    described = values.pop(recipes.TABLE, None)
    if described is None:
        raise RecipeError(
            f"recipe {name}: has no section [{recipes.TABLE}], so there is nothing to compare; use "
            f"it with mmgenre extract-features --recipe {name}"
        )
    table = checked(TableConfig, described, name, recipes.TABLE)
    known_as = name.removesuffix(".toml")
    cells = tuple(_cells(table))
    experiment = Experiment(known_as, table, values, overlay, tuple(settings), cells)
    stated = [key for setting in settings for key in _keys(recipes.parse_setting(setting))]
    for cell in cells:
        recipe = experiment.recipe(cell, table.seeds[0])
        if faults := list(_faults(cell, stated, recipe, table)):
            raise RecipeError(f"recipe {name}, row {cell.name!r}: {'; '.join(faults)}")
    return experiment


def _faults(cell: Cell, keys: list[str], recipe: Recipe, table: TableConfig) -> Iterator[str]:
    """What would make a row's figures other than its name says; `keys` are set for all rows."""
    own = list(_keys(cell.changes))
    for key in keys:
        if any(key == k or key.startswith(f"{k}.") or k.startswith(f"{key}.") for k in own):
            yield f"states {key} itself, so that it cannot be set for the whole table"
    if "seed" in (*own, *keys):
        yield "the seed is the table's: [table] seeds, or --seeds"
    if cell.scores == "encoder" and any(key.startswith("fusion.") for key in own):
        yield "is scored by its encoder, which no setting of fusion changes"
    if table.items == "complete" and recipe.fusion.missing_share:
        yield "fusion.missing_share hides inputs, so measure on items = 'all'"
    if "accuracy" in table.metrics and not recipe.exclusive:
        yield "accuracy is for one genre an item; here are many (labels.task)"


def _keys(values: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """{"a": {"b": 1}} -> "a.b"."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _keys(value, f"{above}{key}.")
        else:
            yield f"{above}{key}"


def _cells(table: TableConfig) -> Iterator[Cell]:
    """Every row at every point of the axes."""
    axes = [  # (label, settings) of each value of an axis
        list(values.items())
        if isinstance(values, dict)
        else [(f"{name}={value}", recipes.setting_at(name, value)) for value in values]
        for name, values in table.axes.items()
    ]
    for row in table.rows:
        figures = zip(table.metrics, row.published or (), strict=False)
        published = {str(metric): value for metric, value in figures if not math.isnan(value)}
        for point in product(*axes):
            changes = recipes.merge(row.set, *(difference for _, difference in point))
            name = ", ".join([row.name, *(label for label, _ in point)])
            yield Cell(name, row.inputs, row.scores, changes, published)
