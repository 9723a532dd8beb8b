"""Ctrl-C and SIGTERM at every stage: what is kept is said, nothing is left, and it goes on."""

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

INT, TERM = signal.SIGINT, signal.SIGTERM


def check(ended: Ended, how: signal.Signals, words: list[str], kept: str, *, resumes: bool) -> None:
    """Two plain lines, the exit code of the signal, and nothing left."""
    name = "Ctrl-C" if how is INT else "SIGTERM"
    assert ended.code == 128 + how, ended.shown[-2000:]
    verb = "go on" if resumes else "begin again"
    assert ended.last_lines == [
        f"stopped by {name}; {kept}",
        f"to {verb}: {shlex.join(['mmgenre', *words])}",
    ]
    assert "Traceback" not in ended.shown
    assert ended.processes == ended.temporary == []


def temporary_files(folder: Path) -> list[Path]:
    """What unfinished writes and locks leave."""
    return [p for p in folder.rglob(".*") if p.suffix in (".tmp", ".lock", ".old")]


@pytest.mark.parametrize("how", [INT, TERM])
def test_reading_media_stops_at_once_and_leaves_nothing(
    small: Small, tmp_path: Path, how: signal.Signals
) -> None:
    words = ["extract-features", "--manifest", str(small.manifest), "--run", str(tmp_path / "run")]
    words += ["--recipe", "quick", "-m", "a"]
    ended = on_terminal(words, "reading audio", tmp_path / "tmp", how)
    kept = ended.last_lines[0].partition("; ")[2]
    assert kept.startswith("reading audio: ")
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
STAGES = [
    (r"reading audio .*[1-9]\d*/\d+", INT, "reading audio: "),
    (r"reading audio", TERM, "reading audio: "),
    (r"training audio +\S+ +1/2", INT, "training audio: "),
    (r"training text +\S+ +2/3", TERM, "training text: epoch "),
    (r"training text.without-fold.* 1/3|training text\S*\D+1/3", INT, "training text"),
    (r"embedding image", INT, "embed image: begins again"),
    (r"cross-fitting text", TERM, "embed text (cross-fitted): begins again"),
    (r"training joint|aligning|joint", INT, ""),
    (r"fusion heads", TERM, "fuse "),
]


@pytest.mark.slow
def test_stage_by_stage_to_the_same_figures(small: Small, tmp_path: Path) -> None:
    """Each command is stopped, and the same one goes on; in the end all is as without a stop."""
    settings = [s for s in SETTINGS if not s.startswith("fusion.cross_fit")]
    own = [word for s in [*settings, "fusion.cross_fit=2"] for word in ("--set", s)]
    given = ["--manifest", str(small.manifest), "--recipe", "quick", *own]

    def commands(run: Path) -> list[list[str]]:
        made = ["extract-features", "--run", str(run), *given]
        return [made, ["fuse", "--run", str(run), "--joint"], ["report", str(run)]]

    for words in commands(tmp_path / "whole"):
        assert on_terminal(words, None, tmp_path / "tmp").code == 0
    transcript = []
    stops = list(STAGES)
    for words in commands(tmp_path / "stopped"):
        while True:
            pattern = "|".join(f"(?:{at})" for at, _, _ in stops[:1]) or None
            try:
                ended = on_terminal(words, pattern, tmp_path / "tmp", stops[0][1] if stops else INT)
            except AssertionError as error:
                if "was never shown" not in str(error):
                    raise
                break  # this command has no such stage: it is one of the next command's
            if pattern is None:
                break
            _, how, kept = stops.pop(0)
            told = ended.last_lines[0].partition("; ")[2]
            assert told.startswith(kept), ended.last_lines
            check(ended, how, words, told, resumes=True)
            assert temporary_files(tmp_path / "stopped") == []
            short = shlex.join(words).partition(" --manifest")[0]
            transcript += [f"$ mmgenre {short}", *ended.last_lines[:1]]
    if (file := os.environ.get("MMGENRE_TRANSCRIPT")) is not None:
        Path(file).write_text("\n".join(transcript) + "\n", encoding="utf-8")
    assert stops == []
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert content_hash(stopped / "embeddings.h5") == content_hash(whole / "embeddings.h5")
    figures = [read_record(run / "metrics.json")["fusions"] for run in (whole, stopped)]
    assert figures[0] == figures[1]
