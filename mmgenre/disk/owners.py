"""Names of processes in a lock file, for others to read."""

from __future__ import annotations

import json
import os
import shlex
import socket
import sys
import textwrap
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True)
class Owner:
    """A process that is at a path; `since` is a time to be shown."""

    host: str
    pid: int
    since: str
    command: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    @property
    def is_here(self) -> bool:
        """Whether it runs on this machine, or did."""
        return self.host == socket.gethostname()

    @property
    def may_live(self) -> bool:
        """False if it surely has ended; of other machines nothing is known."""
        if not self.is_here:
            return True
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except (PermissionError, OverflowError):
            pass
        return True


def write_name(descriptor: int) -> None:
    """Adds this process to an open lock file."""
    owner = Owner(
        host=socket.gethostname(),
        pid=os.getpid(),
        since=datetime.now().astimezone().isoformat(" ", "seconds"),
        command=textwrap.shorten(shlex.join(sys.orig_argv), 120, placeholder=" ..."),
    )
    os.write(descriptor, json.dumps(asdict(owner)).encode() + b"\n")


def owner_of(lock: Path) -> Owner | None:
    """The first name in a lock file that still lives, as far as one can know from here."""
    try:
        text = lock.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    for line in text.splitlines():
        try:
            said = json.loads(line)
            owner = Owner(
                str(said["host"]), int(said["pid"]), str(said["since"]), str(said["command"])
            )
        except (ValueError, TypeError, LookupError):
            continue  # cut short by a full disk, or no name
        if owner.may_live:
            return owner
    return None
