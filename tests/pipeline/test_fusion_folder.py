"""The folder of a fusion: old or complete, whatever ends its writing; one command at a time."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from killing import killed_at_each_step
from limits import files_up_to
from lock_holder import holder
from small import SETTINGS

from mmgenre.disk import files as files_module
from mmgenre.disk.locks import ClaimedError, claimed, tidy
from mmgenre.disk.provenance import Provenance
from mmgenre.errors import MmgenreError, StoreError, WaitingWarning
from mmgenre.items.item import Item
from mmgenre.items.manifest import Manifest
from mmgenre.pipeline import alone
from mmgenre.pipeline import scores as of
from mmgenre.pipeline.alone import alone_in_run
from mmgenre.pipeline.artefact import LOCKS
from mmgenre.pipeline.commands import extract_features, fuse
from mmgenre.pipeline.heads import make_fusion
from mmgenre.pipeline.recipe import load_recipe
from mmgenre.pipeline.run import Run
from mmgenre.pipeline.scores import Heads, RowInputs, read_scores
from mmgenre.pipeline.tables import Made, Scored
from mmgenre.progress import silent


def provenance(version: int) -> Provenance:
    return Provenance("fusion", version, {})


class Writer:
    """Writes a fusion of scores that are all `value`."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        items = [Item(f"i{k}", split="train", labels=("Jazz", "Rock")) for k in range(6)]
        self.run = Run(folder, "m.csv", Manifest(items), load_recipe("quick", SETTINGS))
        self.folder = folder / "fusion" / "a"
        self.value = 0.0
        patch.setattr("mmgenre.pipeline.heads._score_by_heads", self.made)

    def made(self, *_: Any) -> Made:
        ids = self.run.manifest.ids()
        scores = np.full((len(ids), 1, 2, 2), self.value, np.float32)
        scored = Scored(ids, scores, np.full((len(ids), 1), of.PRESENT, np.uint8))
        return Made({"val": scored, "test": scored}, [[None, None]], [None], None)

    def write(self, value: float) -> None:
        self.value = value
        heads = Heads((RowInputs("T", ("text",)),), 2, {})
        made_from = provenance(int(value))
        make_fusion(self.run, self.run.recipe, self.folder, heads, made_from, silent)

    def found(self) -> float:
        """The one value of all scores, those of validation too."""
        values = [read_scores(self.folder, on).values for on in ("val", "test")]
        assert {v.shape for v in values} == {(6, 1, 2, 2)}
        (value,) = set(np.concatenate(values).ravel().tolist())
        return float(value)

    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.parent.iterdir())


@pytest.fixture
def writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Writer:
    return Writer(tmp_path / "run", monkeypatch)


@pytest.mark.parametrize("exchange", [True, False])
def test_a_fusion_is_the_old_one_or_the_new_one_after_a_kill(
    writer: Writer, monkeypatch: pytest.MonkeyPatch, exchange: bool
) -> None:
    if not exchange:
        monkeypatch.setattr(files_module, "_exchange", lambda one, other: False)
    writer.write(1)
    found = set()
    exchanging = (files_module, "_exchange")
    for _ in killed_at_each_step(lambda: writer.write(2), exchanging, steps=("replace", "rmdir")):
        tidy(writer.folder)
        found.add(writer.found())
        assert writer.names() == ["a"]
        if writer.found() == 2:
            writer.write(1)
    assert found == {1, 2}
    assert writer.found() == 2
    assert writer.names() == ["a"]


@pytest.mark.parametrize("n_bytes", [0, 100, 2000])
def test_a_full_disk_leaves_the_old_fusion(writer: Writer, n_bytes: int) -> None:
    writer.write(1)
    with files_up_to(n_bytes), pytest.raises((OSError, StoreError)):
        writer.write(2)
    assert writer.found() == 1
    assert writer.names() == ["a"]


def test_a_fusion_has_one_writer(writer: Writer) -> None:
    writer.write(1)
    other = threading.Thread(target=lambda: held(writer.folder))
    other.start()
    time.sleep(0.1)
    with pytest.raises(ClaimedError):
        writer.write(2)
    other.join()
    assert writer.found() == 1


def held(folder: Path) -> None:
    with claimed(folder):
        time.sleep(0.4)


def test_scores_of_one_fusion_and_rows_of_another_are_not_mixed(
    writer: Writer, tmp_path: Path
) -> None:
    writer.write(1)
    about = (writer.folder / of.ABOUT).read_bytes()
    writer.write(2)
    (writer.folder / of.ABOUT).write_bytes(about)
    with pytest.raises(StoreError, match="being made anew"):
        read_scores(writer.folder)


@pytest.mark.filterwarnings("ignore::mmgenre.errors.WaitingWarning")
def test_commands_on_one_run_wait_for_each_other(tmp_path: Path) -> None:
    inside, most = 0, 0

    @alone_in_run
    def work(*, run: Path) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        time.sleep(0.02)
        inside -= 1

    threads = [threading.Thread(target=work, kwargs={"run": tmp_path / "r"}) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert not (tmp_path / "r").exists()  # no run was made


@pytest.mark.filterwarnings("ignore::mmgenre.errors.WaitingWarning")
def test_shards_work_beside_each_other_and_other_commands_wait_for_all_of_them(
    tmp_path: Path,
) -> None:
    folder, both, seen = tmp_path / "r", threading.Barrier(3), []
    may_end = threading.Event()

    @partial(alone_in_run, shared=True)
    def shard(*, run: Path) -> None:
        both.wait(20)  # fails unless the other one is inside as well
        may_end.wait(20)
        time.sleep(0.1)
        seen.append("shard")

    @alone_in_run
    def other(*, run: Path) -> None:
        seen.append("other")

    def started(work: Callable[..., None]) -> threading.Thread:
        thread = threading.Thread(target=work, kwargs={"run": folder})
        thread.start()
        return thread

    threads = [started(shard), started(shard)]
    both.wait(20)
    threads.append(started(other))
    time.sleep(0.3)
    assert seen == []
    may_end.set()
    for thread in threads:
        thread.join()
    assert seen == ["shard", "shard", "other"]
    assert not folder.exists()


def test_a_shard_waits_for_the_command_that_works_in_its_run(tmp_path: Path) -> None:
    @partial(alone_in_run, shared=True)
    def shard(*, run: Path) -> str:
        return "done"

    with holder(tmp_path / LOCKS / ".run.lock") as other:
        assert other.stdin is not None
        threading.Timer(1.5, other.stdin.close).start()  # shards have a second's patience
        with pytest.warns(WaitingWarning, match=rf"waiting for process {other.pid} on "):
            assert shard(run=tmp_path) == "done"
    assert not (tmp_path / LOCKS / ".run.shared").exists()


def test_who_waits_says_for_whom(tmp_path: Path) -> None:
    @alone_in_run
    def work(*, run: Path) -> str:
        return "done"

    (tmp_path / ".locks").mkdir()
    with holder(tmp_path / LOCKS / ".run.lock") as other:
        assert other.stdin is not None
        threading.Timer(0.3, other.stdin.close).start()
        with pytest.warns(WaitingWarning, match=rf"waiting for process {other.pid} on "):
            assert work(run=tmp_path) == "done"


@pytest.mark.parametrize("command", [extract_features, fuse])
def test_a_run_that_cannot_begin_leaves_no_folder(tmp_path: Path, command: Any) -> None:
    with pytest.raises(MmgenreError):
        command(manifest=tmp_path / "gone.csv", run=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_folder_that_cannot_be_written_needs_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    @alone_in_run
    def work(*, run: Path) -> str:
        return "done"

    def refused(*_: object) -> None:
        raise OSError(code, "no right to write")

    monkeypatch.setattr(alone, "claimed", refused)
    with pytest.raises(OSError, match="no right to write"):
        work(run=tmp_path)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert work(run=tmp_path) == "done"
