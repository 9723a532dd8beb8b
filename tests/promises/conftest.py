"""A run made here, and one of the same manifest and seed made elsewhere: two promises need it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from elsewhere import make_run
from plain import FIXED, plain_items

from mmgenre.items.manifest import Manifest
from mmgenre.pipeline.commands import extract_features, fuse


@dataclass(frozen=True)
class Twice:
    """Two runs, and the addresses that the process of the second one asked for."""

    here: Path
    elsewhere: Path
    asked: list[str]


@pytest.fixture(scope="session")
def twice(tmp_path_factory: pytest.TempPathFactory) -> Twice:
    """Encoders that are made and heads that are solved; the other process has no network."""
    folder = tmp_path_factory.mktemp("twice")
    manifest = Manifest(plain_items(folder / "media")).write(folder / "m.csv")
    settings = (*FIXED, "fusion.solver=lbfgs", "fusion.combine=auto")
    here, there = folder / "run", folder / "a b" / "other run"
    extract_features(manifest, run=here, recipe="quick", settings=settings, workers=1)
    fuse(run=here, seeds=1)
    there.parent.mkdir()
    return Twice(here, there, make_run(manifest, there, settings, hash_seed=12345))
