"""Processes beside the test: one inside a lock, for others to wait for, or any other."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

HOLDER = """
import select, sys, time
from pathlib import Path
from mmgenre.disk.locks import locked
with locked(Path(sys.argv[1])):
    print("inside", flush=True)
    select.select([sys.stdin], [], [], 10)  # until it is told, or nobody was told of it
    time.sleep(0.2)
    Path(sys.argv[1] + ".left").touch()
"""
Process = subprocess.Popen[str]


@contextmanager
def running(source: str, says: str, *words: object) -> Iterator[Process]:
    """Source in a process of its own, which has said so much; killed at the end."""
    with subprocess.Popen(
        [sys.executable, "-c", source, *map(str, words)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"{says}\n"
        try:
            yield process
        finally:
            process.kill()


def holder(path: Path) -> AbstractContextManager[Process]:
    """A process that is inside the lock."""
    return running(HOLDER, "inside", path)
