"""Files that appear whole or not at all, whatever kills the process or the power."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import secrets
import shlex
import shutil
import socket
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from time import monotonic, sleep

from mmgenre.errors import StoreError

NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)  # what flock says where it cannot work
PATIENCE_S = 1.0  # of one who would share a claim
NAMING_S = 0.05  # until one who has just locked has written its name, or is done already


class ClaimedError(StoreError):
    """Somebody else writes a path just now."""


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
        descriptor = file.fileno()
        if waiting is not None and not _locks_at_once(descriptor, path):
            sleep(NAMING_S)
            if not _locks_at_once(descriptor, path):
                owner = _owner(path)
                waiting(f"{owner}, at it since {owner.since}" if owner else "another process")
        _flock(descriptor, fcntl.LOCK_EX, path)
        os.ftruncate(descriptor, 0)  # whoever was killed inside
        with suppress(OSError):  # the disk is full: it is for others to read, and no more
            _write_name(descriptor)
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


def _locks_at_once(descriptor: int, path: Path) -> bool:
    try:
        _flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, path)
    except BlockingIOError:
        return False
    return True


def _flock(descriptor: int, how: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, how)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        raise StoreError(
            f"{path}: this file system has no locks ({errno.errorcode[error.errno]}): mount it "
            "with flock, or choose another folder"
        ) from None


def _lock_file(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def _acquire(path: Path, shared: bool) -> int:
    """A descriptor of the lock file, locked, with our name in it."""
    lock = _lock_file(path)
    _on_fork()
    until = monotonic() + PATIENCE_S
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            how = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
            _flock(descriptor, how | fcntl.LOCK_NB, path)
            if _is_at(descriptor, lock):
                # Names of those who were killed go. Asked first: to list a folder at each claim is
                # quadratic in its files, and ext4 takes 3 ms to cut even an empty file.
                if not shared and os.fstat(descriptor).st_size:
                    sweep(path)
                    os.ftruncate(descriptor, 0)
                try:
                    _write_name(descriptor)
                except OSError:  # the disk is full
                    if not shared:  # others may hold it
                        lock.unlink()
                    raise
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            if shared and monotonic() < until:  # who leaves a shared claim is alone for a moment
                sleep(0.01)
                continue
            raise ClaimedError(_refusal(path, lock)) from None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its owner removed the file before we had it: take the new one


def _release(path: Path, claim: _Claim) -> None:
    """Removes the lock file while nobody else can hold it, and lets go."""
    lock = _lock_file(path)
    try:
        if claim.shared:
            fcntl.flock(claim.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # From shared to alone is two steps: another may have come between, and removed the file.
        if _is_at(claim.descriptor, lock):
            if claim.shared:  # its name may be that of one killed while alone
                sweep(path)
            lock.unlink(missing_ok=True)
    except BlockingIOError:
        pass  # others share the claim: the last of them removes the file
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


def _write_name(descriptor: int) -> None:
    owner = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "since": datetime.now().astimezone().isoformat(" ", "seconds"),
        "command": textwrap.shorten(shlex.join(sys.orig_argv), 120, placeholder=" ..."),
    }
    os.write(descriptor, json.dumps(owner).encode() + b"\n")


@dataclass(frozen=True)
class _Owner:
    host: str
    pid: int
    since: str
    command: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    @property
    def is_here(self) -> bool:
        return self.host == socket.gethostname()


def _owner(lock: Path) -> _Owner | None:
    """The first name in a lock file that still lives, as far as one can know from here."""
    try:
        text = lock.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    for line in text.splitlines():
        try:
            said = json.loads(line)
            owner = _Owner(
                str(said["host"]), int(said["pid"]), str(said["since"]), str(said["command"])
            )
        except (ValueError, TypeError, LookupError):
            continue
        if not owner.is_here or _is_alive(owner.pid):
            return owner
    return None


def _refusal(path: Path, lock: Path) -> str:
    """Who claims the path, and what to do."""
    owner = _owner(lock)
    if owner is None:
        return f"{path}: another process is just writing it; wait a moment, then run this again"
    end_it = f"stop it (kill {owner.pid}{'' if owner.is_here else f' on {owner.host}'})"
    if owner.is_here and owner.pid == os.getpid():
        end_it = "leave it to that thread"
    return (
        f"{path}: {owner} has been writing it since {owner.since}: {owner.command}\n"
        f"Wait for it to end, or {end_it}, then run this again"
    )


def _is_alive(pid: int) -> bool:
    """Whether a process of this machine runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True


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
