"""Processes of this machine that may die, or be ended, while they work for this one.

Decoders crash, and some never return. So media are opened by other processes, each of which is
ended by the kernel when an item takes longer than it may: `end_after`. What is lost with a process
is done again in one of its own, and if that ends, too, its item is at fault.
"""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import loky

from mmgenre.errors import InputError
from mmgenre.signals import OF_TERMINAL

WATCH_S = 0.1  # between two checks whether the parent process exists
IDLE_S = 60  # until processes without work end
GROWN = "A worker was restarted while some jobs were given"  # begins a warning of loky's
LIMIT_S, LIMIT_S_PER_MB = 300.0, 1.0  # how long one item may be read
# There are as many workers as cores: none may start one thread per core for each matrix product.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

Job = TypeVar("Job")
Result = TypeVar("Result")


class WorkerLostError(Exception):
    """A process crashed or was ended. `jobs` are those of which one may be the cause."""

    def __init__(self, why: str, jobs: Sequence[Any] = ()) -> None:
        super().__init__(why)
        self.jobs = tuple(jobs)

    def of_item(self, where: str, limit_s: float) -> InputError:
        """The error for an item whose reading has ended two processes."""
        if signal.SIGALRM.name in str(self):
            taken = f"reading it took longer than {limit_s:,.0f} s, twice"
            return InputError("too_slow", where, taken)
        return InputError("crashed", where, f"reading it ended the process, twice ({self})")


def limit_s_of(files: Iterable[Path]) -> float:
    """How long an item may be read, if no other limit is set: longer if its files are large."""
    n_bytes = 0
    for file in files:
        try:
            n_bytes += file.stat().st_size
        except (OSError, ValueError):  # it is refused when it is read
            continue
    return LIMIT_S + LIMIT_S_PER_MB * n_bytes / 1e6


def end_after(seconds: float) -> None:
    """Lets the kernel end this process (SIGALRM) in so many seconds, whatever it does; 0: not.

    A thread could not: a decoder may hold Python's lock. Only for processes of `pool` and `alone`.
    """
    signal.setitimer(signal.ITIMER_REAL, seconds)


def pool(workers: int) -> Any:
    """An executor of loky with processes of this machine, which are reused by later calls."""
    # It replaces a process that has grown by 300 MB, as by loading a model, once its part is read,
    # and warns of it. Nothing is lost; of one that was killed it still warns.
    warnings.filterwarnings("ignore", GROWN, UserWarning)
    return loky.get_reusable_executor(
        workers, timeout=IDLE_S, env=ONE_THREAD, initializer=_begin, initargs=(os.getpid(),)
    )


def _begin(parent: int) -> None:
    """Makes a worker end soon after its parent process, even if that was killed, and by SIGALRM."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # whoever started us may have it ignored
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])


@contextmanager
def _no_interrupts() -> Iterator[None]:
    """SIGINT and SIGHUP wait inside, and never reach the processes that begin meanwhile.

    A terminal sends them to every process that it has. This one ends its workers, which
    would each print a traceback.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, OF_TERMINAL)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def by_pool(
    work: Callable[[Job], Result], jobs: Iterable[Job], workers: int
) -> Iterator[tuple[Job, Result]]:
    """Each job with its result, in any order. Raises WorkerLostError as soon as a process ends."""
    executor = pool(workers)
    waiting: dict[Any, Job] = {}
    wakers: list[Any] = []
    rest = iter(jobs)
    try:
        while True:
            given = len(waiting)
            for job in islice(rest, 2 * workers - given):
                with _no_interrupts():
                    waiting[executor.submit(work, job)] = job
            if not waiting:
                loky.wait(wakers)  # jobs that are left would hold up the next one to use the pool
                return
            if len(waiting) > given:
                # Loky lists the processes whose death it would see when a job is submitted, before
                # it starts those that were missing: of these it learns at the next one.
                with _no_interrupts():
                    wakers = [*(job for job in wakers if not job.done()), executor.submit(int)]
            done, _ = loky.wait(waiting, return_when=loky.FIRST_COMPLETED)
            for future in done:
                result = future.result()
                yield waiting.pop(future), result
    except loky.process_executor.BrokenProcessPool as error:
        raise WorkerLostError(str(error), list(waiting.values())) from None
    except BaseException:
        executor.shutdown(kill_workers=True)
        raise


def alone(work: Callable[[Job], Result], job: Job) -> Result:
    """In a process of its own; a `WorkerLostError` then gives its exit code, as `SIGSEGV(-11)`."""
    with loky.ProcessPoolExecutor(
        1, env=ONE_THREAD, initializer=_begin, initargs=(os.getpid(),)
    ) as executor:
        try:
            with _no_interrupts():
                future = executor.submit(work, job)
            result: Result = future.result()
        except loky.process_executor.TerminatedWorkerError as error:
            _, _, codes = str(error).partition("exit codes of the workers are {")
            raise WorkerLostError(codes.partition("}")[0] or "no exit code") from None
    return result


def surviving(
    work: Callable[[Job], Result], jobs: Sequence[Job], workers: int | None = None
) -> Iterator[tuple[Job, Result | WorkerLostError]]:
    """Each of the jobs, all different, with its result, or with the error that it ends processes.

    `workers`: at most so many processes; None: one per core.
    """
    workers = max(1, min(workers or loky.cpu_count(), len(jobs)))

    def again(job: Job) -> Result | WorkerLostError:
        try:
            return alone(work, job)
        except WorkerLostError as error:
            return error

    left = dict.fromkeys(jobs)
    while left:
        try:
            for job, result in by_pool(work, list(left), workers):
                del left[job]
                yield job, result
        except WorkerLostError as error:
            suspects = error.jobs or tuple(left)[:1]
            with ThreadPoolExecutor(workers) as threads:
                for job, found in zip(suspects, threads.map(again, suspects), strict=True):
                    del left[job]
                    yield job, found
