"""A run whose stores hold rows in another order, under valid checksums of HDF5, is refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import h5py
import pytest
from small import NAME, Small

from mmgenre.disk.allowed import allow, allow_media
from mmgenre.disk.store import FeatureStore
from mmgenre.errors import StoreError
from mmgenre.pipeline.commands import extract_features, fuse
from mmgenre.pipeline.qualitative import words_of
from mmgenre.pipeline.run import open_run
from mmgenre.pipeline.scores import read_scores

FOUND = "is damaged: its checksum differs, so ids or rows are not those that were written"


@pytest.fixture
def run(small: Small, tmp_path: Path) -> Path:
    """A copy without links: its stores are altered in place."""
    copy = Path(shutil.copytree(small.run, tmp_path / "run"))
    allow_media(copy / "manifest.csv", [small.manifest.parent])
    allow(copy, [str(small.manifest)])
    return copy


def swap_ids(path: Path, group: str) -> None:
    """Exchanges two ids of one length, so that two items have each other's rows."""
    with h5py.File(path, "r+") as file:
        ids = file[group]["ids"][:]
        ids[[0, 1]] = ids[[1, 0]]
        file[group]["ids"][...] = ids


def contents(run: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(run)): p.read_bytes()
        for p in run.rglob("*")
        if p.is_file() and not p.name.endswith(".checked")
    }


def test_inputs_are_checked_before_an_encoder_learns_from_them(run: Path) -> None:
    swap_ids(run / "inputs" / "text.h5", "text")
    again: dict[str, Any] = {"run": run, "modalities": ["text"]}
    extract_features(**again)  # a copy has other paths in its manifest
    before = contents(run)
    extract_features(**again)  # nothing to do: nothing is read
    assert contents(run) == before
    with pytest.raises(StoreError, match=rf"inputs/text\.h5: /text {FOUND}; nothing was changed"):
        extract_features(**again, settings=["text.training.max_epochs=1"])
    now = contents(run)
    assert {name for name in now if now[name] != before.get(name)} == {"run.json"}
    (run / "inputs" / "text.h5").rename(run / "inputs" / "text.h5.damaged")  # as it says
    extract_features(**again)
    with FeatureStore(run / "inputs" / "text.h5", "text") as store:
        store.verify()


def test_vectors_are_checked_before_a_head_learns_from_them(run: Path) -> None:
    swap_ids(run / "embeddings.h5", "image")
    fuse(run=run, seeds=2)  # nothing to do
    with pytest.raises(StoreError, match=rf"embeddings\.h5: /image {FOUND}"):
        fuse(run=run, head="cosine", seeds=1)
    assert [p.name for p in (run / "fusion").iterdir()] == [NAME]
    fuse(["text"], run=run, head="cosine", seeds=1)  # which reads no covers


def test_scores_are_checked_before_they_are_measured(run: Path) -> None:
    folder = run / "fusion" / NAME
    swap_ids(folder / "scores.h5", "scores")
    (folder / "metrics.json").unlink()
    with pytest.raises(StoreError, match=rf"scores\.h5: /scores {FOUND}"):
        read_scores(folder)
    with pytest.raises(StoreError, match=rf"scores\.h5: /scores {FOUND}"):
        fuse(run=run, seeds=2)


def test_a_report_reads_no_swapped_rows(run: Path) -> None:
    opened = open_run(run)
    words_of(opened, seed=0)
    swap_ids(run / "inputs" / "text.h5", "text")
    with pytest.raises(StoreError, match=rf"inputs/text\.h5: /text {FOUND}"):
        words_of(opened, seed=0)


def test_given_vectors_are_checked_when_they_are_given_and_used(run: Path, tmp_path: Path) -> None:
    elsewhere = Path(shutil.copy(run / "embeddings.h5", tmp_path / "mine.h5"))
    fuse(["text"], run=run, features={"mine": elsewhere}, inputs=["mine-text"], seeds=1)
    swap_ids(run / "features.h5", "mine-text")
    with pytest.raises(StoreError, match=rf"/mine-text {FOUND}.* give the vectors again"):
        fuse(["text"], run=run, inputs=["mine-text"], head="cosine", seeds=1)
    swap_ids(elsewhere, "text")
    with pytest.raises(StoreError, match=rf"mine\.h5: /text {FOUND}"):
        fuse(["text"], run=run, features={"mine": elsewhere}, seeds=1)
