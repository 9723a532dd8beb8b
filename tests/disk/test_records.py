"""JSON files of a run: whole, by one writer, with a checksum that tells of every edit."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st
from killing import killed_at_each_step

from mmgenre.disk.locks import replacing_alone
from mmgenre.disk.records import EditedError, read_or_set_aside, read_record, write_record
from mmgenre.errors import DamageWarning

CONTENT = {"recipe": {"seed": 3, "rates": [1e-3, 0.1]}, "labels": ["Rock", "Jäzz"], "none": None}
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=12,
)
objects = st.dictionaries(st.text(max_size=6).filter(lambda key: key != "sha256"), plain)
seeded = settings(derandomize=True, database=None, deadline=None, max_examples=25)


def changed_once(content: Any) -> list[Any]:
    """The content with one value changed, for each of its values, or left out."""
    found: list[Any]
    if isinstance(content, dict):
        found = [{k: v for k, v in content.items() if k != key} for key in content]
        parts = [(key, other) for key, value in content.items() for other in changed_once(value)]
        return [*found, *({**content, key: other} for key, other in parts)]
    if isinstance(content, list):
        found = [content[:k] + content[k + 1 :] for k in range(len(content))]
        places = [(k, other) for k, value in enumerate(content) for other in changed_once(value)]
        return [*found, *([*content[:k], other, *content[k + 1 :]] for k, other in places)]
    return [[content], "another" if content != "another" else None]


@pytest.mark.slow
@seeded
@given(objects)
def test_what_is_written_is_read_and_every_edit_is_found(content: dict[str, Any]) -> None:
    with TemporaryDirectory() as folder:
        path = write_record(Path(folder) / "a.json", content)
        assert read_record(path) == content
        whole = json.loads(path.read_text(encoding="utf-8"))
        seal = whole.pop("sha256")
        for edited in changed_once(whole):
            path.write_text(json.dumps({**edited, "sha256": seal}), encoding="utf-8")
            with pytest.raises(EditedError, match="edited or damaged since it was written"):
                read_record(path)


def test_only_what_it_says_counts(tmp_path: Path) -> None:
    path = write_record(tmp_path / "a.json", CONTENT)
    whole = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(dict(reversed(whole.items())), indent=7), encoding="utf-8")
    assert read_record(path) == CONTENT
    del whole["sha256"]  # as an earlier version wrote it, or one who means it
    path.write_text(json.dumps(whole), encoding="utf-8")
    assert read_record(path) == CONTENT


@pytest.mark.parametrize("text", ["", "{", "[1]", "3", "null", "\ud800", '{"a": 1, "sha256": 5}'])
def test_no_record(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ValueError, match=r".+"):
        read_record(path)
    with pytest.warns(DamageWarning, match=r"a\.json: .*; kept as a\.json\.damaged, and made anew"):
        assert read_or_set_aside(path, "made anew") is None
    assert [p.name for p in tmp_path.iterdir()] == ["a.json.damaged"]
    assert read_or_set_aside(path, "made anew") is None


def test_old_or_new_after_a_kill_and_nothing_stays(tmp_path: Path) -> None:
    path, seen = tmp_path / "a.json", set()
    write_record(path, {"is": "old"})
    for n in killed_at_each_step(lambda: write_record(path, {"is": "new"})):
        seen.add(read_record(path)["is"])  # puts in order what the kill has left
        assert [p.name for p in tmp_path.iterdir()] == ["a.json"], n
        write_record(path, {"is": "old"})
    assert "old" in seen
    assert read_record(path) == {"is": "new"}


def test_writers_at_the_same_time_wait_for_each_other(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    threads = [
        threading.Thread(target=write_record, args=(path, {"is": k, "rest": ["x"] * 1000}))
        for k in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read_record(path)["is"] in range(8)
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_file_system_without_locks_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object, **__: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(FileLock, "acquire", no_locks)
    with replacing_alone(tmp_path / "a.txt") as temporary:
        temporary.write_text("whole")
    assert (tmp_path / "a.txt").read_text() == "whole"
