"""What the user has allowed is known for that folder on this machine, and for no other."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mmgenre.disk.allowed import allow_address, allowed_address

URL = "https://x.org/annotate"


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("MMGENRE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "allowed"


def test_an_address_is_allowed_for_one_folder(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    assert allowed_address(run) is None
    allow_address(run, URL)
    assert allowed_address(run) == URL
    shutil.copytree(run, tmp_path / "copy")
    assert allowed_address(tmp_path / "copy") is None
    run.rename(tmp_path / "moved")
    (tmp_path / "copy").rename(run)  # what came from elsewhere takes its place
    assert allowed_address(run) is None


def test_a_damaged_permission_is_none(tmp_path: Path, cache: Path) -> None:
    allow_address(tmp_path, URL)
    (kept,) = cache.iterdir()
    for text in ("", "[]", "{", "7", '{"folder": [1]}'):
        kept.write_text(text)
        assert allowed_address(tmp_path) is None


def test_a_cache_that_cannot_be_written_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MMGENRE_CACHE", str(tmp_path / "file"))
    allow_address(tmp_path, URL)
    assert allowed_address(tmp_path) is None
