"""What a decoder written in C prints on stderr by itself, as libmpg123 does after a jump.

Nobody can act on it: a fault is the error that the decoder returns, or that samples are missing.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile

STDERR = 2
OWN = b"libmpg123"  # `[src/libmpg123/layer3.c:INT123_do_layer3():1774] error: ...`


def _nameless() -> int:
    """File descriptor of a file without a name; in memory where the system has such files."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("mmgenre")
    with TemporaryFile(buffering=0) as file:
        return os.dup(file.fileno())


class _Aside:
    """Where the file descriptor of stderr leads meanwhile; several threads may be inside."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.n_inside = 0
        self.stderr = -1  # the real one, kept
        self.file = -1

    def enter(self) -> None:
        with self.lock:
            self.n_inside += 1
            if self.n_inside > 1:
                return
            try:
                self.stderr = os.dup(STDERR)
            except OSError:  # it is closed
                return
            try:
                self.file = _nameless()
            except OSError:  # no room: lines of decoders are the smaller evil
                os.close(self.stderr)
                return
            os.dup2(self.file, STDERR)

    def leave(self) -> None:
        with self.lock:
            self.n_inside -= 1
            if self.n_inside or self.file < 0:
                return
            os.dup2(self.stderr, STDERR)
            written = os.pread(self.file, os.fstat(self.file).st_size, 0)
            os.close(self.file)
            self.file = -1
            try:
                # What other threads have written meanwhile, such as progress.
                left = (line for line in written.splitlines(keepends=True) if OWN not in line)
                os.write(self.stderr, b"".join(left))
            except OSError:  # a terminal that was closed
                pass
            os.close(self.stderr)


_ASIDE = _Aside()


@contextmanager
def without_decoder_lines() -> Iterator[None]:
    """Lines of decoders written in C are not shown; whatever else goes to stderr comes after."""
    _ASIDE.enter()
    try:
        yield
    finally:
        _ASIDE.leave()
