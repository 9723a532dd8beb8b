"""Files that appear whole or not at all, whatever kills the process or the power."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`; on success synced and renamed onto it, on failure removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def temporary_name(path: Path) -> Path:
    """A hidden name beside `path`, each time another: containers on one folder may share a pid."""
    host = re.sub("[^A-Za-z0-9]", "-", socket.gethostname())[:20]
    return path.with_name(f".{path.name}.{host}-{os.getpid()}-{secrets.token_hex(4)}.tmp")


def sync(path: Path) -> None:
    """Makes a file's bytes, or a folder's entries, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, content: object) -> Path:
    """Writes a JSON file whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")
    return path


def append_line(path: Path, line: str) -> None:
    """Adds a line to a log; what is written stays whole lines unless the machine stops midway."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def sweep(path: Path) -> None:
    """Removes what killed writers of `path` left; the caller claims it, so that none is at work."""
    # As `temporary_name` makes them, or a pid alone, as earlier versions did.
    which = r"[A-Za-z0-9-]+-\d+-[0-9a-f]{8}|\d+"
    leftover = re.compile(rf"\.{re.escape(path.name)}\.({which})\.tmp")
    with os.scandir(path.parent) as entries:
        found = [entry.name for entry in entries if leftover.fullmatch(entry.name)]
    for name in found:
        path.with_name(name).unlink(missing_ok=True)


def discard(path: Path) -> None:
    """Removes a file or folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def cache_folder(*parts: str) -> Path:
    """A folder of the cache, which is MMGENRE_CACHE, else ~/.cache/mmgenre (XDG_CACHE_HOME)."""
    own = os.environ.get("MMGENRE_CACHE")
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return (Path(own) if own else Path(home) / "mmgenre").joinpath(*parts)
