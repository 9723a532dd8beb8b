"""Every artefact is the old one or the new one: after kills, on full disks, with two writers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from killing import STEPS, killed_at_each_step
from limits import files_up_to
from plain import FIXED, plain_items

from mmgenre.disk import files as files_module
from mmgenre.disk.bundle import read_bundle, write_bundle
from mmgenre.disk.files import finished_folders, read_json, write_json
from mmgenre.disk.locks import ClaimedError, tidy
from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import FeatureStore, content_hash, merge_stores, write_store
from mmgenre.errors import StoreError
from mmgenre.items.item import Item
from mmgenre.items.manifest import Manifest
from mmgenre.learning.optimisation import read_checkpoint, save_checkpoint
from mmgenre.pipeline.commands import extract_features, fuse

EVERY_STEP = (*STEPS, "fsync", "pwrite", "open")
N = 40  # items, rows, weights


@dataclass(frozen=True)
class Kind:
    """A kind of artefact: how one that is all `value` is written and read."""

    name: str  # of its file or folder
    write: Callable[[Path, int], object]
    found: Callable[[Path], set[int]]  # the values in it


def only(values: Any) -> set[int]:
    return {int(v) for v in np.asarray(values).ravel()}


def write_manifest(path: Path, value: int) -> None:
    Manifest([Item(f"i{k}", artist=str(value)) for k in range(N)]).write(path)


def write_a_bundle(path: Path, value: int) -> None:
    files = {"further.json": [value] * N}
    made = Provenance("stage", value, {})
    write_bundle(path, "kind", {"value": value}, {"w": torch.full((N,), value)}, made, files=files)


def found_in_bundle(path: Path) -> set[int]:
    bundle = read_bundle(path, "kind")
    written = [bundle.config["value"], *bundle.files["further.json"], *bundle.weights["w"].tolist()]
    assert bundle.fingerprint == Provenance("stage", written[0], {}).fingerprint
    return only(written)


def rows_of(value: int) -> tuple[list[str], Any]:
    return [f"i{k}" for k in range(N)], np.full((N, 300), value, np.float32)


def write_a_store(path: Path, value: int) -> None:
    write_store(path, "g", [rows_of(value)], Provenance("stage", value, {}))


def found_in_store(path: Path) -> set[int]:
    with FeatureStore(path, "g") as store:
        store.verify()
        assert (
            store.fingerprint == Provenance("stage", int(store.take(["i0"])[0, 0]), {}).fingerprint
        )
        return only(store.take(store.ids))


def write_beside(path: Path, value: int) -> None:
    """A group of a file that has another one, which stays."""
    if not path.exists():
        write_store(path, "kept", [rows_of(7)], Provenance("stage", 7, {}))
    write_a_store(path, value)


def found_beside(path: Path) -> set[int]:
    with FeatureStore(path, "kept") as store:
        store.verify()
        assert only(store.take(store.ids)) == {7}
    return found_in_store(path)


def write_merged(path: Path, value: int) -> None:
    folder = path.parent.with_name("parts")
    folder.mkdir(exist_ok=True)
    ids, rows = rows_of(value)
    parts = []
    for k in range(2):
        part = folder / f"{value}-{k}.h5"
        if not part.exists():
            block = ids[k::2], rows[k::2]
            write_store(part, "g", [block], Provenance("stage", value, {}))
        parts.append(part)
    merge_stores(parts, path, "g")


def network(value: int) -> tuple[torch.nn.Linear, torch.optim.Adam]:
    module = torch.nn.Linear(N, 1)
    torch.nn.init.constant_(module.weight, value)
    torch.nn.init.constant_(module.bias, value)
    return module, torch.optim.Adam(module.parameters())


def write_checkpoint(path: Path, value: int) -> None:
    module, optimizer = network(value)
    save_checkpoint(path, module, dict(module.state_dict()), optimizer, {"epoch": value})


def found_in_checkpoint(path: Path) -> set[int]:
    module, optimizer = network(-1)
    best, log = read_checkpoint(path, module, optimizer)
    tensors = (*best.values(), *module.state_dict().values())
    return only([log["epoch"], *(v for t in tensors for v in t.ravel().tolist())])


KINDS = {
    "manifest": Kind(
        "manifest.csv",
        write_manifest,
        lambda path: only([int(item.artist) for item in Manifest.read(path)]),
    ),
    "JSON": Kind(
        "run.json", lambda path, value: write_json(path, [value] * N), lambda p: only(read_json(p))
    ),
    "store": Kind("a.h5", write_a_store, found_in_store),
    "group": Kind("a.h5", write_beside, found_beside),
    "merged store": Kind("a.h5", write_merged, found_in_store),
    "model": Kind("model", write_a_bundle, found_in_bundle),
    "checkpoint": Kind("checkpoint.safetensors", write_checkpoint, found_in_checkpoint),
}


def every_kind(*sample: str, but: str = "") -> pytest.MarkDecorator:
    """All kinds but one; those in the sample also in the default suite."""
    return pytest.mark.parametrize(
        "kind",
        [
            pytest.param(kind, id=name, marks=() if name in sample else pytest.mark.slow)
            for name, kind in KINDS.items()
            if name != but
        ],
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "made").mkdir()
    return tmp_path / "made"


def left_beside(path: Path) -> list[str]:
    return sorted(p.name for p in path.parent.iterdir() if p.name != path.name)


@every_kind("manifest")
def test_after_a_kill_at_any_step(kind: Kind, folder: Path, record_property: Any) -> None:
    path = folder / kind.name
    kind.write(path, 1)
    kind.write(path, 2)
    kind.write(path, 1)
    seen: set[int] = set()
    kills = 0
    for n in killed_at_each_step(
        lambda: kind.write(path, 2), (files_module, "_exchange"), steps=EVERY_STEP
    ):
        tidy(path)
        value = kind.found(path)
        assert value in ({1}, {2}), n
        seen |= value
        kind.write(path, 2)  # what the killed one has left is in nobody's way
        assert kind.found(path) == {2}
        claims = (n_ for n_ in left_beside(path) if n_.endswith(".lock"))
        assert list(claims) == []
        kind.write(path, 1)
        kills += 1
    assert kind.found(path) == {2}
    assert seen == {1, 2}
    if kind.name in ("a.h5", "model"):  # large: nothing of them may stay
        assert left_beside(path) == []
    record_property("cases", kills)


@every_kind(*KINDS)
def test_on_a_disk_that_is_full_at_any_size(kind: Kind, folder: Path, record_property: Any) -> None:
    path = folder / kind.name
    kind.write(path, 2)
    whole = sum(p.stat().st_size for p in ([path] if path.is_file() else path.iterdir()))
    kind.write(path, 1)
    sizes = sorted({0, 1, 2, *(round(whole * k / 16) for k in range(17))})
    said = []
    for size in sizes:
        try:
            with files_up_to(size):
                kind.write(path, 2)
        except (OSError, StoreError) as error:
            said.append(str(error))
            found = {1}
        else:
            found = {2}
        assert kind.found(path) == found, size
        assert left_beside(path) == []
        kind.write(path, 1)
    assert len(said) > 3
    assert all(f"{path.parent}/" in text and "File too large" in text for text in said), said
    record_property("cases", len(said))


# A checkpoint is written and read by one process, which makes the encoder under its lock.
@every_kind("model", but="checkpoint")
def test_with_two_writers_and_a_reader(kind: Kind, folder: Path, record_property: Any) -> None:
    path = folder / kind.name
    for value in (2, 1):
        kind.write(path, value)
    writers = [_writer(kind, path, value) for value in (1, 2)]
    deadline, reads = time.monotonic() + 20, 0
    seen: set[int] = set()
    try:
        while (reads < 60 or seen != {1, 2}) and time.monotonic() < deadline:
            found = kind.found(path)
            assert found in ({1}, {2})
            seen |= found
            reads += 1
    finally:
        for writer in writers:
            os.kill(writer, signal.SIGTERM)
        ended = [os.waitstatus_to_exitcode(os.waitpid(writer, 0)[1]) for writer in writers]
    assert ended == [-signal.SIGTERM] * 2, "a writer failed: see its traceback"
    assert seen == {1, 2}
    record_property("cases", reads)


def _writer(kind: Kind, path: Path, value: int) -> int:
    """A process that writes again and again; one that is refused tries again."""
    child = os.fork()
    if child:
        return child
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.fsync = lambda descriptor: None  # type: ignore[assignment]
        while True:
            try:
                kind.write(path, value)
            except ClaimedError:
                time.sleep(0.001)
    except BaseException:
        import traceback

        traceback.print_exc()
    os._exit(1)


def finished(run: Path, manifest: Path) -> dict[str, str]:
    """Makes all of a run of texts and covers, or what is left to make; its content."""
    how: dict[str, Any] = {"recipe": "quick", "settings": SOLVED, "workers": 1}
    extract_features(manifest, run=run, modalities=("text", "image"), **how)
    fuse(("text", "image"), run=run)
    [fusion] = finished_folders(run / "fusion")
    stores = [run / "embeddings.h5", fusion / "scores.h5", *sorted((run / "inputs").glob("*.h5"))]
    found = {str(path.relative_to(run)): content_hash(path) for path in stores}
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    return found | {"metrics": json.dumps(metrics["fusions"], sort_keys=True)}


SOLVED = (*FIXED, "fusion.solver=lbfgs", "fusion.combine=auto")
# Kills at some moments are in the default suite: tests/pipeline/test_end_to_end.py.


@pytest.mark.slow
def test_a_whole_run_killed_at_any_step_ends_as_if_it_had_not_been(
    tmp_path: Path, record_property: Any
) -> None:
    manifest = Manifest(plain_items(tmp_path / "media")).write(tmp_path / "m.csv")
    expected = finished(tmp_path / "whole", manifest)
    run = tmp_path / "run"
    kills = 0
    for n in killed_at_each_step(
        lambda: finished(run, manifest),
        (files_module, "_exchange"),
        steps=("replace", "rename", "fsync"),
    ):
        found = finished(run, manifest)
        assert found == expected, n
        shutil.rmtree(run)
        kills += 1
    assert kills > 1
    record_property("cases", kills)
