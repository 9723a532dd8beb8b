"""Who reads a part: suspects each alone and side by side, others' parts not at all."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import loky
import psutil
import pytest
from text_files import ODD_READERS, first_on_path, new_workers, text_files

from mmgenre.disk.locks import claimed
from mmgenre.disk.store import FeatureStore
from mmgenre.errors import MmgenreError, StoreError
from mmgenre.items.item import Item
from mmgenre.items.manifest import Manifest
from mmgenre.reading import engines, extraction
from mmgenre.reading.engines import read_parts
from mmgenre.reading.extraction import (
    extract_inputs,
    inputs_provenance,
    parts_of,
)
from mmgenre.reading.parts import Part, read_part
from mmgenre.text.settings import TextInput
from mmgenre.workers import WorkerLostError

# Reads the texts of a folder with two workers.
LEADER = """
import sys
from pathlib import Path
from mmgenre.reading.extraction import extract_inputs
from mmgenre.text.settings import TextInput
from mmgenre.items.item import Item
from mmgenre.items.manifest import Manifest

files = sorted(Path(sys.argv[1]).glob("*.txt"))
manifest = Manifest([Item(f.stem, media={"text": (f,)}) for f in files])
extract_inputs(
    manifest, "text", TextInput(), Path(sys.argv[2]), workers=2,
    progress=lambda *words: print(*words, flush=True),
)
"""


def texts(n: int) -> Manifest:
    return Manifest([Item(f"{k:02d}", media={"text": (f"Text number {k}.",)}) for k in range(n)])


def some_parts(manifest: Manifest, folder: Path) -> list[Part]:
    made = inputs_provenance(manifest, "text", TextInput())
    return parts_of(manifest, "text", TextInput(), folder / "t.h5", made)


def refused_in(part: Part) -> list[tuple[str, str]]:
    with FeatureStore(part.path, "text") as store:
        return [(refusal.id, refusal.detail) for refusal in store.refused]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction, "PART_ROWS", 2)


def test_suspects_are_read_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = some_parts(texts(6), tmp_path)
    parts[0].path.parent.mkdir()
    for part in parts:
        part.being_read.write_text(part.rows[1][0])
    all_at_once = threading.Barrier(len(parts))  # broken if they come one after another

    def alone(part: Part) -> bool:
        all_at_once.wait(timeout=10)
        if not part.crashes.is_file():
            raise WorkerLostError(f"SIGSEGV({part.rows[1][0]})")
        return read_part(part)

    monkeypatch.setattr(engines, "alone", alone)
    read_parts(parts, workers=len(parts))
    for part, row_id in zip(parts, ("01", "03", "05"), strict=True):
        ((refused, why),) = refused_in(part)
        assert refused == row_id
        assert f"ended the process, twice (SIGSEGV({row_id}))" in why


def test_of_several_suspects_each_names_its_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(ODD_READERS)
    monkeypatch.setenv("PYTHONPATH", first_on_path(tmp_path))
    manifest = text_files(tmp_path / "texts", ["fine", "crash", "fine", "fine", "crash", "fine"])
    parts = some_parts(manifest, tmp_path)
    parts[0].path.parent.mkdir()
    for part in parts:  # the first of each: whoever was at it when all were ended need not be bad
        part.being_read.write_text(part.rows[0][0])
    read_parts(parts, workers=3)
    found = [refused_in(part) for part in parts]
    assert [[row_id for row_id, _ in refused] for refused in found] == [["01"], [], ["04"]]
    assert all("SIGSEGV" in why for refused in found for _, why in refused)


@pytest.mark.slow
def test_a_reader_that_never_ends_costs_its_row_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sleeps, one holds Python's lock in C code for ever."""
    (tmp_path / "sitecustomize.py").write_text(ODD_READERS)
    monkeypatch.setenv("PYTHONPATH", first_on_path(tmp_path))
    new_workers()
    manifest = text_files(tmp_path / "texts", ["fine", "stuck", "fine", "fine", "hung", "fine"])
    others = workers_of(os.getpid())
    target = tmp_path / "t.h5"
    extract_inputs(manifest, "text", TextInput(), target, workers=2, limit_s=2)
    with FeatureStore(target, "text") as store:
        assert store.ids == ("00", "02", "03", "05")
        assert [(r.id, r.code) for r in store.refused] == [("01", "too_slow"), ("04", "too_slow")]
        for refusal, name in zip(store.refused, ("01-stuck.txt", "04-hung.txt"), strict=True):
            assert f"{name}: reading it took longer than 2 s, twice" in refusal.detail
    left = [p for p in workers_of(os.getpid()) if p not in others]
    assert all(p.cpu_percent(0.2) < 50 for p in left)  # none is at it still
    new_workers()


def test_this_process_does_not_end_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> None:
        raise AssertionError("would end the process of the user")

    monkeypatch.setattr("signal.setitimer", forbidden)
    (part,) = some_parts(texts(2), tmp_path)
    assert read_parts([part], workers=1) == []
    assert refused_in(part) == []


def workers_of(pid: int) -> list[psutil.Process]:
    children = psutil.Process(pid).children()
    return [child for child in children if "resource_tracker" not in " ".join(child.cmdline())]


def still_there(workers: list[psutil.Process]) -> list[psutil.Process]:
    """After 10 s; killed then."""
    _, left = psutil.wait_procs(workers, timeout=10)
    left = [worker for worker in left if worker.status() != psutil.STATUS_ZOMBIE]
    for worker in left:
        worker.kill()
    return left


@pytest.mark.slow
def test_workers_end_soon_after_the_process_that_they_work_for(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(ODD_READERS)
    text_files(tmp_path / "texts", ["slow"] * 99)
    with subprocess.Popen(
        [sys.executable, "-c", LEADER, str(tmp_path / "texts"), str(tmp_path / "t.h5")],
        env={**os.environ, "PYTHONPATH": first_on_path(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    ) as leader:
        assert leader.stdout is not None
        while leader.stdout.readline() in ("reading text 0 99\n",):
            pass
        workers = workers_of(leader.pid)
        leader.kill()
    assert len(workers) == 2
    assert not still_there(workers)


def test_workers_of_a_reading_that_is_stopped_are_ended(tmp_path: Path) -> None:
    """Else they would read on, and keep their parts from whoever goes on."""
    others = workers_of(os.getpid())  # which other tests have left to this process
    workers: list[psutil.Process] = []

    def stop(task: str, done: int, total: int) -> None:
        if done:
            workers.extend(p for p in workers_of(os.getpid()) if p not in others)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read_parts(some_parts(texts(40), tmp_path), workers=2, progress=stop)
    assert workers
    assert not still_there(workers)


@pytest.mark.parametrize("limit", ["variable", "affinity"])
def test_workers_are_as_many_as_the_cores_that_one_may_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    """`loky.cpu_count` knows these and a container's quota; `os.cpu_count` knows none of them."""
    asked: list[int] = []

    def engine(parts: Sequence[Part], workers: int, dask: str | None) -> Iterator[Part]:
        asked.append(workers)
        return engines.here(parts)

    monkeypatch.setattr(engines, "_engine", engine)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    monkeypatch.delenv("LOKY_MAX_CPU_COUNT", raising=False)
    if limit == "variable":
        monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    else:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: {7})
    assert loky.cpu_count() == 1
    read_parts(some_parts(texts(8), tmp_path))
    read_parts(some_parts(texts(8), tmp_path / "more"), workers=3)
    assert asked == [1, 3]


def test_one_part_is_read_here_only_if_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else few items with a crashing decoder among them would end the leading process."""
    monkeypatch.setattr(engines, "here", None)
    parts = some_parts(texts(2), tmp_path)
    assert read_parts(parts, workers=2) == []
    assert [part.path.is_file() for part in parts] == [True]


def test_a_row_that_another_process_is_at_is_not_blamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (part,) = some_parts(texts(2), tmp_path)

    def ended_at_once(part: Part) -> bool:
        raise WorkerLostError("SIGKILL(-9)")

    monkeypatch.setattr(engines, "alone", ended_at_once)
    with ThreadPoolExecutor(1) as other:
        claim = claimed(part.path)
        other.submit(claim.__enter__).result()
        part.being_read.write_text("01")
        assert read_parts([part], workers=1) == [part]
        assert part.being_read.read_text() == "01"
        assert not part.crashes.exists()
        other.submit(claim.__exit__, None, None, None).result()
    monkeypatch.undo()
    assert read_parts([part], workers=1) == []


def test_a_process_that_ends_before_the_first_row_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (part,) = some_parts(texts(2), tmp_path)
    part.path.parent.mkdir()
    part.being_read.write_text("01")
    tries: list[Part] = []

    def ended_at_once(part: Part) -> bool:
        tries.append(part)
        assert len(tries) < 3, "for ever"
        raise WorkerLostError("SIGKILL(-9)")

    monkeypatch.setattr(engines, "alone", ended_at_once)
    with pytest.raises(MmgenreError, match=r"\.h5: .* ended before the first row: SIGKILL\(-9\)"):
        read_parts([part], workers=1)
    why = "reading it ended the process, twice (SIGKILL(-9))"
    assert part.crashed() == {"01": ("crashed", why)}


def test_a_process_that_ends_when_its_part_is_there_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (part,) = some_parts(texts(2), tmp_path)
    part.path.parent.mkdir()
    part.being_read.write_text("01")

    def ended_afterwards(part: Part) -> bool:
        assert read_part(part)
        raise WorkerLostError("SIGKILL(-9)")

    monkeypatch.setattr(engines, "alone", ended_afterwards)
    assert read_parts([part], workers=1) == []
    assert refused_in(part) == []


def test_processes_that_end_before_they_begin_are_not_tried_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts, tries = some_parts(texts(6), tmp_path), []

    def engine(parts: Sequence[Part], workers: int, dask: str | None) -> Iterator[Part]:
        tries.append(len(parts))
        if len(tries) == 2:
            assert read_part(parts[0])
            yield parts[0]  # something came of it: two more in vain are allowed
        raise WorkerLostError("SIGKILL(-9)")

    monkeypatch.setattr(engines, "_engine", engine)
    with pytest.raises(
        MmgenreError, match=r"before they read a row, 3 times in a row: SIGKILL\(-9\)"
    ):
        read_parts(parts, workers=2)
    assert tries == [3, 3, 2, 2, 2]


def test_a_part_that_another_process_keeps_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody but a shard may read a part of ours, and shards are refused before: a leftover."""
    code = (
        "import sys; from pathlib import Path; from mmgenre.disk.locks import claimed\n"
        "with claimed(Path(sys.argv[1])): print(flush=True); sys.stdin.read()"
    )
    manifest = texts(6)
    kept = some_parts(manifest, tmp_path)[1].path
    with subprocess.Popen(
        [sys.executable, "-c", code, str(kept)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as keeper:
        assert keeper.stdout is not None
        keeper.stdout.readline()
        with pytest.raises(StoreError, match=f"{kept.name}: process {keeper.pid} on"):
            extract_inputs(manifest, "text", TextInput(), tmp_path / "t.h5", workers=1)
        assert len(list(kept.parent.glob("*.h5"))) == 2  # all the others were read before
        keeper.communicate()
    extract_inputs(manifest, "text", TextInput(), tmp_path / "t.h5", workers=1)
