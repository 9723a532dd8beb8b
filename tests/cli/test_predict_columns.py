"""`mmgenre predict --format parquet` and `hdf5`: the whole way, beside CSV."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import Call
from pyarrow import parquet
from small import Small

from mmgenre.disk.store import FeatureStore
from mmgenre.fusion import by_parts, columns


@pytest.fixture
def items(small: Small, tmp_path: Path) -> Path:
    """Seven items with texts alone, one of which is not there."""
    with small.manifest.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["text_file"]][:7]
    lines = ["id,text_file"]
    for row in rows:
        name = row["text_file"].split(";")[0]
        text = tmp_path / name
        text.parent.mkdir(exist_ok=True)
        shutil.copy2(small.manifest.parent / name, text)
        lines.append(f"{row['id']},{name}")
    text = tmp_path / rows[3]["text_file"].split(";")[0]
    text.unlink()
    path = tmp_path / "items.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_columns_say_what_csv_says(
    small: Small, items: Path, tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(by_parts, "PART_ITEMS", 2)
    monkeypatch.setattr(columns, "BLOCK_ROWS", 4)
    how = (small.run, items, "--workers", 1, "--top", 3)
    outs = {form: tmp_path / f"out.{form}" for form in ("csv", "parquet", "hdf5")}
    told = [call("predict", *how, "--format", form, "--out", outs[form]) for form in outs]
    assert [(done.code, done.out) for done in told] == [(3, "")] * 3
    assert all("6 item(s)" in done.err for done in told)
    with outs["csv"].open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    table = parquet.read_table(outs["parquet"])
    genres = [name.removeprefix("score:") for name in table.column_names if ":" in name]
    assert [row["id"] for row in table.to_pylist()] == [row["id"] for row in rows]
    with FeatureStore(outs["hdf5"], "scores") as store:
        assert store.provenance["parameters"]["genres"] == genres
        assert [r.id for r in store.refused] == [told[0].err.split("refused: ")[1].split(":")[0]]
        assert list(store.ids) == [row["id"] for row in rows]
        for row, own in zip(rows, table.to_pylist(), strict=True):
            assert row["named"] == ";".join(own["named"])
            assert row["genre_3"] == own["genre_3"]
            assert float(row["score_3"]) == pytest.approx(own["score_3"], abs=1e-6)
            all_scores = np.array([own[f"score:{genre}"] for genre in genres], np.float32)
            assert np.array_equal(store.read(row["id"]), all_scores)
            assert own["score_1"] == all_scores.max() == own[f"score:{own['genre_1']}"]


def test_shards_become_parquet_and_a_text_alone_hdf5(
    small: Small, items: Path, tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(by_parts, "PART_ITEMS", 2)
    out = tmp_path / "many.parquet"
    how = (small.run, items, "--workers", 1, "--format", "parquet", "--out", out)
    assert "2 of 4 parts" in call("predict", *how, "--shard", "1/2").out
    assert not out.exists()
    call("predict", *how)
    assert parquet.read_table(out).num_rows == 6
    one = tmp_path / "one.h5"
    text = tmp_path / items.read_text().splitlines()[1].split(",")[1]
    done = call("predict", small.run, "--text", text, "--format", "hdf5", "--out", one)
    assert done.code == 0, done.err
    with FeatureStore(one, "scores") as store:
        assert list(store.ids) == ["item"]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--format", "parquet"), "give --out FILE"),
        (("--format", "hdf5", "--out", "a.csv", "--explain"), "--explain: of a trained model"),
        (("--format", "csv", "--out", "a.parquet"), "its suffix is that of parquet"),
    ],
)
def test_what_cannot_be_written_is_refused(
    call: Call, tmp_path: Path, words: tuple[str, ...], why: str
) -> None:
    done = call("predict", tmp_path, "items.csv", *words)
    assert done.code == 2
    assert why in " ".join(done.err.replace("│", " ").split())
