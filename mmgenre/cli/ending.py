"""How a command ends that a signal asks to: what it kept, and the command that goes on."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from mmgenre.errors import Interrupted
from mmgenre.learning.processes import is_main
from mmgenre.signals import REPEATED, SIGNALS, leave_closed_terminal

# Whose finished steps are found by the same command.
RESUMABLE = (
    "quickstart", "extract-features", "fuse", "run", "benchmark", "report", "untag",
    "train-starter",
)  # fmt: skip
KEPT = "finished steps are kept"
# Of the others. Some have written files before, each of which is whole: they are replaced at once.
NOTHING = "no file is left half written"


@contextmanager
def interrupts() -> Iterator[None]:
    """The first of SIGNALS raises Interrupted inside; the next one ends the process at once.

    But not SIGHUP: a closed terminal sends it, and the shell in it once more. One that whoever
    started us has ignored, such as nohup, stays ignored.
    """
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def end(number: int, frame: object) -> None:
        del frame
        for own, how in before.items():
            if how != signal.SIG_IGN:
                signal.signal(own, signal.SIG_IGN if own in REPEATED else signal.SIG_DFL)
        leave_closed_terminal()
        raise Interrupted(number)

    for number, how in before.items():
        if how != signal.SIG_IGN:
            signal.signal(number, end)
    try:
        yield
    finally:
        for number, how in before.items():
            signal.signal(number, how)


def exit_code(stop: Interrupted) -> int:
    """130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP, as shells have it."""
    return 128 + stop.signal


def lines(stop: Interrupted, words: list[str]) -> list[str]:
    """What was kept, and how to go on; `words` are those of the command line after `mmgenre`.

    >>> stop = Interrupted(signal.SIGINT)
    >>> stop.add_note("training text: epoch 9 of 100 is saved")
    >>> for line in lines(stop, ["fuse", "--run", "my runs"]):
    ...     print(line)
    stopped by Ctrl-C; training text: epoch 9 of 100 is saved; finished steps are kept
    to go on: mmgenre fuse --run 'my runs'
    """
    resumes = bool(words) and words[0] in RESUMABLE
    notes = [*getattr(stop, "__notes__", []), *([KEPT] if resumes else [])] or [NOTHING]
    command = shlex.join(["mmgenre", *words])
    return [
        f"stopped by {SIGNALS[signal.Signals(stop.signal)]}; {'; '.join(notes)}",
        f"to {'go on' if resumes else 'begin again'}: {command}",
    ]


def end(stop: Interrupted) -> int:
    """Prints the lines on stderr, of several processes in the main one; returns the exit code."""
    for line in lines(stop, sys.argv[1:]) if is_main() else ():
        typer.echo(line, err=True)
    return exit_code(stop)
