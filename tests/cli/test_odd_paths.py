"""NULs, circles of links and ids of a megabyte are faults with a place, and never a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import Call


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("loop", "loop.csv", "loop.toml", "loop.h5"):
        (tmp_path / name).symlink_to(name)
    (tmp_path / "good.csv").write_text("id,artist,labels,text\na,x,Rock,words\n")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("manifest", "info", "loop.csv"), "loop.csv: 1 fault"),
        (("manifest", "check", "loop/m.csv"), "levels of symbolic links"),
        (("extract-features", "--manifest", "loop.csv", "--run", "r"), "levels of symbolic links"),
        (("extract-features", "--run", "loop"), "levels of symbolic links"),
        (("fuse", "--run", "loop"), "levels of symbolic links"),
        (("predict", "loop", "--text", "good.csv"), "no fusion head"),
        (("report", "loop"), "not there"),
        (("store", "info", "loop.h5"), "no such file"),
        (("run", "loop.toml"), "no recipe 'loop.toml'"),
        (("run", "a\0.toml"), "a NUL is in no path"),
        (
            ("extract-features", "--manifest", "good.csv", "--recipe", "loop.toml", "--run", "r"),
            "no recipe",
        ),
    ],
)
def test_a_path_that_leads_nowhere(call: Call, words: tuple[str, ...], message: str) -> None:
    done = call(*words)
    assert done.code == 1
    assert message in done.err


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a,x,Rock,a\0b.txt,", "line 2: text_file: a NUL character in 'a\\x00b.txt'"),
        ("a,x\0,Rock,,words", "line 2: artist: a NUL character"),
        ("a,x,Rock\0,,words", "line 2: labels: a NUL character"),
        ("a\0,x,Rock,,words", "line 2: id 'a\\x00'"),
        ("x" * 1_000_000 + ",x,Rock,,words", "line 2: id 'xxxx"),
        ("#" * 1_000_000 + ",x,Rock,,words", "line 2: id '####"),
    ],
)
def test_odd_cells_of_a_manifest(call: Call, folder: Path, row: str, message: str) -> None:
    (folder / "odd.csv").write_text(f"id,artist,labels,text_file,text\n{row}\n")
    done = call("manifest", "info", "odd.csv")
    assert done.code == 1
    assert message in done.err
    assert len(done.err) < 1000
