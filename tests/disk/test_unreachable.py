"""Files that cannot be read now are no damaged files: nothing is made again in their place."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from command_line import Call
from limits import no_more_files
from lock_holder import running

from mmgenre.disk.bundle import CONFIG, bundle_fingerprint, read_bundle, write_bundle
from mmgenre.disk.files import is_machine_fault, read_json, set_damaged_aside
from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import FeatureStore, fingerprint_of, verify_stores, write_store
from mmgenre.errors import BundleError, MmgenreError, StoreError, UnreachableError
from mmgenre.pipeline.artefact import Artefact, carry_out, in_bundle, in_store
from mmgenre.progress import Progress

PROVENANCE = Provenance("stage", 1, {})
WRITER = """
import h5py, sys
with h5py.File(sys.argv[1], "r+") as file:
    print("open", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    rows = np.arange(20, dtype=np.float32).reshape(4, 5)
    return write_store(tmp_path / "a.h5", "v", [(list("abcd"), rows)], PROVENANCE)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "model", "k", {}, {"w": torch.ones(2)}, PROVENANCE)


def artefact(path: Path, stored: Callable[[], str | None], made: list[Path]) -> Artefact:
    def make(progress: Progress) -> None:
        made.append(path)

    return Artefact("read", path.name, path, Provenance("stage", 2, {}), (), stored, make)


@pytest.mark.parametrize("which", ["store", "bundle"])
def test_nothing_is_made_while_no_file_can_be_opened(
    tmp_path: Path, store: Path, bundle: Path, which: str
) -> None:
    path = {"store": store, "bundle": bundle}[which]
    stored = in_store(path, "v") if which == "store" else in_bundle(path)
    made: list[Path] = []
    state, wanted = path.stat(), artefact(path, stored, made)
    with no_more_files(), pytest.raises(MmgenreError, match=r"cannot be read now .EMFILE"):
        carry_out([wanted], tmp_path)
    assert made == []
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (state.st_ino, state.st_mtime_ns)


def test_a_store_that_another_program_writes_is_in_use_and_not_damaged(
    store: Path, call: Call
) -> None:
    with running(WRITER, "open", store):
        with pytest.raises(UnreachableError, match=r"a\.h5: cannot be read now .*another program"):
            fingerprint_of(store, "v")
        done = call("store", "verify", store)
    assert done.code == 1
    assert done.out.startswith(f"unread   {store}\n")
    assert done.out.endswith("0 whole, 0 damaged, 1 could not be read now\n")


def test_a_store_whose_other_writer_was_killed_is_not_called_damaged(store: Path) -> None:
    with running(WRITER, "open", store) as other:
        other.kill()
        other.wait()
        with pytest.raises(UnreachableError, match=r"not closed it.*h5clear -s .*a\.h5"):
            fingerprint_of(store, "v")
    (verdict,) = verify_stores([store])
    assert (verdict.damage, verdict.group) == (None, None)


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.EACCES, errno.ENOMEM])
def test_a_disk_that_fails_while_values_are_read(
    store: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def fails(*_: Any) -> int:
        raise OSError(code, "fails")

    with FeatureStore(store, "v") as opened:
        monkeypatch.setattr("os.preadv", fails)
        monkeypatch.setattr("mmgenre.disk.store.reading.PICK_BYTES", 0)
        with pytest.raises(UnreachableError, match=errno.errorcode[code]):
            opened.take(["a"])


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_disk_without_locks_is_read_without(
    store: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    own = h5py.File

    def without_locks(name: Any, mode: str, locking: bool | None = None) -> Any:
        if locking is None:
            raise OSError(code, "unable to lock file")
        return own(name, mode, locking=locking)

    monkeypatch.setattr(h5py, "File", without_locks)
    assert fingerprint_of(store, "v") == PROVENANCE.fingerprint
    assert [verdict.damage for verdict in verify_stores([store])] == [None]


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.EMFILE, errno.EACCES])
def test_a_bundle_on_a_disk_that_fails(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def fails(path: Path) -> bytes:
        raise OSError(code, "fails")

    monkeypatch.setattr(Path, "read_bytes", fails)
    with pytest.raises(UnreachableError, match=errno.errorcode[code]):
        bundle_fingerprint(bundle)
    with pytest.raises(UnreachableError, match=errno.errorcode[code]):
        read_bundle(bundle, "k")


def test_what_a_file_holds_is_no_fault_of_the_machine(store: Path, tmp_path: Path) -> None:
    whole = store.read_bytes()
    for content in (b"", b"no HDF5", whole[:100], whole[: len(whole) // 2]):
        store.write_bytes(content)
        with pytest.raises(StoreError):
            fingerprint_of(store, "v")
    assert not is_machine_fault(OSError("the file has become shorter"))
    assert not is_machine_fault(FileNotFoundError(errno.ENOENT, "gone"))


def test_damage_is_set_aside_under_a_free_name(store: Path) -> None:
    content = store.read_bytes()
    assert set_damaged_aside(store).name == "a.h5.damaged"
    store.write_bytes(b"again")
    second = set_damaged_aside(store)
    assert (second.name, second.read_bytes()) == ("a.h5.damaged-2", b"again")
    assert store.with_name("a.h5.damaged").read_bytes() == content


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 200_000, "\0", "\xff", '{"a": ' * 100_000, "[]", "7", "null", "{}"]
)
def test_damaged_json_of_a_model_is_an_error_of_the_model(bundle: Path, text: str) -> None:
    (bundle / CONFIG).write_text(text, encoding="latin-1")
    with pytest.raises(BundleError, match=r"model"):
        bundle_fingerprint(bundle)
    with pytest.raises(BundleError, match=r"model"):
        read_bundle(bundle, "k")


def test_json_that_is_whole_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"é": 1}, ensure_ascii=False), encoding="utf-8")
    assert read_json(tmp_path / "a.json") == {"é": 1}
