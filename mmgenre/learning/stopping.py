"""Ctrl-C while a training works: it ends where a checkpoint can be written."""

from __future__ import annotations

import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from mmgenre.errors import StoppingWarning
from mmgenre.signals import REPEATED, SIGNALS, leave_closed_terminal


@dataclass
class Stop:
    """Whether a signal has asked for an end that waits.

    `waits_for`: the point that has to be reached before, as "epoch 9 of 100"; None: a signal acts
    at once, as it does when it comes a second time.
    """

    waits_for: str | None = None
    asked: int | None = None  # the signal that waits
    _before: dict[int, Callable[..., Any]] = field(default_factory=dict)

    def act(self) -> None:
        """Does what the signal would have done, if one waits."""
        if self.asked is not None:
            self._before[self.asked](self.asked, None)

    def _signalled(self, number: int, frame: object) -> None:
        if self.asked is not None and number in REPEATED:
            return
        if self.waits_for is None or self.asked is not None:
            self._before[number](number, frame)
            return
        self.asked = number
        leave_closed_terminal()
        warnings.warn(
            f"stopping after {self.waits_for}, which is then saved; once more stops at once",
            StoppingWarning,
            stacklevel=2,
        )


@contextmanager
def signals_held_back(*, wanted: bool = True) -> Iterator[Stop]:
    """SIGINT, SIGTERM and SIGHUP wait inside while `Stop.waits_for` names something.

    Only those that Python handles: one that is ignored, or ends the process by itself, stays so.
    Outside the main thread, which alone gets signals, nothing is held back.
    """
    stop = Stop()
    if wanted and threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in SIGNALS}
        stop._before = {number: how for number, how in before.items() if callable(how)}
    for number in stop._before:
        signal.signal(number, stop._signalled)
    try:
        yield stop
    finally:
        for number, how in stop._before.items():
            signal.signal(number, how)
    stop.act()  # if it came after the last point that it could wait for
