"""Tables in Parquet files -> ids and vectors, by pyarrow, which is an optional dependency."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmgenre.errors import StoreError, fault_list

ID_COLUMNS = ("id", "ids", "__index_level_0__")  # the last: an index that pandas has written


def read_parquet(path: Path) -> dict[str, NDArray[Any]]:
    """A column of ids, and one of lists or several of numbers -> arrays `ids` (n,), `x` (n, width).

    Raises:
        StoreError: pyarrow is not installed, the table is damaged or of another form, cells are
            empty, or lists differ in length; rows are listed by their ids.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise StoreError(
            f"{path}: needs pyarrow: pip install 'mmgenre[parquet]'; or write it as .npz"
        ) from None
    try:
        table: Any = parquet.ParquetFile(path).read()
    except FileNotFoundError:
        raise StoreError(f"{path}: no such file") from None
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise StoreError(f"{path}: no readable Parquet file ({error!s:.300})") from None
    columns = dict(zip(table.column_names, table.columns, strict=True))
    if len(columns) < table.num_columns:
        raise StoreError(f"{path}: two columns have one name")
    named = [name for name in ID_COLUMNS if name in columns]
    if not named:
        held = ", ".join(map(str, list(columns)[:10]))
        raise StoreError(f"{path}: no column {' or '.join(ID_COLUMNS[:2])}; has {held}")
    ids = columns.pop(named[0])
    if ids.null_count:
        raise StoreError(f"{path}: {ids.null_count:,} rows have no {named[0]}")
    ids = np.array([str(item_id) for item_id in ids.to_pylist()])
    return {"ids": ids, "x": _vectors(path, ids, columns)}


def _vectors(path: Path, ids: NDArray[Any], columns: dict[str, Any]) -> NDArray[Any]:
    from pyarrow import types

    def is_list(kind: Any) -> bool:
        return any(f(kind) for f in (types.is_list, types.is_large_list, types.is_fixed_size_list))

    lists = [name for name, column in columns.items() if is_list(column.type)]
    if len(lists) > 1 or (lists and len(columns) > 1):
        raise StoreError(
            f"{path}: columns {', '.join(columns)} beside the ids; leave one column of lists, or "
            "columns of numbers only"
        )
    if lists:
        return _of_lists(path, ids, columns[lists[0]])
    odd = []
    for name, column in columns.items():
        if not (types.is_floating(column.type) or types.is_integer(column.type)):
            odd.append(f"column {name!r}: {column.type}, no numbers")
        elif column.null_count:
            empty = ids[column.is_null().to_numpy()][:5].tolist()
            odd.append(f"column {name!r}: {column.null_count:,} empty cells, as of {empty}")
    if odd or not columns:
        raise StoreError(fault_list(str(path), odd or ["no columns of vectors"]))
    return np.stack([column.to_numpy() for column in columns.values()], axis=1)


def _of_lists(path: Path, ids: NDArray[Any], column: Any) -> NDArray[Any]:
    from pyarrow import compute

    lengths = compute.list_value_length(column).fill_null(0).to_numpy()
    values = compute.list_flatten(column)
    known, counts = np.unique(lengths, return_counts=True)
    usual = int(known[counts.argmax()])
    faults = [
        f"id {str(ids[k])!r} has {lengths[k]:,} numbers, and others {usual:,}"
        for k in np.flatnonzero(lengths != usual)
    ]
    if not faults and values.null_count:
        empty = values.is_null().to_numpy().reshape(len(ids), usual)
        faults = [f"id {str(ids[k])!r} has empty cells" for k in np.flatnonzero(empty.any(axis=1))]
    if faults:
        raise StoreError(fault_list(str(path), faults))
    return np.asarray(values.to_numpy()).reshape(len(ids), usual)
