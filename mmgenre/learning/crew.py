"""A process among the others of a run: its rank, and messages through the launcher's store.

For `mmgenre.learning.processes`, which has the words that the rest of the library uses.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, cached_property
from typing import Any, TypeVar

from mmgenre.errors import MmgenreError

T = TypeVar("T")
LONGEST_PAUSE_S = 0.5  # between two looks at the store
PATIENCE_S = 60.0  # until others, too, report the failure of a step


class ElsewhereError(MmgenreError):
    """Work failed in the main process, which says why."""


class OutOfStepError(Exception):
    """Some processes failed where others went on: the run must end.

    No MmgenreError, so that no step of an experiment takes it for its own failure.
    """


@cache
def the_crew() -> Crew:
    """The one of this process."""
    return Crew()


class Crew:
    """A process among its like.

    Messages have numbers: within each work of `together` they count anew, so that one that fails
    early or late does not disturb what follows.
    """

    def __init__(self) -> None:
        self.n = int(os.environ.get("WORLD_SIZE", "1"))
        if self.n > 1 and "RANK" not in os.environ:
            raise MmgenreError(
                f"WORLD_SIZE is {self.n}, but RANK is not set: launch with torchrun or accelerate "
                "launch, or unset WORLD_SIZE for a single process"
            )
        self.rank = int(os.environ["RANK"]) if self.n > 1 else 0
        self.alone = self.n == 1  # or doing what only this process does
        self.leading = False  # main, within a program that leads the others
        self.works, self.messages = 0, 0

    @property
    def name(self) -> str:
        """For messages."""
        return f"process {self.rank} of {self.n}"

    @cached_property
    def accelerator(self) -> Any:
        """Connects the processes."""
        import torch
        from accelerate import Accelerator

        asked = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
        if asked != "no":
            raise MmgenreError(
                f"accelerate launch asks for mixed precision {asked}: here recipes decide it; "
                "launch with --mixed_precision no, and --set image.training.precision=bfloat16"
            )
        # Unless it is told of CPUs, accelerate connects GPUs only, and says nothing.
        accelerator = Accelerator(cpu=not torch.cuda.is_available(), mixed_precision="no")
        if accelerator.num_processes != self.n:
            raise MmgenreError(
                f"WORLD_SIZE is {self.n}, but accelerate connects {accelerator.num_processes} "
                "process(es): launch with torchrun or accelerate launch --multi_gpu"
            )
        return accelerator

    @cached_property
    def store(self) -> Any:
        """Keys and values that all processes see."""
        from torch.distributed.distributed_c10d import PrefixStore, _get_default_store

        prefix = f"mmgenre, {self.accelerator.num_processes} processes"  # which connects them
        return PrefixStore(prefix, _get_default_store())

    @contextmanager
    def working(self, *, alone: bool) -> Iterator[None]:
        """Whether what is called knows of one process only."""
        before, self.alone = self.alone, alone
        try:
            yield
        finally:
            self.alone = before

    def next_key(self) -> str:
        """The next message's; the same in all processes."""
        self.messages += 1
        return f"{self.works}.{self.messages}"

    def say(self, content: dict[str, Any]) -> None:
        """Main: tells all others."""
        self.store.set(self.next_key(), json.dumps(content))

    def hear(self) -> dict[str, Any]:
        """The others: waits for what main says; raises if it failed."""
        key = self.next_key()
        self.wait(lambda: self.store.check([key]))
        content: dict[str, Any] = json.loads(self.store.get(key))
        if "error" in content:
            raise ElsewhereError(f"{self.name}: the main process failed: {content['error']}")
        return content

    def wait(self, is_so: Callable[[], bool], limit_s: float | None = None) -> bool:
        """Until something is so; False if it is not within the limit."""
        started, pause_s = time.monotonic(), 0.001
        while not is_so():
            if limit_s is not None and time.monotonic() - started > limit_s:
                return False
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        return True

    @contextmanager
    def told_if_it_fails(self) -> Iterator[None]:
        """Main: so that nobody waits for what does not come."""
        try:
            yield
        except BaseException as error:
            self.say({"error": f"{type(error).__name__}: {error}"})
            raise

    def together(self, work: Callable[[], T]) -> T:
        """Does work that all do; it fails in all of them, or the run ends."""
        self.works, self.messages = self.works + 1, 0
        keys = [f"outcome.{self.works}.{rank}" for rank in range(self.n)]
        try:
            result = work()
        except Exception as error:
            self.store.set(keys[self.rank], "failed")
            # Others may wait for this process in a collective operation, so do not wait for long.
            told = self.wait(lambda: self.store.check(keys), PATIENCE_S)
            if told and all(self.store.get(key) == b"failed" for key in keys):
                raise
            raise OutOfStepError(f"{self.name} failed, others did not: {error}") from error
        else:
            self.store.set(keys[self.rank], "done")
            self.wait(lambda: self.store.check(keys))
            failed = [rank for rank, key in enumerate(keys) if self.store.get(key) == b"failed"]
            if failed:
                raise OutOfStepError(f"{self.name} was done, but process {failed[0]} failed")
            return result
        finally:
            self.works, self.messages = self.works + 1, 0

    def leave(self) -> None:
        """Says that nothing more is asked of the store; main waits for all, and disconnects."""
        keys = [f"left.{rank}" for rank in range(1, self.n)]
        if self.rank:
            self.store.set(keys[self.rank - 1], "")
        else:
            self.wait(lambda: self.store.check(keys))
        self.accelerator.end_training()
