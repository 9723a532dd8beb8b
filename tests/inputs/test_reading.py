"""Who reads a part: suspects each alone and side by side, others' parts not at all."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import loky
import pytest
from text_files import ODD_READERS, text_files

from mmgenre.errors import StoreError
from mmgenre.inputs import engines, extraction, reading
from mmgenre.inputs.extraction import (
    Shard,
    extract_inputs,
    extract_shard,
    inputs_provenance,
    parts_of,
)
from mmgenre.inputs.parts import Part, read_part
from mmgenre.inputs.reading import read_parts
from mmgenre.inputs.text import TextInput
from mmgenre.manifest import Item, Manifest
from mmgenre.store import FeatureStore, content_hash

# Reads shard 1/4 of 16 inline texts, and stops at the first one until it is told to go on.
SHARD = """
import sys
from pathlib import Path
from mmgenre.inputs import extraction, parts
from mmgenre.inputs.extraction import Shard, extract_shard
from mmgenre.inputs.text import TextInput
from mmgenre.manifest import Item, Manifest

extraction.PART_ROWS = 2
read = parts.READERS["text"]

def stopping(media, config):
    if media[0] == "Text number 0.":
        print("reading", flush=True)
        sys.stdin.readline()
    return read(media, config)

parts.READERS["text"] = stopping
manifest = Manifest([Item(f"{k:02d}", media={"text": (f"Text number {k}.",)}) for k in range(16)])
print(*extract_shard(manifest, "text", TextInput(), Path(sys.argv[1]), Shard(1, 4), workers=1))
"""


def texts(n: int) -> Manifest:
    return Manifest([Item(f"{k:02d}", media={"text": (f"Text number {k}.",)}) for k in range(n)])


def some_parts(manifest: Manifest, folder: Path) -> list[Part]:
    made = inputs_provenance(manifest, "text", TextInput())
    return parts_of(manifest, "text", TextInput(), folder / "t.h5", made)


def refused_in(part: Part) -> list[tuple[str, str]]:
    with FeatureStore(part.path, "text") as store:
        return [(refusal.id, refusal.detail) for refusal in store.refused]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction, "PART_ROWS", 2)


def test_suspects_are_read_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = some_parts(texts(6), tmp_path)
    parts[0].path.parent.mkdir()
    for part in parts:
        part.being_read.write_text(part.rows[1][0])
    all_at_once = threading.Barrier(len(parts))  # broken if they come one after another

    def alone(part: Part) -> bool:
        all_at_once.wait(timeout=10)
        if not part.crashes.is_file():
            raise engines.WorkerLostError(f"SIGSEGV({part.rows[1][0]})")
        return read_part(part)

    monkeypatch.setattr(engines, "alone", alone)
    read_parts(parts, workers=len(parts))
    for part, row_id in zip(parts, ("01", "03", "05"), strict=True):
        ((refused, why),) = refused_in(part)
        assert refused == row_id
        assert f"ended the process, twice (SIGSEGV({row_id}))" in why


def test_of_several_suspects_each_names_its_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(ODD_READERS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    manifest = text_files(tmp_path / "texts", ["fine", "crash", "fine", "fine", "crash", "fine"])
    parts = some_parts(manifest, tmp_path)
    parts[0].path.parent.mkdir()
    for part in parts:  # the first of each: whoever was at it when all were ended need not be bad
        part.being_read.write_text(part.rows[0][0])
    read_parts(parts, workers=3)
    found = [refused_in(part) for part in parts]
    assert [[row_id for row_id, _ in refused] for refused in found] == [["01"], [], ["04"]]
    assert all("SIGSEGV" in why for refused in found for _, why in refused)


@pytest.mark.parametrize("limit", ["variable", "affinity"])
def test_workers_are_as_many_as_the_cores_that_one_may_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    """`loky.cpu_count` knows these and a container's quota; `os.cpu_count` knows none of them."""
    asked: list[int] = []

    def engine(parts: Sequence[Part], workers: int, dask: str | None) -> Iterator[Part]:
        asked.append(workers)
        return engines.here(parts)

    monkeypatch.setattr(reading, "_engine", engine)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    monkeypatch.delenv("LOKY_MAX_CPU_COUNT", raising=False)
    if limit == "variable":
        monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    else:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: {7})
    assert loky.cpu_count() == 1
    read_parts(some_parts(texts(8), tmp_path))
    read_parts(some_parts(texts(8), tmp_path / "more"), workers=3)
    assert asked == [1, 3]


@pytest.fixture
def first_shard(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Shard 1/4 of 16 texts in a process of its own, which is at the first row."""
    with subprocess.Popen(
        [sys.executable, "-c", SHARD, str(tmp_path / "t.h5")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "reading\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("workers", [1, 2])
def test_shards_counted_differently_leave_each_other_their_parts(
    tmp_path: Path, first_shard: subprocess.Popen[str], workers: int
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


def test_the_same_shard_again_is_refused_by_name(
    tmp_path: Path, first_shard: subprocess.Popen[str]
) -> None:
    with pytest.raises(StoreError, match=f"process {first_shard.pid} on .* has been writing it"):
        extract_shard(texts(16), "text", TextInput(), tmp_path / "t.h5", Shard(1, 4), workers=1)


def test_a_part_that_another_process_keeps_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody but a shard may read a part of ours, and shards are refused before: a leftover."""
    code = (
        "import sys; from pathlib import Path; from mmgenre.files import claimed\n"
        "with claimed(Path(sys.argv[1])): print(flush=True); sys.stdin.read()"
    )
    manifest = texts(6)
    kept = some_parts(manifest, tmp_path)[1].path
    with subprocess.Popen(
        [sys.executable, "-c", code, str(kept)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as keeper:
        assert keeper.stdout is not None
        keeper.stdout.readline()
        with pytest.raises(StoreError, match=f"{kept.name}: process {keeper.pid} on"):
            extract_inputs(manifest, "text", TextInput(), tmp_path / "t.h5", workers=1)
        assert len(list(kept.parent.glob("*.h5"))) == 2  # all the others were read before
        keeper.communicate()
    extract_inputs(manifest, "text", TextInput(), tmp_path / "t.h5", workers=1)


def test_shards_of_other_settings_are_not_counted(tmp_path: Path) -> None:
    manifest, target = texts(16), tmp_path / "t.h5"
    extract_shard(manifest, "text", TextInput(), target, Shard(1, 2), workers=1)
    other = TextInput(max_characters=8)
    there = extract_shard(manifest, "text", other, target, Shard(2, 2), workers=1)
    assert there == (4, 8)
