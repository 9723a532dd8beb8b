"""Predictions as columns: Parquet, by pyarrow, which is an optional dependency, and HDF5.

Both have the scores of all genres. Memory holds a block of them, whatever the number of items.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmgenre.disk.locks import replacing_alone
from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import group_names, write_store
from mmgenre.errors import MmgenreError, Refusal
from mmgenre.fusion.prediction import Prediction

GROUP = "scores"  # of the HDF5 file
SCORE = "score:"  # before a genre, in the name of its column
METADATA = b"mmgenre"  # key of the provenance in a Parquet file
BLOCK_BYTES = 1 << 24  # of scores in memory; as many rows are a row group of Parquet,
BLOCK_ROWS = 1 << 14  # but no more than so many


def check_parquet(out: Path) -> None:
    """MmgenreError if pyarrow is not installed."""
    try:
        from pyarrow import parquet  # noqa: F401
    except ImportError:
        raise MmgenreError(
            f"{out}: Parquet needs pyarrow: pip install 'mmgenre[parquet]'; or write another format"
        ) from None


def check_hdf5(out: Path) -> None:
    """StoreError if a file is there that is no HDF5 file, and would not be replaced."""
    group_names(out)


def write_parquet(
    out: Path,
    predictions: Iterable[Prediction],
    genres: Sequence[str],
    top: int,
    provenance: Provenance,
) -> None:
    """Writes a table, whole or not at all: a row an item, a row group a block.

    Columns are those of CSV (`texts.shown`), then `score:GENRE` for each of the genres, float32.
    `named` and `used` are lists, and `unsure` is null where CSV has an empty cell. The metadata of
    the schema has the provenance as JSON, at `mmgenre`.
    """
    import pyarrow
    from pyarrow import parquet

    text, number = pyarrow.string(), pyarrow.float32()
    texts = pyarrow.list_(text)
    kinds = {"id": text, "named": texts, "unsure": text, "kind": text, "used": texts}
    width = min(top, len(genres))
    for k in range(1, width + 1):
        kinds |= {f"genre_{k}": text, f"score_{k}": number}
    kinds |= {f"{SCORE}{genre}": number for genre in genres}
    schema = pyarrow.schema(
        list(kinds.items()), metadata={METADATA: json.dumps(provenance.as_dict())}
    )
    of_text = [name for name, kind in kinds.items() if kind is text]
    with (
        replacing_alone(out) as temporary,
        temporary.open("wb") as file,  # Python's own: its errors say which file had no room
        parquet.ParquetWriter(file, schema, use_dictionary=of_text) as writer,
    ):
        for block, scores in _blocks(predictions, genres, width):
            columns: list[Any] = [
                [p.id for p in block],
                [p.named for p in block],
                [p.unsure for p in block],
                [p.kind for p in block],
                [p.used for p in block],
            ]
            for k in range(width):
                columns.append([p.genres[k].name for p in block])
                columns.append(np.array([p.genres[k].score for p in block], np.float32))
            columns += list(np.ascontiguousarray(scores.T))
            arrays = [
                pyarrow.array(column, kind)
                for column, kind in zip(columns, kinds.values(), strict=True)
            ]
            writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))


def write_hdf5(
    out: Path,
    predictions: Iterable[Prediction],
    refused: Sequence[Refusal],
    genres: Sequence[str],
    provenance: Provenance,
) -> None:
    """Writes group `scores` of a store: (n, genres) float32 by id, in the order of the genres.

    Other groups of the file stay. `refused`, which is read after the last prediction, is stored
    with them.
    """
    blocks = (([p.id for p in block], scores) for block, scores in _blocks(predictions, genres, 0))
    write_store(out, GROUP, blocks, provenance, refused=refused)


def _blocks(
    predictions: Iterable[Prediction], genres: Sequence[str], kept: int
) -> Iterator[tuple[list[Prediction], NDArray[np.float32]]]:
    """Predictions, with so many of their genres, and the scores of all, (n, genres)."""
    place = {genre: k for k, genre in enumerate(genres)}
    rest, row_bytes = iter(predictions), 4 * max(1, len(genres))
    n_rows = min(max(1, BLOCK_BYTES // row_bytes), BLOCK_ROWS)
    while True:
        block = list[Prediction]()
        scores = np.empty((n_rows, len(genres)), np.float32)
        for row, p in zip(scores, rest, strict=False):
            row[[place[genre.name] for genre in p.genres]] = [genre.score for genre in p.genres]
            # All genres of a prediction take more memory than their scores.
            block.append(replace(p, genres=p.genres[:kept]))
        if not block:
            return
        yield block, scores[: len(block)]
