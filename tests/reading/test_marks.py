"""What stands for the bytes of media."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import pytest

from mmgenre.reading import marks
from mmgenre.reading.marks import content_of


def test_a_file_of_nothing_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "sparse.wav"
    with path.open("wb") as file:
        file.truncate(1 << 36)
    start = time.process_time()
    before = content_of([path])
    assert time.process_time() - start < 5  # 64 GiB take more than 30 s
    with path.open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"x")
    assert content_of([path]) not in (before, None)


def test_up_to_a_size_every_byte_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marks, "HUGE", 100)
    monkeypatch.setattr(marks, "END", 10)
    path = tmp_path / "a.txt"
    for size, counts in ((100, True), (101, False)):
        content = bytearray(size)
        path.write_bytes(content)
        before = content_of([path])
        content[size // 2] = 1
        path.write_bytes(content)
        assert (content_of([path]) != before) == counts
    path.write_bytes(b"abc")
    assert content_of([path]) == hashlib.sha256(hashlib.sha256(b"abc").digest()).digest()
