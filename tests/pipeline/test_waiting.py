"""A step that another process makes is waited for, and aloud."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Call
from lock_holder import holder

from mmgenre.disk.provenance import Provenance
from mmgenre.errors import MmgenreError
from mmgenre.pipeline import grid
from mmgenre.pipeline.artefact import LOCKS, Artefact, carry_out
from mmgenre.progress import Progress


def test_an_artefact_that_another_process_makes_is_waited_for(tmp_path: Path) -> None:
    made: list[str] = []

    def artefact(name: str) -> Artefact:
        def make(progress: Progress) -> None:
            made.append(name)

        provenance = Provenance("inputs", 1, {"name": name})

        def stored() -> str | None:
            return provenance.fingerprint if name in made else None

        return Artefact("read", name, tmp_path / name, provenance, (), stored, make)

    told: list[str] = []
    with holder(tmp_path / LOCKS / "read-text") as other:

        def tell(text: str) -> None:
            told.append(text)
            made.append("text")  # by the other process
            other.communicate("")

        outcome = carry_out([artefact("audio"), artefact("text")], tmp_path, tell=tell)
    assert outcome.failed == {}
    assert made == ["audio", "text"]  # not once more
    assert len(outcome.seconds) == 1
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
