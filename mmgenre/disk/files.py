"""Files that appear whole or not at all, whatever kills the process or the power."""

from __future__ import annotations

import ctypes
import json
import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain, count
from pathlib import Path
from unicodedata import normalize

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # Linux: fcntl.h, fs.h


def as_on_disk(path: Path) -> Path:
    """The path in the Unicode form that the disk has; as given if neither form is there.

    Macs write `é` in file names as two characters (NFD), most other programs as one (NFC).
    """
    if str(path).isascii() or path.exists():
        return path
    parent = as_on_disk(path.parent)
    forms = (parent / normalize(form, path.name) for form in ("NFC", "NFD"))
    return next((form for form in forms if form.exists()), path)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`: on success synced and renamed to it, on failure removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def swap(temporary: Path, target: Path) -> None:
    """Puts a finished file or folder in the place of `target` in one step, and removes the old one.

    Where two names can be exchanged (renameat2: Linux, most local file systems) `target` is there
    at every moment. Elsewhere two renames follow each other, with nothing at `target` in between.
    A failure leaves the old one in its place; after SIGKILL between the two renames it lies beside
    it as `.NAME.old` until the next swap. The caller claims `target`: it has one writer at a time.
    """
    old = target.with_name(f".{target.name}.old")
    if not target.exists():
        temporary.replace(target)
    elif not _exchange(temporary, target):
        discard(old)
        target.replace(old)
        try:
            temporary.replace(target)
        except BaseException:
            old.replace(target)
            raise
    sync(target.parent)
    with suppress(OSError):  # the new one is in place; what remains of the old one harms nobody
        discard(temporary)  # here it lies after an exchange
        discard(old)


def _exchange(one: Path, other: Path) -> bool:
    """Exchanges two names; False if the C library or the file system cannot."""
    rename = getattr(ctypes.CDLL(None), "renameat2", lambda *_: -1)
    ends = (AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other))
    return bool(rename(*ends, RENAME_EXCHANGE) == 0)


def temporary_name(path: Path) -> Path:
    """A hidden name beside `path`, different each time: containers may share host name and pid."""
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
    """Adds a line to a log file, which is created if it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def sweep(path: Path) -> None:
    """Removes temporary files and folders of killed writers of `path`, which the caller claims."""
    # As `temporary_name` makes them, or a pid alone, as earlier versions did.
    which = r"[A-Za-z0-9-]+-\d+-[0-9a-f]{8}|\d+"
    for beside in list(path.parent.iterdir()):
        if re.fullmatch(rf"\.{re.escape(path.name)}\.({which})\.tmp", beside.name):
            discard(beside)


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


def free_name(path: Path) -> Path:
    """`path`, or the first of `path-2`, `path-3`, ... that is not there."""
    names = (path.with_name(f"{path.name}-{k}") for k in count(2))
    return next(name for name in chain([path], names) if not name.exists())
