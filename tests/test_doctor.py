"""The doctor: finds an able installation able, and says of a broken one what to do."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, requires

import pytest
from packaging.requirements import Requirement

from mmgenre import doctor
from mmgenre.doctor import PACKAGES, Check, diagnose


def by_name() -> dict[str, Check]:
    return {check.name: check for check in diagnose()}


def test_this_installation_is_able() -> None:
    checks = by_name()
    assert [c for c in checks.values() if not c.ok or c.advice] == []
    assert set(PACKAGES) < set(checks)
    assert checks["constant-Q transform"].found == "A4 in bin 45"


def requirement(check: Check) -> Requirement:
    command, _, quoted = check.advice.partition("'")
    assert command == "pip install "
    return Requirement(quoted.rstrip("'"))  # raises for what pip would not understand


def test_a_missing_package_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(doctor, "version", version)
    for name, wanted in PACKAGES.items():
        check = doctor._package(name, wanted)
        assert not check.ok
        assert check.found == "not installed"
        assert requirement(check).name == name


@pytest.mark.parametrize(
    ("name", "found", "ok"),
    [
        ("torch", "2.11.0+cu130", True),
        ("torch", "2.12.0", False),
        ("torch", "2.10.1", False),
        ("torchvision", "0.26.1", True),
        ("librosa", "0.11.0", True),
        ("librosa", "0.12.0rc1", True),
        ("librosa", "0.10.2", False),
        ("numpy", "1.26.4", False),
        ("numpy", "2.4.6", True),
    ],
)
def test_versions(monkeypatch: pytest.MonkeyPatch, name: str, found: str, ok: bool) -> None:
    monkeypatch.setattr(doctor, "version", lambda _: found)
    check = doctor._package(name, PACKAGES[name])
    assert (check.ok, check.found) == (ok, found)
    if ok:
        assert check.advice == ""
    else:
        assert found not in requirement(check).specifier


def test_advice_is_what_the_package_itself_requires() -> None:
    declared = {r.name: r for r in map(Requirement, requires("mmgenre") or [])}
    for name, wanted in PACKAGES.items():
        advised = f"{name}=={wanted}.*" if name in doctor.EXACT else f"{name}>={wanted}"
        assert declared[name].specifier == Requirement(advised).specifier


def test_a_broken_library_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> str:
        raise OSError("libsndfile.so.1: cannot open")

    monkeypatch.setattr(doctor, "_audio", broken)
    check = by_name()["audio formats"]
    assert not check.ok
    assert check.found == "OSError: libsndfile.so.1: cannot open"
    assert "reinstall soundfile" in check.advice


def test_a_full_disk_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "FREE_GB", 1e9)
    check = by_name()["disk"]
    assert not check.ok
    assert check.advice.startswith("make room")
