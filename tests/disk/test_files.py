"""Temporary names: never another's, and removed after a kill. Files and folders that swap names."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
from lock_holder import running

from mmgenre.disk import files as files_module
from mmgenre.disk.files import (
    append_line,
    open_marker,
    replacing,
    swap,
    sweep,
    temporary_name,
)


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


def folder(path: Path, content: str) -> Path:
    path.mkdir()
    (path / "inside").write_text(content)
    return path


def file(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


def content_of(path: Path) -> str:
    return (path / "inside" if path.is_dir() else path).read_text()


WATCHER = """
import os, select, sys
print("watching", flush=True)
looks = misses = 0
while not select.select([sys.stdin], [], [], 0)[0]:
    for _ in range(1000):
        looks += 1
        try:
            os.stat(sys.argv[1])
        except FileNotFoundError:
            misses += 1
print(looks, misses)
"""


def can_exchange(folder: Path) -> bool:
    one, other = file(folder / "one", "1"), file(folder / "other", "2")
    return files_module._exchange(one, other) and one.read_text() == "2"


def test_a_folder_is_there_at_every_moment_while_others_take_its_place(tmp_path: Path) -> None:
    if not can_exchange(tmp_path):
        pytest.skip("this C library or file system cannot exchange two names (renameat2)")
    target = folder(tmp_path / "a", "0")
    with running(WATCHER, "watching", target) as watcher:
        for number in range(200):
            swap(folder(temporary_name(target), str(number)), target)
        looks, misses = map(int, watcher.communicate("stop")[0].split())
    assert misses == 0
    assert looks > 200
    assert content_of(target) == "199"
    assert set(files(target)) == {"a", "one", "other"}


@pytest.mark.parametrize("make", [file, folder])
@pytest.mark.parametrize("exchange", [True, False])
def test_swap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Any, exchange: bool) -> None:
    if not exchange:
        monkeypatch.setattr(files_module, "_exchange", lambda one, other: False)
    target = tmp_path / "a"
    for content in ("first", "second", "third"):
        swap(make(temporary_name(target), content), target)
        assert content_of(target) == content
        assert files(target) == ["a"]


@pytest.mark.parametrize("make", [file, folder])
def test_a_failure_between_the_two_renames_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Any
) -> None:
    target, replace = make(tmp_path / "a", "old"), Path.replace

    def stumble(self: Path, other: Path) -> Path:
        if self.name.endswith(".tmp"):
            raise OSError("the disk went away")
        return replace(self, other)

    monkeypatch.setattr(files_module, "_exchange", lambda one, other: False)
    monkeypatch.setattr(Path, "replace", stumble)
    temporary = make(temporary_name(target), "new")
    with pytest.raises(OSError, match="the disk went away"):
        swap(temporary, target)
    assert content_of(target) == "old"
    assert files(target) == sorted(["a", temporary.name])


def test_where_the_c_library_cannot_exchange_two_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    assert not can_exchange(tmp_path)


def test_unfinished_folders_are_swept(tmp_path: Path) -> None:
    folder(temporary_name(tmp_path / "a"), "half")
    sweep(tmp_path / "a")
    assert files(tmp_path / "a") == []


@pytest.mark.parametrize("mode", ["w", "a", "r+"])
@pytest.mark.parametrize("link", [Path.symlink_to, Path.hardlink_to])
def test_a_marker_is_not_written_through_a_link(tmp_path: Path, mode: Any, link: Any) -> None:
    other = file(tmp_path / "other", "content")
    link(tmp_path / "a", other)
    with pytest.raises(OSError, match=r"a link or no regular|symbolic links"):
        open_marker(tmp_path / "a", mode)
    with pytest.raises(OSError, match=r"a link or no regular|symbolic links"):
        append_line(tmp_path / "a", "line")
    assert other.read_text() == "content"


def test_a_marker_is_a_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a")
    with pytest.raises(OSError, match="no regular file"):
        open_marker(tmp_path / "a", "w")
    for text in ("a longer one", "short"):
        with open_marker(tmp_path / "b", "w") as opened:
            opened.write(text)
    append_line(tmp_path / "b", "er")
    assert (tmp_path / "b").read_text() == "shorter\n"
