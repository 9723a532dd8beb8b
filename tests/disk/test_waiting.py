"""A step that another process makes is waited for, and aloud."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import Call
from lock_holder import holder

from mmgenre.errors import MmgenreError
from mmgenre.pipeline import grid
from mmgenre.pipeline.experiment import load_experiment
from mmgenre.pipeline.grid import run_experiment
from mmgenre.pipeline.planning import Plan, Step
from mmgenre.progress import Progress


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
