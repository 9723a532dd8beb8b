"""Music genres from audio, words and cover art.

>>> from mmgenre import Manifest, extract_features, fuse, GenreTagger
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmgenre.manifest import Manifest
    from mmgenre.stages import extract_features, fuse
    from mmgenre.tagger import GenreTagger

__all__ = ["GenreTagger", "Manifest", "extract_features", "fuse"]

_HOMES = {
    "GenreTagger": "mmgenre.tagger",
    "Manifest": "mmgenre.manifest",
    "extract_features": "mmgenre.stages",
    "fuse": "mmgenre.stages",
}


def __getattr__(name: str) -> object:
    """Imports a public name when it is first used: `mmgenre --help` must not wait for torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'mmgenre' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
