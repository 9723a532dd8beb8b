"""The doctor: finds an able installation able, and says of a broken one what to do."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError

import pytest
from packaging.requirements import Requirement

from mmgenre import doctor
from mmgenre.doctor import Check, diagnose
from mmgenre.installation import explanation, requirements


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
        assert (found.name, len(found.specifier)) == (name, 1)


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
        ("torch==2.11.*", "2.11.0+cu130", True),
        ("torch==2.11.*", "2.12.0", False),
        ("torch==2.11.*", "2.10.1", False),
        ("torchvision==0.26.*", "0.26.1", True),
        ("librosa>=0.11", "0.11.0", True),
        ("librosa>=0.11", "0.12.0rc1", True),
        ("librosa>=0.11", "0.10.2", False),
        ("numpy>=2", "1.26.4", False),
        ("numpy>=2", "2.4.6", True),
    ],
)
def test_versions(monkeypatch: pytest.MonkeyPatch, needed: str, found: str, ok: bool) -> None:
    monkeypatch.setattr(doctor, "version", lambda _: found)
    name = needed.rstrip("=>*.0123456789")
    check = doctor._package(name, needed)
    assert (check.ok, check.found) == (ok, found)
    assert check.advice == ("" if ok else f"pip install '{needed}'")


def test_other_errors_are_not_explained_away() -> None:
    assert explanation(ValueError("mmgenre's own")) is None
    assert explanation(ModuleNotFoundError("No module named 'mine'", name="mine")) is None
