"""Locks and claims: who is at a path just now; both end with their process, however that ends."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from time import monotonic, sleep

from mmgenre.disk.files import sweep
from mmgenre.disk.owners import owner_of, write_name
from mmgenre.errors import StoreError

NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)  # what flock says where it cannot work
PATIENCE_S = 1.0  # of one who would share a claim
NAMING_S = 0.05  # until one who has just locked has written its name, or is done already


class ClaimedError(StoreError):
    """Somebody else writes a path just now."""


@contextmanager
def locked(path: Path, waiting: Callable[[str], object] | None = None) -> Iterator[None]:
    """Only one process at a time is inside; the others wait. A lock ends with its process.

    Args:
        path: a file of its own; it names who is inside.
        waiting: told once, before a wait that is more than a moment, who is inside since when.

    Raises:
        StoreError: the file system has no locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        descriptor, at_once = file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB
        if waiting is not None and not _flock(descriptor, at_once, path):
            sleep(NAMING_S)
            if not _flock(descriptor, at_once, path):
                owner = owner_of(path)
                waiting(f"{owner}, at it since {owner.since}" if owner else "another process")
        _flock(descriptor, fcntl.LOCK_EX, path)
        os.ftruncate(descriptor, 0)  # whoever was killed inside
        with suppress(OSError):  # the disk is full: it is for others to read, and no more
            write_name(descriptor)
        try:
            yield
        finally:
            os.ftruncate(descriptor, 0)


@dataclass
class _Claim:
    descriptor: int
    shared: bool
    depth: int = 1


# Who claims what in this process, by (path, thread): flock would have us wait for ourselves.
_CLAIMS: dict[tuple[Path, int], _Claim] = {}


@contextmanager
def claimed(path: Path, shared: bool = False) -> Iterator[None]:
    """Says that this thread writes `path`; anybody else who does is refused at once.

    Shared claims stand beside each other and exclude one that is not. A claim may be claimed again
    inside itself. It ends with its process, however that ends, and names its owner in the hidden
    file `.NAME.lock`, which is removed by the last to leave; after a kill it stays until the next
    claim, which it does not block, and which sweeps away what the killed one left.

    Raises:
        ClaimedError: somebody else claims the path: who, since when, and what to do.
        StoreError: the file system has no locks.
    """
    path = path.parent.resolve() / path.name
    key = path, threading.get_ident()
    claim = _CLAIMS.get(key)
    if claim is None:
        path.parent.mkdir(parents=True, exist_ok=True)
        _CLAIMS[key] = claim = _Claim(_acquire(path, shared), shared)
    elif claim.shared and not shared:
        raise StoreError(
            f"{path}: this process claims it together with others and cannot write it alone; "
            "leave the shared claim first"
        )
    else:
        claim.depth += 1
    try:
        yield
    finally:
        claim.depth -= 1
        # A forked child owns nothing, and comes here too.
        if not claim.depth and _CLAIMS.pop(key, None) is claim:
            _release(path, claim)


def _flock(descriptor: int, how: int, path: Path) -> bool:
    """Whether it is locked now; with LOCK_NB another may have it."""
    try:
        fcntl.flock(descriptor, how)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        raise StoreError(
            f"{path}: this file system has no locks ({errno.errorcode[error.errno]}): mount it "
            "with flock, or choose another folder"
        ) from None
    return True


def _lock_file(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def _acquire(path: Path, shared: bool) -> int:
    """A descriptor of the lock file, locked, with our name in it."""
    lock, how = _lock_file(path), fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    _on_fork()
    until = monotonic() + PATIENCE_S
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            is_locked = _flock(descriptor, how | fcntl.LOCK_NB, path)
            if is_locked and _is_at(descriptor, lock):
                _sign(descriptor, path, shared)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        if is_locked:  # its owner removed the file before we had it: take the new one
            continue
        if not shared or monotonic() > until:
            raise ClaimedError(_refusal(path, lock))
        sleep(0.01)  # who leaves a shared claim is alone for a moment


def _sign(descriptor: int, path: Path, shared: bool) -> None:
    # Names of those who were killed go. Asked first: to list a folder at each claim is quadratic
    # in its files, and ext4 takes 3 ms to cut even an empty file.
    if not shared and os.fstat(descriptor).st_size:
        sweep(path)
        os.ftruncate(descriptor, 0)
    try:
        write_name(descriptor)
    except OSError:  # the disk is full
        if not shared:  # others may hold it
            _lock_file(path).unlink()
        raise


def _release(path: Path, claim: _Claim) -> None:
    """Removes the lock file while nobody else can hold it, and lets go."""
    lock, at_once = _lock_file(path), fcntl.LOCK_EX | fcntl.LOCK_NB
    try:
        # Others may share the claim: the last of them removes the file. From shared to alone is
        # two steps: another may have come between, and removed it.
        is_alone = not claim.shared or _flock(claim.descriptor, at_once, path)
        if is_alone and _is_at(claim.descriptor, lock):
            if claim.shared:  # its name may be that of one killed while alone
                sweep(path)
            lock.unlink(missing_ok=True)
    finally:
        # By hand: a child forked by a library that skips Python's hooks keeps the descriptor.
        fcntl.flock(claim.descriptor, fcntl.LOCK_UN)
        os.close(claim.descriptor)


@cache
def _on_fork() -> None:
    """From now on forked children let go of what they inherit: a claim ends with its owner."""

    def forget() -> None:
        for claim in _CLAIMS.values():
            os.close(claim.descriptor)
        _CLAIMS.clear()

    os.register_at_fork(after_in_child=forget)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _refusal(path: Path, lock: Path) -> str:
    """Who claims the path, and what to do."""
    owner = owner_of(lock)
    if owner is None:
        return f"{path}: another process is just writing it; wait a moment, then run this again"
    end_it = f"stop it (kill {owner.pid}{'' if owner.is_here else f' on {owner.host}'})"
    if owner.is_here and owner.pid == os.getpid():
        end_it = "leave it to that thread"
    return (
        f"{path}: {owner} has been writing it since {owner.since}: {owner.command}\n"
        f"Wait for it to end, or {end_it}, then run this again"
    )
