"""Columns of vectors made elsewhere are scaled as training items say, whatever their units."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmgenre.disk.files import finished_folders
from mmgenre.items.item import Item, Split
from mmgenre.items.manifest import Manifest
from mmgenre.pipeline.commands import fuse
from mmgenre.pipeline.scores import read_scores

SPLITS: tuple[Split, ...] = (*("train",) * 24, *("val",) * 8, *("test",) * 8)
GENRES = [("Jazz",), ("Rock",)] * 20
X = np.random.default_rng(0).standard_normal((40, 5)) + np.arange(40)[:, None] % 2
TEST = slice(32, 40)


def made(folder: Path, x: NDArray[np.float64]) -> tuple[dict[str, bytes], NDArray[np.float32]]:
    """The files of the model on given vectors, and its scores of the validation items."""
    ids = [f"i{k:02d}" for k in range(40)]
    rows = zip(ids, SPLITS, GENRES, strict=True)
    folder.mkdir()
    items = [Item(i, artist=i, split=split, labels=labels) for i, split, labels in rows]
    manifest = Manifest(items).write(folder / "m.csv")
    np.savez(folder / "v.npz", ids=np.array(ids), x=x)
    fuse(run=folder / "run", manifest=manifest, features={"v": folder / "v.npz"})
    [fusion] = finished_folders(folder / "run" / "fusion")
    files = {p.name: p.read_bytes() for p in (fusion / "model").glob("*.safetensors")}
    return files, read_scores(fusion, "val").values


def test_test_items_do_not_decide_and_training_items_do(tmp_path: Path) -> None:
    plain, _ = made(tmp_path / "plain", X)
    other = X.copy()
    other[TEST] = 1000 * other[TEST][::-1] + 7
    unseen, _ = made(tmp_path / "unseen", other)
    assert unseen == plain
    other[:24] += np.arange(24)[:, None]
    seen, _ = made(tmp_path / "seen", other)
    assert seen != plain


def test_a_column_of_another_unit_changes_no_score(tmp_path: Path) -> None:
    _, scores = made(tmp_path / "plain", X)
    _, same = made(tmp_path / "milliseconds", X * [1, 1, 1e5, 1, 1e-3])
    np.testing.assert_allclose(same, scores, atol=1e-3)
