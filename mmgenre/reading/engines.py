"""Reads parts until all of their files exist, even if the reading processes crash.

An engine reads in this process, in other processes, or on a Dask cluster. It yields each part when
its file exists, and skips parts that other processes are reading. If a reading process ends, it
raises `WorkerLostError`, and `read_parts` starts it again for the remaining parts.

A row may take `Part.limit_s_of` to read. This holds in processes of this machine; not in this
process, which would end with it, nor on a Dask cluster, whose workers do the work of others, too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from concurrent.futures import CancelledError, ThreadPoolExecutor
from itertools import islice
from typing import Any, TypeVar

import loky
from threadpoolctl import threadpool_limits

from mmgenre.disk.locks import ClaimedError, claimed
from mmgenre.errors import INTERRUPTS, MmgenreError
from mmgenre.kinds import KINDS
from mmgenre.progress import Progress, silent
from mmgenre.reading.parts import Part, read_part
from mmgenre.workers import WorkerLostError, by_pool, end_after
from mmgenre.workers import alone as by_one_process

MAX_FAILED_STARTS = 3
DASK_TIMEOUT_S = 10.0  # until a scheduler answers

T = TypeVar("T")


def read_parts(
    parts: Sequence[Part],
    *,
    workers: int | None = None,
    dask: str | None = None,
    held: Set[str] = frozenset(),
    progress: Progress = silent,
) -> list[Part]:
    """Reads the parts of a folder whose files are missing; returns those that others are reading.

    A part whose reader crashed is read again in a process of its own; if that crashes, too, the row
    that was being read is refused. Parts of other settings, media or rows are removed when the new
    part of the same number is finished, but not those of `held`, in which a store has its rows.
    Raises MmgenreError if processes end repeatedly before they read a row.
    """
    if not parts:
        return []
    KINDS[parts[0].medium].check_input(parts[0].config)
    found = files_beside(parts[0])
    todo = {part.path: part for part in parts if part.path.name not in found}
    outdated: dict[str, list[str]] = defaultdict(list)  # files of other parts by their number
    for name in found - {part.path.name for part in parts} - held:
        if name.endswith(".h5"):
            outdated[name[:-3].partition("-")[0]].append(name)
    workers = loky.cpu_count() if workers is None else workers
    task = f"reading {parts[0].modality}"
    total = sum(len(part.rows) for part in parts)
    n_done = total - sum(len(part.rows) for part in todo.values())
    progress(task, n_done, total)

    def done(part: Part) -> None:
        nonlocal n_done
        del todo[part.path]
        for name in outdated.pop(part.path.stem.partition("-")[0], ()):
            part.path.with_name(name).unlink(missing_ok=True)
        n_done += len(part.rows)
        progress(task, n_done, total)

    n_failed_starts = 0
    while todo:
        before = len(todo)
        found = files_beside(parts[0])
        suspects = [part for part in todo.values() if part.being_read.name in found]
        with ThreadPoolExecutor(workers) as threads:
            for part, exists in zip(suspects, threads.map(_read_alone, suspects), strict=True):
                if exists:
                    done(part)
        waiting = list(todo.values())
        try:
            for part in _engine(waiting, workers, dask):
                done(part)
            break
        except INTERRUPTS as stop:
            stop.add_note(f"{task}: {n_done:,} of {total:,} rows are kept")
            raise
        except WorkerLostError as error:
            was_reading = any(part.being_read.is_file() for part in waiting)
            n_failed_starts = 0 if was_reading or len(todo) < before else n_failed_starts + 1
            if n_failed_starts == MAX_FAILED_STARTS:
                raise MmgenreError(
                    f"{task}: processes end before they read a row, {n_failed_starts} times in a "
                    f"row: {error}; is there too little memory? Try --workers 1"
                ) from None
    if todo:
        progress(task, n_done, n_done)  # other processes report the remaining parts
    return list(todo.values())


def files_beside(part: Part) -> set[str]:
    """Names in a part's folder: one listing is faster than a check of each of many files."""
    folder = part.path.parent
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def _engine(parts: Sequence[Part], workers: int, dask: str | None) -> Iterator[Part]:
    # In this process only if requested, not if one part is left: a decoder's crash would end it.
    if workers == 1 and dask is None:
        return here(parts)
    workers = min(workers, max(1, len(parts)))
    return processes(parts, workers) if dask is None else on_dask(parts, dask, workers, read_part)


def _read_alone(part: Part) -> bool:
    """Whether the part's file exists then; False if another process is reading it."""
    while True:
        try:
            return alone(part)
        except WorkerLostError as error:
            try:
                with claimed(part.path):  # or a row that another process is reading is blamed
                    if part.path.is_file():  # the process crashed after it finished the part
                        return True
                    blamed = part.blame(error)
            except ClaimedError:
                return False
            if not blamed:
                raise MmgenreError(
                    f"{part.path}: the process that reads it ended before the first row: {error}"
                ) from None


def here(parts: Sequence[Part]) -> Iterator[Part]:
    """One part after another in this process, with one BLAS thread as in the other engines.

    The last bits of a matrix product depend on its number of threads, and a store must not depend
    on the number of workers.
    """
    for part in parts:
        with threadpool_limits(1, "blas"):
            exists = read_part(part)
        if exists:
            yield part


def processes(parts: Sequence[Part], workers: int) -> Iterator[Part]:
    """In processes of this machine, which are ended if a row takes longer than it may."""
    for part, exists in by_pool(_read_in_time, parts, workers):
        if exists:
            yield part


def alone(part: Part) -> bool:
    """In a process of its own; a `WorkerLostError` then gives its exit code, as `SIGSEGV(-11)`."""
    return by_one_process(_read_in_time, part)


def _read_in_time(part: Part) -> bool:
    return read_part(part, end_after)


def on_dask(
    parts: Iterable[T], address: str, workers: int, work: Callable[[T], bool]
) -> Iterator[T]:
    """On a Dask cluster whose workers see the same files; yields those of which `work` is true.

    `address` is a scheduler's; "local" starts a cluster of `workers` processes on this machine.
    Raises MmgenreError: Dask is not installed, or the scheduler does not answer or stops answering.
    """
    try:
        import distributed
    except ImportError:
        raise MmgenreError(
            "Dask is not installed; install it with: pip install 'mmgenre[cluster]'"
        ) from None
    options: dict[str, Any] = {"address": address}
    if address == "local":
        options = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None}
    try:
        client: Any = distributed.Client(**options, timeout=DASK_TIMEOUT_S)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise MmgenreError(
            f"Dask: no scheduler answers at {address}: {error}; start one with: dask scheduler"
        ) from None
    try:
        with client:
            yield from _by_client(client, parts, work)
    except (distributed.comm.core.CommClosedError, CancelledError) as error:
        raise MmgenreError(
            f"Dask: the scheduler at {address} stopped answering: {error}; start it, then run "
            "this again: parts that are read are kept"
        ) from None


def _by_client(client: Any, parts: Iterable[T], work: Callable[[T], bool]) -> Iterator[T]:
    import distributed

    lost: list[str] = []
    rest = iter(parts)
    waiting: dict[Any, T] = {}
    arriving: Any = distributed.as_completed()  # type: ignore[no-untyped-call]

    def submit_more() -> None:
        # The number of workers may grow. Each reads one part per thread at a time.
        n_wanted = 2 * max(1, sum(client.nthreads().values()))
        for part in islice(rest, max(0, n_wanted - len(waiting))):
            future = client.submit(work, part, pure=False)
            waiting[future] = part
            arriving.add(future)

    submit_more()
    for future in arriving:
        part = waiting.pop(future)
        try:
            if future.result():
                yield part
        except distributed.KilledWorker as error:
            lost.append(str(error))  # the other parts continue
        submit_more()
    if lost:
        raise WorkerLostError(lost[0])
