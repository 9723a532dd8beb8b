"""What names, sizes, times, inodes and bytes say of the media that a row is read from."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from mmgenre.disk.files import as_on_disk, is_machine_fault, unreachable
from mmgenre.disk.provenance import sha256_file

MARK, SHA = 16, 32  # bytes
UNKNOWN = bytes(SHA)  # in place of a sha256: the files were not read yet, or could not be
HUGE, END = 1 << 30, 1 << 26  # bytes
NO_RIGHT = (errno.EACCES, errno.EPERM)

Source = Path | str


def first_mark(media: Sequence[Source]) -> bytes:
    """The mark of media that are seen for the first time: by names, sizes and times, or by text."""
    parts = []
    for source in media:
        if isinstance(source, str):
            parts.append(f"text\0{source}")
        elif (state := state_of(source)) is not None:
            parts.append(f"{source.name}\0{state.st_size}\0{state.st_mtime_ns}")
        else:
            parts.append(f"{source.name}\0missing")
    return short_hash("\n".join(parts).encode())


def text_mark(media: Sequence[Source]) -> bytes | None:
    """The mark of a row without files, which needs no record; None if it has files."""
    return None if any(isinstance(source, Path) for source in media) else first_mark(media)


def read_whole(file: Path, most: int) -> bytes | None:
    """The bytes of a file; None if it is none, larger than `most`, or cannot be read."""
    state = state_of(file)
    if state is not None and stat.S_ISREG(state.st_mode) and state.st_size <= most:
        with suppress(OSError):
            return as_on_disk(file).read_bytes()
    return None


def content_of_bytes(content: bytes) -> bytes:
    """What `content_of` gives for one file of these bytes."""
    return hashlib.sha256(hashlib.sha256(content).digest()).digest()


def content_of(media: Iterable[Source]) -> bytes | None:
    """sha256 over a row's files and its text; UNKNOWN if one is no file, None if closed to us.

    UnreachableError if the machine is at fault.
    """
    digest = hashlib.sha256()
    for source in media:
        if isinstance(source, str):
            digest.update(hashlib.sha256(source.encode()).digest())
            continue
        state = state_of(source)
        if state is None or not stat.S_ISREG(state.st_mode):  # a pipe could be waited for for ever
            return UNKNOWN
        try:
            digest.update(_sha256(as_on_disk(source), state.st_size))
        except OSError as error:
            if error.errno in NO_RIGHT:
                return None
            if is_machine_fault(error):
                raise unreachable(source, error) from None
            return UNKNOWN
    return digest.digest()


def _sha256(file: Path, size: int) -> bytes:
    """sha256 of a file's bytes; of a huge one, of its size, its beginning and its end.

    A recording of 1 GiB lasts for hours; what is larger is a disk image, or a file of nothing, and
    reading it would hold up all others.
    """
    if size <= HUGE:
        return bytes.fromhex(sha256_file(file))
    digest = hashlib.sha256(str(size).encode())
    with file.open("rb") as opened:
        for start in (0, size - END):
            opened.seek(start)
            digest.update(opened.read(END))
    return digest.digest()


def state_of(file: Path) -> os.stat_result | None:
    """Size and times of a file; None if it is not there, or may not be looked at.

    UnreachableError if the machine is at fault.
    """
    try:
        return as_on_disk(file).stat()
    except ValueError:  # a NUL in its name
        return None
    except OSError as error:
        if is_machine_fault(error) and error.errno not in NO_RIGHT:
            raise unreachable(file, error) from None
        return None


class Identity:
    """Media -> text that differs if a file may be another: path below a folder, size, ..."""

    def __init__(self, folder: Path) -> None:
        base = os.path.realpath(folder)
        # Without links: the run's own manifest names the same file by another path.
        self.parent = cache(lambda parent: os.path.relpath(os.path.realpath(parent), base))

    def __call__(self, media: Sequence[Source]) -> str:
        return "\n".join(s if isinstance(s, str) else self._of_file(s) for s in media)

    def _of_file(self, file: Path) -> str:
        parent, name = os.path.split(file)
        state = state_of(file)
        if state is None:
            return f"{self._below(parent)}/{name}\0missing"
        times = f"{state.st_mtime_ns}\0{state.st_ctime_ns}"
        return f"{self._below(parent)}/{name}\0{state.st_size}\0{times}\0{state.st_ino}"

    def _below(self, parent: str) -> str:
        try:
            return self.parent(parent)
        except ValueError:  # a NUL in its name
            return parent


def short_hash(content: bytes) -> bytes:
    """A hash of `MARK` bytes."""
    return hashlib.blake2b(content, digest_size=MARK).digest()
