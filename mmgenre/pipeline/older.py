"""Runs made by an older version: what of them is used again."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmgenre.errors import OlderRunWarning

ASIDE = "made-by-older-version"
WRITTEN_AGAIN = ("run.json", "manifest.csv")
MADE_AGAIN = (
    "encoders",
    "embeddings.h5",
    "crossfit.h5",
    "joint",
    "fusion",
    "metrics.json",
    "qualitative.json",
)


def translated(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe of a run of an older format as one of today: settings that are gone are left out.

    In format 1 encoders had no names; format 2 had `mixup`, and `ema` in every training.

    >>> translated({"text": {"encoder": "vsm"}, "audio": {"network": "timbre", "mixup": 0.2}})
    {'text': {'encoders': ['vsm']}, 'audio': {'encoders': ['timbre']}}
    """
    now: dict[str, Any] = {
        name: {key: _without_ema(v) for key, v in section.items() if key != "mixup"}
        if isinstance(section, Mapping)
        else section
        for name, section in recipe.items()
    }
    audio, text = now.get("audio", {}), now.get("text", {})
    if audio.get("network") == "timbre":
        del audio["network"]
        audio["encoders"] = ["timbre"]
    if "encoder" in text:
        text["encoders"] = [text.pop("encoder")]
    return now


def _without_ema(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {key: v for key, v in value.items() if key != "ema"}


def set_aside(folder: Path) -> None:
    """Moves what an older version learned into `ASIDE`, and warns; nothing is deleted.

    Inputs are used again, where they are of the same settings and media. The files that are about
    to be written in today's format are copied.
    """
    aside = folder / ASIDE
    aside.mkdir(exist_ok=True)
    for name in WRITTEN_AGAIN:
        if (folder / name).exists() and not (aside / name).exists():  # else: killed in between
            shutil.copy2(folder / name, aside / name)
    found = [name for name in MADE_AGAIN if (folder / name).exists()]
    for name in found:
        (folder / name).rename(aside / name)
    warnings.warn(
        f"{folder}: made by an older version of mmgenre. Used again: manifest, recipe and inputs/. "
        f"Made again: {', '.join(found) or 'nothing'}; the old ones are kept in {aside}",
        OlderRunWarning,
        stacklevel=2,
    )
