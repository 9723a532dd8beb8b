"""A fusion whose vectors stay in their stores is the one of vectors in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmgenre.disk.files import finished_folders
from mmgenre.errors import MmgenreError, Refusal
from mmgenre.fusion import by_parts, tagger
from mmgenre.fusion.embedded import given_rows
from mmgenre.fusion.prediction import Prediction
from mmgenre.fusion.tagger import GenreTagger
from mmgenre.items.item import Item
from mmgenre.items.manifest import Manifest
from mmgenre.pipeline.commands import fuse
from mmgenre.pipeline.scores import read_scores
from mmgenre.pipeline.solved import check_memory

N, GENRES = 90, ("Jazz", "Pop", "Rock")
WIDTHS = {"audio": 7, "text": 5}
SETTINGS = {
    "labels": {"task": "multi"},
    "fusion": {"solver": "sgd", "combine": "concatenation", "training": {"max_epochs": 3}},
    "joint": {"dim": 6, "training": {"max_epochs": 2}},
}


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Path]]:
    """A manifest, and files of vectors that a fifth of the items lack."""
    folder, rng = tmp_path_factory.mktemp("given"), np.random.default_rng(0)
    ids, own = np.array([f"i{k:02d}" for k in range(N)]), rng.integers(len(GENRES), size=N)
    items = [
        Item(i, artist=f"Artist {k // 3}", split=("train", "train", "val", "test")[k // 3 % 4],
             labels=(GENRES[own[k]], *(["Live"] * (k % 5 == 0))))
        for k, i in enumerate(ids)
    ]  # fmt: skip
    files = {}
    for name, width in WIDTHS.items():
        x = np.eye(len(GENRES), width)[own] + 0.6 * rng.standard_normal((N, width))
        here = rng.random(N) < 0.8
        files[name] = folder / f"{name}.npz"
        np.savez(files[name], ids=ids[here], x=x[here].astype(np.float16))
    return Manifest(items).write(folder / "items.csv"), files


def made(run: Path, given: tuple[Path, dict[str, Path]]) -> tuple[Any, dict[str, bytes], Any]:
    """Result, files of the model and of the joint vectors, and the scores of both splits."""
    manifest, files = given
    result = fuse(
        run=run, manifest=manifest, features=files, joint=True, seeds=2, settings=SETTINGS
    )
    [fusion] = finished_folders(run / "fusion")
    kept = {p.name: p.read_bytes() for p in (fusion / "model").glob("*.safetensors")}
    return result, kept, [read_scores(fusion, on).values for on in ("val", "test")]


def test_files_and_figures_are_the_same(
    tmp_path: Path, given: tuple[Path, dict[str, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    result, files, scores = made(tmp_path / "held", given)
    for module in ("heads", "align", "unlabelled"):
        monkeypatch.setattr(f"mmgenre.pipeline.{module}.IN_MEMORY_BYTES", 0)
    monkeypatch.setattr("mmgenre.disk.scratch.MEMORY_BYTES", 0)
    there, files_there, scores_there = made(tmp_path / "there", given)
    assert isinstance(scores_there[0], np.memmap)
    assert files_there == files
    for one, other in zip(scores, scores_there, strict=True):
        np.testing.assert_array_equal(one, other)
    assert there["rows"] == result["rows"]
    assert there["baselines"] == result["baselines"]
    left = {p.name for p in (tmp_path / "there").iterdir()}
    assert left == {p.name for p in (tmp_path / "held").iterdir()}


def predicted_at_once(
    run: Path, given: tuple[Path, dict[str, Path]]
) -> tuple[GenreTagger, list[Prediction], list[Refusal]]:
    """A run's model, and what it says of all items in one part."""
    made(run, given)
    model = GenreTagger.from_pretrained(run)
    return model, *model.predict_manifest(features=given[1])


def test_items_of_vectors_are_named_in_parts(
    tmp_path: Path, given: tuple[Path, dict[str, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, whole, refused = predicted_at_once(tmp_path / "run", given)
    assert {r.code for r in refused} <= {"missing"}
    monkeypatch.setattr(tagger, "AT_ONCE", 20)
    parts = list(model.predict_parts(features=given[1]))
    assert len(parts) == 5
    assert [p.id for own, _ in parts for p in own] == [p.id for p in whole]
    for one, other in zip((p for own, _ in parts for p in own), whole, strict=True):
        assert [g.score for g in one.genres] == pytest.approx([g.score for g in other.genres])
        assert (one.named, one.used, one.unsure) == (other.named, other.used, other.unsure)


def test_parts_on_disk_read_the_vectors_of_their_items(
    tmp_path: Path, given: tuple[Path, dict[str, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, whole, refused = predicted_at_once(tmp_path / "run", given)
    monkeypatch.setattr(by_parts, "PART_ITEMS", 20)
    read: list[int] = []

    def counted(ids: Sequence[str], stores: Any) -> Any:
        read.append(len(ids))
        return given_rows(ids, stores)

    monkeypatch.setattr(by_parts, "given_rows", counted)
    with (
        by_parts.work_of(model, None, tmp_path / "out", features=given[1]) as work,
        by_parts.predicted(work, workers=1) as (stream, own),
    ):
        found = list(stream)
    assert max(read) == 20
    assert own == refused
    assert [p.id for p in found] == [p.id for p in whole]
    for one, other in zip(found, whole, strict=True):
        assert [g.score for g in one.genres] == pytest.approx([g.score for g in other.genres])
        assert (one.named, one.used, one.unsure) == (other.named, other.used, other.unsure)


def test_heads_that_memory_cannot_hold_are_refused(
    tmp_path: Path, given: tuple[Path, dict[str, Path]]
) -> None:
    made(tmp_path / "run", given)
    places = {name: (tmp_path / "run" / "features.h5", name) for name in WIDTHS}
    needed = 4 * 4 * sum(WIDTHS.values()) * N
    check_memory(places, N, needed)
    with pytest.raises(MmgenreError, match=r"12 numbers.*fusion.solver=sgd"):
        check_memory(places, N, needed - 1)
