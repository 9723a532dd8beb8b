from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import (
    FeatureStore,
    content_hash,
    group_names,
    layout,
    merge_stores,
    write_store,
)
from mmgenre.errors import Refusal, StoreError

PROVENANCE = Provenance("stage", 1, {"width": 3, "names": ["a", "é"], "share": 0.1}, {"x": "ab"})
IDS = [f"é{k}" for k in range(30)]
CUTS = [(0, 7), (7, 7), (7, 8), (8, 30)]


def clips(dtype: str = "float16", width: int = 3) -> list[NDArray[Any]]:
    rng = np.random.default_rng(0)
    lengths = [0, 500, *rng.integers(0, 90, 28)]
    return [(rng.random((n, width)) * 99).astype(dtype) for n in lengths]


def part(path: Path, low: int = 0, high: int = 30, **options: Any) -> Path:
    """Rows low to high, ragged unless told otherwise."""
    rows = options.pop("rows", clips()[low:high])
    provenance = options.pop("provenance", PROVENANCE)
    options = {"ragged": True, **options}
    return write_store(path, "r", [(IDS[low:high], rows)], provenance, **options)


@pytest.mark.parametrize("block_bytes", [1, 600, 1 << 24])
@pytest.mark.parametrize("ragged", [True, False])
def test_a_merged_store_is_one_uninterrupted_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int, ragged: bool
) -> None:
    monkeypatch.setattr(layout, "BLOCK_BYTES", block_bytes)
    rows: Any = clips() if ragged else np.random.default_rng(0).random((30, 4, 2), np.float32)
    refused = [Refusal(f"x{k}", "audio", "silent", "") for k in range(4)]
    parts = [
        part(tmp_path / f"{k}", *cut, rows=rows[slice(*cut)], ragged=ragged, refused=[refused[k]])
        for k, cut in enumerate(CUTS)
    ]
    target = tmp_path / "merged.h5"
    write_store(target, "other", [(IDS, np.ones((30, 2), np.float32))], PROVENANCE)
    assert merge_stores(parts, target, "r") == target
    assert group_names(target) == ("other", "r")
    whole = part(tmp_path / "whole", rows=rows, ragged=ragged)
    write_store(whole, "other", [(IDS, np.ones((30, 2), np.float32))], PROVENANCE)
    assert content_hash(target) == content_hash(whole)
    with FeatureStore(target, "r") as store:
        assert store.provenance == PROVENANCE.as_dict()
        assert store.refused == tuple(refused)
        assert store.ids == tuple(IDS)
    assert all(path.is_file() for path in parts)


def test_no_parts(tmp_path: Path) -> None:
    target = tmp_path / "merged.h5"
    with pytest.raises(StoreError, match=r"merged\.h5: nothing to merge: no parts, and no prov"):
        merge_stores([], target, "r")
    merge_stores([], target, "r", provenance=PROVENANCE, ragged=True)
    with FeatureStore(target, "r") as store:
        assert (len(store), store.ragged, store.fingerprint) == (0, True, PROVENANCE.fingerprint)


def test_parts_of_other_settings_than_those_asked_for(tmp_path: Path) -> None:
    path = part(tmp_path / "p")
    other = Provenance("stage", 2, {})
    with pytest.raises(StoreError, match=f"{PROVENANCE.fingerprint}, expected {other.fingerprint}"):
        merge_stores([path], tmp_path / "merged.h5", "r", provenance=other)
    merge_stores([path], tmp_path / "merged.h5", "r", provenance=PROVENANCE)


def test_rows_other_than_those_asked_for(tmp_path: Path) -> None:
    refused = [Refusal("x", "audio", "silent", "")]
    path = write_store(tmp_path / "p", "r", [(IDS[:3], clips()[:3])], PROVENANCE, refused=refused,
                       ragged=True)  # fmt: skip
    target, there = tmp_path / "merged.h5", {*IDS[:3], "x"}
    for asked_for in (there | {"y"}, there - {"x"}, there - {IDS[0]}, set()):
        with pytest.raises(StoreError, match=r"rows of the \d asked for \(first: '(y|x|é0)'\)"):
            merge_stores([path], target, "r", asked_for=asked_for)
        assert not target.exists()
    merge_stores([path], target, "r", asked_for=there)
    with FeatureStore(target, "r") as store:
        assert store.ids == tuple(IDS[:3])


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "settings": ({"provenance": Provenance("s", 2, {})}, r"two: /r has fingerprint .*one has"),
    "width": ({"rows": clips(width=4)[9:12]}, r"two: /r has row shape \(None, 4\).*one has"),
    "dtype": ({"rows": clips("float32")[9:12]}, "two: /r has dtype float32, but .*one has float16"),
    "shape": (
        {"rows": np.ones((3, 3), np.float16), "ragged": False},
        "two: /r has rows of one length, but .*one has any length",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_parts_that_do_not_belong_together(tmp_path: Path, kind: str) -> None:
    options, message = BAD[kind]
    target = part(tmp_path / "merged.h5")
    before = target.read_bytes()
    paths = [part(tmp_path / "one", 0, 9), part(tmp_path / "two", 9, 12, **options)]
    with pytest.raises(StoreError, match=message):
        merge_stores(paths, target, "r")
    assert target.read_bytes() == before


def test_an_id_in_two_parts_names_both(tmp_path: Path) -> None:
    paths = [part(tmp_path / n, *cut) for n, cut in (("one", (0, 9)), ("two", (7, 12)))]
    with pytest.raises(
        StoreError, match=r"two: /r holds id 'é7', or .* does or has .*one; leave one"
    ):
        merge_stores(paths, tmp_path / "merged.h5", "r")
    assert not (tmp_path / "merged.h5").exists()


@pytest.mark.parametrize("ids", [["é1"], ["x"]])
def test_an_item_is_not_read_in_one_part_and_refused_in_another(
    tmp_path: Path, ids: list[str]
) -> None:
    """Nor refused twice: it would be counted twice."""
    refused = [Refusal(name, "audio", "silent", "") for name in ids]
    paths = [
        part(tmp_path / "one", 0, 9, refused=[Refusal("x", "audio", "silent", "")]),
        part(tmp_path / "two", 9, 12, refused=refused),
    ]
    with pytest.raises(StoreError, match=rf"two: /r holds id '{ids[0]}', or has refused it"):
        merge_stores(paths, tmp_path / "merged.h5", "r")
    assert not (tmp_path / "merged.h5").exists()


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(clips()[1].tobytes()) + 5] ^= 1
    path.write_bytes(content)


def changed(path: Path) -> None:
    with h5py.File(path, "r+") as file:  # HDF5 renews the chunk's own checksum
        file["r/data"][3, 1] = 7


def renamed(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        meta = file["r/meta"][:].tobytes().replace(b'"share": 0.1', b'"share": 0.2')
        del file["r/meta"]
        file["r/meta"] = np.frombuffer(meta, np.uint8)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (flipped, "p: /r cannot be read"),
        (changed, "p: /r is damaged: its checksum differs"),
        (renamed, "p: /r: its fingerprint is not that of its provenance"),
        (lambda path: path.unlink(), "p: no such file"),
    ],
)
def test_a_damaged_part_is_not_merged(
    tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    path = part(tmp_path / "p")
    damage(path)
    with pytest.raises(StoreError, match=message):
        merge_stores([path], tmp_path / "merged.h5", "r")
    assert not (tmp_path / "merged.h5").exists()


def test_memory_does_not_grow_with_the_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "BLOCK_BYTES", 1 << 20)
    row = np.ones((1000, 100), np.float16)  # 200 kB
    paths = [
        write_store(
            tmp_path / f"{k}",
            "r",
            [([f"{k}-{i}"], [row]) for i in range(40)],
            PROVENANCE,
            ragged=True,
        )
        for k in range(3)
    ]
    tracemalloc.start()
    merge_stores(paths, tmp_path / "merged.h5", "r")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 << 20  # of 24 MB
