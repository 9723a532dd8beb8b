"""What names a model: the one that the package carries, one of the hub, or a folder.

`catalogue` is the model of the built-in, synthetic catalogue (`mmgenre train-starter` makes it). A
name means the same in every folder, so that a command of the documentation does, too: a folder of
that name is reached as `./catalogue`, or by a `Path`, and a warning says so where there is one.
"""

from __future__ import annotations

import os
import warnings
from importlib.resources import files
from pathlib import Path

from mmgenre.errors import NameWarning
from mmgenre.fusion.exported import downloaded, is_on_hub

BUILT_IN = ("catalogue",)  # names of folders of mmgenre/models


def is_name(model: Path | str) -> bool:
    """Whether a model is named, and no folder given.

    >>> is_name("catalogue"), is_name("./catalogue"), is_name("hf:owner/name")
    (True, False, True)
    """
    return (isinstance(model, str) and model in BUILT_IN) or is_on_hub(model)


def model_folder(model: Path | str) -> Path:
    """The folder of a model, or of a run, by its name or path.

    Raises:
        WeightsError: a model of the hub cannot be had.
        BundleError: what the hub has under this name is no exported model.
    """
    if is_on_hub(model):
        return downloaded(str(model))
    if not is_name(model):
        return Path(model)
    if Path(model).is_dir():
        text = f"{model}: the model of this name that mmgenre carries; for the folder here: "
        warnings.warn(f"{text}{os.curdir}{os.sep}{model}", NameWarning, stacklevel=3)
    return Path(str(files("mmgenre"))) / "models" / model
