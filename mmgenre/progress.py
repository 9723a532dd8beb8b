"""How a long piece of work tells that it moves: a callback that the command line draws as bars."""

from __future__ import annotations

from collections.abc import Callable

# (what is being done, how much is done, of how much); the last call of a task has done == total.
Progress = Callable[[str, int, int], None]


def silent(task: str, done: int, total: int) -> None:
    """A progress that tells nobody."""
    del task, done, total
