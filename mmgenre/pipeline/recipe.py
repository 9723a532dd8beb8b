"""Recipes: TOML files that state a difference, resolved into one strict, typed configuration."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, create_model

from mmgenre.config import Settings, checked
from mmgenre.disk.files import without_links
from mmgenre.errors import RecipeError
from mmgenre.frozen.places import fetch
from mmgenre.frozen.settings import ModelName, names_a_model
from mmgenre.fusion.settings import FusionConfig, JointConfig
from mmgenre.items.labels import ancestors
from mmgenre.items.manifest import Manifest
from mmgenre.items.modalities import MODALITIES
from mmgenre.items.splits import RATIOS
from mmgenre.kinds import kind_of
from mmgenre.learning.settings import TargetConfig
from mmgenre.pipeline.named import encoders_in, refuse_unnamed

TABLE = "table"  # the section that makes a recipe an experiment
MOST_NESTED, LONGEST_KEY = 20, 200  # tables in tables; characters
LONG_KEY = re.compile(r"""(?<![\w"'-])(?:[\w"'-]+[ \t]*\.[ \t]*){200}""")  # a.a.a...
AUTO = "auto"  # a value that is left to the data; see `decided`


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
    fixed: bool = False  # made, and not trained
    given: bool = False  # to be scaled as vectors of other programs


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
            encoder_type = kind.encoder(encoder)
            label = encoder_type.view or encoder.rpartition(":")[2].lower()
            name = f"{modality}.{label}" if views else modality
            reads, fixed = encoder_type.reads(section), encoder_type.is_fixed(section)
            same = [view.input_name for view in views if view.reads == reads]
            shared = same[0] if same else name
            given = fixed and encoder_type.given
            views.append(View(modality, encoder, label, name, reads, shared, fixed, given))
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


def load_recipe(
    name: str,
    settings: Sequence[str] = (),
    manifest: Manifest | None = None,
    notes: list[str] | None = None,
) -> Recipe:
    """Resolves a recipe that comes with mmgenre, or a TOML file.

    Its base's values come first, then its own, then settings like `audio.network=high-4x70`. What a
    recipe leaves to the data is decided by the manifest (`decided`). RecipeError names the nearest
    known ones of an unknown recipe, key or value.
    """
    n_items = None if manifest is None else len(manifest)
    values = read_values(name, n_items=n_items, notes=notes)
    if TABLE in values:
        raise RecipeError(
            f"recipe {name}: is a table of experiments; run it with mmgenre run {name}"
        )
    values = merge(values, *map(parse_setting, settings))
    validate(decided(values), where=name)  # a mistake shows before anything is looked for
    return validate(decided(values, manifest, notes), where=name)


def decided(
    values: Mapping[str, Any], manifest: Manifest | None = None, notes: list[str] | None = None
) -> dict[str, Any]:
    """Values in which what was left to the data is decided; `notes` gets a sentence for each.

    `labels.task = "auto"`: single if every item names one genre, else (and without a manifest)
    multi. `image.encoders = "auto"`: the network and descriptors; if there are covers, without the
    former if its weights are not on this machine and it was not asked for by a network's name or
    weights.
    Frozen models that the encoders name are fetched.
    """
    notes = [] if notes is None else notes
    labels, image = dict(values.get("labels", {})), dict(values.get("image", {}))
    if labels.get("task") == AUTO:
        one = manifest is not None and _name_one_genre(manifest)
        labels["task"] = "single" if one else "multi"
        why = "every item names one genre" if one else "items name several genres, or sub-genres"
        notes.append(f"labels.task = {labels['task']}: {why}")
    if image.get("encoders") == AUTO:
        from mmgenre.image.weights import are_here  # imports torch

        image["encoders"] = ["network", "descriptors"]
        has_covers = manifest is not None and manifest.count(having=["image"])
        if has_covers and not {"network", "weights"} & set(image) and not are_here():
            image["encoders"] = ["descriptors"]
            notes.append(
                "image.encoders = descriptors: ImageNet weights are not on this machine; with them "
                "covers say more: --set image.weights=imagenet downloads them (or give a PATH)"
            )
    if manifest is not None:
        _fetch_models(values, manifest)
    found = {"labels": labels, "image": image}
    return {**values, **{name: section for name, section in found.items() if section}}


def models_in(values: Mapping[str, Any]) -> dict[str, list[str]]:
    """The frozen models that values name as encoders, by modality."""
    found = {}
    for modality in MODALITIES:
        encoders = values.get(modality, {}).get("encoders", ())
        if isinstance(encoders, list | tuple):
            found[modality] = [n for n in encoders if isinstance(n, str) and names_a_model(n)]
    return found


def _fetch_models(values: Mapping[str, Any], manifest: Manifest) -> None:
    """Downloads frozen models that are named and not here.

    Raises:
        WeightsError: one cannot be had.
    """
    for modality, names in models_in(values).items():
        for name in names if manifest.count(having=[modality]) else ():
            fetch(ModelName.parse(name))


def _name_one_genre(manifest: Manifest) -> bool:
    """Whether every item has one label, and no two are lost in a broader one, which counts then.

    Items without a label say nothing of the task.
    """
    names = {tuple(row) for row in manifest.labels()} - {()}
    if any(len(set(row)) != 1 for row in names):
        return False
    return len({ancestors(row[0])[0] for row in names}) == len(names)


def is_experiment(name: str) -> bool:
    """Whether a recipe has a table, and so is for `mmgenre run`."""
    return TABLE in read_values(name)


def validate(
    values: Mapping[str, Any], *, where: str, names: Collection[str] | None = None
) -> Recipe:
    """Values -> recipe with absolute paths, since a run is continued from other folders.

    RecipeError if a key, value or encoder is not allowed, two of a modality have one name, or the
    target does not fit the task; and, before it is imported, if an encoder is code that is not
    among `names` (None: the recipe is the user's own).
    """
    recipe = checked(recipe_type(), values, where)
    if names is not None:
        refuse_unnamed(recipe, encoders_in(recipe), names, where, "would import")
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
            if "\0" in str(path):
                raise RecipeError(f"recipe {where}: {modality}.{setting}: a NUL is in no path")
            absolute = str(without_links(path.expanduser()))
            paths = merge(paths, setting_at(f"{modality}.{setting}", absolute))
    return checked(recipe_type(), merge(values, paths), where)


def read_toml(text: str, where: str) -> dict[str, Any]:
    """The tables of a recipe; RecipeError if it is not TOML, or of a size that no recipe has."""
    if key := LONG_KEY.search(text):  # tomllib takes time in proportion to the square of its parts
        line = text.count("\n", 0, key.start()) + 1
        raise RecipeError(f"{where}: line {line}: nested more than {MOST_NESTED} deep")
    try:
        values = tomllib.loads(text)
    except RecursionError:
        raise RecipeError(f"{where}: nested more than {MOST_NESTED} deep") from None
    except ValueError as error:  # also of integers of thousands of digits
        raise RecipeError(f"{where}: not TOML: {error!s:.400}") from None
    return _of_a_size(values, where)


def _of_a_size(values: dict[str, Any], where: str) -> dict[str, Any]:
    """The values; RecipeError if one is nested more deeply, or longer, than any setting is."""
    left: list[tuple[str, Any, int]] = [("", values, 0)]
    while left:
        place, value, depth = left.pop()
        fault = None
        if depth > MOST_NESTED:
            fault = f"nested more than {MOST_NESTED} deep"
        elif isinstance(value, int) and abs(value) >= 1 << 63:
            fault = "an integer of more than 64 bits"
        elif isinstance(value, Mapping):
            if too_long := [key for key in value if len(key) > LONGEST_KEY]:
                fault = f"a key of {len(too_long[0]):,} characters ({too_long[0][:20]}...)"
            left += [(f"{place}.{key}", below, depth + 1) for key, below in value.items()]
        elif isinstance(value, list):
            left += [(f"{place}[{k}]", below, depth + 1) for k, below in enumerate(value)]
        if fault is not None:
            raise RecipeError(f"{where}: {place.lstrip('.')[:100] or 'top'}: {fault}")
    return values


def parse_setting(setting: str) -> dict[str, Any]:
    """`a.b=1` -> {"a": {"b": 1}}; the value is TOML, a bare word a string.

    >>> parse_setting("image.weights=none")
    {'image': {'weights': 'none'}}
    """
    key, equals, text = setting.partition("=")
    if not equals or not all(part.strip() for part in key.split(".")):
        raise RecipeError(f"setting {setting[:200]!r}: write section.key=value")
    try:
        value: Any = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    except RecursionError:
        raise RecipeError(f"setting {key[:200]}: nested more than {MOST_NESTED} deep") from None
    except ValueError as error:  # an integer of thousands of digits
        raise RecipeError(f"setting {key[:200]}: {error!s:.400}") from None
    return _of_a_size(setting_at(key, value), f"setting {key[:200]}")


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


def read_values(
    name: str,
    seen: tuple[str, ...] = (),
    n_items: int | None = None,
    notes: list[str] | None = None,
) -> dict[str, Any]:
    """What a recipe and the recipes below it state, not yet checked; `seen`: those above it.

    Of the tables `by_size` of a recipe, the first with at least `n_items` lies over its own values;
    None: none does. `notes` gets a sentence about it, which begins with the recipe asked for.
    """
    if "\0" in name:
        raise RecipeError(f"recipe {name!r}: a NUL is in no path")
    path = Path(name) if name.endswith(".toml") else recipe_folder() / f"{name}.toml"
    where = str(without_links(path))
    if where in seen:
        raise RecipeError(f"recipes form a circle: {' -> '.join((*seen, where))}")
    if not path.is_file():
        close = difflib.get_close_matches(name, recipe_names(), n=3)
        hint = f"did you mean {' or '.join(close)}? " if close else ""
        known = ", ".join(recipe_names())
        raise RecipeError(f"no recipe {name!r}; {hint}known: {known}; or give a .toml file")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: not TOML: {error}") from None
    values = read_toml(text, str(path))
    base, sizes = values.pop("base", None), values.pop("by_size", [])
    fitting = [s for s in sizes if n_items is not None and n_items <= s.get("up_to", 0)]
    if fitting:
        least = min(fitting, key=lambda s: s["up_to"])
        values = merge(values, {k: v for k, v in least.items() if k != "up_to"})
        if notes is not None:
            asked = Path(seen[0]).stem if seen else path.stem
            whose = (
                f"where it states nothing else, those of {path.stem}" if seen else "its settings"
            )
            size = f"at most {least['up_to']:,} items"
            notes.append(f"recipe {asked}: {whose} for {size}; here are {n_items:,}")
    if base is None:
        return values
    if not isinstance(base, str):
        raise RecipeError(f"{path}: base: must be a recipe's name, got {base!r}")
    beside = path.parent / f"{base.removesuffix('.toml')}.toml"
    # One's own quick.toml may stand on ours.
    other = beside.is_file() and without_links(beside) != without_links(path)
    below = read_values(str(beside) if other else base, (*seen, where), n_items, notes)
    return merge(below, values)
