"""The authors' arrays: labels, splits and embeddings that agree with each other, or every fault."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import Call
from numpy.typing import NDArray
from published_layouts import by_id, faults, noted
from scipy import sparse

from mmgenre.datasets.build import build_manifest
from mmgenre.datasets.tartarus import read_tartarus
from mmgenre.disk.store import FeatureStore, group_names
from mmgenre.errors import ManifestError, StoreError
from mmgenre.items.item import Split
from mmgenre.items.manifest import Manifest

GENRES = ["Cumbia", "Merengue", "Reggaeton"]
IDS: dict[Split, list[str]] = {"train": ["S1", "S2", "S3"], "val": ["S4"], "test": ["S5", "S6"]}
LABELS = {
    "S1": ("Reggaeton",),
    "S2": ("Cumbia", "Merengue"),
    "S3": ("Merengue",),
    "S4": ("Cumbia",),
    "S5": ("Merengue",),
    "S6": ("Reggaeton",),
}


def classes(ids: list[str]) -> NDArray[np.int64]:
    return np.array([[int(genre in LABELS[i]) for genre in GENRES] for i in ids])


def vector(item_id: str, width: int) -> NDArray[np.floating[Any]]:
    return np.arange(width) + 100.0 * int(item_id[1:])


def make_arrays(folder: Path, dataset: str = "SUPER") -> Path:
    splits, train_data = folder / "splits", folder / "train_data"
    for place in (splits, train_data):
        place.mkdir(parents=True, exist_ok=True)
    (splits / f"genre_labels_{dataset}.tsv").write_text("\n".join(GENRES) + "\n")
    for split, ids in IDS.items():
        (splits / f"items_index_{split}_{dataset}.tsv").write_text("\n".join(ids))
        np.save(splits / f"y_{split}_class_3_{dataset}.npy", classes(ids))
        audio = np.array([vector(i, 4) for i in ids])
        np.save(train_data / f"X_{split}_model_1-pred_9_{dataset}.npy", audio)
        text = sparse.csr_array(np.array([vector(i, 6) for i in ids]))
        np.savez(
            train_data / f"X_{split}_VSM_{dataset}.npz",
            data=text.data,
            indices=text.indices,
            indptr=text.indptr,
            shape=np.array(text.shape),
        )
    return folder


def test_labels_and_splits(tmp_path: Path) -> None:
    published = read_tartarus(make_arrays(tmp_path))
    assert {item.id: item.labels for item in published.items} == LABELS
    assert {item.id: item.split for item in published.items} == {
        i: split for split, ids in IDS.items() for i in ids
    }
    assert published.notes == ("no artists or albums: no check can tell whether splits share them",)


def test_embeddings_lie_beside_the_manifest_by_id(tmp_path: Path) -> None:
    out = tmp_path / "built" / "manifest.csv"
    built = build_manifest("tartarus", make_arrays(tmp_path / "arrays"), out)
    assert built.store == tmp_path / "built" / "features.h5"
    assert group_names(built.store) == ("VSM", "model_1-pred_9")
    manifest = Manifest.read(out)
    assert manifest.ids("val") == ("S4",)
    for name, width in (("VSM", 6), ("model_1-pred_9", 4)):
        with FeatureStore(built.store, name) as store:
            wanted = np.array([vector(i, width) for i in manifest.ids()])
            np.testing.assert_array_equal(store.take(manifest.ids()), wanted)
            assert store.dtype == np.float32
            assert len(store.provenance["parameters"]["sources"]) == 3
    assert built.features == {"VSM": 6, "model_1-pred_9": 6}
    assert f"{built.store}: 6 VSM, 6 model_1-pred_9" in built.summary()


@pytest.mark.slow
def test_published_embeddings_go_straight_into_fusion(tmp_path: Path, call: Call) -> None:
    out = tmp_path / "manifest.csv"
    built = build_manifest("tartarus", make_arrays(tmp_path / "arrays"), out)
    words = ("--manifest", out, "--features", built.store, "--seeds", 1, "--json")
    done = call("fuse", "--run", tmp_path / "run", *words)
    assert done.code == 0, done.err
    assert [row["name"] for row in done.json["rows"]] == [
        *("VSM", "model_1-pred_9", "VSM+model_1-pred_9 concatenated", "VSM+model_1-pred_9"),
    ]
    assert done.json["labels"] == sorted(GENRES)


def test_one_of_several_datasets(tmp_path: Path) -> None:
    for dataset in ("MSD-I", "MuMu-albums", "other_MSD-I"):
        make_arrays(tmp_path, dataset)
    assert faults(read_tartarus, tmp_path) == (
        "arrays of several datasets: MSD-I, MuMu-albums, other_MSD-I; choose one with --dataset",
    )
    published = read_tartarus(tmp_path, "MSD-I")
    assert sorted(published.features) == ["VSM", "model_1-pred_9"]
    with pytest.raises(
        ManifestError, match="no dataset 'MSD'; datasets here are MSD-I, MuMu-albums"
    ):
        read_tartarus(tmp_path, "MSD")


def test_embeddings_with_an_index_of_their_own(tmp_path: Path) -> None:
    train_data = make_arrays(tmp_path) / "train_data"
    np.save(train_data / "X_train_model_1-pred_9_SUPER.npy", np.ones((2, 4)))
    own = train_data / "items_index_train_model_1-pred_9_SUPER.tsv"
    own.write_text("S3\nS1")
    published = read_tartarus(tmp_path)
    (train, *_) = [p for p in published.features["model_1-pred_9"] if "train" in p.source.name]
    assert train.ids == ("S3", "S1")
    assert noted(published, "embeddings") == "embeddings 'model_1-pred_9': 5 of 6 items have a row"
    own.write_text("S3\nS5")
    assert "1 ids are not in train, first 'S5'" in faults(read_tartarus, tmp_path)[0]


def test_what_is_left_out_is_named(tmp_path: Path) -> None:
    splits = make_arrays(tmp_path) / "splits"
    (splits / "genre_labels_SUPER.tsv").unlink()
    np.save(splits / "y_train_pmi_2_SUPER.npy", np.ones((3, 2)))
    np.save(splits / "class_factors_pmi_2_SUPER.npy", np.ones((3, 2)))
    (tmp_path / "patches").mkdir()
    (tmp_path / "patches" / "patches_train_SUPER_1x15.hdf5").touch()
    published = read_tartarus(tmp_path)
    assert "left out: y_train_pmi_2_SUPER.npy (label factors" in noted(published, "y_train_pmi")
    assert "class_factors_pmi_2_SUPER.npy" in noted(published, "class_factors")
    assert "patches_train_SUPER_1x15.hdf5" in noted(published, "patches")
    assert "'class 000' to 'class 002'" in noted(published, "no file genre_labels")
    assert by_id(published)["S2"].labels == ("class 000", "class 001")


def test_items_without_a_genre_are_counted(tmp_path: Path) -> None:
    np.save(make_arrays(tmp_path) / "splits" / "y_val_class_3_SUPER.npy", np.zeros((1, 3)))
    assert "1 items have no genre (first: 'S4')" in read_tartarus(tmp_path).notes


def test_nothing_there_says_where_to_get_it(tmp_path: Path) -> None:
    (fault,) = faults(read_tartarus, tmp_path)
    assert "https://zenodo.org/record/831189" in fault
    assert "https://zenodo.org/record/1240485" in fault


def test_every_fault_is_listed(tmp_path: Path) -> None:
    folder = make_arrays(tmp_path)
    splits, train_data = folder / "splits", folder / "train_data"
    (splits / "items_index_val_SUPER.tsv").write_text("S4\nS1\nS4")
    (splits / "items_index_test_SUPER.tsv").write_text("S5\nS6\nS1")
    (splits / "items_index_dev_SUPER.tsv").write_text("S9")
    (splits / "genre_labels_SUPER.tsv").write_text("Cumbia\nMerengue\n")
    np.save(splits / "y_train_class_3_SUPER.npy", 2 * classes(IDS["train"]))
    np.save(train_data / "X_train_VSM2_SUPER.npy", np.ones((5, 4)))
    np.save(train_data / "X_train_SUPER.npy", np.ones((3, 4)))
    found = "\n".join(faults(read_tartarus, folder))
    for words in (
        "items_index_dev_SUPER.tsv: unknown set 'dev'; sets are train, val, test",
        "items_index_val_SUPER.tsv: line 3: id 'S4' is already in line 1",
        "items_index_test_SUPER.tsv: 'S1' is also in train",
        "genre_labels_SUPER.tsv: 2 lines, 2 distinct names; expected 3",
        "y_train_class_3_SUPER.npy: row 0 has values other than 0 and 1",
        "y_test_class_3_SUPER.npy: shape (2, 3), but the index has 3 ids and 3 genres",
        "5 rows for 3 ids",
        "X_train_SUPER.npy: embeddings without a name",
    ):
        assert words in found


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("items_index_val_SUPER.tsv", "no file 'items_index_val_SUPER.tsv', the ids of val"),
        ("y_test_class_3_SUPER.npy", "no file 'y_test_class_3_SUPER.npy', labels of test"),
    ],
)
def test_missing_files(tmp_path: Path, name: str, words: str) -> None:
    (make_arrays(tmp_path) / "splits" / name).unlink()
    assert words in faults(read_tartarus, tmp_path)


@pytest.mark.parametrize(
    ("name", "array", "words"),
    [
        ("X_val_VSM_SUPER.npy", np.ones((1, 6)), "X_val_VSM_SUPER.npy exists as well; keep one"),
        ("X_val_model_1-pred_9_SUPER.npy", np.ones((1, 5)), "of several widths"),
        ("X_val_model_1-pred_9_SUPER.npy", np.array([[None] * 4]), "without unpickling"),
        ("X_val_w2v_SUPER.npy", np.ones((1, 5, 300)), "pool it to one vector per id"),
    ],
)
def test_embeddings_that_do_not_fit(
    tmp_path: Path, name: str, array: NDArray[Any], words: str
) -> None:
    np.save(make_arrays(tmp_path) / "train_data" / name, array)
    assert any(words in fault for fault in faults(read_tartarus, tmp_path))


def test_embeddings_that_are_not_finite(tmp_path: Path) -> None:
    x = np.array([vector(i, 4) for i in IDS["test"]])
    x[1, 2] = np.nan
    np.save(make_arrays(tmp_path) / "train_data" / "X_test_model_1-pred_9_SUPER.npy", x)
    fault = r"X_test_model_1-pred_9_SUPER.npy: 1 fault\(s\)\n  id 'S6'"
    with pytest.raises(StoreError, match=fault):
        build_manifest("tartarus", tmp_path, tmp_path / "m.csv")
    assert not (tmp_path / "m.csv").exists()


def test_a_store_of_something_else_is_not_added_to(tmp_path: Path) -> None:
    out = tmp_path / "m.csv"
    build_manifest("tartarus", make_arrays(tmp_path / "a"), out)
    build_manifest("tartarus", tmp_path / "a", out)  # the same again
    for path in (tmp_path / "a" / "train_data").glob("X_*_VSM_*"):
        path.unlink()
    with pytest.raises(ManifestError, match="has groups of another dataset: VSM"):
        build_manifest("tartarus", tmp_path / "a", out)
