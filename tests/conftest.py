"""For every test: no network. For those marked `realdata`: the folder of real media, or a skip."""

from __future__ import annotations

import ipaddress
import os
import pickle
import socket
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from command_line import Call, make_call
from elsewhere import Twice, make_twice
from filelock import FileLock
from small import Small, make_small

# Tests run on all cores already; threads of OpenMP that wait for each other make them many times
# slower on a busy machine. Set before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
Made = TypeVar("Made")
REAL_DATA = Path(__file__).parents[2] / "shared" / "data"


class NetworkUseError(AssertionError):
    """A test reached for another machine. No OSError: libraries would take it for a bad line."""


def _is_local(host: object) -> bool:
    if isinstance(host, bytes):
        host = host.decode()
    if host is None or host in ("", "localhost"):
        return True
    try:
        return ipaddress.ip_address(str(host)).is_loopback
    except ValueError:
        return False


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def guarded(name: str) -> Callable[..., Any]:
        original = getattr(socket.socket, name)

        def call(self: socket.socket, *args: Any) -> Any:
            address = args[-1]
            if self.family != socket.AF_UNIX and not _is_local(address[0]):
                raise NetworkUseError(f"a test tried {name}({address!r}); tests run offline")
            return original(self, *args)

        return call

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, guarded(name))
    look_up = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        if not _is_local(host):
            raise NetworkUseError(f"a test tried getaddrinfo({host!r}); tests run offline")
        return look_up(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.fixture(autouse=True)
def _no_power_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of a test must survive a power cut, and waiting for the disk takes long."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(autouse=True)
def _no_published_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a recipe leaves it open, the machine decides whether ImageNet weights are used."""
    monkeypatch.setattr("mmgenre.image.weights.are_here", lambda *args: False)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """How many cases of each promise held; a test of several says so (`record_property`)."""
    cases: Counter[str] = Counter()
    for report in terminalreporter.getreports("passed"):
        if report.when == "call" and "promises/" in report.nodeid:
            name = Path(report.nodeid.partition("::")[0]).stem
            cases[name.removeprefix("test_")] += dict(report.user_properties).get("cases", 1)
    if cases:
        terminalreporter.section("promises: cases that held")
    for name, count in sorted(cases.items()):
        terminalreporter.write_line(f"{count:6,}  {name.replace('_', ' ')}")


def _made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], Made]) -> Made:
    """What `make` gives of a new folder: made by the first of all processes of the test run."""
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    made = base / f"{name}.pickle"
    with FileLock(base / f"{name}.lock"):
        if not made.exists():
            (base / name).mkdir()
            made.write_bytes(pickle.dumps(make(base / name)))
        found: Made = pickle.loads(made.read_bytes())
    return found


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """A trained run that nobody may change; `small.copy` gives one that may."""
    return _made_once(tmp_path_factory, "small", make_small)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of tiny frozen models by the name of what makes them; not to be changed."""

    def make_all(folder: Path) -> dict[str, Path]:
        import tiny_models  # here, since transformers takes seconds to import

        return {name: make(folder / name) for name, make in tiny_models.MODELS.items()}

    return _made_once(tmp_path_factory, "tiny", make_all)


@pytest.fixture(scope="session")
def twice(tmp_path_factory: pytest.TempPathFactory) -> Twice:
    """Two equal runs, of which the second was made in a process without network."""
    return _made_once(tmp_path_factory, "twice", make_twice)


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Runs a command line in this process."""
    return make_call(monkeypatch, capsys)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Published media and labels; see the README there. Use it with the mark `realdata`."""
    if not REAL_DATA.is_dir():
        pytest.skip(f"no folder {REAL_DATA}: real media are not part of the repository")
    return REAL_DATA
