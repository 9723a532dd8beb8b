"""What a model may open: no file that it alone names; without torch."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from mmgenre.config import Settings
from mmgenre.errors import BundleError
from mmgenre.learning.kind import Kind


def checked_inputs(
    folder: Path, config: Mapping[str, Any], kind: Kind, names: Collection[str]
) -> Settings:
    """The settings of the inputs of an encoder's folder, by which media may be read.

    `config`: of the folder; `names`: what the user has named.

    Raises:
        BundleError: it would open a file or a folder that the user has not named, or a model that
            is not its own.
    """
    name = str(config["encoder"])
    reads = kind.inputs.model_validate(config["reads"])
    frozen = getattr(reads, "frozen", None)
    if frozen is not None and frozen.model != name:
        raise BundleError(f"{folder}: damaged: {name} reads vectors of {frozen.model}")
    opened = list(kind.files_of_inputs(reads).values())
    if name in kind.encoders:
        files = kind.files(kind.settings.model_validate(config["config"]))
        also = kind.encoders[name].opens
        opened += [f for s, f in files.items() if s.startswith("input.") or s in also]
    for file in opened:
        if file not in names:
            raise BundleError(unnamed(folder, "open", file))
    return reads


def unnamed(folder: Path, act: str, name: str) -> str:
    """Why a model is refused that would "open" or "import" something."""
    return (
        f"{folder}: would {act} {name}, which the model names and you did not. If you trust it, "
        f"predict with --allow {shlex.quote(name)}"
    )
