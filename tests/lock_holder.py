"""A process inside a lock, for others to wait for."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HOLDER = """
import select, sys, time
from pathlib import Path
from mmgenre.locks import locked
with locked(Path(sys.argv[1])):
    print("inside", flush=True)
    select.select([sys.stdin], [], [], 10)  # until it is told, or nobody was told of it
    time.sleep(0.2)
    Path(sys.argv[1] + ".left").touch()
"""
Process = subprocess.Popen[str]


@contextmanager
def holder(path: Path) -> Iterator[Process]:
    """A process that is inside the lock."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "inside\n"
        try:
            yield process
        finally:
            process.kill()
