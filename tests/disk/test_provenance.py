from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from mmgenre.disk.provenance import Provenance, sha256_file, sha256_folder

BASE = Provenance("train", 1, {"epochs": 3, "name": "é", "net": {"k": [4, 96]}}, {"in": "ab"})


@pytest.mark.parametrize(
    "other",
    [
        replace(BASE, stage="embed"),
        replace(BASE, stage_version=2),
        replace(BASE, parameters={**BASE.parameters, "epochs": 4}),
        replace(BASE, parameters={**BASE.parameters, "net": {"k": [96, 4]}}),
        replace(BASE, parameters={**BASE.parameters, "new": None}),
        replace(BASE, parents={"in": "ac"}),
        replace(BASE, parents={"out": "ab"}),
        replace(BASE, parents={}),
    ],
)
def test_every_part_counts(other: Provenance) -> None:
    assert other.fingerprint != BASE.fingerprint


def test_neither_order_nor_maker_counts() -> None:
    turned = dict(reversed(list(BASE.parameters.items())))
    assert replace(BASE, parameters=turned, made_by="x 0").fingerprint == BASE.fingerprint


def test_fingerprint_is_sixteen_hex_digits_and_the_same_in_every_process() -> None:
    code = (
        "from mmgenre.disk.provenance import Provenance;"
        "print(Provenance('train', 1, {'net': {'k': [4, 96]}, 'name': 'é', 'epochs': 3},"
        " {'in': 'ab'}).fingerprint)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == BASE.fingerprint
    assert len(BASE.fingerprint) == 16
    int(BASE.fingerprint, 16)


def test_as_dict_is_json_and_gives_back_the_same_fingerprint() -> None:
    given = Provenance("s", 1, {"path": Path("a") / "b", "pair": (1, 2.5), "off": None})
    plain = json.loads(json.dumps(given.as_dict()))
    assert plain["parameters"] == {"path": "a/b", "pair": [1, 2.5], "off": None}
    assert plain["made_by"].startswith("mmgenre ")
    fingerprint = plain.pop("fingerprint")
    assert fingerprint == given.fingerprint == Provenance(**plain).fingerprint


def test_paths_count_as_posix_text() -> None:
    one, two = (Provenance("s", 1, {"p": p}) for p in (PurePosixPath("a/b"), "a/b"))
    assert one.fingerprint == two.fingerprint


def test_what_has_no_plain_form_is_refused() -> None:
    with pytest.raises(TypeError, match="cannot be part of a fingerprint"):
        _ = Provenance("s", 1, {"f": {1, 2}}).fingerprint


def test_sha256_file(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x" * 3_000_000)
    assert sha256_file(path) == hashlib.sha256(b"x" * 3_000_000).hexdigest()


def test_the_hash_of_a_folder_is_that_of_what_is_read_from_it(tmp_path: Path) -> None:
    home = tmp_path / "a"
    (home / "sub").mkdir(parents=True)
    (home / "x").write_text("1")
    (home / "sub" / "y").write_text("2")
    first = sha256_folder(home)
    assert len(first) == 64
    shutil.copytree(home, tmp_path / "b")
    assert sha256_folder(tmp_path / "b") == first
    (home / ".cache").mkdir()
    (home / ".cache" / "notes").write_text("downloaded today")
    assert sha256_folder(home) == first
    (home / "x").rename(home / "z")
    renamed = sha256_folder(home)
    (home / "z").write_text("3")
    assert len({first, renamed, sha256_folder(home)}) == 3
