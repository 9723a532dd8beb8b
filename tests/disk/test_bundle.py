from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from limits import files_up_to

from mmgenre.disk.bundle import (
    CONFIG,
    SUMS,
    WEIGHTS,
    bundle_fingerprint,
    bundle_provenance,
    read_bundle,
    write_bundle,
)
from mmgenre.disk.locks import ClaimedError, claimed
from mmgenre.disk.provenance import Provenance, sha256_file
from mmgenre.errors import BundleError

PROVENANCE = Provenance("train", 1, {"epochs": 3})
VOCABULARY = {"é": 0, "b": 1}


def weights(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    dense = torch.randn(40, 30, generator=generator)
    return {
        "dense": dense,
        "turned": dense.T,  # not contiguous, and shares its memory
        "half": dense.to(torch.bfloat16),
        "steps": torch.tensor(7),
        "with_grad": torch.ones(3, requires_grad=True),
    }


def write(folder: Path, seed: int = 0, **config: Any) -> Path:
    files = {"vocab.json": VOCABULARY, "idf.json": [0.5, 1.0]}
    return write_bundle(
        folder, "encoder", {"width": 30, **config}, weights(seed), PROVENANCE, files=files
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def siblings(folder: Path) -> list[str]:
    return [path.name for path in folder.parent.iterdir()]


def test_round_trip(tmp_path: Path) -> None:
    folder = write(tmp_path / "models" / "a")
    found = read_bundle(folder, "encoder")
    assert found.kind == "encoder"
    assert found.config == {"width": 30}
    assert found.files == {"vocab.json": VOCABULARY, "idf.json": [0.5, 1.0]}
    assert found.fingerprint == PROVENANCE.fingerprint == bundle_fingerprint(folder)
    assert found.weights.keys() == weights().keys()
    for name, tensor in weights().items():
        assert torch.equal(found.weights[name], tensor), name
        assert found.weights[name].dtype == tensor.dtype
    assert siblings(folder) == ["a"]


def test_a_bundle_without_further_files_or_weights(tmp_path: Path) -> None:
    found = read_bundle(write_bundle(tmp_path / "a", "k", {}, {}, PROVENANCE), "k")
    assert (found.config, found.weights, found.files) == ({}, {}, {})


def test_writing_again_replaces_all_of_it(tmp_path: Path) -> None:
    folder = write(tmp_path / "a")
    write_bundle(folder, "other", {"x": 1}, {"w": torch.ones(2)}, PROVENANCE)
    assert set(contents(folder)) == {CONFIG, WEIGHTS, SUMS}
    assert read_bundle(folder, "other").config == {"x": 1}
    assert siblings(folder) == ["a"]


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    assert read_bundle(write(tmp_path / "a"), "encoder").config == {"width": 30}


def test_nothing_but_a_model_folder_is_replaced(tmp_path: Path) -> None:
    music = tmp_path / "music"
    music.mkdir()
    (music / "song.mp3").write_bytes(b"x")
    file = tmp_path / "file"
    file.write_bytes(b"x")
    for target in (music, file):
        with pytest.raises(BundleError, match="not a model folder, so it is not replaced"):
            write(target)
    assert (music / "song.mp3").read_bytes() == file.read_bytes() == b"x"
    assert sorted(siblings(music)) == ["file", "music"]


@pytest.mark.parametrize(
    "name", ["../vocab.json", "/tmp/vocab.json", "a/b.json", CONFIG, SUMS, WEIGHTS, "a.pkl", ""]
)
def test_names_of_further_files_that_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BundleError, match="is no name for a further JSON file"):
        write_bundle(tmp_path / "a", "k", {}, {}, PROVENANCE, files={name: 1})
    assert siblings(tmp_path / "a") == []


def broken_save(*_: object, **__: object) -> None:
    raise OSError("no space left on device")


@pytest.mark.parametrize("first", [True, False])
def test_an_exception_leaves_the_old_bundle_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: bool
) -> None:
    folder = tmp_path / "a"
    before = {} if first else contents(write(folder))
    with pytest.raises(TypeError, match="not JSON serializable"):
        write(folder, broken={1, 2})
    monkeypatch.setattr("safetensors.torch.save_file", broken_save)
    with pytest.raises(OSError, match="no space left"):
        write(folder, seed=1)
    assert siblings(folder) == ([] if first else ["a"])
    if not first:
        assert contents(folder) == before


def test_a_full_disk_is_an_error_of_the_disk(tmp_path: Path) -> None:
    folder = write(tmp_path / "a")
    before = contents(folder)
    message = r"a/model\.safetensors: cannot be written: .*File too large.*; make room, then run th"
    with files_up_to(4_000), pytest.raises(OSError, match=message):
        write(folder, seed=1)
    assert contents(folder) == before
    assert siblings(folder) == ["a"]


def test_leftovers_of_a_killed_writer_are_removed_by_the_next(tmp_path: Path) -> None:
    folder = write(tmp_path / "a")
    source = (
        "import os, signal, sys; from pathlib import Path; from mmgenre.disk import bundle\n"
        "bundle.sync = lambda path: os.kill(os.getpid(), signal.SIGKILL)\n"
        "bundle.write_bundle(Path(sys.argv[1]), 'k', {}, {}, bundle.Provenance('s', 1, {}))"
    )
    done = subprocess.run([sys.executable, "-c", source, str(folder)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(siblings(folder)) == 3  # with the lock file and an unfinished folder
    assert read_bundle(folder, "encoder").config == {"width": 30}
    write(folder, seed=1)
    assert siblings(folder) == ["a"]


def test_two_writers_of_one_folder(tmp_path: Path) -> None:
    folder = write(tmp_path / "a")
    before = contents(folder)
    with (
        ThreadPoolExecutor(1) as other,
        claimed(folder),
        pytest.raises(ClaimedError, match="leave it to that thread"),
    ):
        other.submit(write, folder, seed=1).result()
    assert contents(folder) == before


def test_provenance(tmp_path: Path) -> None:
    assert bundle_provenance(tmp_path / "a") is None
    assert bundle_provenance(write(tmp_path / "a")) == PROVENANCE.as_dict()


def test_every_flipped_byte_is_found(tmp_path: Path) -> None:
    folder = write(tmp_path / "a")
    for name in (WEIGHTS, CONFIG, "vocab.json", "idf.json"):
        whole = (folder / name).read_bytes()
        for place in (0, len(whole) // 2, len(whole) - 1):
            damaged = bytearray(whole)
            damaged[place] ^= 0x01
            (folder / name).write_bytes(damaged)
            with pytest.raises(BundleError, match=rf"a/{name}: not the file that was written"):
                read_bundle(folder, "encoder")
        (folder / name).write_bytes(whole)
    assert read_bundle(folder, "encoder").config == {"width": 30}


@pytest.mark.parametrize("name", [WEIGHTS, CONFIG, SUMS, "vocab.json"])
def test_a_missing_file_is_found(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path / "a")
    (folder / name).unlink()
    with pytest.raises(BundleError, match=f"damaged or unfinished model folder: .*{name}"):
        read_bundle(folder, "encoder")


def test_another_kind_and_no_folder(tmp_path: Path) -> None:
    folder = write(tmp_path / "a")
    with pytest.raises(BundleError, match="a: holds a 'encoder', not a 'fusion'"):
        read_bundle(folder, "fusion")
    for missing in (tmp_path / "b", folder / CONFIG):
        with pytest.raises(BundleError, match="no such model folder"):
            read_bundle(missing, "encoder")
        assert bundle_fingerprint(missing) is None


def listed(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Changes the list of files."""
    sums = json.loads((folder / SUMS).read_text())
    found = change(sums)
    (folder / SUMS).write_text(json.dumps(sums if found is None else found))


@pytest.mark.parametrize("name", ["../secret.json", "..", ".", "", "{tmp}/secret.json"])
def test_the_list_does_not_lead_out_of_the_folder(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path / "a")
    secret = tmp_path / "secret.json"
    secret.write_text("1")
    name = name.format(tmp=tmp_path)
    listed(folder, lambda sums: sums.update({name: sha256_file(secret)}))
    with pytest.raises(BundleError, match=r"not the file that was written|damaged or unfinished"):
        read_bundle(folder, "encoder")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda sums: sums.pop(CONFIG) and None, f"{CONFIG} is not in the list"),
        (lambda sums: sums.pop(WEIGHTS) and None, f"{WEIGHTS} is not in the list"),
        (lambda sums: {}, "is not in the list"),
        (lambda sums: [CONFIG, WEIGHTS], "damaged or unfinished"),
        (lambda sums: 7, "damaged or unfinished"),
        (lambda sums: dict.fromkeys(sums, 0), "not the file that was written"),
    ],
)
def test_lists_that_are_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    folder = write(tmp_path / "a")
    listed(folder, change)
    with pytest.raises(BundleError, match=message):
        read_bundle(folder, "encoder")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (CONFIG, b"[]"),
        (CONFIG, b'{"kind": "encoder", "config": {}}'),
        (CONFIG, b'{"kind": "encoder", "config": {}, "provenance": 7}'),
        (CONFIG, b"{"),
        (CONFIG, b"\xff"),
        (WEIGHTS, b"not safetensors at all"),
        (WEIGHTS, b""),
        ("vocab.json", b"{"),
    ],
)
def test_rightly_listed_nonsense_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    folder = write(tmp_path / "a")
    (folder / name).write_bytes(content)
    listed(folder, lambda sums: sums.update({name: sha256_file(folder / name)}))
    with pytest.raises(BundleError, match="damaged or unfinished model folder"):
        read_bundle(folder, "encoder")
    if name == CONFIG:
        with pytest.raises(BundleError, match="damaged or unfinished model folder"):
            bundle_fingerprint(folder)
