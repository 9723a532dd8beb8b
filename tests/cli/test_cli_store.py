from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from command_line import Call

from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import content_hash, merge_files, store_info, verify_stores, write_store
from mmgenre.errors import Refusal, StoreError

PROVENANCE = Provenance(
    "inputs", 3, {"k": 1}, {"cqt": "00ff", "media": "beef"}, "mmgenre 9, threads: 2"
)
REFUSED = [Refusal("x", "audio", "silent", "peak"), Refusal("y", "audio", "missing", "gone")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    clips = [np.ones((n, 96), np.float16) for n in (10, 20)]
    path = tmp_path / "a.h5"
    write_store(path, "audio", [(["a", "b"], clips)], PROVENANCE, ragged=True, refused=REFUSED)
    return write_store(path, "v", [(["a"], np.ones((1, 8), np.float32))], Provenance("s", 1, {}))


def damaged(path: Path) -> Path:
    content = bytearray(path.read_bytes())
    content[content.index(np.ones((1, 8), np.float32).tobytes())] ^= 1
    other = path.with_name("damaged.h5")
    other.write_bytes(content)
    return other


def test_info(path: Path, call: Call) -> None:
    done = call("store", "info", path)
    assert done.code == 0
    assert done.out.splitlines()[0].startswith(f"{path}: 2 groups, ")
    assert "/audio\n  rows         2 of n x 96 float16, 130.9 kB\n" in done.out
    assert f"  fingerprint  {PROVENANCE.fingerprint}\n" in done.out
    assert "  made by      mmgenre 9, threads: 2, stage inputs 3\n" in done.out
    assert "  made from    cqt 00ff\n               media beef\n" in done.out
    assert "  refused      2 (1 silent, 1 missing); --json lists them\n" in done.out
    assert "/v\n  rows         1 of 8 float32" in done.out
    assert max(map(len, done.out.splitlines()[1:])) <= 80


def test_info_as_json_is_its_library_twin(path: Path, call: Call) -> None:
    said = call("store", "info", path, "--json").json
    groups = [dataclasses.asdict(group) for group in store_info(path)]
    assert said == json.loads(json.dumps({"file": str(path), "groups": groups}))
    assert [row["code"] for row in said["groups"][0]["refused"]] == ["silent", "missing"]


def test_verify_goes_on_after_damage(path: Path, call: Call) -> None:
    broken, none = damaged(path), path.with_name("none.h5")
    text = path.with_name("text.h5")
    text.write_text("no HDF5")
    words = ("store", "verify", text, broken, none, path)
    done = call(*words)
    assert done.code == 1
    states = [line.split()[0] for line in done.out.splitlines() if line[:1].isalpha()]
    assert states == ["damaged", "whole", "damaged", "damaged", "whole", "whole"]
    assert f"damaged  {broken} /v\n         {broken}: /v cannot be read: " in done.out
    assert f"damaged  {none}\n         {none}: no such file\n" in done.out
    assert done.out.endswith("\n3 whole, 3 damaged\n")
    said = call(*words, "--json")
    assert said.code == 1
    assert said.json == [dataclasses.asdict(v) for v in verify_stores([text, broken, none, path])]
    assert call("store", "verify", path).code == 0


def test_merge(path: Path, call: Call, tmp_path: Path) -> None:
    parts = [
        write_store(tmp_path / f"{k}", "v", [([k], np.full((2 - 1, 8), i, np.float32))], PROVENANCE)
        for i, k in enumerate("ab")
    ]
    out, twin = tmp_path / "out.h5", tmp_path / "twin.h5"
    done = call("store", "merge", out, *parts)
    assert (done.code, done.out) == (0, f"{out}: /v: 2 rows from 2 files\n")
    group = merge_files(parts, twin)
    assert content_hash(out) == content_hash(twin)
    out.unlink()
    said = call("store", "merge", out, *parts, "--group", "v", "--json").json
    assert said == json.loads(json.dumps({"file": str(out), **dataclasses.asdict(group)}))
    again = call("store", "merge", out, *parts)
    assert again.code == 1
    assert f"error: {out}: holds /v already; choose another file" in again.err
    unclear = call("store", "merge", tmp_path / "o", path, *parts)
    assert unclear.code == 1
    assert "the parts hold audio, v; name one (--group)" in unclear.err


def test_info_of_what_is_no_store(tmp_path: Path, call: Call) -> None:
    done = call("store", "info", tmp_path / "none.h5")
    assert (done.code, done.out) == (1, "")
    assert "none.h5: no such file" in done.err
    with pytest.raises(StoreError, match="no such file"):
        store_info(tmp_path / "none.h5")


def test_a_name_does_not_drive_the_terminal(tmp_path: Path, call: Call) -> None:
    path = write_store(
        tmp_path / "a.h5", "\x1b[2J", [(["a"], np.ones((1, 8), np.float32))], PROVENANCE
    )
    for command in ("info", "verify"):
        done = call("store", command, path)
        assert "\x1b" not in done.out
        assert r"/'\x1b[2J'" in done.out
