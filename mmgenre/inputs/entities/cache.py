"""Where compiled knowledge bases and the answers of services are kept between runs."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(*parts: str) -> Path:
    """A folder of the cache, which is MMGENRE_CACHE, else ~/.cache/mmgenre (XDG_CACHE_HOME)."""
    own = os.environ.get("MMGENRE_CACHE")
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return (Path(own) if own else Path(home) / "mmgenre").joinpath(*parts)
