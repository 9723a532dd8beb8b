"""Old or complete: a model folder after kill -9 at every step of its writing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from killing import killed_at_each_step
from limits import files_up_to

from mmgenre.disk import files as files_module
from mmgenre.disk.bundle import read_bundle, write_bundle
from mmgenre.disk.files import discard, finished_folders, swap, sweep, temporary_name
from mmgenre.disk.locks import tidy
from mmgenre.disk.provenance import Provenance, sha256_file
from mmgenre.errors import BundleError
from mmgenre.pipeline.artefact import Artefact, carry_out, in_bundle
from mmgenre.progress import Progress


def write(folder: Path, config: str, version: int = 1) -> Path:
    provenance = Provenance("stage", version, {})
    return write_bundle(
        folder, "k", {"is": config}, {"w": torch.ones(50)}, provenance, files={"vocab.json": [1]}
    )


@pytest.fixture(params=[True, False], ids=["exchange", "two renames"])
def exchange(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    if not request.param:
        monkeypatch.setattr(files_module, "_exchange", lambda one, other: False)
    return bool(request.param)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.parent.iterdir())


def test_a_model_is_the_old_one_or_the_new_one_after_a_kill(tmp_path: Path, exchange: bool) -> None:
    folder = tmp_path / "models" / "a"
    write(folder, "old")
    found = set()
    for n in killed_at_each_step(lambda: write(folder, "new"), (files_module, "_exchange")):
        found.add(read_bundle(folder, "k").config["is"])
        tidy(folder)
        assert names(folder) == ["a"], n
        assert read_bundle(folder, "k").config["is"] in ("old", "new")
        write(folder, "old")
    assert found == {"old", "new"}
    assert read_bundle(folder, "k").config == {"is": "new"}
    assert names(folder) == ["a"]


def test_a_first_model_is_there_or_not_after_a_kill(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "a"
    folder.parent.mkdir()
    for _ in killed_at_each_step(lambda: write(folder, "new")):
        if folder.exists():
            assert read_bundle(folder, "k").config == {"is": "new"}
        tidy(folder)
        assert set(names(folder)) <= {"a"}
        discard(folder)
    assert names(folder) == ["a"]


def test_a_plan_puts_what_a_kill_has_left_in_order(tmp_path: Path, exchange: bool) -> None:
    """Nothing of the size of a model stays, though what is there is current."""
    folder = write(tmp_path / "models" / "a", "current", version=2)
    provenance = Provenance("stage", 2, {})
    made = []

    def make(progress: Progress) -> None:
        made.append(write(folder, "made", version=2))

    artefact = Artefact("learn", "a", folder, provenance, (), in_bundle(folder), make)
    for _ in killed_at_each_step(
        lambda: write(folder, "again", version=2), (files_module, "_exchange")
    ):
        carry_out([artefact], tmp_path)
        assert names(folder) == ["a"]
    assert made == []


def test_a_reader_meets_a_writer_between_two_renames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It finds no folder and no killed writer, and leaves all as it is."""
    monkeypatch.setattr(files_module, "_exchange", lambda one, other: False)
    folder, replace = write(tmp_path / "a", "old"), Path.replace
    seen = []

    def look(self: Path, other: Path) -> Path:
        if other == folder and self.name.endswith(".tmp") and not folder.exists():
            try:
                read_bundle(folder, "k")
            except BundleError as error:
                seen.append(str(error))
        return replace(self, other)

    monkeypatch.setattr(Path, "replace", look)
    write(folder, "new")
    assert len(seen) <= 1
    assert read_bundle(folder, "k").config == {"is": "new"}
    assert names(folder) == ["a"]


def test_a_reader_that_a_writer_overtakes_reads_the_new_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "a", "old")
    hashed: list[Path] = []

    def overtaken(path: Path) -> str:
        if not hashed and path.parent == folder:
            hashed.append(path)
            with monkeypatch.context() as patch:
                patch.setattr("mmgenre.disk.bundle.sha256_file", sha256_file)
                write(folder, "new", version=2)
        return sha256_file(path)

    monkeypatch.setattr("mmgenre.disk.bundle.sha256_file", overtaken)
    assert read_bundle(folder, "k").config == {"is": "new"}


@pytest.mark.parametrize("n_bytes", [0, 10, 100])
def test_a_full_disk_leaves_the_old_model(tmp_path: Path, exchange: bool, n_bytes: int) -> None:
    folder = write(tmp_path / "a", "old")
    with files_up_to(n_bytes), pytest.raises(OSError):  # noqa: PT011
        write(folder, "new")
    assert read_bundle(folder, "k").config == {"is": "old"}
    assert names(folder) == ["a"]


def test_what_was_moved_away_comes_back_unless_its_successor_is_there(tmp_path: Path) -> None:
    (tmp_path / ".a.old").write_text("old")
    sweep(tmp_path / "a")
    assert (tmp_path / "a").read_text() == "old"
    (tmp_path / ".a.old").write_text("older")
    sweep(tmp_path / "a")
    assert (tmp_path / "a").read_text() == "old"
    assert names(tmp_path / "a") == ["a"]


def test_a_link_is_replaced_and_not_what_it_leads_to(tmp_path: Path, exchange: bool) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "song.mp3").touch()
    target = tmp_path / "a"
    target.symlink_to(elsewhere)
    new = temporary_name(target)
    new.mkdir()
    swap(new, target)
    assert names(target) == ["a", "elsewhere"]
    assert (elsewhere / "song.mp3").exists()


def test_finished_folders(tmp_path: Path) -> None:
    for name in ("b", "a", "a.damaged", "a.damaged-2", ".a.x.tmp", ".a.old", "a.damaged.x"):
        (tmp_path / name).mkdir()
    (tmp_path / "file").touch()
    assert [path.name for path in finished_folders(tmp_path)] == ["a", "a.damaged.x", "b"]
    assert finished_folders(tmp_path / "none") == []


def test_a_reader_that_a_writer_overtakes_after_the_hashes_reads_one_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "a", "old")
    read = files_module.read_json
    overtaken: list[Path] = []

    def meets_a_writer(path: Path) -> Any:
        content = read(path)
        if path.name == "config.json" and not overtaken:
            overtaken.append(path)
            write(folder, "new", version=2)
        return content

    monkeypatch.setattr("mmgenre.disk.bundle.read_json", meets_a_writer)
    bundle = read_bundle(folder, "k")
    assert overtaken
    assert bundle.config == {"is": "new"}
    assert bundle.fingerprint == Provenance("stage", 2, {}).fingerprint
