"""Damage in any region of any file of a run: the file is named, or the numbers are as before."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import Call
from hypothesis import given, settings
from hypothesis import strategies as st
from small import MODEL, Small

from mmgenre.disk.bundle import CONFIG, SUMS, WEIGHTS, bundle_kind, read_bundle, write_bundle
from mmgenre.disk.files import read_json
from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import FeatureStore, group_names, write_store
from mmgenre.errors import BundleError, StoreError
from mmgenre.pipeline.scores import SCORES

# Files with checksums of their own (tests/pipeline/test_edited_files.py), and what is made again if
# it is not as it was, or is written for people to read: pages, and what steps took.
ELSEWHERE = {"run.json", "manifest.csv", "metrics.json", "qualitative.json", "fusion.json"}
MADE_AGAIN = {"twins.json", "report.html", "log.jsonl"}


@dataclass(frozen=True)
class Unit:
    """A file, or a model folder, with what reads all that it holds into a hash."""

    files: tuple[Path, ...]
    read: Callable[[], str]


def store_hash(path: Path) -> str:
    digest = hashlib.sha256()
    for name in group_names(path):
        with FeatureStore(path, name) as store:
            digest.update(f"{name}{store.ids}{store.fingerprint}{store.refused}".encode())
            for item_id in store.ids:
                row = store.read(item_id)
                digest.update(f"{row.dtype}{row.shape}".encode() + row.tobytes())
    return digest.hexdigest()


def bundle_hash(folder: Path, kind: str) -> str:
    found = read_bundle(folder, kind)
    digest = hashlib.sha256(json.dumps([found.config, found.files, found.fingerprint]).encode())
    for name, tensor in sorted(found.weights.items()):
        digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def units(run: Path) -> Iterator[Unit]:
    """Everything in a run that has checksums."""
    for path in sorted(run.rglob("*.h5")):
        yield Unit((path,), lambda path=path: store_hash(path))  # type: ignore[misc]
    for sums in sorted(run.rglob(SUMS)):
        folder, kind = sums.parent, bundle_kind(sums.parent)
        files = tuple(sorted(path for path in folder.iterdir() if path.is_file()))
        yield Unit(files, lambda f=folder, k=kind: bundle_hash(f, k))  # type: ignore[misc]


def test_every_file_of_a_run_is_one_with_checksums_or_is_listed_here(small: Small) -> None:
    files = {p for p in small.run.rglob("*") if p.is_file()}
    covered = {path for unit in units(small.run) for path in unit.files}
    rest = files - covered
    rest = {p for p in rest if ".locks" not in p.parts and p.suffix != ".checked"}
    assert {p.name for p in rest} <= ELSEWHERE | MADE_AGAIN
    assert any(p.name == SCORES for p in covered)
    assert any(p.name == CONFIG for p in covered)


def damages(data: bytes, regions: int, rng: random.Random) -> Iterator[tuple[str, bytes]]:
    """In each of so many regions: a byte changed, the file cut there, its block exchanged."""
    step = max(1, len(data) // regions)
    for k in range(min(regions, len(data))):
        place = k * step + rng.randrange(step)
        place = min(place, len(data) - 1)
        changed = bytearray(data)
        changed[place] ^= 1 << rng.randrange(8)
        yield f"bit at {place}", bytes(changed)
        yield f"cut at {place}", data[:place]
        size = min(512, len(data) // 2)
        other = rng.randrange(len(data) - size + 1)
        place = min(place, len(data) - size)
        if abs(place - other) >= size:
            low, high = sorted((place, other))
            yield (
                f"{size} bytes at {low} and {high} exchanged",
                data[:low] + data[high : high + size] + data[low + size : high]
                + data[low : low + size] + data[high + size :],
            )  # fmt: skip
        yield f"zeros at {place}", data[:place] + bytes(size) + data[place + size :]


def outcome(unit: Unit) -> str:
    """The hash of what a unit holds, or the error that it is refused with."""
    try:
        return unit.read()
    except (StoreError, BundleError) as error:
        return str(error)


@pytest.mark.parametrize("regions", [1, pytest.param(12, marks=pytest.mark.slow)])
def test_damage_in_every_region_of_every_file(
    regions: int, small: Small, tmp_path: Path, record_property: Any
) -> None:
    run = tmp_path / "run"
    shutil.copytree(small.run, run)  # no links: the shared run must stay as it is
    rng = random.Random(0)
    counts = {"named": 0, "same": 0}
    for unit in units(run):
        whole = unit.read()
        for path in unit.files:
            data = path.read_bytes()
            for what, damaged in damages(data, regions, rng):
                if damaged == data:
                    continue
                path.write_bytes(damaged)
                said = outcome(unit)
                if said == whole:
                    counts["same"] += 1
                else:
                    assert str(path) in said or str(path.parent) in said, f"{path}: {what}"
                    counts["named"] += 1
            path.write_bytes(data)
        assert unit.read() == whole
    assert counts["named"] > 5 * counts["same"]
    record_property("cases", sum(counts.values()))


def test_a_missing_file_is_named(small: Small, tmp_path: Path, record_property: Any) -> None:
    run = tmp_path / "run"
    shutil.copytree(small.run, run)
    n_files = 0
    for unit in units(run):
        for path in unit.files:
            path.rename(tmp_path / "aside")
            if len(unit.files) > 1:
                with pytest.raises(BundleError) as caught:
                    unit.read()
                assert str(path.parent) in str(caught.value)
                n_files += 1
            (tmp_path / "aside").rename(path)
    record_property("cases", n_files)


def test_commands_name_the_damaged_file_and_change_nothing(
    small: Small, tmp_path: Path, call: Call
) -> None:
    run = tmp_path / "run"
    shutil.copytree(small.run, run)
    words_file = tmp_path / "words.txt"
    words_file.write_text("loud guitars")
    [weights] = (run / MODEL / "encoders" / "text").glob("*.safetensors")
    for path, words in (
        (run / "embeddings.h5", ("store", "verify", run / "embeddings.h5")),
        (weights, ("predict", run, "--text", words_file)),
    ):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        ended = call(*words)
        assert ended.code == 1
        assert str(path) in ended.out + ended.err
        assert "Traceback" not in ended.err
        assert path.read_bytes() == data


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS, "vocab.json"])
def test_what_is_taken_off_the_list_is_not_read(name: str, tmp_path: Path) -> None:
    made, files = Provenance("stage", 1, {}), {"vocab.json": ["a"]}
    folder = write_bundle(tmp_path / "a", "k", {}, {}, made, files=files)
    sums = read_json(folder / SUMS)
    (folder / SUMS).write_text(json.dumps({n: s for n, s in sums.items() if n != name}))
    if name == "vocab.json":
        assert read_bundle(folder, "k").files == {}
    else:
        with pytest.raises(BundleError, match=f"{name} is not in the list of files"):
            read_bundle(folder, "k")


@settings(derandomize=True, database=None, deadline=None, max_examples=60)
@given(st.booleans(), st.floats(0, 1, exclude_max=True), st.integers(0, 255))
def test_a_changed_byte_never_gives_other_values(
    tmp_path_factory: pytest.TempPathFactory, ragged: bool, where: float, byte: int
) -> None:
    rng = np.random.default_rng(0)
    ids = [f"item {k}" for k in range(12)]
    lengths = rng.integers(1, 60, 12) if ragged else [1] * 12
    rows = [rng.standard_normal((int(n), 3)).astype(np.float32) for n in lengths]
    rows = rows if ragged else [row[0] for row in rows]
    path = tmp_path_factory.mktemp("store") / "a.h5"
    block = (ids, rows if ragged else np.array(rows))
    write_store(path, "g", [block], Provenance("stage", 1, {}), ragged=ragged)
    damaged = bytearray(path.read_bytes())
    used = np.flatnonzero(np.frombuffer(bytes(damaged), np.uint8))  # zeros: mostly spare room
    damaged[used[int(where * len(used))]] = byte
    path.write_bytes(damaged)
    try:
        with FeatureStore(path, "g") as store:
            found = [store.read(item_id) for item_id in ids]
            if ragged:
                windows = store.windows(ids, [0] * 12, 60, fill=0)
                taken = [w[:n] for w, n in zip(windows, lengths, strict=True)]
            else:
                taken = list(store.take(ids[:6])) + list(store.take(ids))[6:]
    except StoreError:
        return
    for row, one, other in zip(rows, found, taken, strict=True):
        np.testing.assert_array_equal(row, one)
        np.testing.assert_array_equal(row, other)
