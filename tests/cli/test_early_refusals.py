"""Mistakes on the command line are told before anything that takes seconds to import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from small import Small

HEAVY = ("torch", "numba", "librosa", "sklearn", "scipy", "onnxruntime", "matplotlib")
SCRIPT = f"""
import atexit, sys
from mmgenre.cli import main
heavy = lambda: print("imported:", *[name for name in {HEAVY} if name in sys.modules])
atexit.register(heavy)
sys.argv[0] = "mmgenre"
main()
"""


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ("{model} {song} --bogus", 2, "No such option"),
        ("{model}", 2, "give paths"),
        ("{model} {song} --top 0", 2, "--top"),
        ("{model} {none}.mp3", 1, "no such file or folder"),
        ("{model} --audio {none}.mp3", 1, "none.mp3: no such file [missing]"),
        ("{model} --manifest {none}.csv", 1, "none.csv"),
        ("{none} {song}", 1, "none: no fusion head"),
        ("{folder} {song}", 1, "no fusion head"),
    ],
)
def test_it_is_told_early(
    small: Small, tmp_path: Path, arguments: str, code: int, said: str
) -> None:
    song = tmp_path / "song.mp3"
    song.touch()
    names = {"model": small.run, "song": song, "folder": tmp_path, "none": tmp_path / "none"}
    given = [part.format(**names) for part in arguments.split()]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, "predict", *given],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert done.stdout.split() == ["imported:"]


def test_this_test_sees_what_is_imported() -> None:
    script = SCRIPT.replace("main()", "import scipy")
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["imported:", "scipy"]
