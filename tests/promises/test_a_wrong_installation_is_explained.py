"""A package that is missing or broken is named, with what installs it, and without a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from small import Small

from mmgenre.installation import module_of, requirements

BROKEN = 'raise ImportError("lib.so.6: cannot open shared object file")'
MISSING = 'raise ModuleNotFoundError(f"No module named {__name__!r}", name=__name__)'
PACKAGES = requirements()
SAMPLE = ("h5py", "typer")  # typer: without it there is no command line at all
QUICK = {("typer", "missing")}
CASES = [
    pytest.param(
        package,
        content,
        id=f"{package}-{how}",
        marks=() if (package, how) in QUICK else pytest.mark.slow,
    )
    for package in sorted(PACKAGES)
    for how, content in (("broken", BROKEN), ("missing", MISSING))
]
NEEDED_TO_PREDICT = ("h5py", "numpy", "pydantic", "scipy", "soundfile", "torch", "typer")


def said_by(
    folder: Path, package: str, content: str, *words: str
) -> subprocess.CompletedProcess[str]:
    """What a command says where the module of a package has another content."""
    (folder / f"{module_of(package)}.py").write_text(content, encoding="utf-8")
    path = os.pathsep.join([str(folder), *sys.path])
    return subprocess.run(
        [sys.executable, "-m", "mmgenre", *words],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def check(done: subprocess.CompletedProcess[str], package: str) -> None:
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert PACKAGES[package] in said
    assert "pip install" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(("package", "content"), CASES)
def test_the_doctor_names_it(package: str, content: str, tmp_path: Path) -> None:
    check(said_by(tmp_path, package, content, "doctor"), package)


@pytest.mark.parametrize(
    "package",
    [pytest.param(p, marks=() if p in SAMPLE else pytest.mark.slow) for p in NEEDED_TO_PREDICT],
)
def test_a_prediction_fails_with_its_name(package: str, small: Small, tmp_path: Path) -> None:
    words = ("predict", str(small.run), "--manifest", str(small.manifest))
    check(said_by(tmp_path, package, BROKEN, *words), package)
