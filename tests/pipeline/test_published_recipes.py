"""The papers' recipes keep every setting that they had, whatever the library's defaults become.

`published-settings.json` has what each of them resolved to when `published.toml` was written:
"every recipe", then what differs in all rows of a recipe ("*"), then what differs in a row.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from mmgenre.pipeline.experiment import load_experiment, small_overlay
from mmgenre.pipeline.recipe import is_experiment, load_recipe, merge, read_values, recipe_names

BASE = "oramas2018/published"
ALL_ROWS = "*"
FOLDERS = ("ablations/", "covers/", "oramas2018/")
NAMES = [n for n in recipe_names() if n.startswith(FOLDERS) and not n.endswith("/synthetic")]
IN_SMALL = {f"{name}, in small": name for name in NAMES if is_experiment(name)}
THEN = json.loads(Path(__file__).with_name("published-settings.json").read_text(encoding="utf-8"))
IN_EVERY_RECIPE: dict[str, Any] = THEN.pop("every recipe")

# Settings that the library got later -> the value that means "as published". State it in
# recipes/oramas2018/published.toml, too (or, if it is None, add the setting to NONE).
TRAININGS = [f"{section}.training" for section in ("audio", "text", "image", "joint", "fusion")]
NEW_SETTINGS_OFF: dict[str, Any] = {
    "target.first_bias": "random",
    "joint.loss": "margin",
    "joint.temperature": 0.2,
    "joint.dropout": 0.0,
    "fusion.solver": "sgd",
    "fusion.combine": "concatenation",
    "fusion.cross_fit": 0,
    "fusion.refit": False,
    **{f"{training}.select": "loss" for training in TRAININGS},
    **{f"{training}.tf32": "convolutions" for training in TRAININGS},
    **{f"{training}.compile": False for training in TRAININGS},
}

# TOML has no null, so that no recipe can state these: they are None where they are not stated.
NONE = {
    *(f"{training}.max_steps" for training in TRAININGS),
    *(f"{training}.min_steps" for training in TRAININGS),
    *(f"{training}.min_patience_steps" for training in TRAININGS),
    "split.ratios",
    "joint.modalities",
    "fusion.dropout",
    "audio.embedding_dim",
    "audio.dropout",
    "text.input.entities.knowledge_base",
    "text.input.entities.context_model",
    "text.input.entities.url",
    "text.input.entities.annotations",
    "image.weights_sha256",
    "image.min_scale",
}


def flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """{"a": {"b": 1}} -> ("a.b", 1); an empty mapping has no settings."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def resolved(case: str) -> dict[str, tuple[set[str], dict[str, Any]]]:
    """Row -> the settings that recipe files state, and all settings with their values.

    Without `image.crop_px` and `image.input.size_px` where they follow from the network: settings
    are saved without them.
    """
    name = IN_SMALL.get(case, case)
    if not is_experiment(name):
        recipe = load_recipe(name).model_dump(mode="json")
        return {ALL_ROWS: (set(dict(flat(read_values(name)))), dict(flat(recipe)))}
    overlay = small_overlay(name) if case in IN_SMALL else None
    experiment, rows = load_experiment(name, overlay=overlay), {}
    for cell in experiment.cells:
        stated = set(dict(flat(merge(experiment.values, cell.changes))))
        recipe = experiment.recipe(cell, experiment.table.seeds[0]).model_dump(mode="json")
        rows[cell.name] = stated, dict(flat(recipe))
    return rows


def changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Settings that are not as they were then, and what to do about new ones."""
    faults = [f"{key} was {then[key]!r}, and is gone" for key in then.keys() - now.keys()]
    for key, value in now.items():
        if key not in then and key in NONE and value is None:
            continue
        if key not in then and key not in NEW_SETTINGS_OFF:
            faults.append(
                f"{key} is new: state it in recipes/{BASE}.toml, and add it to NEW_SETTINGS_OFF "
                "here, both with the value that means 'as published'"
            )
        elif value != (was := then.get(key, NEW_SETTINGS_OFF.get(key))):
            faults.append(f"{key} was {was!r}, and is {value!r}")
    return sorted(faults)


def unstated(stated: set[str], settings: Mapping[str, Any]) -> list[str]:
    """Settings that come from the library's defaults."""
    return [
        f"{key} = {value!r}"
        for key, value in settings.items()
        if key not in stated and not (key in NONE and value is None)
    ]


def listed(faults: Mapping[str, str]) -> str:
    """Each fault once, with a row that has it."""
    return "\n".join(f"row {row}: {fault}" for fault, row in faults.items())


@pytest.mark.parametrize("case", sorted({*NAMES, *IN_SMALL} - {BASE} | THEN.keys()))
def test_every_setting_has_the_value_that_it_had(case: str) -> None:
    now = {row: settings for row, (_, settings) in resolved(case).items()}
    if case not in THEN:
        entry: dict[str, dict[str, Any]] = {ALL_ROWS: {}}
        entry |= {
            row: {k: v for k, v in settings.items() if (k, v) not in IN_EVERY_RECIPE.items()}
            for row, settings in now.items()
        }
        pytest.fail(f"add to published-settings.json: {json.dumps({case: entry})}")
    then = THEN[case]
    assert now.keys() == (then.keys() - {ALL_ROWS} or {ALL_ROWS})
    faults = {
        fault: row
        for row, settings in now.items()
        for fault in changes(IN_EVERY_RECIPE | then[ALL_ROWS] | then[row], settings)
    }
    assert not faults, listed(faults)


@pytest.mark.parametrize("case", sorted({*NAMES, *IN_SMALL}))
def test_no_setting_is_left_to_the_library_s_defaults(case: str) -> None:
    faults = {fault: row for row, both in resolved(case).items() for fault in unstated(*both)}
    assert not faults, f"stated neither here nor in {BASE}:\n{listed(faults)}"


def test_the_lists_above_name_settings_that_need_them() -> None:
    [(stated, settings)] = resolved(BASE).values()
    assert settings.keys() >= NEW_SETTINGS_OFF.keys()
    assert not NEW_SETTINGS_OFF.keys() & IN_EVERY_RECIPE.keys()
    assert settings.keys() - stated == NONE


def test_these_tests_see_a_change() -> None:
    then = {"audio.patches": 1, "seed": 0}
    assert changes(then, then) == []
    [fault] = changes(then, {"audio.patches": 3, "seed": 0})
    assert fault == "audio.patches was 1, and is 3"
    [fault] = changes(then, {"audio.patches": 1})
    assert fault == "seed was 0, and is gone"
    [fault] = changes(then, {**then, "audio.zzz": None})
    assert fault.startswith("audio.zzz is new: state it in recipes/oramas2018/published.toml")
    assert unstated({"seed"}, {"seed": 0, "audio.dropout": None}) == []
    assert unstated({"seed"}, {"audio.dropout": 0.1}) == ["audio.dropout = 0.1"]
    assert unstated({"seed"}, {"audio.patches": 1}) == ["audio.patches = 1"]
