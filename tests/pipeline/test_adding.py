"""Adding costs what is added: encoders stay, and know what they have learned on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from numpy.typing import NDArray
from small import SIZES, Small

from mmgenre.disk.allowed import allow, allow_media
from mmgenre.disk.bundle import bundle_provenance
from mmgenre.disk.records import SEAL, write_record
from mmgenre.disk.store import FeatureStore
from mmgenre.errors import SplitError
from mmgenre.fusion.tagger import GenreTagger
from mmgenre.items.item import Item
from mmgenre.items.manifest import Manifest
from mmgenre.kinds import KINDS, kind_of
from mmgenre.learning.embedding import embed
from mmgenre.learning.encoder import load_encoder, load_task_head
from mmgenre.learning.kind import Kind
from mmgenre.pipeline.commands import extract_features, fuse
from mmgenre.pipeline.run import open_run

N_FOLDS = 2
SETTINGS = (*SIZES, "text.encoders=['vsm', 'linear']", f"fusion.cross_fit={N_FOLDS}")
N_ADDED = 3


@dataclass
class Begun:
    """A run on all but the last items of the small catalogue, with a fusion of the texts."""

    manifest: Path
    run: Path
    items: list[Item]  # of the whole catalogue that have a text, without splits
    read: list[str]  # ids of the items that were read since

    def write(self, items: Iterable[Item]) -> None:
        Manifest(items).write(self.manifest)

    def extract(self, **how: Any) -> tuple[str, ...]:
        """Extracts, and returns the notes."""
        self.read.clear()
        return extract_features(run=self.run, modalities=("text",), workers=1, **how).notes

    def encoder(self, name: str = "text") -> str:
        made = bundle_provenance(self.run / "encoders" / name)
        assert made is not None
        return str(made["fingerprint"])

    def vectors(self, path: str = "embeddings.h5") -> dict[str, NDArray[Any]]:
        with FeatureStore(self.run / path, "text") as store:
            return {i: store.read(i) for i in store.ids}


@pytest.fixture(scope="module")
def made(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Begun:
    folder = tmp_path_factory.mktemp("adding")
    texts = folder / "texts"
    texts.mkdir()
    items = []
    for item in Manifest.read(small.manifest):
        if "text" in item.media:
            text = "\n".join(
                s if isinstance(s, str) else s.read_text(encoding="utf-8")
                for s in item.media["text"]
            )
            (texts / f"{item.id}.txt").write_text(text, encoding="utf-8")
            items.append(replace(item, media={"text": (texts / f"{item.id}.txt",)}))
    found = Begun(folder / "m.csv", folder / "run", items, [])
    found.write(items[:-N_ADDED])
    extract_features(
        found.manifest, run=found.run, modalities=("text",), recipe="quick", settings=SETTINGS
    )
    fuse(("text",), run=found.run)
    return found


@pytest.fixture
def begun(made: Begun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Begun:
    folder = tmp_path / "own"
    shutil.copytree(made.manifest.parent, folder)
    state = folder / "run" / "run.json"
    text = state.read_text().replace(str(made.manifest.parent), str(folder))
    write_record(state, {k: v for k, v in json.loads(text).items() if k != SEAL})
    allow_media(folder / "run" / "manifest.csv", [folder])
    allow(folder / "run", [str(folder / "m.csv")])
    texts = folder / "texts"
    items = [replace(i, media={"text": (texts / i.media["text"][0].name,)}) for i in made.items]  # type: ignore[union-attr]
    read: list[str] = []
    kind = KINDS["text"]

    def count(media: Any, config: Any, row_id: str, kind: Kind = kind) -> Any:
        read.append(row_id)
        return kind.read(media, config, row_id)

    monkeypatch.setitem(KINDS, "text", replace(kind, read=count))
    return Begun(folder / "m.csv", folder / "run", items, read)


@pytest.fixture
def added(begun: Begun) -> Begun:
    begun.write(begun.items)
    return begun


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*args: object, **kwargs: object) -> NoReturn:
        raise AssertionError("an encoder was made")

    monkeypatch.setattr("mmgenre.pipeline.learn._make_encoder", busy)


def noted(notes: Iterable[str]) -> list[str]:
    return [note for note in notes if ": learned on " in note]


def test_what_is_added_is_read_and_embedded_and_nothing_else(
    added: Begun, no_training: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, splits = added.vectors(), open_run(added.run).manifest.splits
    embedded: list[str] = []

    def counting(encoder: Any, source: Any, ids: Any, **how: Any) -> Any:
        embedded.extend(ids)
        return embed(encoder, source, ids, **how)

    monkeypatch.setattr("mmgenre.learning.embedding.embed", counting)
    notes = added.extract()
    new = [item.id for item in added.items[-N_ADDED:]]
    assert sorted(added.read) == sorted(new)
    assert sorted(embedded) == sorted(2 * new)  # by two encoders
    n = len(added.items)
    assert [note.partition("; ")[0] for note in noted(notes)] == [
        f"text: learned on {n - N_ADDED} of {n} items",
        f"text.linear: learned on {n - N_ADDED} of {n} items",
    ]
    after = added.vectors()
    assert after.keys() == {*before, *new}
    for item_id, vector in before.items():
        np.testing.assert_array_equal(after[item_id], vector)
    now = open_run(added.run).manifest.splits
    assert {item_id: now[item_id] for item_id in splits} == splits
    # A second call finds nothing to do.
    files = {p: p.stat().st_mtime_ns for p in added.run.rglob("*.h5")}
    assert noted(added.extract()) == noted(notes)
    assert {p: p.stat().st_mtime_ns for p in added.run.rglob("*.h5")} == files
    # What was fitted before goes on predicting, and is fitted anew without training an encoder.
    text = added.items[-1].media["text"][0]
    first = GenreTagger.from_pretrained(added.run).predict(text=text)
    assert first.used == ("text",)


def test_an_added_item_s_vector_is_that_of_its_encoder(added: Begun, no_training: None) -> None:
    added.extract()
    network, _ = load_encoder(added.run / "encoders" / "text", "text", kind_of("text"))
    with FeatureStore(added.run / "inputs" / "text.h5", "text") as store:
        rows = embed(network, network.source(store), store.ids)
        expected = dict(zip(store.ids, rows, strict=True))
    for item_id, vector in added.vectors().items():
        np.testing.assert_allclose(vector, expected[item_id], atol=1e-5)


def test_on_request_encoders_learn_anew_on_all(added: Begun) -> None:
    added.extract()
    before = added.encoder()
    notes = added.extract(retrain=True)
    assert added.read == []
    assert added.encoder() != before
    assert noted(notes) == []
    learned = added.encoder()
    added.extract(retrain=True)
    assert added.encoder() == learned  # it has learned on all


def other_label(item: Item) -> Item:
    return replace(item, labels=("Polka",))


def test_a_label_of_an_added_item_may_change(added: Begun, no_training: None) -> None:
    added.extract()
    added.write([*added.items[:-1], other_label(added.items[-1])])
    assert len(noted(added.extract())) == 2
    assert added.read == []


@pytest.mark.parametrize(
    "change",
    [
        lambda items: [other_label(items[0]), *items[1:]],
        lambda items: items[1:],
        lambda items: [replace(items[0], id="another"), *items[1:]],
    ],
    ids=["label", "removed", "renamed"],
)
def test_what_was_learned_and_has_changed_makes_encoders_stale(
    added: Begun, change: Callable[[list[Item]], list[Item]]
) -> None:
    added.extract()
    before = added.encoder()
    added.write(change(added.items))
    assert noted(added.extract()) == []
    assert added.encoder() != before


def test_a_changed_text_that_was_learned_makes_encoders_stale(added: Begun) -> None:
    before = added.encoder()
    file = added.items[0].media["text"][0]
    assert isinstance(file, Path)
    file.write_text("Another review altogether, with a lute.", encoding="utf-8")
    assert noted(added.extract()) == []
    assert sorted(added.read) == sorted(i.id for i in (added.items[0], *added.items[-N_ADDED:]))
    assert added.encoder() != before


def test_a_changed_setting_is_learned_on_all(added: Begun) -> None:
    added.extract()
    notes = noted(added.extract(settings=["text.hidden_dim=40"]))
    n = len(added.items)
    assert [n.partition(":")[0] for n in notes] == ["text.linear"], n  # it has no hidden layer


def test_what_was_learned_is_never_scored_as_unseen(added: Begun) -> None:
    """A training item that is moved to test makes the encoder stale."""
    added.extract()
    before, splits = added.encoder(), dict(open_run(added.run).manifest.splits)
    fuse(("text",), run=added.run)
    trained = next(i for i in added.items if splits[i.id] == "train" and i.artist)
    moved = {i.id for i in added.items if i.artist == trained.artist}
    added.write(replace(i, split="test" if i.id in moved else splits[i.id]) for i in added.items)
    added.extract()
    assert added.encoder() != before


def test_an_added_item_gets_the_split_of_its_artist(begun: Begun, no_training: None) -> None:
    splits = open_run(begun.run).manifest.splits
    old = begun.items[:-N_ADDED]
    by_split = {s: next(i for i in old if splits[i.id] == s) for s in ("train", "val", "test")}
    new = [
        replace(begun.items[-1], id=f"new-{split}", artist=of.artist, album="")
        for split, of in by_split.items()
    ]
    begun.write([*old, *new, replace(begun.items[-2], artist="Nobody Yet", album="")])
    begun.extract()
    now = open_run(begun.run).manifest.splits
    assert {s: now[f"new-{s}"] for s in by_split} == {s: s for s in by_split}
    assert now[begun.items[-2].id] is not None


def test_one_that_would_be_in_two_splits_is_refused(begun: Begun) -> None:
    splits = open_run(begun.run).manifest.splits
    old = [replace(i, split=splits[i.id]) for i in begun.items[:-N_ADDED]]
    one = next(i for i in old if i.split == "train")
    begun.write([*old, replace(begun.items[-1], artist=one.artist, split="test")])
    with pytest.raises(SplitError, match="leak"):
        begun.extract()


def test_cross_fitted_encoders_stay_and_give_what_is_added(added: Begun, no_training: None) -> None:
    before = added.vectors("crossfit.h5")
    folds = open_run(added.run).folds(N_FOLDS)
    artist = {open_run(added.run).manifest[i].artist: k for i, k in folds.of.items()}
    like = next(i for i in added.items if i.artist in artist)
    own = replace(added.items[-1], artist=like.artist, album="")
    added.write([*added.items[:-1], own])
    added.extract()
    result = fuse(("text",), run=added.run)
    after = added.vectors("crossfit.h5")
    train = open_run(added.run).manifest.ids("train")
    assert set(after) == set(train) > set(before)
    for item_id, outputs in before.items():
        np.testing.assert_array_equal(after[item_id], outputs)
    folder = added.run / "encoders" / f"text.without-{artist[like.artist]}"
    network, _ = load_encoder(folder, "text", kind_of("text"))
    with FeatureStore(added.run / "inputs" / "text.h5", "text") as store:
        vector = embed(network, network.source(store), [own.id])
    expected = load_task_head(folder, "text").outputs(vector)[0]
    np.testing.assert_allclose(after[own.id], expected, atol=1e-5)
    assert GenreTagger.from_pretrained(added.run, result["name"]).modalities == ("text",)


def test_cross_fitted_encoders_follow_the_encoder_of_all(added: Begun) -> None:
    added.extract(retrain=True)
    before = [added.encoder(f"text.without-{k}") for k in range(N_FOLDS)]
    fuse(("text",), run=added.run)
    after = [added.encoder(f"text.without-{k}") for k in range(N_FOLDS)]
    assert all(one != other for one, other in zip(before, after, strict=True))


def test_fusing_alone_reads_what_is_added(added: Begun, no_training: None) -> None:
    result = fuse(("text",), run=added.run)
    new = {item.id for item in added.items[-N_ADDED:]}
    assert new <= added.vectors().keys()
    assert result["rows"][-1]["all"]["n_items"] == open_run(added.run).manifest.count("test")


@pytest.mark.slow
def test_a_new_genre_is_learned_by_heads(added: Begun, no_training: None) -> None:
    splits = open_run(added.run).manifest.splits
    trained = next(i for i in added.items if splits.get(i.id) == "train" and i.artist)
    new = replace(added.items[-1], artist=trained.artist, album="", labels=("Polka",))
    added.write([*added.items[:-1], new])
    notes = added.extract()
    assert len(noted(notes)) == 2
    new_genres = [note for note in notes if "Polka" in note]
    assert [note.partition(":")[0] for note in new_genres] == ["text"]  # the others have no genres
    assert new_genres[0].endswith("it does not, until --retrain: Polka")
    result = fuse(("text",), run=added.run)
    assert "Polka" in result["labels"]
    on_page = json.loads((added.run / "metrics.json").read_text(encoding="utf-8"))["notes"]
    assert new_genres[0] in on_page
    tagger = GenreTagger.from_pretrained(added.run, result["name"])
    genres = tagger.predict(text=new.media["text"][0]).genres
    assert "Polka" in {genre.name for genre in genres}
