"""Recipes: TOML files that state a difference, resolved into one strict, typed configuration."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError

from mmgenre.audio.encoder import AudioConfig
from mmgenre.config import Settings
from mmgenre.errors import RecipeError
from mmgenre.fusion.head import FusionConfig
from mmgenre.fusion.joint import JointConfig
from mmgenre.image.encoder import ImageConfig
from mmgenre.items.splits import RATIOS
from mmgenre.learning.targets import TargetConfig
from mmgenre.text.encoder import TextConfig
from mmgenre.text.entities.annotators import BUILT_IN

TABLE = "table"  # the section that makes a recipe an experiment


class LabelsConfig(Settings):
    """`task` single: one genre an item, the broadest of its first label; multi: all of them."""

    task: Literal["single", "multi"] = "multi"


class SplitConfig(Settings):
    """Used where a manifest comes without splits.

    `ratios` None: 70/15/15 for one label, 80/10/10 for many. `leakage`: whether a run refuses a
    manifest whose splits share artists or albums, or only says so.
    """

    ratios: tuple[float, float, float] | None = Field(None, strict=False)
    leakage: Literal["refuse", "report"] = "refuse"


class Recipe(Settings):
    """Everything that decides the outcome of a run, the manifest apart."""

    seed: int = Field(0, ge=0)
    labels: LabelsConfig = LabelsConfig()
    split: SplitConfig = SplitConfig()
    target: TargetConfig = TargetConfig()  # what the encoders learn
    audio: AudioConfig = AudioConfig()
    text: TextConfig = TextConfig()
    image: ImageConfig = ImageConfig()
    joint: JointConfig = JointConfig()
    fusion: FusionConfig = FusionConfig()

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
    """Resolves a recipe: its base's values, then its own, then `section.key=value` settings.

    Args:
        name: of a recipe that comes with mmgenre, or the path of a TOML file.
        settings: changes on top, for instance `audio.network=high-4x70`.

    Raises:
        RecipeError: unknown recipe, key or value; names the nearest known ones.
    """
    values = read_values(name)
    if TABLE in values:
        raise RecipeError(
            f"recipe {name}: is a table of experiments; run it with mmgenre run {name}"
        )
    for setting in settings:
        values = merge(values, parse_setting(setting))
    return validate(values, where=name)


def is_experiment(name: str) -> bool:
    """Whether a recipe has a table, and so is for `mmgenre run`."""
    return TABLE in read_values(name)


def read_values(name: str) -> dict[str, Any]:
    """What a recipe and the recipes below it state, not yet checked."""
    return _read(name, ())


def validate(values: Mapping[str, Any], *, where: str) -> Recipe:
    """Values -> recipe.

    Raises:
        RecipeError: lists every unknown key and every value that is not allowed.
    """
    try:
        return _anchored(Recipe.model_validate(values))
    except ValidationError as error:
        faults = []
        for fault in error.errors(include_url=False):
            path = [str(part) for part in fault["loc"] if isinstance(part, str)]
            if fault["type"] == "extra_forbidden":
                faults.append(f"unknown key {'.'.join(path)!r}{_nearest(path)}")
            else:
                got = fault.get("input")
                faults.append(f"{'.'.join(path)}: {fault['msg']}, got {got!r}")
        raise RecipeError(f"recipe {where}: " + "; ".join(faults)) from None


def _anchored(recipe: Recipe) -> Recipe:
    """The recipe with absolute paths: a run is gone on with from other folders, too."""

    def absolute(path: str | None) -> str | None:
        return None if path is None else str(Path(path).expanduser().resolve())

    linking, text, image = recipe.text.input.entities, recipe.text, recipe.image
    changes = {name: absolute(getattr(linking, name)) for name in ("annotations", "context_model")}
    if linking.knowledge_base != BUILT_IN:
        changes["knowledge_base"] = absolute(linking.knowledge_base)
    words = text.input.model_copy(update={"entities": linking.model_copy(update=changes)})
    text = text.model_copy(update={"input": words, "model": absolute(text.model)})
    if image.weights not in ("imagenet", "none"):
        image = image.model_copy(update={"weights": absolute(image.weights)})
    return recipe.model_copy(update={"text": text, "image": image})


def parse_setting(setting: str) -> dict[str, Any]:
    """`a.b=1` -> {"a": {"b": 1}}; the value is TOML, a bare word a string.

    >>> parse_setting("image.weights=none")
    {'image': {'weights': 'none'}}
    """
    key, equals, text = setting.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not equals or "" in parts:
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


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings laid over each other."""
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def _read(name: str, seen: tuple[str, ...]) -> dict[str, Any]:
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
    return merge(_read(str(beside) if other else base, (*seen, where)), values)


def _nearest(path: Sequence[str]) -> str:
    """The known keys of a section that look most like an unknown one, else all of them."""
    section: type[BaseModel] = Recipe
    for part in path[:-1]:
        inner = section.model_fields[part].annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return ""
        section = inner
    known = list(section.model_fields)
    close = difflib.get_close_matches(path[-1], known, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(close)}?" if close else f"; known: {', '.join(known)}"
