"""Who waits for another process says for whom, once."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from command_line import Call

from mmgenre import files
from mmgenre.errors import MmgenreError
from mmgenre.experiment import load_experiment
from mmgenre.files import locked
from mmgenre.progress import Progress
from mmgenre.stages import grid
from mmgenre.stages.grid import run_experiment
from mmgenre.stages.planning import Plan, Step

HOLDER = """
import select, sys, time
from pathlib import Path
from mmgenre.files import locked
with locked(Path(sys.argv[1])):
    print("inside", flush=True)
    select.select([sys.stdin], [], [], 10)  # until it is told, or nobody was told of it
    time.sleep(0.2)
    Path(sys.argv[1] + ".left").touch()
"""
Process = subprocess.Popen[str]


@contextmanager
def holder(path: Path) -> Iterator[Process]:
    """A process that is inside the lock."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "inside\n"
        try:
            yield process
        finally:
            process.kill()


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
    assert path.read_text() == ""  # nobody is inside


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
    with holder(tmp_path / "a") as other:
        monkeypatch.setattr(files, "sleep", lambda _: other.communicate(""))
        with locked(tmp_path / "a", pytest.fail):
            assert (tmp_path / "a.left").exists()


def test_nobody_waits_for_the_killed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with holder(path) as other:
        other.send_signal(signal.SIGKILL)
        other.wait()
    assert str(other.pid) in path.read_text()
    with locked(path, pytest.fail):
        assert str(other.pid) not in path.read_text()


def test_a_step_that_another_process_makes_is_waited_for_aloud(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def work(progress: Progress) -> None:
        made.append("here")

    monkeypatch.setattr(grid, "tabulate", lambda plan, failed, seconds: failed)
    monkeypatch.setattr(grid, "note_time", lambda *_: None)
    run: Any = None
    steps = {
        name: Step("read", what, name, tmp_path / what, (), run, work, lambda: len(made) > 1)
        for name, what in (("0a", "audio"), ("0b", "text"))
    }
    plan = Plan(load_experiment("oramas2018/table2"), "synthetic", tmp_path, steps, ())
    told: list[str] = []
    with holder(tmp_path / "locks" / "0b") as other:

        def tell(text: str) -> None:
            told.append(text)
            made.append("there")
            other.communicate("")

        failed: object = run_experiment(plan, tell=tell)
    assert failed == {}
    assert made == ["here", "there"]  # the other one's step is not made again
    (text,) = told
    assert text.startswith(f"read text: waiting for process {other.pid} on ")


def test_the_command_line_says_it_on_stderr(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(plan: object, *, progress: Progress, tell: Callable[[str], object]) -> None:
        tell("read text: waiting for process 7")
        raise MmgenreError("and so on")

    monkeypatch.setattr(grid, "prepare_experiment", lambda *_, **__: None)
    monkeypatch.setattr(grid, "run_experiment", run)
    done = call("run", "oramas2018/table2", "--dataset", "synthetic", "--json")
    assert (done.code, done.out) == (1, "")
    assert "read text: waiting for process 7\n" in done.err
