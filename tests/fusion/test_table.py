"""Rows of several stores joined by id."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import FeatureStore, write_store
from mmgenre.fusion.table import FeatureTable, gather

PROVENANCE = Provenance("embeddings", 1, {})


@pytest.fixture
def table(tmp_path: Path) -> FeatureTable:
    """Ids a to d; audio of a, c, d in another order, text of b and c."""
    audio = np.array([[4, 4, 4], [1, 1, 1], [3, 3, 3]], np.float32)
    text = np.array([[30, 30], [20, 20]], np.float32)
    path = tmp_path / "embeddings.h5"
    write_store(path, "audio", [(["d", "a", "c"], audio)], PROVENANCE)
    write_store(path, "text", [(["c", "b"], text)], PROVENANCE)
    with FeatureStore(path, "audio") as one, FeatureStore(path, "text") as two:
        return gather({"audio": one, "text": two}, ["a", "b", "c", "d"])


def test_rows_are_joined_by_id(table: FeatureTable) -> None:
    assert len(table) == 4
    assert table.ids == ("a", "b", "c", "d")
    assert table.widths == {"audio": 3, "text": 2}
    assert table.x["audio"][:, 0].tolist() == [1, 0, 3, 4]
    assert table.x["text"][:, 0].tolist() == [0, 20, 30, 0]
    assert table.present["audio"].tolist() == [True, False, True, True]
    assert table.present["text"].tolist() == [False, True, True, False]
    assert table.x["audio"].dtype == np.float32


def test_a_vector_of_zeros_is_absent(tmp_path: Path) -> None:
    rows = np.array([[0, 0], [0, 1e-30]], np.float32)
    write_store(tmp_path / "given.h5", "clap", [(["a", "b"], rows)], PROVENANCE)
    with FeatureStore(tmp_path / "given.h5", "clap") as store:
        table = gather({"clap": store}, ["a", "b", "c"])
    assert table.present["clap"].tolist() == [False, True, False]
    np.testing.assert_allclose(table.unit().x["clap"], [[0, 0], [0, 1], [0, 0]])


@pytest.mark.parametrize("mask", [True, False])
def test_items_are_selected_in_all_inputs(table: FeatureTable, mask: bool) -> None:
    rows = np.array([False, True, True, False]) if mask else np.array([1, 2])
    some = table.select(rows)
    assert some.ids == ("b", "c")
    assert some.x["audio"][:, 0].tolist() == [0, 3]
    assert some.x["text"][:, 0].tolist() == [20, 30]
    assert some.present["audio"].tolist() == [False, True]
    assert table.select(np.array([3, 0])).x["audio"][:, 0].tolist() == [4, 1]


def test_inputs_are_selected_in_the_given_order(table: FeatureTable) -> None:
    only = table.only(["text"])
    assert list(only.x) == list(only.present) == ["text"]
    assert list(table.only(["text", "audio"]).widths) == ["text", "audio"]
    assert only.ids == table.ids
    with pytest.raises(KeyError, match="image"):
        table.only(["image"])


def test_unit_vectors_have_the_length_that_torch_gives_them(table: FeatureTable) -> None:
    table.x["audio"][0] /= 1000  # shorter than 1, too
    unit = table.unit()
    for name, x in table.x.items():
        expected = torch.nn.functional.normalize(torch.from_numpy(x), dim=1).numpy()
        np.testing.assert_allclose(unit.x[name], expected, rtol=1e-6)
        assert unit.x[name].dtype == np.float32
    assert unit.ids == table.ids
    assert not unit.x["text"][0].any()  # nothing there, and nothing divided by 0
    assert table.x["audio"][2, 0] == 3  # the table itself stays


def test_an_input_that_nobody_has_is_absent(tmp_path: Path) -> None:
    rows = np.ones((1, 2), np.float32)
    path = write_store(tmp_path / "e.h5", "audio", [(["other"], rows)], PROVENANCE)
    with FeatureStore(path, "audio") as store:
        table = gather({"audio": store}, ["a", "b"])
    assert not table.present["audio"].any()
    assert table.x["audio"].tolist() == [[0, 0], [0, 0]]


def test_what_is_hidden_of_one_input_does_not_depend_on_the_others() -> None:
    n = 200
    ids = tuple(str(k) for k in range(n))
    names = ("audio", "text", "joint.text")
    x = {name: np.ones((n, 2), np.float32) for name in names}
    here = np.arange(n) % 5 > 0
    table = FeatureTable(ids, x, dict.fromkeys(names, here))
    hidden = table.hide(0.5, seed=3)
    assert np.array_equal(hidden.present["text"], hidden.present["joint.text"])
    assert not np.array_equal(hidden.present["text"], hidden.present["audio"])
    alone = table.only(["text"]).hide(0.5, seed=3)
    assert np.array_equal(alone.present["text"], hidden.present["text"])
    assert (hidden.x["text"][~hidden.present["text"]] == 0).all()
    less = table.hide(0.2, seed=3).present["text"]
    assert (hidden.present["text"] <= less).all()
    assert 0.4 < 1 - hidden.present["text"].sum() / here.sum() < 0.6
    assert np.array_equal(table.hide(0.0, seed=3).present["text"], here)
