"""Music genres from audio, words and cover art.

>>> from mmgenre import Manifest, extract_features, fuse, GenreTagger
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmgenre.explain.heat import explain_covers
    from mmgenre.fusion.tagger import GenreTagger
    from mmgenre.items.manifest import Manifest
    from mmgenre.pipeline import extract_features, fuse, read_shard

__all__ = ["GenreTagger", "Manifest", "explain_covers", "extract_features", "fuse", "read_shard"]

_HOMES = {
    "GenreTagger": "mmgenre.fusion.tagger",
    "Manifest": "mmgenre.items.manifest",
    "explain_covers": "mmgenre.explain.heat",
    "extract_features": "mmgenre.pipeline",
    "fuse": "mmgenre.pipeline",
    "read_shard": "mmgenre.pipeline",
}


def __getattr__(name: str) -> object:
    """Imports a public name when it is first used: `mmgenre --help` must not wait for torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'mmgenre' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
