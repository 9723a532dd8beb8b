"""Locks and claims: who waits, who is refused, in which words; what a killed owner leaves."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from lock_holder import holder

from mmgenre.disk import locks
from mmgenre.disk.locks import claimed, locked
from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import group_names, write_store
from mmgenre.errors import StoreError

PROVENANCE = Provenance("stage", 1, {})

OWNER = """
import sys
from pathlib import Path
from mmgenre.disk.locks import claimed
with claimed(Path(sys.argv[1]), shared=sys.argv[2] == "shared"):
    print("claimed", flush=True)
    sys.stdin.read()
"""

WRITER = """
import sys
from pathlib import Path
import numpy as np
from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import write_store
def blocks():
    print("claimed", flush=True)
    sys.stdin.read()
    yield ["a"], np.ones((1, 8), np.float32)
write_store(Path(sys.argv[1]), "theirs", blocks(), Provenance("stage", 1, {}))
"""

FORKER = """
import os, sys, time
from pathlib import Path
from mmgenre.disk.locks import claimed
with claimed(Path(sys.argv[1])):
    child = os.fork()
    if not child:
        print(os.getpid(), flush=True)  # by the child: it has let go by now
        time.sleep(60)
        os._exit(0)
    time.sleep(60)
"""

RACE = """
import os, sys
from pathlib import Path
from mmgenre.disk.locks import ClaimedError, claimed
path, shared, won = Path(sys.argv[1]), sys.argv[2] == "shared", 0
alone, together = path.with_name("alone"), path.with_name(f"shared-{os.getpid()}")
print("ready", flush=True)
sys.stdin.read(1)
while won < 100:
    try:
        with claimed(path, shared):
            os.close(os.open(together if shared else alone, os.O_CREAT | os.O_EXCL))
            assert not alone.exists() if shared else not list(path.parent.glob("shared-*"))
            won += 1
            (together if shared else alone).unlink()
    except ClaimedError:
        pass
"""

TURNS = """
import os, sys
from pathlib import Path
from mmgenre.disk.locks import locked
for _ in range(100):
    with locked(Path(sys.argv[1])):
        os.close(os.open(sys.argv[2], os.O_CREAT | os.O_EXCL))
        os.unlink(sys.argv[2])
"""

Process = subprocess.Popen[str]


def start(source: str, *words: object) -> Process:
    return subprocess.Popen(
        [sys.executable, "-c", source, *map(str, words)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@contextmanager
def owner(source: str, *words: object) -> Iterator[Process]:
    """A process that has claimed."""
    with start(source, *words) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "claimed\n"
        try:
            yield process
        finally:
            process.kill()


def write(path: Path, name: str = "ours") -> Path:
    return write_store(path, name, [(["a"], np.ones((1, 8), np.float32))], PROVENANCE)


def files(path: Path) -> list[str]:
    return sorted(p.name for p in path.parent.iterdir())


def test_a_second_writer_is_refused_by_name(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5")
    before = path.read_bytes()
    with owner(WRITER, path) as first:
        words = (
            rf"a\.h5: process {first.pid} on \S+ has been writing it since 20\d\d-\d\d-\d\d .*: .*"
            rf"python.*\nWait for it to end, or stop it \(kill {first.pid}\), then run this again"
        )
        with pytest.raises(StoreError, match=words):
            write(path)
        assert path.read_bytes() == before
        write(path.with_name("b.h5"))  # another file is free
        assert first.communicate("")[0] == ""
        assert first.returncode == 0
    assert group_names(path) == ("ours", "theirs")
    assert files(path) == ["a.h5", "b.h5"]


def test_a_claim_ends_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with owner(WRITER, path) as first:
        first.send_signal(signal.SIGKILL)
        first.wait()
    # The dead one's name and half a file are there, block nobody, and go.
    lock, half = sorted(files(path), key=len)
    assert lock == ".a.h5.lock"
    assert re.fullmatch(rf"\.a\.h5\..+-{first.pid}-[0-9a-f]{{8}}\.tmp", half)
    write(path)
    assert files(path) == ["a.h5"]


def test_a_claim_does_not_live_on_in_a_forked_child(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with start(FORKER, path) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        try:
            with pytest.raises(StoreError, match=f"process {parent.pid} on"):
                write(path)
            parent.kill()
            parent.wait()
            os.kill(child, 0)  # is there
            write(path)
        finally:
            os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", '{"pid": 1}', "\0" * 9, "1 2\n" * 999])
def test_words_in_the_lock_file_do_not_block(tmp_path: Path, text: str) -> None:
    path, lock = tmp_path / "a.h5", tmp_path / ".a.h5.lock"
    lock.write_text(text)
    write(path)
    with owner(OWNER, path, "alone"):
        lock.write_text(text)
        with pytest.raises(StoreError, match="another process is just writing it; wait a moment"):
            write(path)


def test_shared_claims_stand_beside_each_other(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with owner(OWNER, path, "shared") as one, owner(OWNER, path, "shared") as two:
        either = f"process ({one.pid}|{two.pid}) on"
        with claimed(path, shared=True):
            pass
        with pytest.raises(StoreError, match=either):
            write(path)
        one.communicate("")
        with pytest.raises(StoreError, match=f"process {two.pid} on"):
            write(path)
        assert files(path) == [".a.h5.shared"]
        two.communicate("")
        assert files(path) == []
    with owner(OWNER, path, "alone") as three:  # noqa: SIM117
        with pytest.raises(StoreError, match=f"process {three.pid} on"), claimed(path, shared=True):
            pass


def test_a_claim_may_be_claimed_again_inside_itself(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "a.h5"
    (tmp_path / "link").symlink_to(tmp_path / "sub", target_is_directory=True)
    with claimed(path):
        write(path)
        with claimed(tmp_path / "link" / "a.h5"), claimed(path, shared=True):
            write(path)
        assert files(path) == [".a.h5.lock", "a.h5"]
    assert files(path) == ["a.h5"]
    with (
        claimed(path, shared=True),
        claimed(path, shared=True),
        pytest.raises(StoreError, match="leave the shared claim first"),
    ):
        write(path)
    write(path)


def in_a_thread(call: Callable[[], object]) -> list[str]:
    """Messages of the errors that it raises."""
    said: list[str] = []

    def work() -> None:
        try:
            call()
        except StoreError as error:
            said.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return said


def test_another_thread_is_another_writer(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with claimed(path):
        (said,) = in_a_thread(lambda: write(path))
        assert f"process {os.getpid()} on" in said
        assert "leave it to that thread" in said
    assert in_a_thread(lambda: write(path)) == []


def test_an_error_inside_ends_the_claim(tmp_path: Path) -> None:
    def broken() -> None:
        with claimed(tmp_path / "a.h5"):
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        broken()
    assert in_a_thread(lambda: write(tmp_path / "a.h5")) == []


@pytest.mark.parametrize("kinds", [["alone"] * 3, ["alone", "alone", "shared", "shared"]])
def test_nobody_is_inside_beside_one_who_is_alone(tmp_path: Path, kinds: list[str]) -> None:
    """Processes that claim 100 times each, and remove the lock files each time."""
    racers = [start(RACE, tmp_path / "a.h5", kind) for kind in kinds]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("x")
        racer.stdin.flush()
    for racer in racers:
        racer.communicate(timeout=60)
    assert [racer.returncode for racer in racers] == [0] * len(kinds)
    assert files(tmp_path / "a.h5") == []


def test_a_folder_is_listed_only_after_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each write of many parts it would be quadratic."""
    swept: list[Path] = []
    monkeypatch.setattr("mmgenre.disk.locks.sweep", swept.append)
    path = tmp_path / "a.h5"
    write(path)
    write(path, "more")
    assert swept == []
    with owner(OWNER, path, "alone") as first:
        first.kill()
        first.wait()
    write(path)
    write(path)
    assert swept == [path]


def test_a_shared_claim_after_a_kill_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with owner(WRITER, path) as first:
        first.kill()
        first.wait()
    assert len(files(path)) == 2
    with claimed(path, shared=True):
        pass
    assert files(path) == []


def test_a_killed_sharer_blocks_nobody(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with owner(OWNER, path, "shared") as dead, owner(OWNER, path, "shared") as alive:
        dead.kill()
        dead.wait()
        with pytest.raises(StoreError, match=f"process {alive.pid} on"):
            write(path)
        alive.communicate("")
    write(path)
    assert files(path) == ["a.h5"]


def test_a_lock_file_is_not_opened_through_a_link(tmp_path: Path) -> None:
    path, other = tmp_path / "a.h5", tmp_path / "other"
    other.write_text("content")
    (tmp_path / ".a.h5.lock").symlink_to(other)
    with pytest.raises(StoreError, match=r"a\.h5: cannot be written: .* \(ELOOP\)"):
        write(path)
    assert other.read_text() == "content"


def test_who_would_share_a_claim_waits_for_one_who_joins(tmp_path: Path) -> None:
    path, lock = tmp_path / "a.h5", tmp_path / ".a.h5.lock"
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # as another that joins does for a moment
        timer = threading.Timer(0.2, fcntl.flock, (file, fcntl.LOCK_UN))
        timer.start()
        try:
            with pytest.raises(StoreError, match="wait a moment"), claimed(path):
                pass
            with claimed(path, shared=True):
                assert files(path) == [".a.h5.shared"]
        finally:
            timer.join()


def test_a_lock_on_a_file_that_its_owner_removed_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between our opening it and our lock, its owner leaves and the next one comes."""
    path, lock, flock = tmp_path / "a.h5", tmp_path / ".a.h5.lock", fcntl.flock
    with (tmp_path / "next").open("a") as following:

        def between(descriptor: int, how: int) -> None:
            if (tmp_path / "next").exists():
                flock(following, fcntl.LOCK_EX)
                (tmp_path / "next").replace(lock)
            flock(descriptor, how)

        monkeypatch.setattr(fcntl, "flock", between)
        with pytest.raises(StoreError, match="another process is just writing it"), claimed(path):
            pytest.fail("two are inside")


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_file_system_without_locks_is_called_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(descriptor: int, how: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    words = (
        r"a\.h5: this file system has no locks .*: mount it with flock, or choose another folder"
    )
    with pytest.raises(StoreError, match=words):
        write(tmp_path / "a.h5")
    with pytest.raises(StoreError, match=words), locked(tmp_path / "a.h5"):
        pass
    code = errno.EIO
    with pytest.raises(OSError, match=os.strerror(errno.EIO)), locked(tmp_path / "a.h5"):
        pass


def test_one_who_waits_is_told_for_whom(tmp_path: Path) -> None:
    path, told = tmp_path / "locks" / "a", cast(list[str], [])
    with holder(path) as other:

        def waiting(who: str) -> None:
            told.append(who)
            assert other.stdin is not None
            other.stdin.close()  # it leaves soon

        with locked(path, waiting):
            assert path.with_name("a.left").exists()
    (who,) = told
    assert re.fullmatch(rf"process {other.pid} on \S+, at it since 20\d\d-\d\d-\d\d .*", who)
    assert files(path) == ["a.left"]


def test_a_lock_inside_itself_ends_with_the_outer_one(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with locked(path):
        with locked(path):
            pass
        assert str(os.getpid()) in path.read_text()
    assert files(path) == []


def test_only_one_is_inside_a_lock_whose_file_each_removes(tmp_path: Path) -> None:
    inside = [start(TURNS, tmp_path / "a", tmp_path / "inside") for _ in range(3)]
    for process in inside:
        process.communicate("", timeout=60)
    assert [process.returncode for process in inside] == [0, 0, 0]
    assert files(tmp_path / "a") == []


def test_without_a_name_it_is_another_process(tmp_path: Path) -> None:
    path, told = tmp_path / "a", cast(list[str], [])
    with holder(path) as other:
        path.write_text("no name")

        def waiting(who: str) -> None:
            told.append(who)
            other.communicate("")

        with locked(path, waiting):
            pass
    assert told == ["another process"]


def test_a_moment_is_not_spoken_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "MOMENT_S", 10.0)
    with holder(tmp_path / "a") as other:
        leaves = threading.Timer(0.1, other.communicate, [""])
        leaves.start()
        with locked(tmp_path / "a", pytest.fail):
            assert (tmp_path / "a.left").exists()
        leaves.join()


def test_nobody_waits_for_the_killed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with holder(path) as other:
        other.send_signal(signal.SIGKILL)
        other.wait()
    assert str(other.pid) in path.read_text()
    with locked(path, pytest.fail):
        assert str(other.pid) not in path.read_text()


def test_a_lock_file_that_is_a_hard_link_is_not_written(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("content of its own that is longer than any name of a process" * 20)
    before = other.read_text()
    (tmp_path / ".a.h5.lock").hardlink_to(other)
    with claimed(tmp_path / "a.h5"):
        assert other.read_text() == before
    assert other.read_text() == before
