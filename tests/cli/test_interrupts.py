"""Ctrl-C, SIGTERM, a closed terminal: what is kept is said, nothing is left, and it goes on."""

from __future__ import annotations

import os
import shlex
import signal
from pathlib import Path

import pytest
from interrupting import Ended, on_terminal
from small import SETTINGS, Small

from mmgenre.disk.records import read_record
from mmgenre.disk.store import content_hash
from mmgenre.signals import SIGNALS

INT, TERM, HUP = signal.SIGINT, signal.SIGTERM, signal.SIGHUP


def check(ended: Ended, how: signal.Signals, words: list[str], kept: str, *, resumes: bool) -> None:
    """Two plain lines, the exit code of the signal, and nothing left."""
    assert ended.code == 128 + how, ended.shown[-2000:]
    verb = "go on" if resumes else "begin again"
    if how is not HUP:  # nobody can see what is told then
        assert ended.last_lines == [
            f"stopped by {SIGNALS[how]}; {kept}",
            f"to {verb}: {shlex.join(['mmgenre', *words])}",
        ]
    assert "Traceback" not in ended.shown
    assert ended.processes == ended.temporary == []


def temporary_files(folder: Path, *, reading: bool = True) -> list[Path]:
    """What unfinished writes and locks leave.

    `reading`: but for parts of media, whose processes are killed; the next call tidies these up.
    """
    found = [p for p in folder.rglob(".*") if p.suffix in (".tmp", ".lock", ".old")]
    return [p for p in found if not (reading and p.parent.suffix == ".parts")]


# SIGTERM, which reaches fewer processes than these two, comes in the slow tests.
@pytest.mark.parametrize("how", [INT, pytest.param(HUP, marks=pytest.mark.slow)])
def test_reading_media_stops_at_once_and_leaves_nothing(
    small: Small, tmp_path: Path, how: signal.Signals
) -> None:
    words = ["extract-features", "--manifest", str(small.manifest), "--run", str(tmp_path / "run")]
    words += ["--recipe", "quick", "-m", "a"]
    ended = on_terminal(words, "reading audio", tmp_path / "tmp", how)
    kept = ended.last_lines[0].partition("; ")[2]
    assert how is HUP or kept.endswith("finished steps are kept")
    check(ended, how, words, kept, resumes=True)
    assert temporary_files(tmp_path / "run") == []


@pytest.mark.slow
def test_a_prediction_that_is_stopped_leaves_no_folder(small: Small, tmp_path: Path) -> None:
    for k, (how, at) in enumerate([(TERM, "reading audio"), (INT, "embedding audio")]):
        out = tmp_path / f"{k}.csv"
        words = ["predict", str(small.run), "--manifest", str(small.manifest)]
        words += ["--format", "csv", "--out", str(out)]
        ended = on_terminal(words, at, tmp_path / "tmp", how)
        kept = ended.last_lines[0].partition("; ")[2]
        check(ended, how, words, kept, resumes=False)
        assert not out.exists()


@pytest.mark.slow
def test_a_search_that_is_stopped(small: Small, tmp_path: Path) -> None:
    run = small.copy(tmp_path / "run")
    assert on_terminal(["fuse", "--run", run, "--joint"], None, tmp_path / "tmp").code == 0
    words = ["search", str(run), "--text", "slow piano"]
    ended = on_terminal(words, "reading text", tmp_path / "tmp", TERM)
    check(ended, TERM, words, ended.last_lines[0].partition("; ")[2], resumes=False)


# One after the other in one run: pattern on the terminal, signal, what is kept.
EXTRACT = [
    (r"reading audio[^\n]* [1-9]\d*/\d+", INT, "reading audio: "),
    (r"training audio", INT, "training audio: "),
    (r"training text[^\n]* [2-9]/20", TERM, "training text: epoch "),
    (r"embedding image", INT, "embed image: begins again"),
]
FUSE = [
    (r"joint space", INT, "joint space: begins again"),
    (r"training text\.without-0[^\n]* [2-9]/20", INT, "training text.without-0: epoch "),
    (r"cross-fitting text", TERM, "embed text (cross-fitted): begins again"),
    (r"fusion heads", TERM, "fuse "),
]
REPORT = [(r"explaining", INT, "finished steps")]


@pytest.mark.slow
def test_stage_by_stage_to_the_same_figures(small: Small, tmp_path: Path) -> None:
    """Each command is stopped, and the same one goes on; in the end all is as without a stop."""
    settings = [s for s in SETTINGS if not s.startswith("fusion.")]  # heads are solved
    # Rounds enough of the network of words for a signal to come between two of them.
    settings += ["fusion.cross_fit=2", "text.training.min_steps=500", "text.training.patience=500"]
    own = [word for s in settings for word in ("--set", s)]
    given = ["--manifest", str(small.manifest), "--recipe", "quick", *own]

    def commands(run: Path) -> list[list[str]]:
        made = ["extract-features", "--run", str(run), *given]
        return [made, ["fuse", "--run", str(run), "--joint"], ["report", str(run)]]

    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    for words in commands(whole):
        assert on_terminal(words, None, tmp_path / "tmp").code == 0
    transcript = []
    for words, stages in zip(commands(stopped), (EXTRACT, FUSE, REPORT), strict=True):
        short = shlex.join(["mmgenre", *words]).partition(" --manifest")[0]
        for pattern, how, kept in stages:
            ended = on_terminal(words, pattern, tmp_path / "tmp", how)
            told = ended.last_lines[0].partition("; ")[2]
            assert told.startswith(kept), ended.last_lines
            check(ended, how, words, told, resumes=True)
            assert temporary_files(stopped) == []
            transcript += [f"$ {short}", *ended.last_lines]
        assert on_terminal(words, None, tmp_path / "tmp").code == 0
        transcript += [f"$ {short}", "(goes on, to the end)"]
    assert temporary_files(stopped, reading=False) == []
    if (file := os.environ.get("MMGENRE_TRANSCRIPT")) is not None:
        Path(file).write_text("\n".join(transcript) + "\n", encoding="utf-8")
    assert content_hash(stopped / "embeddings.h5") == content_hash(whole / "embeddings.h5")
    figures = [read_record(run / "metrics.json")["fusions"] for run in (whole, stopped)]
    assert figures[0] == figures[1]
