"""A query goes the way of prediction, and finds the item whose media it is."""

from __future__ import annotations

import json
import shutil
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import Call
from small import Small

from mmgenre.disk.bundle import bundle_fingerprint
from mmgenre.disk.store import FeatureStore
from mmgenre.errors import BundleError, InputError, MmgenreError, StoreError
from mmgenre.fusion.table import FeatureTable
from mmgenre.fusion.tagger import GenreTagger
from mmgenre.items.item import Item
from mmgenre.items.modalities import MODALITIES
from mmgenre.pipeline.commands import fuse
from mmgenre.pipeline.retrieval import recall_in_run, recalls
from mmgenre.pipeline.search import Search, space_of

NAME = "multi-logistic-a+t+i-with-joint"


@pytest.fixture(scope="module")
def run(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a joint space of all modalities, and one of two of them."""
    folder = small.copy(tmp_path_factory.mktemp("search") / "run")
    fuse(run=folder, seeds=1, joint=True)
    two = ["joint.modalities=['audio','image']"]
    fuse(run=folder, seeds=1, joint=True, inputs=["audio", "text", "joint.image"], settings=two)
    return folder


@pytest.fixture(scope="module")
def search(run: Path) -> Search:
    return Search.open(run)


def media(item: Item, modality: str) -> dict[str, Any]:
    """Arguments of `find`."""
    own = item.media[modality]
    return {modality: list(own) if modality == "audio" else own[0]}


def complete(search: Search, n: int) -> list[Item]:
    items = [i for i in search.manifest if len(i.media) == 3 and len(i.media["text"]) == 1]
    return items[:n]


@pytest.mark.parametrize("modality", MODALITIES)
def test_an_item_is_nearest_to_its_own_media(search: Search, modality: str) -> None:
    """Its vector is that of the run: the query went through the same encoder and joint space."""
    for item in complete(search, 3):
        found = search.find(**media(item, modality), top=5, within=modality)
        assert found.used == (modality,)
        assert not found.refused
        similarity = {hit.id: hit.similarity for hit in found.hits}
        assert similarity[item.id] == pytest.approx(1, abs=1e-4)
        assert found.hits[0].similarity == pytest.approx(similarity[item.id], abs=1e-4)
        own = next(hit for hit in found.hits if hit.id == item.id)
        assert (own.artist, own.album, own.genres) == (item.artist, item.album, item.labels)


def test_it_ranks_all_vectors_of_a_modality_by_cosine(search: Search) -> None:
    item = complete(search, 1)[0]
    n = len(search.manifest)
    with FeatureStore(search.space.store, "audio") as store:
        ids, vectors = store.ids, store.take(store.ids)
    with FeatureStore(search.space.store, "text") as store:
        query = store.take([item.id])[0]
    cosines = vectors @ query / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query)
    found = search.find(**media(item, "text"), top=n, within="audio")
    expected = {i: float(c) for i, c in zip(ids, cosines, strict=True)}
    assert len(found.hits) == len(ids)
    for hit in found.hits:
        assert hit.similarity == pytest.approx(expected[hit.id], abs=1e-4)
    similarities = [hit.similarity for hit in found.hits]
    assert similarities == sorted(similarities, reverse=True)


def test_without_a_modality_each_item_is_found_once_by_its_nearest(search: Search) -> None:
    item, n = complete(search, 1)[0], len(search.manifest)
    given = media(item, "image")
    alone = {m: search.find(**given, top=n, within=m).hits for m in MODALITIES}
    best: dict[str, float] = {}
    for hit in (hit for hits in alone.values() for hit in hits):
        best[hit.id] = max(best.get(hit.id, -1), hit.similarity)
    found = search.find(**given, top=n).hits
    assert {hit.id: hit.similarity for hit in found} == best
    assert [hit.id for hit in search.find(**given, top=4).hits] == [hit.id for hit in found[:4]]


def test_a_query_of_several_modalities_is_their_mean(search: Search) -> None:
    item = complete(search, 1)[0]
    units = []
    for modality in ("audio", "image"):
        with FeatureStore(search.space.store, modality) as store:
            vector = store.take([item.id])[0]
            units.append(vector / np.linalg.norm(vector))
    mean = np.mean(units, axis=0)
    with FeatureStore(search.space.store, "text") as store:
        own = store.take([item.id])[0]
    expected = own @ mean / np.linalg.norm(own) / np.linalg.norm(mean)
    both = {**media(item, "audio"), **media(item, "image")}
    found = search.find(**both, top=len(search.manifest), within="text")
    assert found.used == ("audio", "image")
    (hit,) = (hit for hit in found.hits if hit.id == item.id)
    assert hit.similarity == pytest.approx(expected, abs=1e-4)


def test_what_cannot_be_searched_by_is_named(search: Search, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lyrics: not in this joint space, which is of audio"):
        search.find(text="piano", within="lyrics")
    with pytest.raises(ValueError, match="at least one of"):
        search.find()
    with pytest.raises(InputError, match="no word of its text"):
        search.find(text="qqqq zzzz")
    with pytest.raises(InputError, match="no such file"):
        search.find(audio=tmp_path / "none.wav")


def test_damaged_media_of_a_query_are_listed(search: Search, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    item = complete(search, 1)[0]
    with pytest.raises(InputError, match=r"broken\.png"):
        search.find(image=broken)
    found = search.find(**media(item, "audio"), image=broken)
    assert found.used == ("audio",)
    assert [r.modality for r in found.refused] == ["image"]


def test_the_space_of_most_inputs_is_searched(run: Path) -> None:
    assert space_of(run).fusion == NAME
    assert space_of(run).modalities == ("audio", "image", "text")
    assert space_of(run, _two(run)).modalities == ("audio", "image")


def test_a_model_of_more_than_its_joint_space_predicts(run: Path, search: Search) -> None:
    """It reads texts, which its joint space is not of."""
    tagger = GenreTagger.from_pretrained(run, _two(run))
    item = complete(search, 1)[0]
    assert tagger.predict(**media(item, "text")).used == ("text",)


def test_a_run_without_a_joint_space_says_how_to_make_one(small: Small) -> None:
    with pytest.raises(MmgenreError, match=r"no joint space .*mmgenre fuse --joint --run"):
        Search.open(small.run)


@pytest.mark.slow
def test_several_joint_spaces_are_told_apart(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    fuse(run=folder, seeds=1, joint=True, settings=["joint.dim=12"])
    # The vectors of the space of 16 are no longer there: it has the same name.
    assert space_of(folder).fusion != NAME
    with pytest.raises(BundleError, match="made anew since; run mmgenre fuse --joint"):
        space_of(folder, NAME)


def test_vectors_of_another_space_are_not_searched(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    space = space_of(folder)
    shutil.copy(space_of(run, _two(run)).store, space.store)
    with pytest.raises(StoreError, match="holds no vectors of the joint space"):
        space_of(folder)
    assert bundle_fingerprint(space.folder) is not None


def _two(run: Path) -> str:
    return next(p.name for p in (run / "fusion").iterdir() if "-only-" in p.name)


def test_recall_is_that_of_a_loop_over_the_items(run: Path, search: Search) -> None:
    found = recall_in_run(run, "val")
    assert set(found) == set(permutations(MODALITIES, 2))
    for (one, other), own in found.items():
        with (
            FeatureStore(search.space.store, one) as queries,
            FeatureStore(search.space.store, other) as items,
        ):
            ids = [i for i in search.manifest.ids("val") if i in queries and i in items]
            q, x = queries.take(ids), items.take(ids)
        ranks = []
        for k in range(len(ids)):
            cosines = [q[k] @ row / np.linalg.norm(q[k]) / np.linalg.norm(row) for row in x]
            ranks.append(sorted(cosines, reverse=True).index(cosines[k]) + 1)
        assert own.n == len(ids) > 2
        assert own.median_rank == np.median(ranks)
        assert own.recall == {k: np.mean([r <= k for r in ranks]) for k in (1, 5, 10)}


def test_views_of_a_modality_count_as_in_a_search() -> None:
    """A query is the mean of its views' unit vectors; an item's similarity the mean of cosines."""
    rng = np.random.default_rng(0)
    names, n = ("audio", "audio.b", "text"), 30
    present = {name: rng.random(n) < 0.8 for name in names}
    present["text"][:20] = True
    hidden = rng.standard_normal((n, 6))
    x = {
        name: ((hidden + rng.standard_normal((n, 6))) * here[:, None]).astype(np.float32)
        for name, here in present.items()
    }
    table = FeatureTable(tuple(f"i{k}" for k in range(n)), x, present)
    found = recalls(table, [f"a{k}" for k in range(n)])["text", "audio"]
    both = [
        k for k in range(n) if present["text"][k] and (present["audio"] | present["audio.b"])[k]
    ]

    def similarity(query: int, item: int) -> float:
        q = x["text"][query] / np.linalg.norm(x["text"][query])
        views = [x[v][item] for v in names[:2] if present[v][item]]
        return float(np.mean([q @ v / np.linalg.norm(v) for v in views]))

    ranks = [1 + sum(similarity(k, j) > similarity(k, k) for j in both) for k in both]
    assert found.n == len(both) < n
    assert found.median_rank == np.median(ranks)
    assert found.mean_reciprocal_rank == pytest.approx(np.mean([1 / r for r in ranks]))


def test_the_command_measures_recall(call: Call, run: Path) -> None:
    shown = call("search", run, "--recall", "val")
    assert shown.code == 0, shown.err
    assert shown.out.count("recall@1 ") == 6
    measured = call("search", run, "--recall", "val", "--json").json
    assert {(m["query"], m["finds"]) for m in measured} == set(permutations(MODALITIES, 2))
    assert call("search", run, "--recall", "val", "--text", "piano").code == 2
    assert call("search", run, "--recall", "train").code == 2


def test_the_command(call: Call, run: Path, search: Search, tmp_path: Path) -> None:
    source = complete(search, 1)[0].media["text"][0]
    words = source.read_text(encoding="utf-8") if isinstance(source, Path) else source
    file = tmp_path / "words.txt"
    file.write_text(words, encoding="utf-8")
    by_file = call("search", run, "--text", file, "--top", "3", "--in", "a", "--json")
    assert by_file.code == 0, by_file.err
    found = json.loads(by_file.out)
    assert found["used"] == ["text"]
    assert len(found["hits"]) == 3
    assert {hit["modality"] for hit in found["hits"]} == {"audio"}
    by_words = call("search", run, "--text", words, "--top", "3", "--in", "audio", "--json")
    assert json.loads(by_words.out) == found
    shown = call("search", run, "--text", words, "--top", "3").out.splitlines()
    assert len(shown) == 4


def test_the_command_refuses(call: Call, run: Path, small: Small) -> None:
    assert call("search", run).code == 2
    assert call("search", run, "--text", "piano", "--in", "lyrics").code == 2
    gone = call("search", run, "--text", "gone.txt")
    assert gone.code == 1
    assert "gone.txt: no such file" in gone.err
    none = call("search", small.run, "--text", "piano")
    assert none.code == 1
    assert "mmgenre fuse --joint" in none.err


def test_the_command_with_an_index(call: Call, run: Path, search: Search) -> None:
    pytest.importorskip("usearch")
    words = str(complete(search, 1)[0].media["text"][0])
    exact = call("search", run, "--text", words, "--json")
    refused = call("search", run, "--text", words, "--approximate")
    assert refused.code == 1
    assert "--build-index" in refused.err
    nearly = call("search", run, "--text", words, "--build-index", "--approximate", "--json")
    assert nearly.code == 0, nearly.err
    one, other = (json.loads(done.out)["hits"] for done in (exact, nearly))
    assert [hit["id"] for hit in one] == [hit["id"] for hit in other]
