"""Readers raise errors of ours or read: on sound inputs, on damaged ones, on what fuzzing found."""

from __future__ import annotations

import random
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from fuzzed import READERS

from mmgenre.errors import MmgenreError

CASES = sorted(path for path in (Path(__file__).parent / "cases").rglob("*") if path.is_file())
LONGEST_S = 10


@pytest.mark.parametrize("name", READERS)
def test_sound_inputs_are_read(name: str, tmp_path: Path) -> None:
    """Or fuzzing would begin from nothing."""
    reader = READERS[name]
    refused = []
    for k, seed in enumerate(reader.seeds(tmp_path)):
        folder = tmp_path / f"work-{k}"
        folder.mkdir()
        try:
            reader.read(seed, folder)
        except MmgenreError as error:
            refused.append(str(error))
    assert len(refused) <= 1, refused  # a manifest with tabs


def mutated(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 4, 16))):
        place = rng.randrange(len(changed) + 1)
        kind = rng.randrange(4)
        if kind == 0 and changed:
            changed[place % len(changed)] = rng.randrange(256)
        elif kind == 1:
            del changed[place : place + rng.randrange(1, 9)]
        elif kind == 2:
            changed[place:place] = rng.choice(
                (b"\0" * 4, b"\xff" * 4, b'"', b"\n", rng.randbytes(3))
            )
        else:
            start = rng.randrange(len(changed) + 1)
            changed[place:place] = changed[start : start + rng.randrange(1, 40)]
    return bytes(changed)


@pytest.mark.parametrize("n_each", [4, pytest.param(300, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", READERS)
def test_damaged_inputs_raise_nothing_else(
    name: str, n_each: int, tmp_path: Path, record_property: Any
) -> None:
    reader, rng, work = READERS[name], random.Random(0), tmp_path / "work"
    work.mkdir()
    seeds = list(reader.seeds(tmp_path))
    for seed in seeds:
        for _ in range(n_each):
            with suppress(MmgenreError):
                reader.read(mutated(seed, rng), work)
    record_property("cases", n_each * len(seeds))


@pytest.mark.parametrize("case", CASES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_fuzzing_found_stays_mended(case: Path, tmp_path: Path) -> None:
    started = time.process_time()
    with suppress(MmgenreError):
        READERS[case.parent.name].read(case.read_bytes(), tmp_path)
    assert time.process_time() - started < LONGEST_S
