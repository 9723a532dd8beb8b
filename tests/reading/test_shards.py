"""Shards: each other's parts are left to each other, nothing is read beside the whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from lock_holder import Process, running

from mmgenre.disk.locks import claimed
from mmgenre.disk.store import content_hash
from mmgenre.errors import StoreError
from mmgenre.items.item import Item
from mmgenre.items.manifest import Manifest
from mmgenre.reading import extraction
from mmgenre.reading.extraction import (
    Shard,
    extract_inputs,
    extract_shard,
)
from mmgenre.text.settings import TextInput

# Reads shard 1/4 of 16 inline texts, and stops at the first one until it is told to go on.
SHARD = """
import sys
from dataclasses import replace
from pathlib import Path
from mmgenre.kinds import KINDS
from mmgenre.reading import extraction
from mmgenre.reading.extraction import Shard, extract_shard
from mmgenre.text.settings import TextInput
from mmgenre.items.item import Item
from mmgenre.items.manifest import Manifest

extraction.PART_ROWS = 2
text = KINDS["text"]

def stopping(media, config, row_id):
    if media[0] == "Text number 0.":
        print("reading", flush=True)
        sys.stdin.readline()
    return text.read(media, config, row_id)

KINDS["text"] = replace(text, read=stopping)
manifest = Manifest([Item(f"{k:02d}", media={"text": (f"Text number {k}.",)}) for k in range(16)])
print(*extract_shard(manifest, "text", TextInput(), Path(sys.argv[1]), Shard(1, 4), workers=1))
"""


def texts(n: int) -> Manifest:
    return Manifest([Item(f"{k:02d}", media={"text": (f"Text number {k}.",)}) for k in range(n)])


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction, "PART_ROWS", 2)


@pytest.fixture
def first_shard(tmp_path: Path) -> Iterator[Process]:
    """Shard 1/4 of 16 texts in a process of its own, which is at the first row."""
    with running(SHARD, "reading", tmp_path / "t.h5") as process:
        yield process


@pytest.mark.parametrize("workers", [1, 2])
def test_shards_counted_differently_leave_each_other_their_parts(
    tmp_path: Path, first_shard: Process, workers: int
) -> None:
    manifest, target = texts(16), tmp_path / "t.h5"
    told: list[tuple[str, int, int]] = []
    there = extract_shard(
        manifest, "text", TextInput(), target, Shard(1, 2), workers=workers,
        progress=lambda *words: told.append(words),
    )  # fmt: skip
    assert there == (3, 8)  # of its own four, the first is being read there
    assert told[-1] == ("reading text", 6, 6)
    said, _ = first_shard.communicate("go on\n")
    assert said == "4 8\n"  # its second one was there already
    again = extract_shard(manifest, "text", TextInput(), target, Shard(1, 2), workers=1)
    assert again == (4, 8)
    extract_inputs(manifest, "text", TextInput(), target, workers=1)
    whole = extract_inputs(manifest, "text", TextInput(), tmp_path / "whole.h5", workers=1)
    assert content_hash(target) == content_hash(whole)


def test_the_same_shard_again_is_refused_by_name(tmp_path: Path, first_shard: Process) -> None:
    with pytest.raises(StoreError, match=f"process {first_shard.pid} on .* has been writing it"):
        extract_shard(texts(16), "text", TextInput(), tmp_path / "t.h5", Shard(1, 4), workers=1)


def test_the_whole_is_not_read_beside_a_shard(tmp_path: Path, first_shard: Process) -> None:
    """Nor merged, and its parts removed, while shards are at work."""
    with pytest.raises(StoreError, match=rf"/t\.h5: process {first_shard.pid} on "):
        extract_inputs(texts(16), "text", TextInput(), tmp_path / "t.h5", workers=1)
    assert not list(tmp_path.glob("*.parts/*.h5"))


def test_shards_of_other_settings_are_not_counted(tmp_path: Path) -> None:
    manifest, target = texts(16), tmp_path / "t.h5"
    extract_shard(manifest, "text", TextInput(), target, Shard(1, 2), workers=1)
    other = TextInput(max_characters=8)
    there = extract_shard(manifest, "text", other, target, Shard(2, 2), workers=1)
    assert there == (4, 8)


def test_a_shard_that_comes_after_the_merge_reads_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others may merge between its look at the store and its claim."""
    manifest, target = texts(6), tmp_path / "t.h5"

    def late(path: Path, shared: bool = False) -> AbstractContextManager[None]:
        if shared:
            extract_inputs(manifest, "text", TextInput(), target, workers=1)
        return claimed(path, shared)

    monkeypatch.setattr(extraction, "claimed", late)
    there = extract_shard(manifest, "text", TextInput(), target, Shard(1, 2), workers=1)
    assert there == (3, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.h5", "t.media.h5"]
