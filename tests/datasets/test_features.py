"""Vectors made elsewhere: joined by id, finite, never unpickled, and averaged over tracks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse

from mmgenre.datasets.features import Features, import_features, read_features
from mmgenre.disk.provenance import Provenance, sha256_file
from mmgenre.disk.store import FeatureStore, group_names, write_store
from mmgenre.errors import StoreError

IDS = ["b", "a", "c"]
X = np.arange(12, dtype=np.float64).reshape(3, 4) / 8


def npy(folder: Path, x: NDArray[Any] = X, ids: list[str] | None = None, end: str = "\n") -> Path:
    path = folder / "clap.npy"
    np.save(path, x)
    (folder / "clap.ids.txt").write_text("\n".join(IDS if ids is None else ids) + end)
    return path


def dense(features: Features) -> NDArray[np.float32]:
    return np.concatenate([rows for _, rows in features.blocks()])


def stored(path: Path, name: str) -> dict[str, list[float]]:
    with FeatureStore(path, name) as store:
        store.verify()
        return {i: store.read(i).tolist() for i in store.ids}


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int16, np.uint8, bool])
def test_any_number_becomes_float32_and_half_precision_stays(tmp_path: Path, dtype: Any) -> None:
    x = X.astype(dtype)
    store = import_features({"clap": npy(tmp_path, x)}, tmp_path / "features.h5")
    with FeatureStore(store, "clap") as group:
        assert group.dtype == (np.float16 if dtype is np.float16 else np.float32)
        np.testing.assert_array_equal(group.take(IDS), x.astype(np.float32))


@pytest.mark.parametrize("name", ["clap.ids.txt", "clap.ids.tsv", "clap_ids.txt"])
def test_ids_beside_the_array(tmp_path: Path, name: str) -> None:
    path = npy(tmp_path, end="")
    (tmp_path / "clap.ids.txt").rename(tmp_path / name)
    assert read_features(path).ids == ("b", "a", "c")


def test_ids_named_explicitly_and_of_a_table_the_first_cell(tmp_path: Path) -> None:
    path = npy(tmp_path)
    other = tmp_path / "names.tsv"
    other.write_text("x\tfirst\ny\tsecond\nz\tthird\n")
    assert read_features(path, other).ids == ("x", "y", "z")


@pytest.mark.parametrize("vectors", ["x", "features", "embeddings"])
def test_archive_with_ids(tmp_path: Path, vectors: str) -> None:
    arrays: dict[str, Any] = {"ids": np.array(IDS), vectors: X, "model": np.array("clap-2")}
    np.savez(tmp_path / "a.npz", **arrays)
    read = read_features(tmp_path / "a.npz")
    assert read.ids == tuple(IDS)
    np.testing.assert_array_equal(dense(read), X)


@pytest.mark.parametrize("ids", [np.array(IDS), np.array([b"b", b"a", b"c"]), np.array([7, 8, 9])])
def test_archive_of_exactly_two_arrays(tmp_path: Path, ids: NDArray[Any]) -> None:
    np.savez(tmp_path / "a.npz", tracks=ids, vectors=X)
    wanted = tuple(i.decode() if isinstance(i, bytes) else str(i) for i in ids.tolist())
    assert read_features(tmp_path / "a.npz").ids == wanted


@pytest.mark.parametrize("scipys", [True, False])
def test_sparse_rows(tmp_path: Path, scipys: bool) -> None:
    x = sparse.csr_array(np.eye(3, 5))
    if scipys:
        sparse.save_npz(tmp_path / "v.npz", x)
    else:  # as the authors' code writes it
        parts: dict[str, Any] = {"data": x.data, "indices": x.indices, "indptr": x.indptr}
        np.savez(tmp_path / "v.npz", shape=np.array(x.shape), **parts)
    (tmp_path / "v.ids.txt").write_text("a\nb\nc\n")
    store = import_features({"vsm": tmp_path / "v.npz"}, tmp_path / "f.h5")
    assert stored(store, "vsm")["b"] == [0, 1, 0, 0, 0]


def test_rows_of_tracks_become_the_mean_of_the_item(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ids = [f"{item}#{k}" for k in range(3) for item in "pq"] + ["r#0"]
    x = rng.normal(size=(7, 3))
    store = import_features({"mert": npy(tmp_path, x, ids)}, tmp_path / "f.h5")
    means = stored(store, "mert")
    assert sorted(means) == ["p", "q", "r"]
    for item in means:  # slow and plain
        rows = [x[k] for k, row_id in enumerate(ids) if row_id.startswith(item)]
        np.testing.assert_allclose(means[item], sum(rows) / len(rows), rtol=1e-6)


def test_many_rows_pass_in_blocks(tmp_path: Path) -> None:
    x = np.arange(5000, dtype=np.float32).reshape(2500, 2)
    ids = [f"i{k}" for k in range(2500)]
    assert len(list(read_features(npy(tmp_path, x, ids)).blocks())) == 3
    store = import_features({"clap": tmp_path / "clap.npy"}, tmp_path / "f.h5")
    assert stored(store, "clap")["i2499"] == [4998, 4999]


def test_feature_store_passes_its_groups_on(tmp_path: Path) -> None:
    source = tmp_path / "embeddings.h5"
    for name in ("audio", "text"):
        block = (IDS, X.astype(np.float32))
        write_store(source, name, [block], Provenance("test", 1, {}))
        target = import_features({"old": source}, tmp_path / f"{name}.h5")
    assert group_names(tmp_path / "audio.h5") == ("old",)  # it held one group then
    assert group_names(target) == ("old-audio", "old-text")
    assert stored(target, "old-text")["a"] == X[1].tolist()
    unnamed = import_features({"": source}, tmp_path / "own.h5")
    assert group_names(unnamed) == ("audio", "text")
    with pytest.raises(StoreError, match=r"group 'a\.b' cannot name an input"):
        import_features({"a.b": tmp_path / "audio.h5"}, tmp_path / "bad.h5")


def test_provenance_names_the_files_by_their_hash(tmp_path: Path) -> None:
    path = npy(tmp_path)
    with FeatureStore(import_features({"clap": path}, tmp_path / "f.h5"), "clap") as store:
        assert store.provenance["stage"] == "features"
        assert store.provenance["parameters"] == {"sources": {"clap.npy": sha256_file(path)}}
        before = store.fingerprint
    np.save(path, X + 1)
    with FeatureStore(import_features({"clap": path}, tmp_path / "f.h5"), "clap") as store:
        assert store.fingerprint != before


def test_other_groups_of_the_target_stay(tmp_path: Path) -> None:
    path, target = npy(tmp_path), tmp_path / "f.h5"
    import_features({"one": path}, target)
    import_features({"two": path}, target)
    assert group_names(target) == ("one", "two")


@pytest.mark.parametrize(
    ("x", "ids", "match"),
    [
        (X, ["a", "b"], "3 rows for 2 ids"),
        (X, ["a", "b", "a"], "row 2: id 'a' is already in row 0"),
        (X, ["a", "", "c"], "row 1: '' is no id"),
        (X, ["a", "b#", "c"], None),
        (X, ["a", "#1", "c"], "row 1: '#1' is no id"),
        (X[0], IDS, r"shape \(4,\); expected \(n, width\)"),
        (X[:, None], IDS, "pool it to one vector per id"),
        (X[:, :0], IDS, "is empty"),
        (X.astype(str), IDS, "expected numbers"),
        (X.astype(complex), IDS, "expected numbers"),
    ],
)
def test_arrays_that_do_not_fit(
    tmp_path: Path, x: NDArray[Any], ids: list[str], match: str | None
) -> None:
    path = npy(tmp_path, x, ids)
    with pytest.raises(StoreError, match=match or "is no id") as caught:
        read_features(path)
    assert "clap.npy" in str(caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_all_rows_that_are_not_finite_are_named(tmp_path: Path, value: float) -> None:
    x = np.zeros((3000, 2))
    x[500, 1] = x[[1700, 2999], 0] = value
    path = npy(tmp_path, x, [f"i{k}" for k in range(3000)])
    with pytest.raises(StoreError, match=r"clap.npy: 3 fault\(s\)") as caught:
        import_features({"clap": path}, tmp_path / "f.h5")
    assert [f"'{i}' has NaN" in str(caught.value) for i in ("i500", "i1700", "i2999", "i0")] == [
        True, True, True, False,
    ]  # fmt: skip
    assert not (tmp_path / "f.h5").exists()


def test_of_many_faulty_ids_fifty_are_shown_and_the_rest_counted(tmp_path: Path) -> None:
    path = npy(tmp_path, np.full((70, 2), np.nan), [f"i{k}" for k in range(70)])
    with pytest.raises(StoreError, match=r"70 fault\(s\)(?s:.*)'i49' has(?s:.*)and 20 more"):
        import_features({"clap": path}, tmp_path / "f.h5")
    path = npy(tmp_path, np.zeros((70, 2)), ["same"] * 70)
    with pytest.raises(StoreError, match=r"69 fault\(s\)(?s:.*)id 'same' is already in row 0"):
        read_features(path)


def test_item_with_a_row_of_its_own_and_rows_of_tracks(tmp_path: Path) -> None:
    path = npy(tmp_path, ids=["a", "a#0", "c"])
    with pytest.raises(StoreError, match="a row of their own and rows of tracks"):
        import_features({"clap": path}, tmp_path / "f.h5")


def test_unclear_archive_says_what_it_holds(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", p=X, q=X, r=X)
    with pytest.raises(StoreError, match=r"exactly two arrays.*got p \(3, 4\), q"):
        read_features(tmp_path / "a.npz")


def test_ids_missing_or_ambiguous(tmp_path: Path) -> None:
    path = npy(tmp_path)
    (tmp_path / "clap_ids.txt").write_text("a\n")
    with pytest.raises(StoreError, match="several files of ids"):
        read_features(path)
    for name in ("clap_ids.txt", "clap.ids.txt"):
        (tmp_path / name).unlink()
    with pytest.raises(StoreError, match=r"no ids; expected clap.ids.txt or clap.ids.tsv or"):
        read_features(path)
    with pytest.raises(StoreError, match=r"nowhere\.txt"):
        read_features(path, tmp_path / "nowhere.txt")


def test_every_faulty_source_is_listed_and_nothing_written(tmp_path: Path) -> None:
    sources = {
        "good": npy(tmp_path),
        "gone": tmp_path / "gone.npz",
        "odd": tmp_path / "odd.csv",
        "store": tmp_path / "gone.h5",
    }
    with pytest.raises(StoreError, match=r"4 fault\(s\)") as caught:
        import_features(sources, tmp_path / "f.h5", ids={"other": tmp_path / "x"})
    for word in ("gone.npz", "odd.csv", "gone.h5", "'other', which is no source"):
        assert word in str(caught.value)
    assert not (tmp_path / "f.h5").exists()
