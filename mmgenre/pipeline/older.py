"""Runs made by an older version: what of them is used again."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmgenre.errors import OlderRunWarning

ASIDE = "made-by-older-version"
MADE_AGAIN = ("encoders", "embeddings.h5", "joint", "fusion", "metrics.json", "qualitative.json")


def translated(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe of a run of format 1, before encoders had names, as that of today.

    >>> translated({"text": {"encoder": "vsm"}, "audio": {"network": "timbre"}})
    {'text': {'encoders': ['vsm']}, 'audio': {'encoders': ['timbre']}}
    """
    now = {name: dict(v) if isinstance(v, Mapping) else v for name, v in recipe.items()}
    audio, text = now.get("audio", {}), now.get("text", {})
    if audio.get("network") == "timbre":
        del audio["network"]
        audio["encoders"] = ["timbre"]
    if "encoder" in text:
        text["encoders"] = [text.pop("encoder")]
    return now


def set_aside(folder: Path) -> None:
    """Moves what an older version learned into `ASIDE`, and warns; nothing is deleted.

    Inputs are used again, where they are of the same settings and media.
    """
    found = [name for name in MADE_AGAIN if (folder / name).exists()]
    if not found:
        return
    (folder / ASIDE).mkdir(exist_ok=True)
    for name in found:
        (folder / name).rename(folder / ASIDE / name)
    warnings.warn(
        f"{folder}: made by an older version of mmgenre. Used again: manifest, recipe and inputs/. "
        f"Made again: {', '.join(found)}; the old ones are kept in {folder / ASIDE}",
        OlderRunWarning,
        stacklevel=2,
    )
