"""No command reaches for another machine; the block of the whole suite is tested, too."""

from __future__ import annotations

import ast
import shutil
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from elsewhere import Twice, asked_by

import mmgenre
from mmgenre.disk.allowed import allow_media

PACKAGE = Path(mmgenre.__file__).parent
NETWORK_MODULES = {"socket", "ssl", "http", "urllib", "requests", "ftplib", "smtplib", "websockets"}
# The only modules that could: host names for locks; a service for entities that the user names.
MAY_USE = {
    "disk/files.py": "gethostname",
    "disk/locks.py": "gethostname",
    "serving/guard.py": "takes addresses apart",
    "serving/server.py": "listens where the user says, and asks nobody",
    "text/entities/services.py": "an address that the user gives",
    "text/entities/annotators.py": "checks an address that the user gives",
}
OUTSIDE = ("192.0.2.1", 80)  # an address for documentation: nobody has it


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
@pytest.mark.parametrize("call", ["connect", "connect_ex", "sendto"])
def test_the_suite_reaches_no_other_machine(family: socket.AddressFamily, call: str) -> None:
    kind = socket.SOCK_DGRAM if call == "sendto" else socket.SOCK_STREAM
    words = (b"x",) if call == "sendto" else ()
    address = OUTSIDE if family == socket.AF_INET else ("2001:db8::1", 80)
    with socket.socket(family, kind) as own, pytest.raises(AssertionError, match="run offline"):
        getattr(own, call)(*words, address)


@pytest.mark.parametrize("name", ["example.org", b"example.org", "192.0.2.1"])
def test_the_suite_asks_for_no_name(name: Any) -> None:
    with pytest.raises(AssertionError, match="run offline"):
        socket.getaddrinfo(name, 80)
    with pytest.raises(AssertionError, match="run offline"):
        socket.create_connection((name, 80), timeout=1)


def test_the_suite_may_talk_to_itself() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        with socket.create_connection(address) as client:
            server.accept()[0].close()
            assert client.recv(1) == b""


def test_few_modules_can_use_the_network() -> None:
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if NETWORK_MODULES & {name.partition(".")[0] for name in names}:
                found.add(path.relative_to(PACKAGE).as_posix())
    assert found <= MAY_USE.keys(), "a further module can use the network: list it, and say why"


def test_making_a_run_asks_for_no_address(twice: Twice) -> None:
    assert twice.asked == []


def test_a_process_that_asks_is_seen(tmp_path: Path) -> None:
    """Or the tests here could not fail."""
    for code, expected in (
        ("import socket; socket.getaddrinfo('example.org', 80)", "socket.getaddrinfo example.org"),
        ("import socket; socket.socket().connect(('192.0.2.1', 9))", "socket.connect 192.0.2.1"),
    ):
        asked, _ = asked_by([sys.executable, "-c", code], tmp_path / expected[-4:])
        assert asked == [expected]


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        "manifest info {manifest}",
        "manifest check {manifest}",
        "manifest split {manifest} --out {folder}/split.csv",
        "extract-features --run {run}",
        "extract-features --run {run} --workers 2 --set image.input.size_px=48",
        "extract-features --manifest {manifest} --run {folder}/new "
        "--set image.encoders=['descriptors'] --set audio.encoders=['statistics'] "
        "--set text.encoders=['linear']",
        "fuse --run {run} --head cosine",
        "report {run}",
        "predict {run} --manifest {manifest}",
        "store info {run}/embeddings.h5",
        "store verify {run}/embeddings.h5",
        "doctor",
        "--version",
    ],
)
def test_no_command_asks_for_an_address(words: str, twice: Twice, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(twice.here, run)
    allow_media(run / "manifest.csv", [twice.manifest.parent])
    given = words.format(run=run, manifest=twice.manifest, folder=tmp_path).split(" ")
    asked, _ = asked_by([sys.executable, "-m", "mmgenre", *given], tmp_path)
    assert asked == []
