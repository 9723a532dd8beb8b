"""What the user has allowed, remembered on this machine.

A manifest, a run or a model may come from anybody, so that what it names is no permission.
Permissions are kept in the cache, outside of what they are for: those of a run hold for its folder,
those of a manifest for the file with the content that it had.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from mmgenre.disk.files import cache_folder, without_links
from mmgenre.disk.provenance import sha256_file
from mmgenre.disk.records import read_record, write_record


def allow(folder: Path, names: Iterable[str]) -> None:
    """Remembers which addresses, files and encoders the run in `folder` may use, and no others.

    Where the cache cannot be written, nothing is remembered.
    """
    with suppress(OSError):
        _keep(folder, {"folder": _identity(folder), "names": sorted(names)})


def allowed(folder: Path) -> frozenset[str]:
    """What was allowed for this folder; another one that takes its place has nothing."""
    with suppress(OSError, ValueError, LookupError, TypeError):
        kept = read_record(_place(folder))
        if kept["folder"] == _identity(folder):
            return frozenset(map(str, kept["names"]))
    return frozenset()


def allow_media(manifest: Path, folders: Iterable[Path]) -> None:
    """Remembers below which folders the media of a manifest, as it is now, may lie."""
    with suppress(OSError):
        names = sorted({str(without_links(folder)) for folder in folders})
        _keep(manifest, {"content": sha256_file(manifest), "folders": names})


def allowed_media(manifest: Path) -> tuple[Path, ...]:
    """The folders that were allowed for this file; with another content it has none."""
    with suppress(OSError, ValueError, LookupError, TypeError):
        kept = read_record(_place(manifest))
        if kept["content"] == sha256_file(manifest):
            return tuple(map(Path, kept["folders"]))
    return ()


def as_named(texts: Iterable[str]) -> frozenset[str]:
    """What the user has typed, as it stands and as the absolute path that it may be."""
    typed = frozenset(texts)
    return typed | {str(without_links(Path(t).expanduser())) for t in typed if "\0" not in t}


def _keep(path: Path, content: dict[str, Any]) -> None:
    place = _place(path)
    with suppress(OSError, ValueError):
        if read_record(place) == content:
            return
    write_record(place, content)


def _place(path: Path) -> Path:
    digest = hashlib.sha256(str(without_links(path)).encode(errors="surrogateescape")).hexdigest()
    return cache_folder("allowed", f"{digest[:32]}.json")


def _identity(folder: Path) -> list[int]:
    state = folder.stat()
    return [state.st_dev, state.st_ino]
