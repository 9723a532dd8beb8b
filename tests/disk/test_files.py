"""Temporary names: never another's, and swept away after a kill."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from mmgenre.disk.files import replacing, sweep, temporary_name


def files(path: Path) -> list[str]:
    return sorted(p.name for p in path.parent.iterdir())


def test_only_leftovers_of_that_file_are_swept(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    gone = [temporary_name(path).name, ".a.h5.box-1-0123abcd.tmp", ".a.h5.7.tmp"]
    kept = ["a.h5", ".ah5.7.tmp", ".b.h5.7.tmp", ".a.h5.x.tmp", ".a.h5.7.tmp~", "a.h5.7.tmp"]
    kept += [temporary_name(tmp_path / name).name for name in ("b.h5", "a.h5.b", "a")]
    for name in (*kept, *gone):
        (tmp_path / name).write_text("")
    sweep(path)
    assert files(path) == sorted(kept)


def test_a_temporary_name_is_never_another_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Containers on one folder may share a pid, and even a host name."""
    monkeypatch.setattr(socket, "gethostname", lambda: "node/7.é." * 40)
    path = tmp_path / "a.h5"
    with replacing(path) as one, replacing(path) as two:
        assert one != two
        one.write_text("1")
        two.write_text("2")
    assert files(path) == ["a.h5"]
    temporary_name(path).write_text("")
    sweep(path)
    assert files(path) == ["a.h5"]
