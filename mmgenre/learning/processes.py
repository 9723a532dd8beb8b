"""One run by several processes: what one does for all, where they meet, how they train together.

`torchrun` and `accelerate launch` start the same command several times and tell each process its
rank; rank 0 is the main one. Without them there is one process: then everything here passes
straight through, and neither accelerate nor torch.distributed is imported.

What the main process writes, the others read: all machines must see the run's folder. They wait
by asking the launcher's key-value store again and again. A collective operation would give up
after some minutes, and reading media may take days.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar, cast

from mmgenre.errors import MmgenreError
from mmgenre.learning.crew import Crew, OutOfStepError, the_crew

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import nn

T = TypeVar("T")


def is_launched() -> bool:
    """Whether this is one of several processes."""
    return the_crew().n > 1


def is_main() -> bool:
    """Whether this process writes and tells; a single one does."""
    return the_crew().rank == 0


def place() -> tuple[int, int]:
    """Rank and number of the processes at work together here; (0, 1) within work of one alone."""
    crew = the_crew()
    return (0, 1) if crew.alone else (crew.rank, crew.n)


def by_main(make: Callable[[], T], read: Callable[[], T]) -> T:
    """What the main process makes, and the others then read; waits as long as it takes.

    Args:
        make: writes something, and may train: what it calls knows of one process only.
        read: reads what was written.

    Raises:
        ElsewhereError: it could not be made; the main process raises its own error.
        OutOfStepError: it was made, but cannot be read here.
    """
    crew = the_crew()
    if crew.alone:
        return make() if crew.rank == 0 else read()
    if crew.rank == 0:
        with crew.told_if_it_fails(), crew.working(alone=True):
            made = make()
        crew.say({})
        return made
    crew.hear()
    try:
        with crew.working(alone=True):
            return read()
    except (MmgenreError, OSError) as error:
        raise OutOfStepError(
            f"{crew.name}: what the main process wrote cannot be read here ({error}); all machines "
            "must see the same folders under the same paths"
        ) from error


def agreed(ask: Callable[[], T]) -> T:
    """What the main process finds, as plain data, in every process.

    A look at files may find one thing here and another there, a moment later.

    Raises:
        ElsewhereError: as by `by_main`.
    """
    crew = the_crew()
    if crew.alone:
        return ask()
    if crew.rank == 0:
        with crew.told_if_it_fails(), crew.working(alone=True):
            found = ask()
        crew.say({"value": found})
        return found
    answer: T = crew.hear()["value"]
    return answer


def led(
    program: Callable[[], T],
    follow: Callable[[str], object],
    failures: tuple[type[Exception], ...],
) -> T:
    """Runs a program in the main process; the others do their part of what it leads.

    Args:
        program: its result is plain data, which all processes get.
        follow: order -> the same work as that of `lead`.
        failures: with what work may fail and the program go on, if it fails in all processes.

    Raises:
        ElsewhereError: as by `by_main`.
        OutOfStepError: work failed in some processes only.
    """
    crew = the_crew()
    if crew.alone:
        return program()
    if crew.rank == 0:
        crew.leading = True
        try:
            with crew.told_if_it_fails(), crew.working(alone=True):
                result = program()
        finally:
            crew.leading = False
        crew.say({"result": result})
        return result
    while True:
        said = crew.hear()
        if "result" in said:
            return cast(T, said["result"])
        try:
            crew.together(lambda order=said["order"]: follow(order))  # type: ignore[misc]
        except failures:
            continue  # as the main process, which knows why


def lead(order: str, work: Callable[[], T]) -> T:
    """Within a program: work that all processes do together; else it is simply done."""
    crew = the_crew()
    if not crew.leading:
        return work()
    with crew.working(alone=False):
        crew.say({"order": order})
        return crew.together(work)


def leave() -> None:
    """Ends the work together; the main process goes on alone, the others are to end.

    It waits for them, as the store may live in it.
    """
    crew = the_crew()
    if crew.n > 1:
        crew.leave()
        crew.n, crew.alone = 1, True


def device() -> torch.device:
    """The device of this process: its own GPU, else the CPU. For launched ones only."""
    import torch

    found: torch.device = the_crew().accelerator.device
    return torch.device("cpu") if found.type == "cpu" else found  # not cpu:1


@contextmanager
def shared(module: nn.Module) -> Iterator[nn.Module]:
    """The module as the processes train it together: with the main process's first weights, and
    gradients that are the mean over the processes. It stays itself where one is at work alone.

    On GPUs, batch norm counts the rows of all processes (SyncBatchNorm). It cannot on CPUs: there
    each process normalises by its own rows, and the main one's running statistics are kept.
    """
    crew = the_crew()
    if crew.alone:
        yield module
        return
    _wait_for_all(crew)
    on_gpu = crew.accelerator.device.type == "cuda"
    with _synchronised_batch_norm(module) if on_gpu else nullcontext():
        try:
            yield crew.accelerator.prepare_model(module)
        finally:
            crew.accelerator.free_memory()


def gradients_apart(module: nn.Module) -> AbstractContextManager[Any]:
    """Within it, gradients add up in each process and are not averaged yet."""
    crew = the_crew()
    return nullcontext() if crew.alone else crew.accelerator.no_sync(module)


def copy_buffers(module: nn.Module) -> None:
    """Gives all processes the main one's buffers: running statistics."""
    crew = the_crew()
    if crew.alone:
        return
    import torch
    from accelerate.utils import broadcast

    buffers = list(module.buffers())
    with torch.no_grad():
        for buffer, main in zip(buffers, broadcast([b.clone() for b in buffers]), strict=True):
            buffer.copy_(main)


def summed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sum of an array over the processes; the array itself where one is at work alone."""
    crew = the_crew()
    if crew.alone:
        return values
    import torch

    here = torch.from_numpy(values).to(crew.accelerator.device)
    everywhere: NDArray[np.float64] = crew.accelerator.reduce(here, "sum").cpu().numpy()
    return everywhere


def _wait_for_all(crew: Crew) -> None:
    """Before the first collective operation: it gives up on one that comes late."""
    key = crew.next_key()
    crew.store.add(key, 1)
    crew.wait(lambda: crew.store.add(key, 0) == crew.n)


@contextmanager
def _synchronised_batch_norm(module: nn.Module) -> Iterator[None]:
    """Within it, SyncBatchNorm layers stand in for the module's own, with the same tensors."""
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
