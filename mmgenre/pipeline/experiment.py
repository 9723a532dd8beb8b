"""Experiments: recipes with a table, whose every cell is a recipe of its own.

A file with a section `[table]` states its rows, each with its inputs, its difference from the
base and the published figures; `[table.axes]` multiplies the rows by the values of settings.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from mmgenre.config import Settings
from mmgenre.errors import RecipeError
from mmgenre.items.manifest import MODALITIES
from mmgenre.pipeline.recipe import (
    TABLE,
    Recipe,
    merge,
    parse_setting,
    read_values,
    recipe_folder,
    setting_at,
    validate,
)

OVERLAY = "synthetic"  # the recipe laid over an experiment on the built-in catalogue

MetricName = Literal[
    "macro_precision", "macro_recall", "macro_f1", "accuracy",
    "micro_precision", "micro_recall", "micro_f1",
    "macro_roc_auc", "micro_roc_auc", "macro_pr_auc", "micro_pr_auc",
    "top_1_accuracy", "top_3_accuracy", "top_5_accuracy", "adiv_1", "adiv_3", "adiv_5",
]  # fmt: skip
INPUTS = (*MODALITIES, *(f"joint.{m}" for m in MODALITIES))


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
        unknown = [name for name in self.inputs if name not in INPUTS]
        if unknown or len(set(self.inputs)) < len(self.inputs):
            raise ValueError(
                f"inputs {list(self.inputs)}: each at most once of {', '.join(INPUTS)}"
            )
        alone = len(self.inputs) == 1 and self.inputs[0] in MODALITIES
        if self.scores == "encoder" and not alone:
            raise ValueError(
                "scores = 'encoder': an encoder scores one of audio, text, image alone"
            )
        return self


class TableConfig(Settings):
    """`items`: measured are test items that have the inputs of every row, or all test items.

    `note`: what a reader of the figures must know. `dataset`: the card of the dataset that the
    published figures are of. `axes`: setting ->
    values, or name of an axis -> {name of a value: settings}. `threshold`: the score from which an
    overlapping genre counts as named; None: each row's own, from validation.
    """

    title: str
    note: str = ""
    dataset: str | None = None
    metrics: tuple[MetricName, ...] = Field(strict=False, min_length=1)
    items: Literal["complete", "all"] = "complete"
    threshold: float | None = None
    seeds: tuple[int, ...] = Field((0, 1, 2), strict=False, min_length=1)
    rows: tuple[RowConfig, ...] = Field(strict=False, min_length=1)
    axes: dict[str, list[Any] | dict[str, dict[str, Any]]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _rows_fit(self) -> Self:
        names = [row.name for row in self.rows]
        if len(set(names)) < len(names):
            raise ValueError("rows: two of the same name")
        for row in self.rows:
            if row.published is not None and len(row.published) != len(self.metrics):
                raise ValueError(
                    f"row {row.name!r}: {len(row.published)} published figures for "
                    f"{len(self.metrics)} metrics"
                )
            if row.published is not None and self.axes:
                raise ValueError(f"row {row.name!r}: published figures do not go with axes")
            if row.scores == "encoder" and self.items == "all":
                raise ValueError(
                    f"row {row.name!r}: an encoder scores no item that lacks its modality; "
                    "measure on items = 'complete'"
                )
        empty = [name for name, values in self.axes.items() if not values]
        if empty:
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
        plain = {name.removeprefix("joint.") for name in self.inputs}
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
        values = merge(merge(self.values, cell.changes), {"seed": seed})
        for setting in self.settings:
            values = merge(values, parse_setting(setting))
        return validate(values, where=f"{self.name}, row {cell.name!r}")


def small_overlay(name: str) -> str | None:
    """The recipe that brings an experiment of ours to the size of the built-in catalogue.

    It is the `synthetic` beside the experiment if there is one, else the one of all. One's own
    experiment runs as it is written: None.
    """
    path = (Path(name) if name.endswith(".toml") else recipe_folder() / f"{name}.toml").resolve()
    if not path.is_relative_to(recipe_folder().resolve()):
        return None
    beside = path.with_name(f"{OVERLAY}.toml")
    return str(beside) if beside.is_file() else OVERLAY


def load_experiment(
    name: str, *, overlay: str | None = None, settings: Sequence[str] = ()
) -> Experiment:
    """Reads an experiment and resolves every cell, so that a mistake shows before any work.

    Args:
        name: of an experiment that comes with mmgenre, or the path of a TOML file.
        overlay: a recipe laid over the base, to run it in another size; rows stand above it.
        settings: `section.key=value`, above everything.

    Raises:
        RecipeError: unknown recipe, key or value; names the nearest known ones.
    """
    values = read_values(name)
    if overlay is not None:
        own = read_values(overlay)
        values = merge(values, own)
    described = values.pop(TABLE, None)
    if described is None:
        raise RecipeError(
            f"recipe {name}: has no section [{TABLE}], so there is nothing to compare; use it with "
            f"mmgenre extract-features --recipe {name}"
        )
    table = _validate_table(described, where=name)
    cells = tuple(_cells(table))
    experiment = Experiment(
        name.removesuffix(".toml"), table, values, overlay, tuple(settings), cells
    )
    stated = [key for setting in settings for key in _keys(parse_setting(setting))]
    for cell in cells:
        recipe = experiment.recipe(cell, table.seeds[0])
        faults = list(_faults(cell, stated, recipe, table))
        if faults:
            raise RecipeError(f"recipe {name}, row {cell.name!r}: {'; '.join(faults)}")
    return experiment


def _faults(
    cell: Cell, settings: Sequence[str], recipe: Recipe, table: TableConfig
) -> Iterator[str]:
    """What would make a row's figures other than its name says."""
    own = list(_keys(cell.changes))
    for key in settings:
        if any(key == k or key.startswith(f"{k}.") or k.startswith(f"{key}.") for k in own):
            yield f"states {key} itself, so that it cannot be set for the whole table"
    if "seed" in (*own, *settings):
        yield "the seed is the table's: [table] seeds, or --seeds"
    if cell.scores == "encoder" and any(key.startswith("fusion.") for key in own):
        yield "is scored by its encoder, which no setting of fusion changes"
    if table.items == "complete" and recipe.fusion.missing_share:
        yield "fusion.missing_share hides inputs, so measure on items = 'all'"
    single = [m for m in table.metrics if m == "accuracy" and not recipe.exclusive]
    if single:
        yield "accuracy is for one genre an item; here are many (labels.task)"


def _keys(values: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """{"a": {"b": 1}} -> "a.b"."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _keys(value, f"{above}{key}.")
        else:
            yield f"{above}{key}"


def _validate_table(described: Any, *, where: str) -> TableConfig:
    try:
        return TableConfig.model_validate(described)
    except ValidationError as error:
        faults = []
        for fault in error.errors(include_url=False):
            path = ".".join(str(part) for part in ("table", *fault["loc"]))
            if fault["type"] == "extra_forbidden":
                model = RowConfig if "rows" in fault["loc"] else TableConfig
                known = list(model.model_fields)
                close = difflib.get_close_matches(str(fault["loc"][-1]), known, n=3, cutoff=0.5)
                faults.append(
                    f"unknown key {path!r}; did you mean {' or '.join(close)}?"
                    if close
                    else f"unknown key {path!r}; known: {', '.join(known)}"
                )
            else:
                faults.append(f"{path}: {fault['msg']}, got {fault.get('input')!r}"[:400])
        raise RecipeError(f"recipe {where}: " + "; ".join(faults)) from None


def _cells(table: TableConfig) -> Iterator[Cell]:
    """Every row at every point of the axes."""
    axes = [_points(name, values) for name, values in table.axes.items()]
    for row in table.rows:
        figures = zip(table.metrics, row.published or (), strict=False)
        published = {str(metric): value for metric, value in figures if not math.isnan(value)}
        for point in product(*axes):
            changes: dict[str, Any] = dict(row.set)
            for _, difference in point:
                changes = merge(changes, difference)
            name = ", ".join([row.name, *(label for label, _ in point)])
            yield Cell(name, row.inputs, row.scores, changes, published)


def _points(name: str, values: list[Any] | dict[str, dict[str, Any]]) -> list[tuple[str, Any]]:
    """(label, settings) of each value of an axis."""
    if isinstance(values, dict):
        return list(values.items())
    return [(f"{name}={value}", setting_at(name, value)) for value in values]
