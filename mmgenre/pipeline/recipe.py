"""Recipes: TOML files that state a difference, resolved into one strict, typed configuration."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, create_model

from mmgenre.config import Settings, checked
from mmgenre.errors import RecipeError
from mmgenre.fusion.settings import FusionConfig, JointConfig
from mmgenre.items.modalities import MODALITIES
from mmgenre.items.splits import RATIOS
from mmgenre.kinds import kind_of
from mmgenre.learning.settings import TargetConfig

TABLE = "table"  # the section that makes a recipe an experiment


class LabelsConfig(Settings):
    """`task` single: one genre an item, the broadest of its first label; multi: all of them."""

    task: Literal["single", "multi"] = "multi"


class SplitConfig(Settings):
    """`leakage`: whether a run refuses a manifest whose splits share artists or albums, or says so.

    `ratios`: where it has no splits; None: 70/15/15 for one label, 80/10/10 for many.
    """

    ratios: tuple[float, float, float] | None = Field(None, strict=False)
    leakage: Literal["refuse", "report"] = "refuse"


@dataclass(frozen=True)
class View:
    """One encoder of a modality. The first of a modality has the modality's name."""

    modality: str
    encoder: str  # as the recipe names it: "statistics"
    label: str  # as it stands in tables and store groups
    name: str  # of its encoder's folder and of its vectors: "audio", or "audio.statistics"
    reads: Settings  # of the inputs that it learns from
    input_name: str  # of the store of these inputs: the name of the first view that reads them


class Recipe(Settings):
    """What decides the outcome of a run, the manifest apart; `recipe_type` adds the modalities."""

    seed: int = Field(0, ge=0)
    labels: LabelsConfig = LabelsConfig()
    split: SplitConfig = SplitConfig()
    target: TargetConfig = TargetConfig()  # what the encoders learn
    joint: JointConfig = JointConfig()
    fusion: FusionConfig = FusionConfig()

    def of(self, modality: str) -> Any:
        """The section of a modality: settings of its kind."""
        return getattr(self, modality)

    def views(self, modality: str) -> tuple[View, ...]:
        """The encoders of a modality, in the recipe's order."""
        section, kind = self.of(modality), kind_of(modality)
        views: list[View] = []
        for encoder in section.encoders:
            label = encoder.rpartition(":")[2].lower()
            name = f"{modality}.{label}" if views else modality
            reads = kind.encoder(encoder).reads(section)
            same = [view.input_name for view in views if view.reads == reads]
            views.append(View(modality, encoder, label, name, reads, same[0] if same else name))
        return tuple(views)

    @property
    def exclusive(self) -> bool:
        """Whether an item has exactly one genre."""
        return self.labels.task == "single"

    @property
    def fusion_target(self) -> TargetConfig:
        """The target of the fusion heads, which need not be the encoders'."""
        return self.target.model_copy(update={"name": self.fusion.head})

    @property
    def ratios(self) -> tuple[float, float, float]:
        """Shares of train, validation and test."""
        return self.split.ratios or RATIOS[self.labels.task]


def recipe_type() -> type[Recipe]:
    """The type of a recipe with a section for each modality."""
    return _recipe_type(tuple(MODALITIES))


@cache
def _recipe_type(modalities: tuple[str, ...]) -> type[Recipe]:
    sections: dict[str, Any] = {m: kind_of(m).settings for m in modalities}
    fields = {m: (section, section()) for m, section in sections.items()}
    return create_model("Recipe", __base__=Recipe, **fields)  # type: ignore[call-overload,no-any-return]


@cache
def recipe_folder() -> Path:
    """The recipes that come with mmgenre, in a wheel or in a clone."""
    package = Path(str(files("mmgenre")))
    inside = package / "recipes"
    return inside if inside.is_dir() else package.parent / "recipes"


def recipe_names() -> list[str]:
    """Names of the recipes that come with mmgenre."""
    folder = recipe_folder()
    return sorted(p.relative_to(folder).with_suffix("").as_posix() for p in folder.rglob("*.toml"))


def load_recipe(name: str, settings: Sequence[str] = ()) -> Recipe:
    """Resolves a recipe that comes with mmgenre, or a TOML file.

    Its base's values come first, then its own, then settings like `audio.network=high-4x70`.
    RecipeError names the nearest known ones of an unknown recipe, key or value.
    """
    values = read_values(name)
    if TABLE in values:
        raise RecipeError(
            f"recipe {name}: is a table of experiments; run it with mmgenre run {name}"
        )
    return validate(merge(values, *map(parse_setting, settings)), where=name)


def is_experiment(name: str) -> bool:
    """Whether a recipe has a table, and so is for `mmgenre run`."""
    return TABLE in read_values(name)


def validate(values: Mapping[str, Any], *, where: str) -> Recipe:
    """Values -> recipe with absolute paths, since a run is continued from other folders.

    RecipeError if a key, value or encoder is not allowed, two of a modality have one name, or the
    target does not fit the task.
    """
    recipe = checked(recipe_type(), values, where)
    if recipe.target.class_weights == "adjusted" and not recipe.exclusive:
        raise RecipeError(
            f"recipe {where}: target.class_weights adjusted: is for one genre an item "
            "(labels.task=single); for many give none or balanced"
        )
    paths: dict[str, Any] = {}
    for modality in MODALITIES:
        section = recipe.of(modality)
        labels = [view.label for view in recipe.views(modality)]
        if len(set(labels)) < len(labels):
            raise RecipeError(f"recipe {where}: {modality}.encoders: {', '.join(labels)}: repeated")
        if unused := sorted(set(section.options) - set(section.encoders)):
            raise RecipeError(
                f"recipe {where}: {modality}.options: {', '.join(unused)} not among the encoders "
                f"{', '.join(section.encoders)}"
            )
        for setting, path in kind_of(modality).content(section).items():
            absolute = str(path.expanduser().resolve())
            paths = merge(paths, setting_at(f"{modality}.{setting}", absolute))
    return checked(recipe_type(), merge(values, paths), where)


def parse_setting(setting: str) -> dict[str, Any]:
    """`a.b=1` -> {"a": {"b": 1}}; the value is TOML, a bare word a string.

    >>> parse_setting("image.weights=none")
    {'image': {'weights': 'none'}}
    """
    key, equals, text = setting.partition("=")
    if not equals or not all(part.strip() for part in key.split(".")):
        raise RecipeError(f"setting {setting!r}: write section.key=value")
    try:
        value: Any = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    return setting_at(key, value)


def setting_at(key: str, value: Any) -> dict[str, Any]:
    """`a.b` and a value -> {"a": {"b": value}}."""
    for part in reversed(key.split(".")):
        value = {part.strip(): value}
    return dict(value)


def merge(below: Mapping[str, Any], *above: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings laid over each other, the last on top."""
    merged = dict(below)
    for key, value in (item for layer in above for item in layer.items()):
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def read_values(name: str, seen: tuple[str, ...] = ()) -> dict[str, Any]:
    """What a recipe and the recipes below it state, not yet checked; `seen`: those above it."""
    path = Path(name) if name.endswith(".toml") else recipe_folder() / f"{name}.toml"
    where = str(path.resolve())
    if where in seen:
        raise RecipeError(f"recipes form a circle: {' -> '.join((*seen, where))}")
    if not path.is_file():
        close = difflib.get_close_matches(name, recipe_names(), n=3)
        hint = f"did you mean {' or '.join(close)}? " if close else ""
        known = ", ".join(recipe_names())
        raise RecipeError(f"no recipe {name!r}; {hint}known: {known}; or give a .toml file")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: not TOML: {error}") from None
    base = values.pop("base", None)
    if base is None:
        return values
    if not isinstance(base, str):
        raise RecipeError(f"{path}: base: must be a recipe's name, got {base!r}")
    beside = path.parent / f"{base.removesuffix('.toml')}.toml"
    # One's own quick.toml may stand on ours.
    other = beside.is_file() and beside.resolve() != path.resolve()
    return merge(read_values(str(beside) if other else base, (*seen, where)), values)
