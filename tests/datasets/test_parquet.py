"""Vectors made elsewhere in Parquet files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmgenre.datasets.features import read_features
from mmgenre.errors import StoreError

IDS = ["b", "a", "c"]
X = np.arange(12, dtype=np.float64).reshape(3, 4) / 8


@pytest.fixture
def write(tmp_path: Path) -> Any:
    pyarrow = pytest.importorskip("pyarrow", exc_type=ImportError)
    from pyarrow import parquet

    def written(**columns: Any) -> Path:
        path = tmp_path / "clap.parquet"
        parquet.write_table(pyarrow.table(columns), path)
        return path

    return written


def test_without_pyarrow_the_error_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(StoreError, match=r"needs pyarrow: pip install 'mmgenre\[parquet\]'"):
        read_features(tmp_path / "clap.parquet")


def test_columns_of_numbers_and_a_column_of_lists_are_the_same(write: Any) -> None:
    plain = read_features(write(id=IDS, **{f"d{k}": X[:, k] for k in range(4)}))
    assert plain.ids == tuple(IDS)
    np.testing.assert_array_equal(plain.x, X)
    lists = read_features(write(embedding=list(X), ids=IDS))
    assert lists.ids == plain.ids
    np.testing.assert_array_equal(lists.x, X)


def test_whole_numbers_are_ids_and_several_row_groups_are_one_table(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", exc_type=ImportError)
    from pyarrow import parquet

    table = pyarrow.table({"id": list(range(100)), "x": [[float(k), 1.0] for k in range(100)]})
    parquet.write_table(table, tmp_path / "v.parquet", row_group_size=7)
    found = read_features(tmp_path / "v.parquet")
    assert found.ids == tuple(map(str, range(100)))
    assert isinstance(found.x, np.ndarray)
    np.testing.assert_array_equal(found.x[:, 0], np.arange(100))


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        ({"name": IDS, "x": list(X)}, "no column id or ids; has name, x"),
        ({"id": ["a", None, "c"], "x": list(X)}, "1 rows have no id"),
        ({"id": IDS}, "no columns of vectors"),
        ({"id": IDS, "x": list(X), "y": [1, 2, 3]}, "leave one column of lists"),
        ({"id": IDS, "x": [[1.0, 2.0], [1.0], [3.0, 4.0]]}, "id 'a' has 1 numbers, and others 2"),
        ({"id": IDS, "x": [[1.0, 2.0], [1.0, 2.0], None]}, "id 'c' has 0 numbers, and others 2"),
        ({"id": IDS, "x": [[1.0, None], [1.0, 2.0], [3.0, 4.0]]}, "id 'b' has empty cells"),
        ({"id": IDS, "p": [1.0, 2.0, None]}, r"column 'p': 1 empty cells, as of \['c'\]"),
        ({"id": IDS, "p": ["x", "y", "z"]}, "column 'p': string, no numbers"),
    ],
)
def test_tables_of_another_form(write: Any, columns: dict[str, Any], match: str) -> None:
    with pytest.raises(StoreError, match=match):
        read_features(write(**columns))


def test_damage(write: Any, tmp_path: Path) -> None:
    path = write(id=IDS, x=list(X))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(StoreError, match="no readable Parquet file"):
        read_features(path)
    with pytest.raises(StoreError, match="no such file"):
        read_features(tmp_path / "gone.parquet")
