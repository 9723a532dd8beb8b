"""Real Ctrl-C, SIGTERM and closed terminals: a command on one of its own, ended while it works."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

CTRL_C = b"\x03"  # the terminal turns it into SIGINT for all processes of the command
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")
PATIENCE_S = 600.0


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit code, all that its terminal showed, and what it has left."""

    code: int
    shown: str
    took_s: float  # from the signal to the end
    processes: list[str]  # its session's processes that live on
    temporary: list[str]  # our own names in its folder for temporary files

    @property
    def last_lines(self) -> list[str]:
        """The last two lines: what was kept, and how to go on."""
        return [line.rstrip() for line in self.shown.splitlines() if line.strip()][-2:]


def on_terminal(
    words: Sequence[object], at: str | None, temporary: Path, how: signal.Signals = signal.SIGINT
) -> Ended:
    """Runs `mmgenre words`; ends it as soon as its terminal shows the pattern `at` (None: never).

    SIGINT comes from the terminal, by Ctrl-C; SIGTERM is sent to the command alone; SIGHUP comes
    from the terminal as it is closed, after which nothing is shown.
    """
    temporary.mkdir(parents=True, exist_ok=True)
    pid, terminal = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs ignore it
        environment = {**os.environ, "TMPDIR": str(temporary), "COLUMNS": "200"}
        command = [sys.executable, "-m", "mmgenre", *map(str, words)]
        os.execve(sys.executable, command, environment)
    shown, asked_at = "", None
    deadline = monotonic() + PATIENCE_S
    while True:
        if monotonic() > deadline:
            os.killpg(pid, signal.SIGKILL)
            raise AssertionError(
                f"{words}: no end within {PATIENCE_S:g} s; it showed:\n{shown[-2000:]}"
            )
        if not select.select([terminal], [], [], 0.5)[0]:
            continue
        try:
            piece = os.read(terminal, 65_536)
        except OSError:  # EIO: nobody has the terminal open any more
            break
        if not piece:
            break
        shown += CONTROL.sub("", piece.decode(errors="replace"))
        if at is not None and asked_at is None and re.search(at, shown):
            asked_at = monotonic()
            if how is signal.SIGHUP:
                break
            if how is signal.SIGINT:
                os.write(terminal, CTRL_C)
            else:
                os.kill(pid, how)
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    took_s = monotonic() - (asked_at or monotonic())
    assert at is None or asked_at is not None, f"{at!r} was never shown:\n{shown[-2000:]}"
    left = _of_session(pid)
    until = monotonic() + 5
    while left and monotonic() < until:  # loky's tracker ends a moment after its parent
        sleep(0.1)
        left = _of_session(pid)
    names = sorted(path.name for path in temporary.glob("*mmgenre*"))
    return Ended(os.waitstatus_to_exitcode(status), shown, took_s, left, names)


def _of_session(session: int) -> list[str]:
    """Command lines of the processes of a session that live, zombies left out."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            fields = (folder / "stat").read_text().rpartition(") ")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                found.append((folder / "cmdline").read_text().replace("\0", " "))
        except OSError:  # it has just ended
            continue
    return found
