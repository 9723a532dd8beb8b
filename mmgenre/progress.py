"""How a long piece of work tells that it moves: a callback that the command line draws as bars."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

# (what is being done, how much is done, of how much); the last call of a task has done == total.
Progress = Callable[[str, int, int], None]


@runtime_checkable
class Detailed(Protocol):
    """A progress that also shows words about a task, such as its loss."""

    def detail(self, task: str, words: str) -> None:
        """Words that stand beside the task from its next call on."""


def silent(task: str, done: int, total: int) -> None:
    """A progress that tells nobody."""
    del task, done, total


def tell(progress: Progress, task: str, words: str) -> None:
    """Words about a task, if the progress shows any."""
    if isinstance(progress, Detailed):
        progress.detail(task, words)
