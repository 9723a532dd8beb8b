"""kill -9 at every step of writing that changes a folder."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

STEPS = ("mkdir", "replace", "rename", "unlink", "rmdir")


def killed_at_each_step(
    write: Callable[[], object],
    *further: Any,
    steps: Sequence[str] = STEPS,
) -> Iterator[int]:
    """Calls `write` in forked processes, the n-th of which is killed before its n-th step.

    Yields n after each kill; ends when a process has lived to the end. Steps are functions of `os`;
    `further` are pairs (module, name) of others.
    """
    for n in range(10_000):
        child = os.fork()
        if child == 0:
            _write_until(n, write, (*((os, name) for name in steps), *further))
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0, "the writer failed: see its traceback"
            return
        assert os.WTERMSIG(status) == signal.SIGKILL
        yield n


def _write_until(n: int, write: Callable[[], object], steps: Any) -> NoReturn:
    left = n

    def counted(step: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
            return step(*args, **kwargs)

        return call

    try:
        os.fsync = lambda fd: None  # no power is cut here, and it takes long
        for module, name in steps:
            setattr(module, name, counted(getattr(module, name)))
        write()
    except BaseException:
        import traceback

        traceback.print_exc()
        os._exit(1)
    os._exit(0)
