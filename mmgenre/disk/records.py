"""JSON files of a run: written whole, by one process at a time, with a checksum of what they say.

The member `sha256` is of all others, so that an editor may format the file anew but not change it.
Files without it, as earlier versions wrote them, are read as they are.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmgenre.disk.files import read_json, set_damaged_aside
from mmgenre.disk.locks import replacing_alone, tidy
from mmgenre.errors import DamageWarning

SEAL = "sha256"


class EditedError(ValueError):
    """A file that is not what was written."""


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content as JSON gives it back, and its checksum.

    >>> sealed({"a": (1, 2)})["a"], len(sealed({"a": (1, 2)})["sha256"])
    ([1, 2], 64)
    """
    plain = json.loads(json.dumps({key: v for key, v in content.items() if key != SEAL}))
    return {**plain, SEAL: _sha256(plain)}


def write_record(path: Path, content: Mapping[str, Any]) -> Path:
    """Writes a JSON object and its checksum, whole or not at all."""
    text = json.dumps(sealed(content), ensure_ascii=False, indent=1)
    with replacing_alone(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def read_record(path: Path) -> dict[str, Any]:
    """What `write_record` was given.

    EditedError if it was changed since, ValueError if it is no JSON object, UnreachableError if it
    cannot be read now.
    """
    tidy(path)
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError(f"a {type(content).__name__} and no JSON object")
    if SEAL in content and content.pop(SEAL) != _sha256(content):
        raise EditedError("edited or damaged since it was written (its sha256 differs)")
    return content


def read_or_set_aside(path: Path, made_again: str) -> dict[str, Any] | None:
    """What a record holds; None if there is none, or it is damaged or edited.

    Such a file is renamed, with a warning that ends with `made_again`: how another one is made.
    """
    try:
        return read_record(path)
    except FileNotFoundError:
        return None
    except ValueError as error:
        aside = set_damaged_aside(path)
        text = f"{path}: {error}; kept as {aside.name}, and {made_again}"
        warnings.warn(text, DamageWarning, stacklevel=3)
        return None


def _sha256(plain: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
