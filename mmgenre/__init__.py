"""Music genres from audio, words and cover art.

>>> from mmgenre import Manifest, extract_features, fuse, GenreTagger
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmgenre.errors import MmgenreError
    from mmgenre.explain.heat import explain_covers
    from mmgenre.fusion.classifier import GenreClassifier
    from mmgenre.fusion.tagger import GenreTagger
    from mmgenre.items.item import Item
    from mmgenre.items.manifest import Manifest
    from mmgenre.learning.kind import EncoderType
    from mmgenre.measuring.frames import to_frame
    from mmgenre.pipeline.commands import extract_features, fuse, quickstart
    from mmgenre.pipeline.search import Search
    from mmgenre.pipeline.shards import read_shard

    __version__: str

__all__ = [
    "EncoderType",
    "GenreClassifier",
    "GenreTagger",
    "Item",
    "Manifest",
    "MmgenreError",
    "Search",
    "__version__",
    "explain_covers",
    "extract_features",
    "fuse",
    "quickstart",
    "read_shard",
    "to_frame",
]

_HOMES = {
    "EncoderType": "mmgenre.learning.kind",
    "GenreClassifier": "mmgenre.fusion.classifier",
    "GenreTagger": "mmgenre.fusion.tagger",
    "Item": "mmgenre.items.item",
    "Manifest": "mmgenre.items.manifest",
    "MmgenreError": "mmgenre.errors",
    "Search": "mmgenre.pipeline.search",
    "explain_covers": "mmgenre.explain.heat",
    "extract_features": "mmgenre.pipeline.commands",
    "fuse": "mmgenre.pipeline.commands",
    "quickstart": "mmgenre.pipeline.commands",
    "read_shard": "mmgenre.pipeline.shards",
    "to_frame": "mmgenre.measuring.frames",
}


def __getattr__(name: str) -> object:
    """Imports a public name when it is first used: `mmgenre --help` must not wait for torch."""
    if name == "__version__":
        return version("mmgenre")
    if name not in _HOMES:
        raise AttributeError(f"module 'mmgenre' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
