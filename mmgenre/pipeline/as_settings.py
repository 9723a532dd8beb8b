"""Changes to a recipe as Python gives them: a mapping, or `section.key=value` lines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmgenre.errors import RecipeError
from mmgenre.pipeline.recipe import parse_setting

SettingsLike = Sequence[str] | Mapping[str, Any]


def as_settings(given: SettingsLike) -> list[str]:
    """Lines as of --set; those of a list stay as they are.

    >>> as_settings({"fusion.refit": True, "audio": {"patch_s": 6.0, "encoders": ["cnn"]}})
    ['fusion.refit=true', 'audio.patch_s=6.0', 'audio.encoders=["cnn"]']
    >>> as_settings(["image.weights=none"])
    ['image.weights=none']

    Raises:
        RecipeError: a text where a list belongs, or a value that TOML does not have.
    """
    if isinstance(given, str):
        raise RecipeError(f"settings {given!r}: give a list of these, or a dict")
    if not isinstance(given, Mapping):
        return list(given)
    return [f"{key}={_toml(key, value)}" for key, value in _flat(given)]


def _flat(given: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in given.items():
        key = f"{above}{name}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{key}.")
        else:
            yield key, value


def _toml(key: str, value: object) -> str:
    if isinstance(value, str) and _says(value, value):
        return value
    try:
        text = json.dumps(value, ensure_ascii=False)
    except TypeError:
        text = repr(value)
    if value is None or not _says(text, value):
        raise RecipeError(
            f"setting {key}: {value!r} ({type(value).__name__}) has no form in a recipe; give a "
            "text, a number, true or false, or a list of these"
        )
    return text


def _says(text: str, value: object) -> bool:
    """Whether `key=text` is read back as the value; tuples are lists."""
    read: Any = parse_setting(f"value={text}")["value"]
    return bool(read == (list(value) if isinstance(value, tuple) else value))
