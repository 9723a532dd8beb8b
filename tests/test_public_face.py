"""The public names of the package, and the manners of its command line."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

from command_line import Call

import mmgenre


def test_every_public_name_is_there_and_listed() -> None:
    assert dir(mmgenre) == sorted(mmgenre.__all__)
    for name in mmgenre.__all__:
        assert getattr(mmgenre, name) is not None
    assert mmgenre.__version__ == version("mmgenre")


def test_the_public_names_are_listed_without_torch() -> None:
    code = "import sys, mmgenre; dir(mmgenre); mmgenre.__version__; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_version_and_short_help(call: Call) -> None:
    assert call("--version").out == f"mmgenre {version('mmgenre')}\n"
    assert "extract-features" in call("-h").out
    assert "--modalities" in call("fuse", "-h").out
