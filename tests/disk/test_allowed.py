"""What the user has allowed is known for that folder or file on this machine, and for no other."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mmgenre.disk.allowed import allow, allow_media, allowed, allowed_media, as_named

URL = "https://x.org/annotate"


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("MMGENRE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "allowed"


def test_names_are_allowed_for_one_folder(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    assert allowed(run) == frozenset()
    allow(run, [URL, "/data/kb"])
    assert allowed(run) == {URL, "/data/kb"}
    shutil.copytree(run, tmp_path / "copy")
    assert allowed(tmp_path / "copy") == frozenset()
    run.rename(tmp_path / "moved")
    (tmp_path / "copy").rename(run)  # what came from elsewhere takes its place
    assert allowed(run) == frozenset()


def test_folders_of_media_are_allowed_for_one_file_with_one_content(tmp_path: Path) -> None:
    own, other = tmp_path / "own.csv", tmp_path / "other.csv"
    for file in (own, other):
        file.write_text("id,labels\na,b\n")
    allow_media(own, [tmp_path / "audio", tmp_path / "x" / ".." / "covers"])
    assert allowed_media(own) == (tmp_path / "audio", tmp_path / "covers")
    assert allowed_media(other) == ()
    own.write_text("id,labels\na,c\n")
    assert allowed_media(own) == ()


def test_what_is_typed_is_named_as_it_stands_and_as_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert as_named(["kb", "my.encoders:RHYTHM", "a\0b"]) >= {
        "kb",
        str(tmp_path.resolve() / "kb"),
        "my.encoders:RHYTHM",
        "a\0b",
    }


def test_a_damaged_permission_is_none(tmp_path: Path, cache: Path) -> None:
    allow(tmp_path, [URL])
    allow_media(file := tmp_path / "m.csv", [])  # no such file: nothing is remembered
    assert len(list(cache.iterdir())) == 1
    file.write_text("id\n")
    allow_media(file, [tmp_path])
    kept = list(cache.iterdir())
    assert len(kept) == 2
    for text in ("", "[]", "{", "7", '{"folder": [1]}', '{"sha256": 7}'):
        for path in kept:
            path.write_text(text)
        assert allowed(tmp_path) == frozenset()
        assert allowed_media(file) == ()


def test_a_cache_that_cannot_be_written_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MMGENRE_CACHE", str(tmp_path / "file"))
    allow(tmp_path, [URL])
    allow_media(tmp_path / "file", [tmp_path])
    assert allowed(tmp_path) == frozenset()
    assert allowed_media(tmp_path / "file") == ()
