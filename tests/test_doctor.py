"""The doctor: finds an able installation able, and says of a broken one what to do."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from mmgenre import doctor
from mmgenre.doctor import Check, diagnose
from mmgenre.installation import admits, explanation, requirements, torch_for


def by_name() -> dict[str, Check]:
    return {check.name: check for check in diagnose()}


def test_this_installation_is_able() -> None:
    checks = by_name()
    assert [c for c in checks.values() if not c.ok or c.advice] == []
    assert set(requirements()) < set(checks)
    assert checks["constant-Q transform"].found == "A4 in bin 45"


def test_requirements_are_what_pip_understands() -> None:
    for name, needed in requirements().items():
        found = Requirement(needed)
        assert found.name == name
        assert len(found.specifier) >= 1


def requirement(check: Check) -> Requirement:
    command, _, quoted = check.advice.partition("'")
    assert command == "pip install "
    return Requirement(quoted.rstrip("'"))  # raises for what pip would not understand


def test_a_missing_package_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(doctor, "version", version)
    for name, needed in requirements().items():
        check = doctor._package(name, needed)
        assert not check.ok
        assert check.found == "not installed"
        assert requirement(check).name == name


@pytest.mark.parametrize(
    ("needed", "found", "ok"),
    [
        ("torch<2.16,>=2.11", "2.11.0+cu130", True),
        ("torch<2.16,>=2.11", "2.15.3", True),
        ("torch<2.16,>=2.11", "2.16.0", False),
        ("torch<2.16,>=2.11", "2.10.1", False),
        ("torchvision==0.26.*", "0.26.1", True),
        ("torchvision==0.26.*", "0.27.0", False),
        ("librosa>=0.11", "0.11.0", True),
        ("librosa>=0.11", "0.12.0rc1", True),
        ("librosa>=0.11", "0.10.2", False),
        ("numpy>=2", "1.26.4", False),
        ("numpy>=2", "2.4.6", True),
    ],
)
def test_versions(monkeypatch: pytest.MonkeyPatch, needed: str, found: str, ok: bool) -> None:
    monkeypatch.setattr(doctor, "version", lambda _: found)
    name = needed.rstrip("<=>*,.0123456789")
    check = doctor._package(name, needed)
    assert (check.ok, check.found) == (ok, found)
    assert check.advice == ("" if ok else f"pip install '{needed}'")


@pytest.mark.parametrize("specifier", [
    "==2.11.0", "==2.11.*", ">=2.11", ">=2.11,<2.16", "!=2.13", "~=2.11", "~=2.11.1", ">2.11",
    "<=2.13.0", "",
])  # fmt: skip
def test_specifiers_admit_what_pip_says(specifier: str) -> None:
    for found in ("2.10.9", "2.11", "2.11.0", "2.11.1", "2.13.0", "2.13.1", "2.16.0", "3.0"):
        assert admits(specifier, found) == (found in SpecifierSet(specifier)), found


class Installed:
    """Stand-ins for installed packages: folders with metadata, and a module each."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        monkeypatch.setattr(sys, "path", [str(folder), *sys.path])

    def add(self, name: str, version: str, torch: str | None = None) -> None:
        about = self.folder / f"{name}-{version}.dist-info"
        about.mkdir()
        lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
        lines += ["Requires-Dist: torch-geometric>=1", 'Requires-Dist: torchmetrics; extra == "x"']
        lines += [] if torch is None else [f"Requires-Dist: torch {torch}"]
        (about / "METADATA").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installed:
    return Installed(tmp_path, monkeypatch)


def match() -> Check:
    (check,) = doctor._matches()
    return check


@pytest.mark.parametrize("stated", ["(==2.11.0)", "==2.11.0", ">=2.11", None])
def test_a_trio_that_fits(installed: Installed, stated: str | None) -> None:
    installed.add("torch", "2.11.0+cpu")
    installed.add("torchvision", "0.26.0", stated)
    installed.add("torchaudio", "2.11.1", ">=2.11")
    assert torch_for("torchvision") == (stated and stated.strip("()"))
    assert match().ok
    assert match().found == "torch 2.11.0+cpu, torchaudio 2.11.1, torchvision 0.26.0"


@pytest.mark.parametrize(
    ("package", "version", "torch"),
    [("torchvision", "0.26.0", "==2.11.0"), ("torchaudio", "2.10.0", "==2.10.0")],
)
def test_one_made_for_another_torch_is_told(
    installed: Installed, package: str, version: str, torch: str
) -> None:
    installed.add("torch", "2.13.0")
    for name, fitting in (("torchvision", "0.28.0"), ("torchaudio", "2.11.1")):
        if name != package:
            installed.add(name, fitting, ">=2.11")
    installed.add(package, version, torch)
    check = match()
    assert not check.ok
    assert check.found == f"{package} {version} is made for torch {torch}, and torch is 2.13.0"
    for name in ("torch", "torchaudio", "torchvision"):
        assert f"'{requirements()[name]}'" in check.advice


@pytest.mark.parametrize(
    ("package", "found"),
    [("torch", "2.11.0"), ("torch", "2.13.0+cpu"), ("torch", "2.16.0"), ("torchaudio", "2.11.0")],
)
def test_releases_that_state_what_is_not_so_are_not_taken(
    monkeypatch: pytest.MonkeyPatch, package: str, found: str
) -> None:
    """So torchaudio 2.11.0, which states no torch; 2.11.1 does not import beside torch 2.11."""
    monkeypatch.setattr(doctor, "version", lambda _: found)
    assert not doctor._package(package, requirements()[package]).ok


def test_without_torch_nothing_is_said_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone() -> list[str]:
        raise PackageNotFoundError("torch")

    monkeypatch.setattr(doctor, "torch_faults", gone)
    assert doctor._matches() == []


def test_other_errors_are_not_explained_away() -> None:
    assert explanation(ValueError("mmgenre's own")) is None
    assert explanation(ModuleNotFoundError("No module named 'mine'", name="mine")) is None
