"""A Dask cluster that changes while it reads: workers die, workers come."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from text_files import ODD_READERS, first_on_path, text_files

from mmgenre.disk.store import FeatureStore, content_hash, parts_folder
from mmgenre.errors import MmgenreError
from mmgenre.kinds import KINDS
from mmgenre.reading import engines, extraction
from mmgenre.reading.engines import read_parts
from mmgenre.reading.extraction import (
    extract_inputs,
    inputs_provenance,
    parts_of,
)
from mmgenre.reading.parts import Part
from mmgenre.text.settings import TextInput

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.filterwarnings("default")  # of Dask's own clean-up


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction, "PART_ROWS", 2)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Two processes of one thread each."""
    folder = tmp_path_factory.mktemp("path")
    (folder / "sitecustomize.py").write_text(ODD_READERS)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", first_on_path(folder))
        with distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None
        ) as made:
            yield made


def readers(target: Path) -> list[int]:
    """Processes that are at a part just now."""
    found = []
    for lock in parts_folder(target).glob(".*.h5.lock"):
        lines = lock.read_text().splitlines()
        if lines and lock.with_name(lock.name[1:-8] + ".reading").is_file():
            found.append(json.loads(lines[-1])["pid"])
    return found


# With 3 deaths allowed, Dask itself gives the part to another worker; with none, it gives it up,
# and it is read here, alone.
@pytest.mark.parametrize("deaths", [pytest.param(3, marks=pytest.mark.slow), 0])
def test_a_worker_that_is_killed_costs_nothing(
    tmp_path: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch, deaths: int
) -> None:
    monkeypatch.setattr(cluster.scheduler, "allowed_failures", deaths)
    manifest, target = text_files(tmp_path / "texts", ["slow"] * 24), tmp_path / "t.h5"
    whole = extract_inputs(manifest, "text", TextInput(), tmp_path / "whole.h5", workers=1)
    killed: list[int] = []

    def kill(task: str, done: int, total: int) -> None:
        until = time.monotonic() + 1
        while done and not killed and time.monotonic() < until:
            for pid in readers(target)[:1]:
                assert pid != os.getpid()
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

    extract_inputs(
        manifest, "text", TextInput(), target, dask=cluster.scheduler_address, progress=kill
    )
    assert killed
    assert content_hash(target) == content_hash(whole)
    with FeatureStore(target, "text") as store:
        assert store.refused == ()


def test_a_text_that_crashes_its_reader_costs_itself_only(
    tmp_path: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(ODD_READERS)
    monkeypatch.setenv("PYTHONPATH", first_on_path(tmp_path))  # of the process that reads it alone
    monkeypatch.setattr(cluster.scheduler, "allowed_failures", 0)
    tries, on_dask = [], engines.on_dask

    def counted(
        parts: Sequence[Part], address: str, workers: int, work: Callable[[Part], bool]
    ) -> Iterator[Part]:
        tries.append(len(parts))
        assert len(tries) < 9, "for ever"
        return on_dask(parts, address, workers, work)

    monkeypatch.setattr(engines, "on_dask", counted)
    manifest = text_files(tmp_path / "texts", ["fine", "crash", "fine", "fine"])
    made = inputs_provenance(manifest, "text", TextInput())
    all_parts = parts_of(manifest, "text", TextInput(), tmp_path / "t.h5", made)
    # In one call: parts that it returns are those which others read.
    assert read_parts(all_parts, dask=cluster.scheduler_address) == []
    with FeatureStore(all_parts[0].path, "text") as store:
        assert [(r.id, r.code) for r in store.refused] == [("01", "crashed")]


@pytest.mark.parametrize("fault", [distributed.comm.core.CommClosedError, CancelledError])
def test_a_scheduler_that_goes_away_is_told(
    tmp_path: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch, fault: type[Exception]
) -> None:
    def broken(client: object, parts: Sequence[Part], work: object) -> Iterator[Part]:
        yield from engines.here(parts[:1])
        raise fault("reset by peer")

    monkeypatch.setattr(engines, "_by_client", broken)
    manifest, target = text_files(tmp_path / "texts", ["fine"] * 6), tmp_path / "t.h5"
    words = "scheduler at tcp://.* stopped answering: reset by peer; start it, then run this again"
    with pytest.raises(MmgenreError, match=words):
        extract_inputs(manifest, "text", TextInput(), target, dask=cluster.scheduler_address)
    assert len(list(parts_folder(target).glob("*.h5"))) == 1


def test_workers_that_come_later_get_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest, target = text_files(tmp_path / "texts", ["fine"] * 40), tmp_path / "t.h5"
    text = KINDS["text"]
    have_come, met = threading.Event(), threading.Event()
    # More than the two that were given out to the first worker alone; broken if they never meet.
    all_at_once = threading.Barrier(4)

    def meeting(media: Any, config: Any, row_id: str) -> Any:
        if have_come.is_set() and not met.is_set():
            all_at_once.wait(timeout=10)
            met.set()
        return text.read(media, config, row_id)

    monkeypatch.setitem(KINDS, "text", replace(text, read=meeting))
    with distributed.LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=False,
        protocol="tcp",
        dashboard_address="127.0.0.1:0",
    ) as cluster:

        def grow(task: str, done: int, total: int) -> None:
            if done and not have_come.is_set():
                cluster.scale(4)
                cluster.wait_for_workers(4)
                have_come.set()

        extract_inputs(
            manifest, "text", TextInput(), target, dask=cluster.scheduler_address, progress=grow
        )
    assert met.is_set()
    with FeatureStore(target, "text") as store:
        assert (store.ids, store.refused) == (manifest.ids(), ())
