"""The index proposes, the store decides; an index of other vectors is refused."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import FeatureStore, write_store
from mmgenre.errors import MmgenreError, StoreError
from mmgenre.fusion.approximate import IndexedViews, index_folder, write_index
from mmgenre.fusion.nearest import Gallery, Views

NAMES, WIDTH, N = ("audio", "audio.b"), 16, 400


def write(path: Path, *, seed: int = 0, shuffled: bool = False, version: int = 1) -> None:
    """Two views; the second lacks some items where it is shuffled, and one vector is zero."""
    rng = np.random.default_rng(seed)
    for name in NAMES:
        rows = rng.standard_normal((N, WIDTH)).astype(np.float32)
        rows[7] = 0
        order = rng.permutation(N)[:-50] if shuffled and name == "audio.b" else np.arange(N)
        ids = [f"item {k}" for k in order]
        write_store(path, name, [(ids, rows[order])], Provenance("joint", version, {}))


@pytest.mark.parametrize("shuffled", [False, True])
def test_it_finds_what_the_exact_search_finds(tmp_path: Path, shuffled: bool) -> None:
    pytest.importorskip("usearch")
    path = tmp_path / "a+t.h5"
    write(path, shuffled=shuffled)
    assert write_index(path, NAMES) == index_folder(path) == tmp_path / "a+t.index"
    with ExitStack() as opened:
        stores = [opened.enter_context(FeatureStore(path, name)) for name in NAMES]
        exact = Views([Gallery(store) for store in stores])
        nearly = IndexedViews(index_folder(path), stores)
        hits = total = 0
        for query in np.random.default_rng(5).standard_normal((40, WIDTH)):
            one, other = exact.nearest(query, 5), nearly.nearest(query, 5)
            similarity = {m.id: m.similarity for m in exact.nearest(query, N)}
            expected = [similarity[m.id] for m in other]
            np.testing.assert_allclose([m.similarity for m in other], expected, atol=1e-6)
            hits += len({m.id for m in one} & {m.id for m in other})
            total += len(one)
        assert hits >= 0.95 * total


def test_an_index_of_other_vectors_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("usearch")
    path = tmp_path / "v.h5"
    write(path)
    folder = write_index(path, NAMES)
    for change in ({"seed": 1}, {"version": 2}):  # other rows; another joint space
        write(path, **change)
        with FeatureStore(path, "audio") as store, pytest.raises(StoreError, match="other vectors"):
            IndexedViews(folder, [store])
        write(path)
    with FeatureStore(path, "audio") as store:
        IndexedViews(folder, [store])
        file = folder / "audio.usearch"
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
        with pytest.raises(StoreError, match=r"audio\.usearch: missing or damaged; build it again"):
            IndexedViews(folder, [store])
        (folder / "index.json").write_text("[]")
        with pytest.raises(StoreError, match=r"index\.json: damaged"):
            IndexedViews(folder, [store])


def test_without_an_index_or_usearch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "v.h5"
    write(path)
    with FeatureStore(path, "audio") as store, pytest.raises(StoreError, match="--build-index"):
        IndexedViews(index_folder(path), [store])
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    with pytest.raises(MmgenreError, match=r"pip install 'mmgenre\[search\]'"):
        write_index(path, NAMES)
    assert not index_folder(path).exists()
