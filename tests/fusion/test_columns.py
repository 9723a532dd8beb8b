"""Predictions as Parquet and HDF5: what CSV says, whole or not at all, in memory of one size."""

from __future__ import annotations

import builtins
import csv
import io
import json
import os
import signal
import tracemalloc
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import parquet

from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import FeatureStore, store_info
from mmgenre.errors import MmgenreError, Refusal, StoreError
from mmgenre.fusion import columns
from mmgenre.fusion.naming import Output
from mmgenre.fusion.prediction import Genre, Prediction
from mmgenre.fusion.texts import shown

GENRES = ("Rock", "Jazz", "Röck & 1", "id")
MADE = Provenance("named", 1, {"genres": list(GENRES)}, {"model": "0" * 64})


def predictions(n: int, genres: Iterable[str] = GENRES) -> Iterator[Prediction]:
    own, rng = tuple(genres), np.random.default_rng(0)
    for k in range(n):
        scores = rng.random(len(own))
        ranked = tuple(Genre(own[j], float(scores[j])) for j in np.argsort(-scores))
        named = tuple(genre.name for genre in ranked[: k % 3])
        used = ("audio", "text")[: 1 + k % 2]
        unsure = None if named else "unlike others"
        yield Prediction(f"{k:05d}", "probability", ranked, named, used, unsure=unsure)


def rows_of_csv(found: Iterable[Prediction], top: int) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO("".join(shown(found, [], "csv", top)))))


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "BLOCK_ROWS", 3)


@pytest.mark.parametrize("top", [1, 3, 9])
def test_parquet_has_the_columns_of_csv_and_all_scores(tmp_path: Path, top: int) -> None:
    out = tmp_path / "out.parquet"
    assert Output("parquet", top, out).write(predictions(7), [], GENRES, MADE) == 7
    file = parquet.ParquetFile(out)
    table, expected = file.read(), rows_of_csv(predictions(7), top)
    assert file.num_row_groups == 3
    assert table.column_names == [*expected[0], *(f"score:{genre}" for genre in GENRES)]
    for row, told, prediction in zip(table.to_pylist(), expected, predictions(7), strict=True):
        for name, cell in told.items():
            if name.startswith("score_"):
                assert row[name] == pytest.approx(float(cell), abs=1e-6)
            elif name in ("named", "used"):
                assert ";".join(row[name]) == cell
            else:
                assert (row[name] or "") == cell
        assert {g.name: pytest.approx(g.score) for g in prediction.genres} == {
            genre: row[f"score:{genre}"] for genre in GENRES
        }
    assert json.loads(file.schema_arrow.metadata[b"mmgenre"])["fingerprint"] == MADE.fingerprint


def test_hdf5_has_all_scores_by_id_and_the_refused(tmp_path: Path) -> None:
    out, refused = tmp_path / "out.h5", list[Refusal]()

    def found() -> Iterator[Prediction]:
        yield from predictions(7)
        refused.append(Refusal("x", "text", "empty", "x: no word"))  # known at the end only

    assert Output("hdf5", 5, out).write(found(), refused, GENRES, MADE) == 7
    with FeatureStore(out, "scores") as store:
        assert store.dtype == np.float32
        assert store.provenance["parameters"]["genres"] == list(GENRES)
        assert [r.id for r in store.refused] == ["x"]
        store.verify()
        for prediction in predictions(7):
            of = {genre.name: genre.score for genre in prediction.genres}
            assert np.array_equal(
                store.read(prediction.id), np.array([of[g] for g in GENRES], np.float32)
            )


@pytest.mark.parametrize("form", ["parquet", "hdf5"])
def test_no_items_at_all(tmp_path: Path, form: Any) -> None:
    out = tmp_path / "out"
    assert Output(form, 2, out).write([], [], GENRES, MADE) == 0
    if form == "parquet":
        table = parquet.read_table(out)
        assert (table.num_rows, table.num_columns) == (0, 5 + 2 * 2 + 4)
    else:
        assert store_info(out)[0].rows == 0


@pytest.mark.parametrize("form", ["parquet", "hdf5", "csv"])
def test_killed_halfway_it_leaves_no_file_and_the_next_one_none_beside_it(
    tmp_path: Path, form: Any
) -> None:
    out = tmp_path / "out"

    def dying() -> Iterator[Prediction]:
        yield from predictions(7)
        os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        Output(form, 5, out).write(dying(), [], GENRES, MADE)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert not out.exists()
    assert [path.suffix for path in tmp_path.iterdir() if path.suffix != ".lock"] == [".tmp"]
    Output(form, 5, out).write(predictions(7), [], GENRES, MADE)
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("form", ["parquet", "hdf5"])
def test_an_error_on_the_way_leaves_the_earlier_file(tmp_path: Path, form: Any) -> None:
    out = tmp_path / "out"
    Output(form, 5, out).write(predictions(2), [], GENRES, MADE)
    before = out.read_bytes()

    def failing() -> Iterator[Prediction]:
        yield from predictions(7)
        raise MmgenreError("a part is gone")

    with pytest.raises(MmgenreError, match="a part is gone"):
        Output(form, 5, out).write(failing(), [], GENRES, MADE)
    assert (out.read_bytes(), list(tmp_path.iterdir())) == (before, [out])


@pytest.mark.parametrize("form", ["parquet", "hdf5"])
def test_memory_does_not_grow_with_the_items(
    tmp_path: Path, form: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columns, "BLOCK_ROWS", 64)
    genres = [f"genre {k}" for k in range(200)]
    peaks = []
    for n in (64, 256, 1024):  # the first warms up; all genres of 1024 items take 60 MB
        tracemalloc.start()
        Output(form, 5, tmp_path / "out").write(predictions(n, genres), [], genres, MADE)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < peaks[1] + 500_000  # ids, and what describes row groups


@pytest.mark.parametrize(
    ("form", "out", "why"),
    [
        ("parquet", None, "format parquet is written to a file: give --out FILE"),
        ("hdf5", None, "format hdf5 is written to a file"),
        ("csv", "a.parquet", "a.parquet: its suffix is that of parquet, and the format is csv"),
        ("table", "a.H5", "give --format hdf5, or a file with another suffix"),
        ("hdf5", "a.parquet", "give --format parquet"),
        ("parquet", "a.hdf5", "give --format hdf5"),
    ],
)
def test_a_format_without_a_file_or_with_another_suffix(
    form: Any, out: str | None, why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        Output(form, 5, None if out is None else Path(out))
    Output("hdf5", 5, Path("scores"))  # a name without a suffix is any format's


def test_without_pyarrow_it_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    load = builtins.__import__

    def without(name: str, *args: Any, **how: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return load(name, *args, **how)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MmgenreError, match=r"pip install 'mmgenre\[parquet\]'"):
        Output("parquet", 5, Path("a.parquet")).check()
    Output("csv", 5, Path("a.csv")).check()


def test_a_file_of_something_else_is_not_replaced_by_a_store(tmp_path: Path) -> None:
    (tmp_path / "notes.h5").write_text("mine")
    with pytest.raises(StoreError, match="not a readable HDF5 file"):
        Output("hdf5", 5, tmp_path / "notes.h5").check()
