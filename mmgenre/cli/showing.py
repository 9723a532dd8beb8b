"""Progress on stderr: bars on a terminal, a line every few seconds in a log file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich import progress

    from mmgenre.progress import Progress

LINE_EVERY_S = 5.0  # in a log file, for all tasks together
WORTH_A_LINE_S = 1.0  # a task that ended sooner says nothing in a log file


@dataclass
class _Task:
    began: float
    first: int  # how much was done when it began, by an earlier command
    words: str = ""


@dataclass
class LogLines:
    """Progress as plain lines: of all tasks one every few seconds, and one at the end of each.

    >>> times = iter([0.0, 6.0, 9.0])
    >>> log = LogLines(sys.stdout, clock=lambda: next(times))
    >>> log("training text", 0, 100)
    >>> log.detail("training text", "loss 0.41")
    >>> log("training text", 30, 100)
    training text: 30 of 100, 0:00:14 left; loss 0.41
    >>> log("training text", 100, 100)
    training text: 100 of 100 in 0:00:09; loss 0.41
    """

    out: TextIO
    clock: Callable[[], float] = monotonic
    tasks: dict[str, _Task] = field(default_factory=dict)
    told: float | None = None  # when the last line was written

    def __call__(self, task: str, done: int, total: int) -> None:
        now = self.clock()
        own = self.tasks.setdefault(task, _Task(now, done))
        if self.told is None:
            self.told = now
        took, n = now - own.began, done - own.first
        words = f"; {own.words}" if own.words else ""
        if done >= total:
            del self.tasks[task]
            if took >= WORTH_A_LINE_S:
                self._write(f"{task}: {done:,} of {total:,} in {_clock(took)}{words}", now)
        elif now - self.told >= LINE_EVERY_S:
            left = f", {_clock(took / n * (total - done))} left" if n else ""
            self._write(f"{task}: {done:,} of {total:,}{left}{words}", now)

    def detail(self, task: str, words: str) -> None:
        if task in self.tasks:
            self.tasks[task].words = words

    def _write(self, line: str, now: float) -> None:
        self.told = now
        self.out.write(f"{line}\n")
        self.out.flush()


@dataclass
class Bars:
    """Progress as bars of rich: count, time, rate, what is left, and words."""

    bars: progress.Progress
    tasks: dict[str, progress.TaskID] = field(default_factory=dict)

    def __call__(self, task: str, done: int, total: int) -> None:
        if task not in self.tasks:
            self.tasks[task] = self.bars.add_task(
                task, total=total, completed=done, pace="", words=""
            )
        self.bars.update(self.tasks[task], completed=done, total=total)
        state = next(own for own in self.bars.tasks if own.id == self.tasks[task])
        pace, left_s = "", state.time_remaining
        if not state.finished and state.speed and left_s is not None:
            pace = f"{state.speed:,.1f}/s, {_clock(left_s)} left"
        self.bars.update(self.tasks[task], pace=pace)

    def detail(self, task: str, words: str) -> None:
        if task in self.tasks:
            self.bars.update(self.tasks[task], words=words)


@contextmanager
def shown_progress(*, quiet: bool = False) -> Iterator[Progress]:
    """Progress of the main process as stderr can show it; others and `quiet` show none."""
    from mmgenre.learning.processes import is_main
    from mmgenre.progress import silent

    if quiet or not is_main():
        yield silent
        return
    if not sys.stderr.isatty():
        yield LogLines(sys.stderr)
        return
    from rich import progress
    from rich.console import Console

    counted = progress.BarColumn(), progress.MofNCompleteColumn(), progress.TimeElapsedColumn()
    columns = ("{task.description:<22}", *counted, "{task.fields[pace]}", "{task.fields[words]}")
    with progress.Progress(*columns, console=Console(stderr=True)) as bars:
        yield Bars(bars)


def _clock(seconds: float) -> str:
    """0:00:09 for 9.4 s."""
    return str(timedelta(seconds=round(seconds)))
