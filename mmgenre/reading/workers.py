"""Reads parts until all are there, whatever ends the processes that read them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import loky

from mmgenre.disk.locks import ClaimedError, claimed
from mmgenre.errors import MmgenreError
from mmgenre.progress import Progress, silent
from mmgenre.reading import engines
from mmgenre.reading.parts import Part
from mmgenre.text.decoding import TextInput
from mmgenre.text.entities import annotator_of

MOST_IN_VAIN = 3


def read_parts(
    parts: Sequence[Part],
    *,
    workers: int | None = None,
    dask: str | None = None,
    progress: Progress = silent,
) -> list[Part]:
    """Reads the parts of a folder that are not there yet; returns those being read elsewhere.

    A part whose reader ended is read in a process of its own; if that one ends, too, the row that
    it was at is refused. Parts of other settings, media or rows stay until one of the same number
    takes their place.

    Raises:
        MmgenreError: readers end, again and again, before they come to a row.
    """
    if not parts:
        return []
    if isinstance(parts[0].config, TextInput):
        annotator_of(parts[0].config.entities)  # its faults are the run's, not each item's
    found = files_beside(parts[0])
    todo = {part.path: part for part in parts if part.path.name not in found}
    outdated = _outdated(parts, found)
    workers = loky.cpu_count() if workers is None else workers
    task = f"reading {parts[0].modality}"
    total = sum(len(part.rows) for part in parts)
    n_done = total - sum(len(part.rows) for part in todo.values())
    progress(task, n_done, total)

    def done(part: Part) -> None:
        nonlocal n_done
        del todo[part.path]
        for name in outdated.pop(_number(part.path.name), ()):
            part.path.with_name(name).unlink(missing_ok=True)
        n_done += len(part.rows)
        progress(task, n_done, total)

    n_in_vain = 0
    while todo:
        before = len(todo)
        found = files_beside(parts[0])
        suspects = [part for part in todo.values() if part.being_read.name in found]
        with ThreadPoolExecutor(workers) as threads:
            for part, is_there in zip(suspects, threads.map(_read_alone, suspects), strict=True):
                if is_there:
                    done(part)
        waiting = list(todo.values())
        try:
            for part in _engine(waiting, workers, dask):
                done(part)
        except engines.WorkerLostError as error:
            was_reading = any(part.being_read.is_file() for part in waiting)
            n_in_vain = 0 if was_reading or len(todo) < before else n_in_vain + 1
            if n_in_vain == MOST_IN_VAIN:
                raise MmgenreError(
                    f"{task}: processes that read end before they begin, {n_in_vain} times in a "
                    f"row: {error}; is there too little memory? Try --workers 1"
                ) from None
        else:
            break
    if todo:
        progress(task, n_done, n_done)  # the others tell of theirs
    return list(todo.values())


def files_beside(part: Part) -> set[str]:
    """Names in a part's folder: to list it once is quicker than to ask for each of many files."""
    folder = part.path.parent
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def _outdated(parts: Sequence[Part], found: set[str]) -> dict[str, list[str]]:
    """Files of other settings, media or rows by the number of the part that they were."""
    files: dict[str, list[str]] = defaultdict(list)
    for name in found - {part.path.name for part in parts}:
        if name.endswith(".h5"):
            files[_number(name)].append(name)
    return files


def _number(name: str) -> str:
    """`000003` of a part's file name."""
    return name.removesuffix(".h5").partition("-")[0]


def _engine(parts: Sequence[Part], workers: int, dask: str | None) -> Iterator[Part]:
    # Not because one part is left, but if one is asked for: a decoder's crash would end us, too.
    if workers == 1 and dask is None:
        return engines.here(parts)
    workers = min(workers, max(1, len(parts)))
    return engines.processes(parts, workers) if dask is None else engines.dask(parts, dask, workers)


def _read_alone(part: Part) -> bool:
    """Whether it is there then; not if another process reads it."""
    while True:
        try:
            return engines.alone(part)
        except engines.WorkerLostError as error:
            try:
                with claimed(part.path):  # the row that another process is at would be blamed
                    if part.is_done():  # and the process ended after that
                        return True
                    blamed = part.blame(f"reading it ended the process, twice ({error})")
            except ClaimedError:
                return False
            if not blamed:
                raise MmgenreError(
                    f"{part.path}: the process that reads it ended before the first row: {error}"
                ) from None
