"""What no module may do: unpickle, print, and (for the command line) import torch to say hello."""

from __future__ import annotations

import ast
import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import mmgenre

PACKAGE = Path(mmgenre.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
NAMES = [path.relative_to(PACKAGE).as_posix() for path in SOURCES]
PICKLERS = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def offences(source: str, *, may_print: bool = False) -> list[str]:
    """Everything in a source that could run a pickle, and every `print(`."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
        else:
            names = set()
        found += [f"imports {name}" for name in names if name.split(".")[0] in PICKLERS]
        # By its bare name it would escape the check of its options.
        found += [f"imports {name}" for name in names & {"torch.load", "numpy.load"}]
        if isinstance(node, ast.Call):
            found += _call_offences(node, may_print=may_print)
    return found


def _call_offences(node: ast.Call, *, may_print: bool) -> list[str]:
    name = ast.unparse(node.func)
    options = {k.arg: ast.unparse(k.value) for k in node.keywords}
    found = []
    if name == "torch.load" and options.get("weights_only") != "True":
        found.append("torch.load without weights_only=True")
    if name.endswith("load_state_dict_from_url") and options.get("weights_only") != "True":
        found.append("load_state_dict_from_url without weights_only=True")
    if name in ("torch.hub.load", "ahocorasick.load"):
        found.append(f"{name} unpickles")
    if options.get("allow_pickle", "False") != "False":
        found.append("allow_pickle")
    if name in ("np.load", "numpy.load") and (len(node.args) > 2 or None in options):
        found.append("np.load with options that cannot be seen here")
    if name == "print" and not may_print:
        found.append("print; the library is silent, the command line speaks")
    return [f"line {node.lineno}: {what}" for what in found]


@pytest.mark.parametrize("name", NAMES)
def test_no_pickle_and_no_print(name: str) -> None:
    source = (PACKAGE / name).read_text(encoding="utf-8")
    assert offences(source, may_print=name == "cli.py") == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import os, dill as d",
        "from joblib import load",
        "from cloudpickle.cloudpickle import dumps",
        "def f():\n    import shelve",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=flag)",
        "from torch import load",
        "np.load(path, allow_pickle=True)",
        "numpy.load(path, 'r', True)",
        "np.load(path, **options)",
        "np.save(path, x, allow_pickle=flag)",
        "ahocorasick.load(path, f)",
        "print('x')",
    ],
)
def test_this_test_sees_offences(source: str) -> None:
    assert len(offences(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "torch.load(path, weights_only=True)",
        "np.load(path)",
        "np.load(path, allow_pickle=False)",
        "json.load(f); console.print(x)",
        "# import pickle",
    ],
)
def test_this_test_lets_the_rest_pass(source: str) -> None:
    assert offences(source) == []


def test_only_the_command_line_may_print() -> None:
    assert offences("print(1)", may_print=True) == []


MODELS = PACKAGE / "models"


def test_the_package_has_no_binary_file_but_its_model() -> None:
    """Its size is checked in tests/pipeline/test_starter.py."""
    found = []
    for path in PACKAGE.rglob("*"):
        if path.is_dir() or "__pycache__" in path.parts or path.is_relative_to(MODELS):
            continue
        if b"\0" in path.read_bytes():
            found.append(path.relative_to(PACKAGE).as_posix())
    assert found == []
    binary = {path.name for path in MODELS.rglob("*") if path.is_file()}
    binary = {name for name in binary if Path(name).suffix not in (".json", ".md")}
    assert binary == {"model.safetensors"}  # nothing that runs code


HELP = """
import json, sys
sys.argv = ["mmgenre", "--help"]
from mmgenre.cli import app
try:
    app()
except SystemExit as done:
    assert done.code in (0, None), done.code
print()
print(json.dumps(sorted(sys.modules)))
"""


def test_help_imports_nothing_heavy() -> None:
    """`mmgenre --help` answers at once: torch alone takes 3.5 s."""
    run = subprocess.run(
        [sys.executable, "-c", HELP], capture_output=True, text=True, check=False, timeout=60
    )
    assert run.returncode == 0, run.stderr
    *page, modules = run.stdout.splitlines()
    assert any("extract-features" in line for line in page)
    loaded = {name.split(".")[0] for name in json.loads(modules)}
    assert "mmgenre" in loaded
    heavy = {"torch", "librosa", "sentence_transformers", "sklearn", "h5py"}
    assert loaded & heavy == set()


def test_python_m_mmgenre_helps() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "mmgenre", "--help"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    assert "extract-features" in run.stdout


def test_the_network_is_out_of_reach() -> None:
    with socket.socket() as plug:
        for connect in (plug.connect, plug.connect_ex):
            with pytest.raises(AssertionError, match=r"a test tried connect.*192\.0\.2\.1"):
                connect(("192.0.2.1", 9))
        with pytest.raises(AssertionError, match=r"getaddrinfo\('example\.org'\)"):
            socket.create_connection(("example.org", 80))


def test_this_machine_is_in_reach() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()
