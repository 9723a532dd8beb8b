"""A small trained run that tests share; each takes its own copy before it changes anything."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from mmgenre.datasets.synthetic import make_catalogue
from mmgenre.disk.allowed import allow, allow_media
from mmgenre.measuring.results import FusionResult
from mmgenre.pipeline.commands import extract_features, fuse

# On top of the recipe `quick`: seconds instead of minutes.
SIZES = (
    "split.ratios=[0.5, 0.25, 0.25]",
    "audio.patch_s=6.0",
    "audio.embedding_dim=24",
    "audio.training.max_epochs=2",
    "audio.training.min_steps=26",  # two rounds, of 25 and of 1
    "text.hidden_dim=48",
    "text.embedding_dim=24",
    "text.training.max_epochs=3",
    "text.training.min_steps=30",
    "image.input.size_px=40",
    "image.crop_px=32",
    "image.embedding_dim=24",
    "image.training.max_epochs=1",
    "image.training.min_steps=6",
    "joint.dim=16",
    "joint.training.max_epochs=2",
    "fusion.training.max_epochs=5",
    "fusion.cross_fit=0",  # three more trainings of each network; `test_crossfit.py` has them
)
# One trained encoder a modality and heads of several seeds, as in the paper.
SETTINGS = (
    *SIZES,
    "audio.encoders=['cnn']",
    "text.encoders=['vsm']",
    "image.encoders=['network']",
    "fusion.solver=sgd",
    "fusion.combine=concatenation",
)
NAME = "multi-logistic-a+t+i"  # the fusion that the shared run has
MODEL = f"fusion/{NAME}/model"  # and its model folder


@dataclass(frozen=True)
class Small:
    """The catalogue's manifest, the run's folder, and what its fusion returned."""

    manifest: Path
    run: Path
    result: FusionResult

    def copy(self, folder: Path, *, only: str = ".") -> Path:
        """Copies the run or a part of it, as links: artefacts are replaced, never altered.

        The copy is the user's own: what he named for the run is named for it, too.
        """
        shutil.copytree(self.run / only, folder, copy_function=os.link)
        if (own := folder / "manifest.csv").is_file():
            allow_media(own, [self.manifest.parent])
            allow(folder, [str(self.manifest)])
        return folder


def make_small(folder: Path) -> Small:
    """32 albums, all three encoders, one fusion with two seeds."""
    manifest = make_catalogue(folder / "catalogue", seed=1, n_albums=32)
    run = folder / "run"
    extract_features(manifest, run=run, recipe="quick", settings=SETTINGS, workers=1)
    return Small(manifest, run, fuse(run=run, seeds=2))
