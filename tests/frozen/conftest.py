"""Tiny models, saved once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import tiny_models

MODELS = ("hubert", "clap", "dinov2", "clip", "bert", "timm_network")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Folders of models by the name of what makes them; not to be changed."""
    folder = tmp_path_factory.mktemp("models")
    return {name: getattr(tiny_models, name)(folder / name) for name in MODELS}
