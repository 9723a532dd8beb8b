"""Training by several processes, which torchrun or accelerate launch start.

The launcher starts the same command several times and gives each process a rank. Only training is
collective; all else is done by rank 0, and `from_main` broadcasts its results. Without a launcher
there is one process: all here passes straight through, and neither accelerate nor
torch.distributed is imported. All machines must see the run's folder under the same path. If a rank
dies, the launcher stops the others, and the same command resumes the run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import timedelta
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, TypeVar, cast

from mmgenre.errors import MmgenreError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import nn

T = TypeVar("T")
LONGEST_WORK = timedelta(days=365)  # of rank 0 alone; reading media may take days
LONGEST_DELAY = timedelta(minutes=1)  # between the failures of two ranks in the same work


class ElsewhereError(MmgenreError):
    """Rank 0 failed, and raises its own error."""


class OutOfStepError(Exception):
    """Some ranks failed where others went on: the run must end.

    No MmgenreError, which an experiment would list as the failure of a single step.
    """


class _World:
    """The `n` processes of a run, as that of `rank` sees them.

    `alone`: whether the code at work knows of one process only.
    """

    def __init__(self) -> None:
        self.n = int(os.environ.get("WORLD_SIZE", "1"))
        if self.n > 1 and "RANK" not in os.environ:
            raise MmgenreError(
                f"WORLD_SIZE is {self.n}, but RANK is not set: launch with torchrun or accelerate "
                "launch, or unset WORLD_SIZE for a single process"
            )
        self.rank = int(os.environ["RANK"]) if self.n > 1 else 0
        self.alone = self.n == 1

    @cached_property
    def accelerator(self) -> Any:
        """Connects the processes."""
        import torch
        from accelerate import Accelerator

        if (precision := os.environ.get("ACCELERATE_MIXED_PRECISION", "no")) != "no":
            raise MmgenreError(
                f"accelerate launch sets mixed precision {precision}, but recipes decide it; "
                "launch with --mixed_precision no, and --set image.training.precision=bfloat16"
            )
        # Without cpu=True, accelerate connects GPUs only, and gives no warning.
        accelerator = Accelerator(cpu=not torch.cuda.is_available(), mixed_precision="no")
        if accelerator.num_processes != self.n:
            raise MmgenreError(
                f"WORLD_SIZE is {self.n}, but accelerate connects {accelerator.num_processes} "
                "process(es): launch with torchrun or accelerate launch --multi_gpu"
            )
        return accelerator

    @cached_property
    def groups(self) -> tuple[Any, Any]:
        """Process groups with timeouts LONGEST_WORK and LONGEST_DELAY, apart from training's.

        A wait in a gloo group keeps no GPU busy, and training keeps a timeout of minutes.
        """
        _ = self.accelerator  # connects the ranks
        from torch.distributed import new_group

        patient = new_group(backend="gloo", timeout=LONGEST_WORK)
        return patient, new_group(backend="gloo", timeout=LONGEST_DELAY)

    def broadcast(self, content: Any = None, failure: str | None = None) -> Any:
        """Rank 0's content on every rank; raises ElsewhereError on the others if it failed."""
        from torch.distributed import broadcast_object_list

        box = [(content, failure)]
        broadcast_object_list(box, src=0, group=self.groups[0])
        content, failure = box[0]
        if failure is not None and self.rank:
            raise ElsewhereError(f"rank {self.rank} of {self.n}: rank 0 failed: {failure}")
        return content


_world = cache(_World)


def is_main() -> bool:
    """Whether this is rank 0, which writes and prints; a single process is."""
    return _world().rank == 0


def place() -> tuple[int, int]:
    """(rank, number of processes) of collective work; (0, 1) for what one process does alone."""
    world = _world()
    return (0, 1) if world.alone else (world.rank, world.n)


def device() -> torch.device | None:
    """The device of one of several processes: its own GPU, else the CPU. None for a single one."""
    if _world().n == 1:
        return None
    import torch

    found: torch.device = _world().accelerator.device
    return torch.device("cpu") if found.type == "cpu" else found  # not cpu:1


def from_main(ask: Callable[[], T]) -> T:
    """Calls `ask` on rank 0, which then works alone, and broadcasts its result, plain data.

    The others wait. If `ask` fails, they raise ElsewhereError, and rank 0 its own error.
    """
    world = _world()
    if world.alone:
        return ask()
    if world.rank:
        return cast(T, world.broadcast())
    _ = world.groups  # connects the ranks before the others wait
    try:
        world.alone = True
        try:
            result = ask()
        finally:
            world.alone = False
    except OutOfStepError:  # the others do not wait for a broadcast
        raise
    except Exception as error:
        world.broadcast(failure=f"{type(error).__name__}: {error}")
        raise
    world.broadcast(result)
    return result


def check_all_failed(error: Exception) -> None:
    """Returns if all ranks failed in the same collective work, so that they can go on together.

    Else raises OutOfStepError, and the launcher stops the ranks that wait for this one. Only an
    MmgenreError leaves the ranks in a known state; any other error ends the run.
    """
    world = _world()
    if world.alone:
        return
    from torch.distributed import barrier

    if isinstance(error, MmgenreError):
        with suppress(RuntimeError):  # LONGEST_DELAY has passed, or a rank is gone
            barrier(group=world.groups[1])
            return
    raise OutOfStepError(
        f"rank {world.rank} of {world.n} failed where others may have gone on: {error}; check that "
        "all machines see the same folders under the same paths, then start the command again: it "
        "resumes"
    ) from error


def leave() -> None:
    """Ends collective work; rank 0 goes on alone, the others are to exit."""
    world = _world()
    if world.n > 1:
        from torch.distributed import barrier

        barrier(group=world.groups[0])
        world.accelerator.end_training()
        world.n, world.alone = 1, True


@contextmanager
def shared(module: nn.Module) -> Iterator[nn.Module]:
    """The module as all ranks train it: rank 0's initial weights, gradients averaged over ranks.

    It is the module itself where one process works alone. On GPUs, batch norm counts the rows of
    all ranks (SyncBatchNorm). On CPUs, which lack it, each rank normalises by its own rows, and
    rank 0's running statistics are kept.
    """
    world = _world()
    if world.alone:
        yield module
        return
    from torch.distributed import barrier

    barrier(group=world.groups[0])  # a rank that comes later than training may wait
    on_gpu = world.accelerator.device.type == "cuda"
    with _synchronised_batch_norm(module) if on_gpu else nullcontext():
        try:
            yield world.accelerator.prepare_model(module)
        finally:
            world.accelerator.free_memory()


def gradients_apart(module: nn.Module) -> AbstractContextManager[Any]:
    """A context in which each rank adds up its own gradients, not averaged yet."""
    world = _world()
    return nullcontext() if world.alone else world.accelerator.no_sync(module)


def copy_buffers(module: nn.Module) -> None:
    """Broadcasts rank 0's buffers: running statistics."""
    if not _world().alone:
        from torch.distributed import broadcast

        for buffer in module.buffers():
            broadcast(buffer, src=0)


def summed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sum of an array over the ranks; the array itself where one process works alone."""
    world = _world()
    if world.alone:
        return values
    import torch

    total = torch.tensor(values, device=world.accelerator.device)
    torch.distributed.all_reduce(total)
    return cast("NDArray[np.float64]", total.cpu().numpy())


def gathered(own: T) -> list[T]:
    """Every rank's `own`, plain data, in the order of the ranks."""
    world = _world()
    if world.alone:
        return [own]
    from torch.distributed import all_gather_object

    every: list[Any] = [None] * world.n
    all_gather_object(every, own, group=world.groups[0])
    return every


@contextmanager
def _synchronised_batch_norm(module: nn.Module) -> Iterator[None]:
    """SyncBatchNorm layers with the same tensors take the place of the module's own for a time."""
    from torch.nn import SyncBatchNorm
    from torch.nn.modules.batchnorm import _BatchNorm

    own = [
        (parent, name, layer)
        for parent in module.modules()
        for name, layer in parent.named_children()
        if isinstance(layer, _BatchNorm)
    ]
    for parent, name, layer in own:
        substitute = SyncBatchNorm.convert_sync_batchnorm(layer)  # type: ignore[no-untyped-call]
        setattr(parent, name, substitute)
    try:
        yield
    finally:
        for parent, name, layer in own:
            layer.training = getattr(parent, name).training
            setattr(parent, name, layer)
