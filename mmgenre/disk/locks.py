"""Locks and claims: which process works at a path now. Both end with their process."""

from __future__ import annotations

import errno
import json
import os
import shlex
import socket
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from threading import get_ident

from filelock import FileLock, Timeout

from mmgenre.disk.files import open_marker, replacing, sweep, without_links
from mmgenre.errors import StoreError

NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)  # from file systems without locks
MOMENT_S = 0.05  # until a process that has just locked a file has written its name into it
PATIENCE_S = 1.0  # of a process that joins or leaves a shared claim: others do so one by one


class ClaimedError(StoreError):
    """Another process or thread writes the path now."""


@contextmanager
def locked(path: Path, waiting: Callable[[str], object] | None = None) -> Iterator[None]:
    """Only one process at a time is inside; the others wait. A lock ends with its process.

    While the lock is held, the file `path` names the process that holds it; then it is removed.
    `waiting` is called once, before a wait of more than a moment, with the name of that process.
    StoreError if the file system has no locks.
    """
    with _holding(_lock(path), path, MOMENT_S, waiting or (lambda _: None)):
        yield


@contextmanager
def claimed(
    path: Path, shared: bool = False, waiting: Callable[[str], object] | None = None
) -> Iterator[None]:
    """Lets this thread alone write `path`; other processes and threads are refused at once.

    With `waiting` they are waited for instead: it is called as that of `locked`.

    Shared claims exclude one that is not shared, but not each other; none of their holders writes
    `path` itself. A thread may claim a path again inside its own claim. A claim ends with its
    process, even after SIGKILL. While it lasts, the hidden file `.NAME.lock` names its process
    (shared: one file for each, in the folder `.NAME.shared`). What a killed process leaves does
    not block the next claim, which removes it together with temporary files of `path`.

    ClaimedError says by which process, since when, and what to do; StoreError: there are no locks.
    """
    path = without_links(path.parent) / path.name
    lock = _lock(path.with_name(f".{path.name}.lock"))
    sharers = path.with_name(f".{path.name}.shared")
    own = _lock(sharers / f"{socket.gethostname()}-{os.getpid()}-{get_ident()}")
    if own.is_locked and not shared:
        raise StoreError(
            f"{path}: this process claims it together with others and cannot write it alone; "
            "leave the shared claim first"
        )
    with ExitStack() as held:
        if lock.is_locked or own.is_locked:  # by this thread
            held.enter_context(lock if lock.is_locked else own)
        elif shared:
            held.callback(_remove_if_empty, sharers, lock, path)
            with _holding(lock, path, PATIENCE_S, waiting):
                held.enter_context(_holding(own, path, MOMENT_S))
        else:
            held.enter_context(_holding(lock, path, MOMENT_S, waiting))
            if sharers.is_dir():
                for file in sharers.iterdir():
                    # Refused, or waited for, unless its process ended.
                    with _holding(_lock(file), path, MOMENT_S, waiting):
                        pass
                sharers.rmdir()
        yield


@contextmanager
def replacing_alone(path: Path) -> Iterator[Path]:
    """`replacing` by one process at a time; what a killed one has left beside `path` is removed.

    On a file system without locks several may write: the last one remains, whole.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        with suppress(StoreError):
            held.enter_context(claimed(path, waiting=lambda _: None))
        yield held.enter_context(replacing(path))


def made_once(path: Path, make: Callable[[], object]) -> bool:
    """Makes a file unless it exists; False if another process is making it.

    It is checked under the claim: another process may have made it since this one was given it.
    """
    try:
        with claimed(path):
            if not path.is_file():
                make()
    except ClaimedError:
        return False
    return True


def tidy(path: Path) -> None:
    """Puts in order what a killed writer of `path` has left, if there is one and no other at work.

    A reader may call it: it only looks for a lock file, and leaves all as it is if it cannot write.
    """
    if path.with_name(f".{path.name}.lock").is_file():
        with suppress(StoreError, OSError), claimed(path):
            pass


def _remove_if_empty(sharers: Path, lock: FileLock, path: Path) -> None:
    # Under the lock: a process that joins meanwhile has made the folder and relies on it.
    with suppress(ClaimedError, OSError), _holding(lock, path, PATIENCE_S):
        sharers.rmdir()


# The same object for a path each time, which counts entries per thread. filelock does not open a
# symbolic link, does not accept a lock on a file that its holder has removed meanwhile, and closes
# the descriptor in forked children.
_lock = partial(FileLock, poll_interval=0.01, is_singleton=True, fallback_to_soft=False)


def _acquire(lock: FileLock, path: Path, timeout_s: float) -> bool:
    """Whether the lock is held now; a negative timeout waits as long as it takes."""
    try:
        lock.acquire(timeout=timeout_s)
    except Timeout:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        raise StoreError(
            f"{path}: this file system has no locks ({errno.errorcode[error.errno]}): mount it "
            "with flock, or choose another folder"
        ) from None
    return True


@contextmanager
def _holding(
    lock: FileLock, path: Path, timeout_s: float, waiting: Callable[[str], object] | None = None
) -> Iterator[None]:
    """Holds a lock file of `path` with this process's name in it, then removes the file.

    If it is still locked after `timeout_s`, tells `waiting` and waits, or raises ClaimedError.
    """
    file = Path(lock.lock_file)
    if not _acquire(lock, path, timeout_s):
        owner = None
        # It may be removed meanwhile, or cut short by a full disk.
        with suppress(OSError, ValueError, TypeError):
            owner = _Owner(**json.loads(file.read_text(encoding="utf-8")))
        if waiting is None:
            raise ClaimedError(_refusal(path, owner))
        waiting(f"{owner}, at it since {owner.since}" if owner else "another process")
        _acquire(lock, path, -1)
    try:
        # A name in it is that of a killed process. To list the folder at every claim would be
        # quadratic in the number of its files.
        if file.stat().st_size:
            sweep(path)
        since = datetime.now().astimezone().isoformat(" ", "seconds")
        command = textwrap.shorten(shlex.join(sys.orig_argv), 120, placeholder=" ...")
        own = _Owner(socket.gethostname(), os.getpid(), since, command)
        # A full disk does not matter: the name only serves messages of other processes. Truncated
        # last, as ext4 syncs a file on closing it (4 ms) if it was cut to nothing and then written.
        with suppress(OSError), open_marker(file, "r+") as opened:
            opened.write(json.dumps(asdict(own)))
            opened.truncate()
        yield
    finally:
        if lock.is_locked:  # not in a forked child, which has no part in the lock
            if lock.lock_counter == 1:  # the outermost of this thread's entries
                file.unlink(missing_ok=True)
            lock.release()


@dataclass(frozen=True)
class _Owner:
    """The process that holds a lock, as it wrote itself into the lock file."""

    host: str
    pid: int
    since: str
    command: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def _refusal(path: Path, owner: _Owner | None) -> str:
    """Which process claims the path, and what to do."""
    if owner is None:
        return f"{path}: another process is just writing it; wait a moment, then run this again"
    there = "" if owner.host == socket.gethostname() else f" on {owner.host}"
    own = not there and owner.pid == os.getpid()
    end_it = "leave it to that thread" if own else f"stop it (kill {owner.pid}{there})"
    return (
        f"{path}: {owner} has been writing it since {owner.since}: {owner.command}\n"
        f"Wait for it to end, or {end_it}, then run this again"
    )
