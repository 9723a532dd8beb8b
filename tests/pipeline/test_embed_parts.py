"""Embedding by shards: merged it is what one process gives, whatever was killed meanwhile."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mmgenre.disk.locks import claimed
from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import FeatureStore, content_hash, write_store
from mmgenre.errors import Refusal, StoreError
from mmgenre.learning.rows import item_of, mean_by_item
from mmgenre.pipeline import embed_parts
from mmgenre.pipeline.embed_parts import Part, Work, all_blocks, embed_shard, make_parts
from mmgenre.progress import Progress
from mmgenre.reading.extraction import Shard

DIM = 3


class Halves:
    """In place of an encoder: half of each row; of a row of zeros it knows nothing."""

    embedded: list[tuple[str, ...]] = []  # noqa: RUF012 - each test begins with none

    def __init__(self, work: Work, store: FeatureStore) -> None:
        self.store = store

    def embed(self, rows: Sequence[str], progress: Progress) -> tuple[list[Any], list[Refusal]]:
        self.embedded.append(tuple(rows))
        vectors: NDArray[np.float32] = (self.store.take(rows) / 2).astype(np.float32)
        known = [row for row, own in zip(rows, vectors, strict=True) if own.any()]
        unknown = [Refusal(item_of(r), "audio", "silent", r) for r in rows if r not in known]
        progress("embedding", len(rows), len(rows))
        return [mean_by_item(known, vectors[vectors.any(axis=1)])], unknown


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embed_parts, "PART_ITEMS", 2)
    monkeypatch.setattr(embed_parts, "Embedder", Halves)
    monkeypatch.setattr(Halves, "embedded", [])


@pytest.fixture
def work(tmp_path: Path) -> Work:
    """Nine items of one to three tracks; nothing is known of the fifth."""
    rng = np.random.default_rng(7)
    ids = [f"{item:02d}#{k}" for item in range(9) for k in range(1 + item % 3)]
    rows = rng.normal(size=(len(ids), DIM)).astype(np.float32)
    rows[[i.startswith("04") for i in ids]] = 0
    inputs, encoder = tmp_path / "audio.h5", tmp_path / "encoder"
    write_store(inputs, "audio", [(ids, rows)], Provenance("inputs", 1, {}))
    encoder.mkdir()
    (encoder / "sha256.json").write_text("{}")
    made = Provenance("embeddings", 1, {}, {"encoder": "e"})
    target = tmp_path / "embeddings.h5"
    return Work("audio", "audio", inputs, encoder, frozenset(), "float32", "float32", made, target)


def merged(work: Work, target: Path) -> str:
    refused: list[Refusal] = []
    blocks = all_blocks(work, work.parts(), refused)
    write_store(target, work.view, blocks, work.provenance, refused=refused)
    with FeatureStore(target, work.view) as store:
        assert [r.id for r in store.refused] == ["04", "04"]
        assert store.ids == tuple(f"{item:02d}" for item in range(9) if item != 4)
    return content_hash(target)


def test_shards_merged_are_what_one_process_gives(work: Work, tmp_path: Path) -> None:
    whole = merged(work, tmp_path / "whole.h5")
    assert not work.folder.exists()
    by_item = [{item_of(row) for row in rows} for rows in Halves.embedded]
    assert by_item == [{"00", "01"}, {"02", "03"}, {"04", "05"}, {"06", "07"}, {"08"}]
    Halves.embedded.clear()
    assert embed_shard(work, frozenset(), Shard(1, 2)) == (3, 5)
    assert len(Halves.embedded) == 3
    assert merged(work, tmp_path / "many.h5") == whole  # which embeds what is missing
    assert len(Halves.embedded) == 5
    assert embed_shard(work, frozenset(), Shard(2, 2)) == (5, 5)
    assert merged(work, tmp_path / "again.h5") == whole
    assert len(Halves.embedded) == 7
    embed_parts.remove_parts(work)
    assert not work.folder.parent.exists()


def test_items_taken_over_are_in_no_part(work: Work) -> None:
    parts = work.parts({"00", "03"})
    found = [[item_of(row) for row in part.rows] for part in parts]
    assert [sorted(set(own)) for own in found] == [["01", "02"], ["04", "05"], ["06", "07"], ["08"]]


def test_a_shard_that_is_killed_costs_one_part(
    work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = merged(work, tmp_path / "whole.h5")
    write = write_store

    def killing(path: Path, *args: Any, **how: Any) -> Path:
        if path == work.parts()[2].path:
            os.kill(os.getpid(), signal.SIGKILL)
        return write(path, *args, **how)

    child = os.fork()
    if child == 0:
        monkeypatch.setattr(embed_parts, "write_store", killing)
        embed_shard(work, frozenset(), Shard(1, 1))
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    Halves.embedded.clear()
    assert embed_shard(work, frozenset(), Shard(1, 1)) == (5, 5)
    assert len(Halves.embedded) == 3
    assert merged(work, tmp_path / "many.h5") == whole


@pytest.mark.parametrize("what", ["encoder", "weights", "precision"])
def test_parts_of_another_encoder_are_not_used(work: Work, what: str) -> None:
    embed_shard(work, frozenset(), Shard(1, 1))
    other = work
    if what == "weights":  # trained again by the same settings
        (work.encoder / "sha256.json").write_text('{"model.safetensors": "other"}')
    elif what == "encoder":
        other = replace(work, provenance=replace(work.provenance, parents={"encoder": "f"}))
    else:
        parameters = {"precision": "bfloat16"}
        other = replace(work, provenance=replace(work.provenance, parameters=parameters))
    assert not [part for part in other.parts() if part.path.is_file()]


def test_a_damaged_part_is_embedded_again(work: Work, tmp_path: Path) -> None:
    whole = merged(work, tmp_path / "whole.h5")
    embed_shard(work, frozenset(), Shard(1, 1))
    first, second, *_ = work.parts()
    first.path.write_bytes(first.path.read_bytes()[:-40])
    second.path.write_bytes(work.parts()[3].path.read_bytes())  # whole, but of other items
    Halves.embedded.clear()
    assert merged(work, tmp_path / "many.h5") == whole
    assert Halves.embedded == [first.rows, second.rows]


def test_a_part_that_another_process_is_at_is_left_to_it(work: Work) -> None:
    from threading import Thread

    told: list[bool] = []
    parts: list[Part] = work.parts()
    with claimed(parts[1].path):
        thread = Thread(target=lambda: told.append(make_parts(work, parts)))
        thread.start()
        thread.join()
        assert told == [False]
        assert [part.path.is_file() for part in parts] == [True, False, True, True, True]


def test_the_same_shard_twice_is_refused(work: Work) -> None:
    from threading import Thread

    told: list[str] = []

    def embed() -> None:
        try:
            embed_shard(work, frozenset(), Shard(1, 2))
        except StoreError as error:
            told.append(str(error))

    with claimed(work.folder / "shard-1-of-2"):
        thread = Thread(target=embed)
        thread.start()
        thread.join()
    assert len(told) == 1
    assert "has been writing it since" in told[0]
