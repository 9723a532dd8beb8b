"""What a decoder written in C prints on stderr by itself, as libmpg123 does after a jump.

Nobody can act on it: a fault is the error that the decoder returns, or that samples are missing.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import IO

STDERR = 2
OWN = b"libmpg123"  # `[src/libmpg123/layer3.c:INT123_do_layer3():1774] error: ...`


class _Aside:
    """Where the file descriptor of stderr leads meanwhile; several threads may be inside."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.n_inside = 0
        self.stderr = -1  # the real one, kept
        self.file: IO[bytes] | None = None

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
                self.file = TemporaryFile(buffering=0)  # noqa: SIM115
            except OSError:  # no room: lines of decoders are the smaller evil
                os.close(self.stderr)
                return
            os.dup2(self.file.fileno(), STDERR)

    def leave(self) -> None:
        with self.lock:
            self.n_inside -= 1
            if self.n_inside or self.file is None:
                return
            os.dup2(self.stderr, STDERR)
            size = os.fstat(self.file.fileno()).st_size
            written = os.pread(self.file.fileno(), size, 0)
            self.file.close()
            self.file = None
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
