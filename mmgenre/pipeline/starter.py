"""The model that the package carries, so that a prediction needs no training first."""

from __future__ import annotations

from pathlib import Path

from mmgenre.errors import MmgenreError
from mmgenre.learning.processes import from_main
from mmgenre.pipeline.commands import extract_features, fuse
from mmgenre.pipeline.export import export_model
from mmgenre.progress import Progress, silent

RECIPE, RUN = "starter", Path("runs/starter")
NAME, LICENCE = "catalogue", "mit"  # the licence of the package, whose code made the data, too


def train_starter(
    target: Path | str, *, run: Path | str | None = None, progress: Progress = silent
) -> Path:
    """Makes the model `catalogue` anew, in a run of the built-in catalogue, and exports it.

    The catalogue, its splits and the encoders depend on seeds that the recipe `starter` and the
    code state, so that scores are the same on every machine but for rounding. `run`: the folder of
    the run; default: runs/starter.

    Raises:
        MmgenreError: `target` exists.
    """
    target, run = Path(target), run or RUN
    if target.exists():
        raise MmgenreError(f"{target}: exists; give the name of a new folder, or move it away")
    extract_features(run=run, recipe=RECIPE, progress=progress)
    fuse(run=run, progress=progress)
    return Path(from_main(lambda: str(export_model(run, target, name=NAME, licence=LICENCE))))
