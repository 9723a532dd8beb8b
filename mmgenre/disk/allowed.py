"""Which address the user has let a run send its texts to, remembered on this machine.

A run or a model may come from anybody, so that what it names is no permission. Permissions are kept
in the cache, outside of the run, for the folder in which they were given.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

from mmgenre.disk.files import cache_folder, without_links
from mmgenre.disk.records import read_record, write_record


def allow_address(folder: Path, url: str) -> None:
    """Remembers that texts of the run in `folder` may be sent to `url`; if it can be kept."""
    with suppress(OSError):
        write_record(_place(folder), {"folder": _identity(folder), "url": url})


def allowed_address(folder: Path) -> str | None:
    """The address that was allowed for this folder; another one at the same path has none."""
    with suppress(OSError, ValueError, LookupError, TypeError):
        kept = read_record(_place(folder))
        if kept["folder"] == _identity(folder):
            return str(kept["url"])
    return None


def _place(folder: Path) -> Path:
    digest = hashlib.sha256(str(without_links(folder)).encode()).hexdigest()
    return cache_folder("allowed", f"{digest[:32]}.json")


def _identity(folder: Path) -> list[int]:
    state = folder.stat()
    return [state.st_dev, state.st_ino]
