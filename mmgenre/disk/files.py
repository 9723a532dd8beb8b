"""Files that appear whole or not at all, whatever kills the process or the power."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import re
import secrets
import shutil
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain, count
from pathlib import Path
from typing import Any, Literal, TextIO
from unicodedata import normalize

from mmgenre.errors import InputError, UnreachableError

# What a path or a file's own bytes can cause. Every other errno is of the machine: EIO, EMFILE, ...
OF_THE_FILE = frozenset(
    {
        errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG,
        errno.EINVAL, errno.EFBIG, errno.EOVERFLOW, errno.EILSEQ,
    }
)  # fmt: skip
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # causes of a write that fails halfway
NO_FILES = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
AT_FDCWD, RENAME_EXCHANGE = -100, 2  # Linux: fcntl.h, fs.h


def check_file(path: Path) -> None:
    """InputError unless there is a file (missing); reading others could wait for ever (unreadable).

    >>> check_file(Path("/dev/zero"))
    Traceback (most recent call last):
    mmgenre.errors.InputError: /dev/zero: a device and no file [unreadable]
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise
        raise InputError("missing", str(path), "no such file") from None
    if not stat.S_ISREG(mode):
        what = NO_FILES.get(stat.S_IFMT(mode), "something else")
        raise InputError("unreadable", str(path), f"{what} and no file")


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
    except OSError as error:
        if error.filename is None and error.errno in FULL:
            error.filename = str(path)  # else nobody would know which file had no room
        raise
    finally:
        temporary.unlink(missing_ok=True)


def swap(temporary: Path, target: Path) -> None:
    """Puts a finished file or folder in the place of `target` in one step, and removes the old one.

    Where two names can be exchanged (renameat2: Linux, most local file systems) `target` is there
    at every moment. Elsewhere two renames follow each other, with nothing at `target` in between.
    A failure leaves the old one in its place; after SIGKILL between the two renames it lies beside
    it as `.NAME.old`, and `sweep` puts it back. The caller claims `target`: it has one writer.
    """
    old = _old_name(target)
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


def without_links(path: Path) -> Path:
    """The path without links, as `Path.resolve`; a circle of links stays as it is."""
    return Path(os.path.realpath(path))


def without_steps_up(path: Path) -> Path:
    """The path as messages name it: without the `..` by which a run's manifest leads to music."""
    return without_links(path.parent) / path.name if ".." in path.parts else path


def read_json(path: Path) -> Any:
    """What a JSON file holds; ValueError if it is damaged, UnreachableError if it can't be read."""
    try:
        return json.loads(path.read_bytes())
    except RecursionError:
        raise ValueError("JSON that is nested too deeply") from None
    except OSError as error:
        if is_machine_fault(error):
            raise unreachable(path, error) from None
        raise


def is_machine_fault(error: OSError) -> bool:
    """Whether a file could not be read for a reason that says nothing about the file."""
    return error.errno is not None and error.errno not in OF_THE_FILE


def unreachable(path: Path | str, error: OSError) -> UnreachableError:
    """The error for a file that the machine does not give us now: why, and what to do."""
    name = errno.errorcode.get(error.errno or 0, type(error).__name__)
    advice = "a fault of this machine or its disk: repair it"
    if error.errno == errno.EAGAIN:
        advice = "it is in use by another program: close it there"
    elif error.errno in (errno.EACCES, errno.EPERM):
        advice = "get the right to read it"
    return UnreachableError(
        f"{path}: cannot be read now ({name}: {os.strerror(error.errno or 0)}); {advice}, then "
        "run this again. Nothing was changed"
    )


def set_damaged_aside(path: Path) -> Path:
    """Renames what was read and found damaged to `NAME.damaged`, and returns that path."""
    aside = free_name(path.with_name(f"{path.name}.damaged"))
    path.rename(aside)
    return aside


def finished_folders(above: Path) -> list[Path]:
    """The folders in a folder, sorted, without those being written and those set aside."""
    found = sorted(above.iterdir()) if above.is_dir() else []
    not_finished = re.compile(r"\..*|.*\.damaged(-\d+)?")
    return [p for p in found if p.is_dir() and not not_finished.fullmatch(p.name)]


def open_marker(path: Path, mode: Literal["w", "a", "r+"]) -> TextIO:
    """Opens a text file of our own for writing, made if it is not there.

    OSError if a link leads to another file, or if it is no regular file: nothing is cut short then.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags | (os.O_APPEND if mode == "a" else 0), 0o666)
    state = os.fstat(descriptor)
    if not stat.S_ISREG(state.st_mode) or state.st_nlink > 1:
        os.close(descriptor)
        raise OSError(errno.EINVAL, "a link or no regular file, so it is not written", str(path))
    if mode == "w":
        os.ftruncate(descriptor, 0)
    return os.fdopen(descriptor, mode, encoding="utf-8")


def append_line(path: Path, line: str) -> None:
    """Adds a line to a log file, which is created if it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_marker(path, "a") as file:
        file.write(line + "\n")


def _old_name(path: Path) -> Path:
    return path.with_name(f".{path.name}.old")


def sweep(path: Path) -> None:
    """Removes temporary files and folders of killed writers of `path`, which the caller claims.

    What a killed `swap` has moved out of the way is put back, unless its successor is in place.
    """
    old = _old_name(path)
    if old.exists() and not path.exists():
        old.replace(path)
    discard(old)
    # As `temporary_name` makes them, or a pid alone, as earlier versions did.
    which = r"[A-Za-z0-9-]+-\d+-[0-9a-f]{8}|\d+"
    for beside in list(path.parent.iterdir()):
        if re.fullmatch(rf"\.{re.escape(path.name)}\.({which})\.tmp", beside.name):
            discard(beside)


def discard(path: Path) -> None:
    """Removes a file, link or folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
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
