"""The file that HDF5 writes to, so that a full disk is an error and not a crash."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Self

from mmgenre.errors import StoreError


class Disk:
    """A new file as h5py takes it. Faults of the disk are kept, and raised by `check`.

    HDF5 never hears of a fault: when it cannot write what it holds in memory, closing its file
    fails, and the process dies of a segmentation fault (HDF5 2.0). So nothing more is written
    after the first fault, HDF5 goes on as if it were, and the writer throws the file away.
    """

    def __init__(self, temporary: Path, target: Path) -> None:
        """Opens `temporary`, which will take the place of `target`, the name that errors give."""
        self.target = target
        self.position = self.size = 0  # as HDF5 believes
        self.fault: OSError | None = None
        self.descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)

    def check(self) -> None:
        """Raises StoreError if the disk has failed."""
        if self.fault is not None:
            raise cannot_write(self.target, self.fault)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Moves to a place; HDF5 asks for the end to learn the size."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self.position, os.SEEK_END: self.size}[whence]
        self.position = start + offset
        return self.position

    def tell(self) -> int:
        """The place."""
        return self.position

    def write(self, content: memoryview) -> int:
        """Writes all, or takes note of why not."""
        left, place = memoryview(content).cast("B"), self.position
        self.position += len(left)
        self.size = max(self.size, self.position)
        total = len(left)
        try:
            while self.fault is None and left:
                n = os.pwrite(self.descriptor, left, place)
                left, place = left[n:], place + n
        except OSError as error:
            self.fault = error
        return total

    def read(self, size: int) -> bytes:
        """By this method h5py knows a file; it calls `readinto`."""
        content = bytearray(size)
        self.readinto(memoryview(content))
        return bytes(content)

    def readinto(self, buffer: memoryview) -> int:
        """Reads; what a failed disk did not take is zeros."""
        buffer[:] = os.pread(self.descriptor, len(buffer), self.position).ljust(len(buffer), b"\0")
        self.position += len(buffer)
        return len(buffer)

    def truncate(self, size: int) -> int:
        """Sets the size."""
        self.size = size
        try:
            if self.fault is None:
                os.ftruncate(self.descriptor, size)
        except OSError as error:
            self.fault = error
        return size

    def flush(self) -> None:
        """Nothing is held back."""


def cannot_write(path: Path, error: OSError) -> StoreError:
    """The error that says that a file could not be written, and why."""
    code = errno.errorcode.get(error.errno or 0, type(error).__name__)
    return StoreError(
        f"{path}: cannot be written: {error.strerror or error} ({code}); the earlier file, if "
        f"there was one, is as it was. Make room, or get the right to write in {path.parent}, "
        "then run it again"
    )
