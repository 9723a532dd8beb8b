"""Who reads the parts: this process, processes beside it, or a Dask cluster.

An engine yields parts as they are there, and passes over those that others are reading. If a
process of it ends, it raises `WorkerLostError`, and what is left is for its caller.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from itertools import islice
from typing import Any

from threadpoolctl import threadpool_limits

from mmgenre.errors import MmgenreError
from mmgenre.reading.parts import Part, read_part

Engine = Callable[[Sequence[Part]], Iterator[Part]]
LOCAL = "local"
DASK_TIMEOUT_S = 10.0  # until a scheduler answers
WATCH_S = 0.1  # between two looks at whether the leading process is there
IDLE_S = 60  # until processes without work end
# A worker is one of many: it must not start a thread a core for each small matrix product.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class WorkerLostError(Exception):
    """A process that read a part ended, of a decoder's crash or killed."""


def here(parts: Sequence[Part]) -> Iterator[Part]:
    """One after another in this process, with one thread a product, as in the others.

    The last bits of a product depend on its threads, and a store must not depend on the workers.
    """
    for part in parts:
        with threadpool_limits(1, "blas"):
            is_there = read_part(part)
        if is_there:
            yield part


def processes(parts: Sequence[Part], workers: int) -> Iterator[Part]:
    """In processes of this machine."""
    import loky

    executor = pool(workers)
    waiting: dict[Any, Part] = {}
    rest = iter(parts)
    try:
        while True:
            for part in islice(rest, 2 * workers - len(waiting)):
                waiting[executor.submit(read_part, part)] = part
            if not waiting:
                return
            done, _ = loky.wait(waiting, return_when=loky.FIRST_COMPLETED)
            for future in done:
                part = waiting.pop(future)
                if future.result():
                    yield part
    except loky.process_executor.TerminatedWorkerError as error:
        raise WorkerLostError(str(error)) from None
    except BaseException:
        executor.shutdown(kill_workers=True)
        raise


def pool(workers: int) -> Any:
    """Processes of this machine, which stay for what comes next; an executor of loky."""
    import loky

    return loky.get_reusable_executor(
        workers, timeout=IDLE_S, env=ONE_THREAD, initializer=_end_with, initargs=(os.getpid(),)
    )


def _end_with(leader: int) -> None:
    """In a worker: lets it end soon after the process that it works for, however that ended."""

    def watch() -> None:
        while os.getppid() == leader:
            time.sleep(WATCH_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def alone(part: Part) -> bool:
    """In a process of its own; whether it is there then, or others are reading it.

    Raises:
        WorkerLostError: it ended.
    """
    import loky

    with loky.ProcessPoolExecutor(
        1, env=ONE_THREAD, initializer=_end_with, initargs=(os.getpid(),)
    ) as executor:
        try:
            return bool(executor.submit(read_part, part).result())
        except loky.process_executor.TerminatedWorkerError as error:
            raise WorkerLostError(_how(str(error))) from None


def _how(text: str) -> str:
    """`SIGSEGV(-11)` out of what loky says."""
    _, _, codes = text.partition("exit codes of the workers are {")
    return codes.partition("}")[0] or "no exit code"


def dask(parts: Sequence[Part], address: str, workers: int) -> Iterator[Part]:
    """On a Dask cluster whose workers see the same files: at an address, or made here.

    Raises:
        MmgenreError: Dask is not installed, or no scheduler answers, or not any more.
    """
    try:
        import distributed
    except ImportError:
        raise MmgenreError(
            "Dask is not installed; install it with: pip install 'mmgenre[cluster]'"
        ) from None
    options: dict[str, Any] = {"timeout": DASK_TIMEOUT_S}
    if address == LOCAL:
        options |= {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None}
    else:
        options["address"] = address
    try:
        client: Any = distributed.Client(**options)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise MmgenreError(
            f"Dask: no scheduler answers at {address}: {error}; start one with: dask scheduler"
        ) from None
    try:
        with client:
            yield from _by_client(client, parts)
    except (distributed.comm.core.CommClosedError, CancelledError) as error:
        raise MmgenreError(
            f"Dask: the scheduler at {address} does not answer any more: {error}; start it, then "
            "run this again: what is read stays read"
        ) from None


def _by_client(client: Any, parts: Sequence[Part]) -> Iterator[Part]:
    import distributed

    lost: list[str] = []
    rest = iter(parts)
    waiting: dict[Any, Part] = {}
    arriving: Any = distributed.as_completed()  # type: ignore[no-untyped-call]

    def submit_more() -> None:
        # Workers may come meanwhile. Each reads as many parts at once as it has threads.
        n_wanted = 2 * max(1, sum(client.nthreads().values()))
        for part in islice(rest, max(0, n_wanted - len(waiting))):
            future = client.submit(read_part, part, pure=False)
            waiting[future] = part
            arriving.add(future)

    submit_more()
    for future in arriving:
        part = waiting.pop(future)
        try:
            is_there = future.result()
        except distributed.KilledWorker as error:
            lost.append(str(error))  # the others go on
        else:
            if is_there:
                yield part
        submit_more()
    if lost:
        raise WorkerLostError(lost[0])
