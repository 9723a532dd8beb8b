"""Inputs whose parts are not merged: the same rows, whatever is killed, damaged or added."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from counted_rows import count_rows
from killing import killed_at_each_step

from mmgenre.disk.store import (
    FeatureStore,
    check_store,
    content_hash,
    part_names,
    parts_folder,
    provenance_of,
)
from mmgenre.errors import PartError, StoreError
from mmgenre.items.item import Item
from mmgenre.items.manifest import Manifest
from mmgenre.reading import extraction
from mmgenre.reading.extraction import Shard, extract_inputs, extract_shard, is_finished
from mmgenre.text.settings import TextInput


@pytest.fixture(autouse=True)
def _tiny_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction, "PART_ROWS", 2)
    monkeypatch.setattr(extraction, "LARGE_PARTS", 1)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of the rows that were decoded."""
    return count_rows(monkeypatch)


def items(*numbers: int, changed: int | None = None) -> Manifest:
    """Texts; that of 3 holds nothing, and is refused."""
    text = {k: " ".join(["a quiet record"] * (k + 1)) for k in numbers} | {3: " "}
    if changed is not None:
        text[changed] += " indeed"
    return Manifest([Item(f"i{k}", media={"text": (text[k],)}) for k in numbers])


def extract(manifest: Manifest, target: Path, **how: Any) -> Path:
    how = {"workers": 1, "merge": False} | how
    return extract_inputs(manifest, "text", TextInput(), target, **how)


def rows(target: Path) -> tuple[object, ...]:
    """All that a store says, wherever its rows lie."""
    with FeatureStore(target, "text") as store:
        store.verify()
        texts = {i: store.read_text(i) for i in store.ids}
        return store.ids, texts, store.refused, store.provenance, store.made_from(), store.sha256


def check_same(manifest: Manifest, target: Path, merged: Path) -> None:
    """Rows are those of a merged store, and nothing but their parts lies beside them."""
    extract(manifest, merged, merge=True)
    assert rows(target) == rows(merged)
    assert not parts_folder(merged).exists()
    beside = {path.name for path in parts_folder(target).iterdir()}
    assert beside == part_names(target, "text")
    assert is_finished(target, "text")


def test_parts_stay_and_give_the_same_rows(tmp_path: Path, read: list[str]) -> None:
    manifest, target = items(*range(7)), tmp_path / "text.h5"
    assert extract(manifest, target) == target
    assert len(part_names(target, "text")) == 4
    check_same(manifest, target, tmp_path / "merged.h5")
    read.clear()
    extract(manifest, target)
    extract(manifest, target, merge=True)  # which is current as well
    assert read == []
    assert part_names(target, "text")


def test_killed_at_each_step_it_goes_on(tmp_path: Path) -> None:
    manifest, target = items(*range(5)), tmp_path / "run" / "text.h5"
    for n in killed_at_each_step(lambda: extract(manifest, target)):
        if target.is_file():  # whole, whatever is still beside it
            rows(target)
        if n % 3 == 0 and (tmp_path / "run").is_dir():
            shutil.copytree(tmp_path / "run", tmp_path / "copy" / str(n))
    check_same(manifest, target, tmp_path / "merged.h5")
    for copied in sorted((tmp_path / "copy").iterdir()):
        extract(manifest, copied / "text.h5")
        check_same(manifest, copied / "text.h5", tmp_path / "merged.h5")


def test_a_store_that_was_written_last_is_not_finished(tmp_path: Path) -> None:
    target = extract(items(0, 1), tmp_path / "text.h5")
    (parts_folder(target) / extraction.UNFINISHED).touch()  # as after a kill
    assert not is_finished(target, "text")
    extract(items(0, 1), target)
    assert is_finished(target, "text")


def test_items_are_added_changed_and_removed(tmp_path: Path, read: list[str]) -> None:
    target, merged = tmp_path / "text.h5", tmp_path / "merged.h5"
    extract(items(0, 1, 2, 4, 6), target)
    extract(items(0, 1, 2, 4, 6), merged, merge=True)
    steps = {
        "added": (items(*range(9)), ["i3", "i5", "i7", "i8"]),
        "changed": (items(*range(9), changed=4), ["i4"]),
        "removed": (items(0, 2, 3, 4, 5, 8, changed=4), []),
        "back": (items(*range(9), changed=4), ["i1", "i6", "i7"]),
    }
    for what, (manifest, expected) in steps.items():
        read.clear()
        extract(manifest, target)
        assert read == expected, what
        check_same(manifest, target, merged)
    with FeatureStore(target, "text") as store:
        assert [r.id for r in store.refused] == ["i3"]
    # Then merged after all.
    manifest = items(*range(10), changed=4)
    read.clear()
    extract(manifest, target, merge=True)
    assert read == ["i9"]
    assert not parts_folder(target).exists()
    assert rows(target) == rows(extract(manifest, merged, merge=True))
    with pytest.raises(StoreError, match="is merged, and 10 rows of it are kept"):
        extract(items(*range(11), changed=4), target)
    assert "i9" in rows(target)[0]  # type: ignore[operator]


def test_killed_while_items_are_added_nothing_is_lost(tmp_path: Path) -> None:
    before, after = items(0, 1, 2, 4), items(*range(7))
    target, merged = extract(before, tmp_path / "run" / "text.h5"), tmp_path / "merged.h5"
    extract(before, merged, merge=True)
    held = rows(target)
    for _ in killed_at_each_step(lambda: extract(after, target)):
        with FeatureStore(target, "text") as store:
            is_old = len(store) == 4
        if is_old:
            assert rows(target) == held
    check_same(after, target, merged)


def test_shards_leave_the_rows_of_the_present_store_alone(tmp_path: Path) -> None:
    target, merged = tmp_path / "text.h5", tmp_path / "merged.h5"
    extract(items(0, 1), target)
    extract(items(0, 1), merged, merge=True)
    held = rows(target)
    for k in (1, 2):
        extract_shard(items(*range(7)), "text", TextInput(), target, Shard(k, 2), workers=1)
        assert rows(target) == held
    extract(items(*range(7)), target)
    check_same(items(*range(7)), target, merged)


@pytest.mark.parametrize("harm", ["gone", "another", "damaged"])
@pytest.mark.parametrize("merge", [False, True])
def test_a_part_that_is_not_there_is_named_and_read_again(
    tmp_path: Path, read: list[str], harm: str, merge: bool
) -> None:
    manifest, target = items(*range(7)), tmp_path / "text.h5"
    extract(manifest, target)
    parts = sorted(parts_folder(target).iterdir())
    if harm == "gone":
        parts[2].unlink()
    elif harm == "another":
        shutil.copy(parts[0], parts[2])
    else:
        content = parts[2].read_bytes()
        place = content.index(b"a quiet record")
        parts[2].write_bytes(content[:place] + b"A" + content[place + 1 :])
    os.utime(parts[2].parent)
    with pytest.raises(StoreError, match=parts[2].name) as told:
        check_store(target, "text")
    assert isinstance(told.value, PartError) == (harm != "damaged")
    assert f"mv {target}" in str(told.value)
    target.rename(target.with_name("text.h5.damaged"))  # as it is told
    read.clear()
    extract(manifest, target, merge=merge)
    assert read == ["i4", "i5"]
    assert rows(target) == rows(extract(manifest, tmp_path / "merged.h5", merge=True))


def test_added_to_a_store_that_lacks_a_part_all_is_made_whole(
    tmp_path: Path, read: list[str]
) -> None:
    target = extract(items(*range(5)), tmp_path / "text.h5")
    sorted(parts_folder(target).iterdir())[0].unlink()
    extract(items(*range(6)), target)
    check_same(items(*range(6)), target, tmp_path / "merged.h5")
    assert (tmp_path / "text.h5.damaged").is_file()


def test_by_several_processes(tmp_path: Path) -> None:
    manifest, target = items(*range(9)), tmp_path / "text.h5"
    extract(manifest, target, workers=2)
    check_same(manifest, target, tmp_path / "merged.h5")
    assert provenance_of(target, "text") == provenance_of(tmp_path / "merged.h5", "text")
    assert content_hash(target) == content_hash(tmp_path / "merged.h5")
