"""Stores whose values stay in the parts they were read into: the same rows, and nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import (
    FeatureStore,
    apart,
    check_store,
    content_hash,
    merge_stores,
    part_names,
    parts_folder,
    store_info,
    verify_stores,
    write_store,
)
from mmgenre.errors import PartError, Refusal, StoreError

MADE = Provenance("inputs", 1, {})
SIZES = (5, 0, 1, 7, 4)  # rows of the parts; one has refusals alone


def rows_of(ragged: bool, n: int, rng: np.random.Generator) -> Any:
    if not ragged:
        return rng.standard_normal((n, 3, 2)).astype(np.float16)
    lengths = rng.integers(0, 400, n)  # rows of no values among them
    lengths[::4] = 0
    return [rng.standard_normal((k, 300)).astype(np.float16) for k in lengths]


def parts_of(target: Path, ragged: bool, sizes: Sequence[int] = SIZES) -> list[Path]:
    rng, paths = np.random.default_rng(0), []
    for k, n in enumerate(sizes):
        ids = [f"{k}-{j}" for j in range(n)]
        path = parts_folder(target) / f"{k:06d}-abc.h5"
        refused = [Refusal(f"{k}-bad", "audio", "silent", "silent")]
        made_from = {i: i.encode().ljust(8) for i in (*ids, f"{k}-bad")}
        how: dict[str, Any] = {"refused": refused, "ragged": ragged, "made_from": made_from}
        write_store(path, "audio", [(ids, rows_of(ragged, n, rng))], MADE, **how)
        paths.append(path)
    return paths


@pytest.fixture(params=[False, True], ids=["fixed", "ragged"])
def both(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path]:
    """The same parts, merged, and left apart."""
    target, ragged = tmp_path / "apart.h5", request.param
    parts = parts_of(target, ragged)
    how = {"provenance": MADE, "ragged": ragged}
    merged = merge_stores(parts, tmp_path / "merged.h5", "audio", **how)
    return merged, merge_stores(parts, target, "audio", apart=True, **how)


def one_row(store: FeatureStore, item_id: str) -> NDArray[Any]:
    """Without the others: of a short store `read` takes all."""
    return store.read(item_id) if store.ragged else store.rows_at(store.rows_of([item_id]))


def values_of(store: FeatureStore) -> list[NDArray[Any]]:
    return [store.read(item_id) for item_id in store.ids]


def test_rows_are_those_of_a_merged_store_bit_for_bit(both: tuple[Path, Path]) -> None:
    rng = np.random.default_rng(1)
    with FeatureStore(both[0], "audio") as one, FeatureStore(both[1], "audio") as other:
        assert (one.ids, one.refused, one.sha256) == (other.ids, other.refused, other.sha256)
        assert (one.dtype, one.row_shape, one.provenance) == (
            other.dtype, other.row_shape, other.provenance,
        )  # fmt: skip
        assert one.made_from() == other.made_from()
        for a, b in zip(values_of(one), values_of(other), strict=True):
            assert a.tobytes() == b.tobytes()
        other.verify()
        some = rng.permutation(np.repeat(np.arange(len(one)), 2))
        ids = [one.ids[k] for k in some]
        if one.ragged:
            starts = rng.integers(0, 300, len(ids)).tolist()
            windows = [s.windows(ids, starts, 50, fill=-1).tobytes() for s in (one, other)]
            assert windows[0] == windows[1]
        else:
            assert one.take(ids).tobytes() == other.take(ids).tobytes()
            assert one.rows_at(some).tobytes() == other.rows_at(some).tobytes()
            few = ids[:1]
            assert one.take(few).tobytes() == other.take(few).tobytes()
            out = np.empty((9, 3, 2), np.float16)
            other.read_rows(3, out)  # over three parts
            assert out.tobytes() == one.take(one.ids[3:12]).tobytes()
    assert content_hash(both[0]) == content_hash(both[1])
    listed = (0, 3, 4) if other.ragged else (0, 2, 3, 4)  # 2 has one row, and that no values
    assert part_names(both[1], "audio") == {f"00000{k}-abc.h5" for k in listed}
    assert part_names(both[0], "audio") == frozenset()


def test_it_takes_hardly_any_room(tmp_path: Path) -> None:
    target = tmp_path / "a.h5"
    rows = np.zeros((400, 5000), np.float16)
    parts = []
    for k in range(4):
        path = parts_folder(target) / f"{k}.h5"
        ids = [f"{k}-{j}" for j in range(100)]
        parts.append(write_store(path, "audio", [(ids, rows[:100])], MADE))
    merge_stores(parts, target, "audio", apart=True)
    assert target.stat().st_size < 0.02 * sum(path.stat().st_size for path in parts)
    [info] = store_info(target)
    assert (info.rows, info.n_parts, info.n_bytes) == (400, 4, rows.nbytes)


def n_open() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_few_files_are_open_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "OPEN_FILES", 3)
    target = tmp_path / "a.h5"
    parts = parts_of(target, False, [2] * 20)
    merge_stores(parts, target, "audio", apart=True)
    before = n_open()
    with FeatureStore(target, "audio") as store:
        rng, expected = np.random.default_rng(0), store.take(store.ids)
        for k in rng.integers(0, 40, 100).tolist():
            assert one_row(store, store.ids[k]).tobytes() == expected[k].tobytes()
            assert n_open() <= before + 1 + 3
    assert n_open() == before


def test_moved_together_it_opens(both: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    moved = shutil.move(both[1], tmp_path / "elsewhere" / "apart.h5")
    with FeatureStore(moved, "audio") as store, pytest.raises(PartError, match="no such file"):
        store.verify()
    shutil.move(parts_folder(both[1]), parts_folder(Path(moved)))
    assert content_hash(moved) == content_hash(both[0])


def test_a_part_that_is_gone_or_another_one_is_named(both: tuple[Path, Path]) -> None:
    path = both[1]
    parts = sorted(parts_folder(path).iterdir())
    check_store(path, "audio")
    aside = parts[3].rename(parts[3].with_suffix(".aside"))

    def check(why: str) -> None:
        with FeatureStore(path, "audio") as store:
            assert len(one_row(store, "0-1"))  # of a part that is there
            with pytest.raises(PartError, match=why):
                one_row(store, "3-1")
        with pytest.raises(PartError, match=f"{parts[3].name}.*{why}.*put the part back; or move"):
            check_store(path, "audio")  # although it was noted as whole
        [verdict] = verify_stores([path])
        assert why in str(verdict.damage)

    check("no such file")
    parts[3].symlink_to(aside)
    check("a link, and no file")
    parts[3].unlink()
    shutil.copy(parts[4], parts[3])
    check("is not the part that")
    aside.rename(parts[3])
    check_store(path, "audio")


def test_a_part_that_is_damaged_is_named(both: tuple[Path, Path]) -> None:
    path = both[1]
    part = sorted(parts_folder(path).iterdir())[3]
    with h5py.File(part) as file:
        offset = file["audio/data"].id.get_chunk_info(0).byte_offset
    content = bytearray(part.read_bytes())
    content[offset + 1] ^= 1
    part.write_bytes(content)
    with FeatureStore(path, "audio") as store, pytest.raises(StoreError, match=part.name):
        store.verify()


def test_a_part_that_changes_while_it_is_read(
    both: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apart, "OPEN_FILES", 1)
    parts = sorted(parts_folder(both[1]).iterdir())
    with FeatureStore(both[1], "audio") as store:
        one_row(store, "3-1"), one_row(store, "4-1")
        shutil.copy(parts[4], parts[3])
        with pytest.raises(PartError, match="has changed while"):
            one_row(store, "3-1")


def test_rows_of_the_present_version_stay_where_they_lie(both: tuple[Path, Path]) -> None:
    """Some rows go, others come between: as a merged store has them."""
    merged, path = both
    with FeatureStore(path, "audio") as store:
        ids, ragged = store.ids, store.ragged
    taken = {i for i in ids if i not in ("0-2", "3-0", "3-6")} | {"2-bad"}
    new = parts_folder(path) / "000007-new.h5"
    rows = rows_of(ragged, 2, np.random.default_rng(9))
    later = Provenance("inputs", 1, {"media": "later"})
    made_from = {"0-1b": b"01234567", "9-9": b"76543210"}
    write_store(new, "audio", [(list(made_from), rows)], later, ragged=ragged, made_from=made_from)
    order = sorted([*taken, "0-1b", "9-9"])
    how: dict[str, Any] = {"provenance": later, "taken": taken, "order": order}
    merge_stores([new], merged, "audio", **how)
    merge_stores([new], path, "audio", **how, apart=True)
    with FeatureStore(merged, "audio") as one, FeatureStore(path, "audio") as other:
        assert one.ids == other.ids
        assert "0-1b" in other
        assert [r.id for r in other.refused] == ["2-bad"]
        assert one.sha256 == other.sha256
        other.verify()
        assert [v.tobytes() for v in values_of(one)] == [v.tobytes() for v in values_of(other)]
    # And once more, without a new part, and then merged.
    fewer = {i for i in taken if i[0] != "4"}
    how = {"provenance": later, "taken": fewer, "order": sorted(fewer), "ragged": ragged}
    for target, stays in ((merged, False), (path, True)):
        merge_stores([], target, "audio", **how, apart=stays)
    assert content_hash(merged) == content_hash(path)
    assert not any(name.startswith("000004") for name in part_names(path, "audio"))
    merge_stores([], path, "audio", **how)
    shutil.rmtree(parts_folder(path))
    assert content_hash(merged) == content_hash(path)


def test_rows_that_were_merged_cannot_stay_apart(both: tuple[Path, Path]) -> None:
    how: dict[str, Any] = {"provenance": MADE, "taken": {"0-1"}, "order": ["0-1"]}
    with pytest.raises(StoreError, match="is merged, and 1 rows of it are kept"):
        merge_stores([], both[0], "audio", **how, apart=True)


def test_parts_elsewhere_cannot_stay_apart(tmp_path: Path) -> None:
    parts = parts_of(tmp_path / "a.h5", False)
    with pytest.raises(StoreError, match=r"not in .*b\.h5\.parts"):
        merge_stores(parts, tmp_path / "b.h5", "audio", apart=True)
    assert not (tmp_path / "b.h5").exists()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"files": [["../other.h5", 5, ""]]}, "lists parts"),
        ({"files": [["a.h5", 5, ""]] * 4}, "lists parts twice"),
        ({"files": [["a.h5", 5, ""]]}, "rows that its parts do not have"),
        ({"dtype": "int32"}, "int32, runs"),
        ({"shape": [10**9]}, "is not the part that"),
        ({"files": "no list"}, "damaged"),
    ],
)
def test_odd_lists_are_refused(tmp_path: Path, change: dict[str, Any], why: str) -> None:
    target = tmp_path / "a.h5"
    merge_stores(parts_of(target, False), target, "audio", apart=True)
    with h5py.File(target, "a") as file:
        listed = json.loads(file["audio/parts"][:].tobytes()) | change
        del file["audio/parts"]
        text = np.frombuffer(json.dumps(listed).encode(), np.uint8)
        file["audio"].create_dataset("parts", data=text, fletcher32=True)
    with pytest.raises(StoreError, match=why), FeatureStore(target, "audio") as store:
        store.read("0-1")


def test_a_run_that_is_listed_many_times_declares_no_petabytes(tmp_path: Path) -> None:
    target = tmp_path / "a.h5"
    merge_stores(parts_of(target, False), target, "audio", apart=True)
    with h5py.File(target, "a") as file:
        runs = np.repeat(file["audio/runs"][:1], 1000, axis=0)
        del file["audio/runs"]
        file["audio"].create_dataset("runs", data=runs, fletcher32=True)
    with pytest.raises(StoreError, match="rows that its parts do not have"):
        FeatureStore(target, "audio")


@pytest.mark.parametrize("what", ["data as well", "no parts"])
def test_a_group_is_of_one_form(tmp_path: Path, what: str) -> None:
    target = tmp_path / "a.h5"
    merge_stores(parts_of(target, False), target, "audio", apart=True)
    with h5py.File(target, "a") as file:
        if what == "no parts":
            del file["audio/parts"]
        else:
            file["audio"].create_dataset("data", data=np.zeros(3, np.float32), fletcher32=True)
    with pytest.raises(StoreError, match="odd for ours"):
        FeatureStore(target, "audio")
