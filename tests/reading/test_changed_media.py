"""Which rows are read again: those whose bytes have changed, wherever their files are now."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import h5py
import numpy as np
import pytest
from counted_rows import count_rows
from killing import killed_at_each_step
from PIL import Image

from mmgenre.disk.store import FeatureStore, content_hash
from mmgenre.errors import StoreError
from mmgenre.image.settings import ImageInput
from mmgenre.items.item import Item
from mmgenre.items.manifest import Manifest
from mmgenre.reading import marks as marks_module
from mmgenre.reading import media as media_module
from mmgenre.reading.extraction import extract_inputs
from mmgenre.reading.marks import UNKNOWN
from mmgenre.reading.media import look, record_beside, recorded
from mmgenre.text.settings import TextInput

N = 6


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "media"
    made.mkdir()
    for k in range(N):
        (made / f"{k}.txt").write_text(f"A quiet record, number {k}.", encoding="utf-8")
        os.utime(made / f"{k}.txt", ns=(10**18, 10**18))
    return made


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of the rows that were decoded."""
    return count_rows(monkeypatch)


def manifest_of(folder: Path, n: int = N, start: int = 0) -> Manifest:
    files = {f"i{k}": folder / f"{k}.txt" for k in range(start, n)}
    return Manifest([Item(i, media={"text": (file,)}) for i, file in files.items()])


def extract(manifest: Manifest, target: Path, **how: Any) -> Path:
    return extract_inputs(manifest, "text", TextInput(), target, workers=1, **how)


def text_of(target: Path, item_id: str) -> str:
    with FeatureStore(target, "text") as store:
        return store.read_text(item_id)


def busy(*args: object) -> NoReturn:
    raise AssertionError("a file was opened")


def rewrite(file: Path) -> None:
    """Other bytes, of equal number and time."""
    state = file.stat()
    file.write_text(file.read_text().replace("quiet", "loud "))
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))


def exchange(one: Path, other: Path) -> None:
    beside = one.with_suffix(".tmp")
    one.rename(beside)
    other.rename(one)
    beside.rename(other)


def replace_by_copy(file: Path) -> None:
    copied = Path(shutil.copy2(file, file.with_suffix(".tmp")))
    copied.write_text(file.read_text().replace("quiet", "grand"))
    os.utime(copied, ns=(10**18, 10**18))
    copied.replace(file)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda f: rewrite(f / "2.txt"), ["i2"]),
        (lambda f: exchange(f / "1.txt", f / "4.txt"), ["i1", "i4"]),
        (lambda f: replace_by_copy(f / "0.txt"), ["i0"]),
    ],
    ids=["written in place", "exchanged", "replaced"],
)
def test_media_of_equal_size_and_time_are_noticed(
    tmp_path: Path,
    folder: Path,
    read: list[str],
    change: Callable[[Path], object],
    expected: list[str],
) -> None:
    target, manifest = tmp_path / "t.h5", manifest_of(folder)
    extract(manifest, target)
    before = {f: (f.stat().st_size, f.stat().st_mtime_ns) for f in folder.iterdir()}
    read.clear()
    change(folder)
    assert {f: (f.stat().st_size, f.stat().st_mtime_ns) for f in folder.iterdir()} == before
    extract(manifest, target)
    assert read == expected
    for k in range(N):
        assert text_of(target, f"i{k}") == (folder / f"{k}.txt").read_text()
    assert content_hash(target) == content_hash(extract(manifest, tmp_path / "fresh.h5"))


def test_what_has_moved_is_compared_once_and_not_read_again(
    tmp_path: Path, folder: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Touched, restored from a backup, copied whole to another place with the store."""
    target = extract(manifest_of(folder), tmp_path / "t.h5")
    read.clear()
    os.utime(folder / "0.txt")
    shutil.copy(folder / "1.txt", folder / "1.tmp")
    (folder / "1.tmp").replace(folder / "1.txt")
    before = target.read_bytes()
    extract(manifest_of(folder), target)
    shutil.copytree(folder, tmp_path / "elsewhere")
    shutil.copytree(tmp_path, tmp_path / "machine")
    folder, target = tmp_path / "machine" / "elsewhere", tmp_path / "machine" / "t.h5"
    extract(manifest_of(folder), target)
    assert read == []
    assert target.read_bytes() == before
    monkeypatch.setattr(media_module, "content_of", busy)  # the new identities are recorded
    extract(manifest_of(folder), target)


def test_nothing_is_opened_where_nothing_has_changed(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = extract(manifest_of(folder), tmp_path / "t.h5")
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    monkeypatch.setattr(media_module, "content_of", busy)
    monkeypatch.setattr(media_module, "_read_record", busy)
    extract(manifest_of(folder), target)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before


def test_inline_texts_are_told_apart_wherever_they_change(tmp_path: Path, read: list[str]) -> None:
    file, target = tmp_path / "m.csv", tmp_path / "t.h5"
    versions = ("a,xy,,\nb,z,,\n", "a,x,,\nb,yz,,\n", "a,x,,\nbyz,x,,\n", "a,x,,\nb,x,,\n")
    found = []
    for rows in (*versions, versions[-1]):
        file.write_text("id,text,artist,album\n" + rows, encoding="utf-8")
        extract_inputs(Manifest.read(file), "text", TextInput(), target, workers=1)
        found.append(sorted(read))
        read.clear()
    assert found == [["a", "b"], ["a", "b"], ["byz"], ["b"], []]


def test_bytes_count_on_request(
    tmp_path: Path, folder: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system whose times and inodes say nothing."""
    monkeypatch.setattr(marks_module.Identity, "__call__", lambda self, media: str(media))
    target, manifest = tmp_path / "t.h5", manifest_of(folder)
    extract(manifest, target)
    read.clear()
    rewrite(folder / "3.txt")
    extract(manifest, target)
    assert read == []
    media = look(manifest, "text", record_beside(target), check_content=True)
    extract(manifest, target, media=media)
    assert read == ["i3"]


def test_only_what_is_added_is_read(tmp_path: Path, read: list[str]) -> None:
    rng = np.random.default_rng(0)
    files = []
    for k in range(40):
        files.append(tmp_path / f"{k}.png")
        Image.fromarray(rng.integers(0, 255, (20, 20, 3)).astype(np.uint8)).save(files[-1])
    files[7].write_text("no picture")
    order = list(range(40))
    random.Random(0).shuffle(order)
    target, known = tmp_path / "image.h5", set[int]()
    for n in (25, 26, 40, 13):  # at last some are taken away
        read.clear()
        items = [Item(f"i{k:02d}", media={"image": (files[k],)}) for k in order[:n]]
        how: dict[str, Any] = {"workers": 1}
        extract_inputs(Manifest(items), "image", ImageInput(size_px=16), target, **how)
        assert sorted(read) == [f"i{k:02d}" for k in sorted(set(order[:n]) - known)]
        known = set(order[:n])
        fresh = tmp_path / f"{n}.h5"
        extract_inputs(Manifest(items), "image", ImageInput(size_px=16), fresh, **how)
        assert content_hash(target) == content_hash(fresh)
        with FeatureStore(target, "image") as one, FeatureStore(fresh, "image") as other:
            assert one.refused == other.refused
            assert one.made_from() == other.made_from()
            assert len(one.made_from()) == n
    assert 7 in order[:40]  # a refusal was among them


def test_other_settings_take_nothing_over(tmp_path: Path, folder: Path, read: list[str]) -> None:
    target, manifest = tmp_path / "t.h5", manifest_of(folder)
    extract(manifest, target)
    read.clear()
    extract_inputs(manifest, "text", TextInput(max_characters=7), target, workers=1)
    assert len(read) == N


def test_a_damaged_store_gives_no_rows(tmp_path: Path, folder: Path, read: list[str]) -> None:
    target = extract(manifest_of(folder, N - 1), tmp_path / "t.h5")
    with h5py.File(target, "r+") as file:
        file["text/data"][3] = 7  # HDF5's own checksum is right, ours is not
    read.clear()
    extract(manifest_of(folder), target)
    assert len(set(read)) == N
    assert content_hash(target) == content_hash(extract(manifest_of(folder), tmp_path / "new.h5"))
    with (
        pytest.raises(StoreError, match="checksum"),
        FeatureStore(tmp_path / "t.h5.damaged", "text") as store,
    ):
        store.verify()


def test_a_drive_that_comes_back_is_not_read_again(
    tmp_path: Path, folder: Path, read: list[str]
) -> None:
    target, manifest = tmp_path / "t.h5", manifest_of(folder)
    extract(manifest, target)
    read.clear()
    folder.rename(tmp_path / "off")
    for _ in range(2):  # without --accept-missing a command ends here
        gone = look(manifest, "text", record_beside(target), store=target)
        kept = recorded(manifest, "text", record_beside(target))
        assert kept is not None
        assert dict(kept.of(manifest, "text")) == dict(gone.of(manifest, "text"))
    (tmp_path / "off").rename(folder)
    extract(manifest, target)
    shutil.copytree(folder, tmp_path / "copy")
    extract(manifest_of(tmp_path / "copy"), target)
    assert read == []


def test_a_file_that_may_not_be_read_stays_as_it_was(
    tmp_path: Path, folder: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    target, manifest = tmp_path / "t.h5", manifest_of(folder)
    extract(manifest, target)
    read.clear()
    rewrite(folder / "2.txt")

    def refuses(path: Path) -> str:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(marks_module, "sha256_file", refuses)
        extract(manifest, target)
    assert read == []
    (folder / "2.txt").chmod(0o640)  # the right comes back, and with it another time of change
    extract(manifest, target)
    assert read == ["i2"]


def test_bytes_that_the_record_lacks_are_known_to_the_store(
    tmp_path: Path, folder: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a kill between the two."""
    target, manifest = tmp_path / "t.h5", manifest_of(folder)
    with monkeypatch.context() as patched:
        patched.setattr("mmgenre.reading.extraction.record_contents", lambda *args: None)
        extract(manifest, target)
    before = media_module._read_record(record_beside(target), "text")
    assert {known.sha256 for known in before.values()} == {UNKNOWN}
    read.clear()
    for k in range(N):
        os.utime(folder / f"{k}.txt")
    extract(manifest, target)
    assert read == []


@pytest.mark.parametrize("lose", [Path.unlink, lambda record: record.write_bytes(b"damaged")])
def test_without_a_record_files_are_compared_with_what_was_read(
    tmp_path: Path, folder: Path, read: list[str], lose: Callable[[Path], object]
) -> None:
    target, manifest = tmp_path / "t.h5", manifest_of(folder)
    extract(manifest, target)
    read.clear()
    lose(record_beside(target))
    rewrite(folder / "2.txt")
    extract(manifest, target)
    assert read == ["i2"]
    extract(manifest, target)
    assert read == ["i2"]


def test_a_record_that_is_damaged_within_is_named(tmp_path: Path, folder: Path) -> None:
    target = extract(manifest_of(folder), tmp_path / "t.h5")
    with h5py.File(record_beside(target), "r+") as file:
        file["text/ids"][0] = b"j0"
    target.unlink()
    with pytest.raises(StoreError, match=r"record of its text .* lacks 'i0'.*remove it"):
        extract(manifest_of(folder), target)
    record_beside(target).unlink()
    extract(manifest_of(folder), target)
    assert text_of(target, "i1") == "A quiet record, number 1."


@pytest.mark.slow
def test_adding_is_old_or_complete_after_a_kill(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few, all_of_them = manifest_of(folder, N - 2), manifest_of(folder)
    old = content_hash(extract(few, tmp_path / "old.h5"))
    new = content_hash(extract(all_of_them, tmp_path / "new.h5"))
    target, found = extract(few, tmp_path / "t.h5"), set[str]()
    for _ in killed_at_each_step(lambda: extract(all_of_them, target)):
        found.add(content_hash(target))
        extract(all_of_them, target)
        assert content_hash(target) == new
        extract(few, target)
    assert found == {old, new}
