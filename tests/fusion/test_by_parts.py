"""Predictions in parts, by a stand-in for the tagger: no torch, and no media are opened."""

from __future__ import annotations

import json
import os
import pickle
import signal
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from mmgenre.disk.locks import claimed
from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import FeatureStore, write_store
from mmgenre.errors import MmgenreError, Refusal, StoreError
from mmgenre.fusion import by_parts
from mmgenre.fusion.by_parts import Loading, Work, predict_shard, predicted, work_of
from mmgenre.fusion.embedded import Vectors
from mmgenre.fusion.part_files import read_part, refused_in, write_part
from mmgenre.fusion.prediction import Genre, Neighbour, Piece, Prediction, Reasons, Span
from mmgenre.fusion.ranking import Asked
from mmgenre.fusion.tagger import GenreTagger
from mmgenre.fusion.texts import shown
from mmgenre.items.item import Item
from mmgenre.items.manifest import Manifest
from mmgenre.reading.extraction import Shard

REASONS = Reasons(
    "Jazz", 0.1, {"text": 0.2}, {"text": Genre("Rock", 0.4)}, (Piece("cool", 0.1),),
    (Span(0.0, 2.5, -0.1),), ((0.1, 0.2), (0.3, 0.4)), (Neighbour("x", 0.9, ("Jazz", "Pop")),),
    ("a note",),
)  # fmt: skip


@dataclass
class Stub:
    """Predicts by the length of the text; a text of nothing is refused."""

    folder: Path | None
    name: str = "stub"
    modalities: tuple[str, ...] = ("text",)
    made: list[tuple[str, ...]] = field(default_factory=list)
    given: list[dict[str, Vectors]] = field(default_factory=list)
    stack: ExitStack = field(default_factory=ExitStack)  # closed when the test ends

    @contextmanager
    def asked_for(
        self, manifest: Manifest, features: Mapping[str, Path]
    ) -> Iterator[tuple[Manifest, dict[str, FeatureStore]]]:
        with ExitStack() as stack:
            stores = {n: stack.enter_context(FeatureStore(p, n)) for n, p in features.items()}
            yield manifest, stores

    def predict_items(
        self, items: Manifest, given: dict[str, Vectors], asked: Asked, **how: object
    ) -> tuple[list[Prediction], list[Refusal]]:
        self.made.append(items.ids())
        self.given.append(given)
        found, refused = [], []
        for item in items:
            text = str(item.media["text"][0])
            if text == "nothing":
                refused.append(Refusal(item.id, "text", "empty", f"{item.id}: no word \u2028\n"))
                continue
            p = len(text) / 99
            genres = (Genre("Jazz", p), Genre("R\u00f6ck\x85", 1 - p))
            reasons = REASONS if asked.explain else None
            found.append(Prediction(item.id, "probability", genres, ("Jazz",), ("text",)))
            found[-1] = replace(found[-1], reasons=reasons, likely=("Jazz",), notes=("3 words",))
        return found, refused


def vectors_of_some(folder: Path, by: float = 0.0) -> dict[str, Path]:
    """A store of vectors of every second item and of one that is no item."""
    ids = ["00", "02", "04", "06", "other"]
    x = np.arange(15, dtype=np.float16).reshape(5, 3) + np.float16(by)
    path = folder / f"clap-{by}.h5"
    write_store(path, "clap", [(ids, x)], Provenance("features", 1, {}, {}))
    return {"clap": path}


@pytest.fixture(autouse=True)
def _tiny_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_parts, "PART_ITEMS", 2)


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[Stub]:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/sha256.json").write_text("{}")
    made = Stub(tmp_path / "model")
    with made.stack:
        yield made


def items(texts: str = "one three nothing four fifteen eight nineteen") -> Manifest:
    own = enumerate(texts.split())
    return Manifest([Item(f"{k:02d}", media={"text": (text,)}) for k, text in own])


def work_by(stub: Stub, out: Path, **how: Any) -> Work:
    tagger = cast(GenreTagger, stub)
    return stub.stack.enter_context(work_of(tagger, how.pop("manifest", items()), out, **how))


def text_of(work: Work, form: Any) -> str:
    with predicted(work) as (stream, refused):
        return "".join(shown(stream, refused, form, 5))


@pytest.mark.parametrize("form", ["json", "jsonl", "csv", "tsv", "table"])
def test_shards_merged_are_what_one_process_gives(stub: Stub, tmp_path: Path, form: str) -> None:
    one = text_of(work_by(stub, tmp_path / "one"), form)
    ids = items().ids()
    assert stub.made == [ids[:2], ids[2:4], ids[4:6], ids[6:]]
    stub.made.clear()
    work = work_by(stub, tmp_path / "many")
    first = predict_shard(work, Shard(1, 3))
    assert (first.done, first.of, first.refused, first.is_all_there) == (2, 4, (), False)
    second = predict_shard(work, Shard(2, 3))
    assert [r.id for r in second.refused] == ["02"]
    assert [own[0] for own in stub.made] == ["00", "06", "02"]
    assert predict_shard(work, Shard(2, 3)) == second  # nothing is done again
    assert text_of(work, form) == one
    assert [own[0] for own in stub.made] == ["00", "06", "02", "04"]  # the third was missing
    assert not work.folder.exists()
    if form == "json":  # it is written piece by piece
        assert json.dumps(json.loads(one), indent=1, ensure_ascii=False) + "\n" == one
        assert len(json.loads(one)["predictions"]) == 6


def test_nothing_at_all_is_valid_json(stub: Stub, tmp_path: Path) -> None:
    work = work_by(stub, tmp_path / "out", manifest=items(""))
    assert json.loads(text_of(work, "json")) == {"predictions": [], "refused": []}


def test_a_shard_that_is_killed_costs_one_part(
    stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, write = work_by(stub, tmp_path / "out"), write_part

    def killing(path: Path, *found: Any) -> Path:
        if path == work.part(2).path:
            os.kill(os.getpid(), signal.SIGKILL)
        return write(path, *found)

    child = os.fork()
    if child == 0:
        monkeypatch.setattr(by_parts, "write_part", killing)
        predict_shard(work, Shard(1, 1))
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert work.n_done == 2
    assert predict_shard(work, Shard(1, 1)).is_all_there
    assert [own[0] for own in stub.made] == ["04", "06"]


def test_parts_of_anything_else_are_not_used(stub: Stub, tmp_path: Path) -> None:
    out = tmp_path / "out"
    work = work_by(stub, out)
    predict_shard(work, Shard(1, 1))
    assert work_by(stub, out).n_done == 4
    assert work_by(stub, out, asked=Asked(coverage=0.8)).n_done == 0
    edited = work_by(stub, out, manifest=items("one three nothing FOUR! fifteen eight nineteen"))
    assert [edited.part(n).path.is_file() for n in range(4)] == [True, False, True, True]
    vectors = work_by(stub, out, features=vectors_of_some(tmp_path))
    assert [vectors.part(n).path.is_file() for n in range(4)] == [False] * 4
    predict_shard(vectors, Shard(1, 1))
    same = work_by(stub, out, features=vectors_of_some(tmp_path))
    assert [same.part(n).path.is_file() for n in range(4)] == [True] * 4
    others = work_by(stub, out, features=vectors_of_some(tmp_path, by=1.0))
    assert [others.part(n).path.is_file() for n in range(4)] == [False] * 4
    assert stub.folder is not None
    (stub.folder / "sha256.json").write_text('{"model.safetensors": "another"}')
    assert work_by(stub, out).n_done == 0


def test_a_part_has_the_vectors_of_its_items_alone(stub: Stub, tmp_path: Path) -> None:
    work = work_by(stub, tmp_path / "out", features=vectors_of_some(tmp_path))
    predict_shard(work, Shard(1, 1))
    assert [list(own) for own in stub.given] == [["clap"]] * 4
    found = {i: v.tolist() for own in stub.given for i, v in own["clap"].items()}
    assert found == {"00": [0, 1, 2], "02": [3, 4, 5], "04": [6, 7, 8], "06": [9, 10, 11]}
    assert [list(own["clap"]) for own in stub.given] == [["00"], ["02"], ["04"], ["06"]]
    job = work.job(work.part(1), Loading("model"))  # sent to another process
    assert pickle.loads(pickle.dumps(job)).given["clap"]["02"].tolist() == [3, 4, 5]


def test_a_file_that_changes_is_predicted_again(stub: Stub, tmp_path: Path) -> None:
    file, out = tmp_path / "a.txt", tmp_path / "out"
    file.write_text("before")
    manifest = Manifest([Item("a", media={"text": (file,)})])
    predict_shard(work_by(stub, out, manifest=manifest), Shard(1, 1))
    assert work_by(stub, out, manifest=manifest).part(0).path.is_file()
    file.write_text("and after")
    assert not work_by(stub, out, manifest=manifest).part(0).path.is_file()


def test_a_damaged_part_is_predicted_again(stub: Stub, tmp_path: Path) -> None:
    one = text_of(work_by(stub, tmp_path / "one"), "json")
    work = work_by(stub, tmp_path / "out")
    predict_shard(work, Shard(1, 1))
    part = work.part(1).path
    part.write_bytes(part.read_bytes().replace(b"Jazz", b"Juzz"))
    with pytest.raises(ValueError, match="damaged since it was written"):
        read_part(part)
    stub.made.clear()
    assert text_of(work, "json") == one
    assert stub.made == [work.part(1).ids]


def test_reasons_and_odd_letters_come_back_as_they_were(stub: Stub, tmp_path: Path) -> None:
    found, refused = stub.predict_items(items(), {}, Asked(explain=True))
    odd = replace(found[0], id="\udcff\u2028", refused=tuple(refused))
    path = write_part(tmp_path / "part", [odd, *found], refused)
    assert (read_part(path), refused_in(path)) == ([odd, *found], refused)
    assert not read_part(write_part(path, [], []))
    assert not refused_in(path)


def test_parts_stay_if_the_result_cannot_be_written(stub: Stub, tmp_path: Path) -> None:
    work = work_by(stub, tmp_path / "out")
    with pytest.raises(OSError, match="full"), predicted(work):
        raise OSError("full")
    assert work.n_done == 4


def test_shards_and_a_merge_keep_apart(stub: Stub, tmp_path: Path) -> None:
    """A shard leaves to another one what that is at; nobody merges beside a shard."""
    from threading import Thread

    work = work_by(stub, tmp_path / "out")
    told: list[object] = []

    def in_thread(act: Any) -> None:
        def run() -> None:
            try:
                told.append(act())
            except StoreError as error:
                told.append(str(error))

        thread = Thread(target=run)
        thread.start()
        thread.join()

    with claimed(work.part(2).path):
        in_thread(lambda: predict_shard(work, Shard(1, 1)).done)
    with claimed(work.target, shared=True):
        in_thread(lambda: text_of(work, "json"))
    assert told[0] == 3
    assert "has been writing it since" in str(told[1])


def test_a_model_that_was_not_loaded_from_a_folder_has_no_parts(tmp_path: Path) -> None:
    with pytest.raises(MmgenreError, match="stub: was not loaded from a folder"):
        work_by(Stub(None), tmp_path / "out")


def test_jobs_of_a_cluster(stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job makes its part by the model it names; by another one it makes none."""
    monkeypatch.setattr(Loading, "load", lambda self: stub)
    by_parts._loaded.cache_clear()
    one = text_of(work_by(stub, tmp_path / "one"), "json")
    work = work_by(stub, tmp_path / "many")
    job = work.job(work.part(1), Loading("model"))
    assert job.make()
    assert work.part(1).path.is_file()
    assert not work.job(work.part(2), Loading("model"))._replace(model="another").make()
    assert not work.part(2).path.is_file()
    assert text_of(work, "json") == one
    assert Loading("model").for_others() == Loading(str(Path("model").absolute()))
    assert Loading("hf:a/b").for_others() == Loading("hf:a/b")
