"""Rows go by id: in any order of a manifest, of a store, of given vectors, with some left out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mmgenre.datasets.features import import_features
from mmgenre.disk.files import finished_folders
from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import Block, FeatureStore, content_hash, write_store
from mmgenre.errors import StoreError
from mmgenre.fusion.table import gather
from mmgenre.items.item import Split
from mmgenre.items.manifest import Manifest
from mmgenre.pipeline.commands import fuse
from mmgenre.pipeline.scores import read_scores
from mmgenre.reading.extraction import extract_inputs
from mmgenre.text.settings import TextInput

PROVENANCE = Provenance("stage", 1, {})
seeded = settings(derandomize=True, database=None, deadline=None, max_examples=25)

# Any text that UTF-8 can hold, but NUL.
ids_ = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
id_lists = st.lists(ids_, min_size=1, max_size=30, unique=True)


@st.composite
def contents(draw: st.DrawFn, ragged: bool) -> tuple[list[str], list[NDArray[Any]]]:
    """Ids and their rows, each different from all others; ragged ones of 0 to 40 frames."""
    ids = draw(id_lists)
    dtype = draw(st.sampled_from(["float16", "float32", "uint8"]))
    shape = tuple(draw(st.lists(st.integers(1, 4), max_size=2)))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    lengths = rng.integers(0, 40, len(ids)) if ragged else [1] * len(ids)
    rows = [(rng.random((int(n), *shape)) * 250).astype(dtype) for n in lengths]
    return ids, rows if ragged else [row[0] for row in rows]


@contextmanager
def written(
    ids: list[str], rows: list[NDArray[Any]], ragged: bool, cuts: list[int] | None = None
) -> Iterator[Path]:
    """A store file, written in blocks that end at `cuts`."""
    ends = sorted({0, len(ids), *(cut % (len(ids) + 1) for cut in cuts or [])})
    blocks: list[Block] = [
        (ids[low:high], rows[low:high] if ragged else np.array(rows[low:high]))
        for low, high in pairwise(ends)
    ]
    with TemporaryDirectory() as folder:
        yield write_store(Path(folder) / "a.h5", "g", blocks, PROVENANCE, ragged=ragged)


drawn = st.booleans().flatmap(lambda ragged: st.tuples(st.just(ragged), contents(ragged)))


@seeded
@given(drawn, st.lists(st.integers(0, 30), max_size=4), st.randoms(use_true_random=False))
def test_row_i_is_that_of_id_i_in_whatever_order_it_is_asked_for(
    content: tuple[bool, tuple[list[str], list[NDArray[Any]]]], cuts: list[int], random: Any
) -> None:
    ragged, (ids, rows) = content
    row_of = dict(zip(ids, rows, strict=True))
    asked = [random.choice(ids) for _ in range(random.randint(0, 20))]  # subsets, with repeats
    with written(ids, rows, ragged, cuts) as path, FeatureStore(path, "g") as store:
        assert len(store) == len(ids)
        assert store.dtype == rows[0].dtype
        for item_id in asked:
            np.testing.assert_array_equal(store.read(item_id), row_of[item_id])
        if ragged:
            starts = [random.randint(0, 45) for _ in asked]
            found = store.windows(asked, starts, 7, fill=9)
            for window, item_id, start in zip(found, asked, starts, strict=True):
                part = row_of[item_id][start : start + 7]
                np.testing.assert_array_equal(window[: len(part)], part)
                assert (window[len(part) :] == 9).all()
                np.testing.assert_array_equal(store.read(item_id, start, start + 7), part)
            assert store.lengths(asked) == [len(row_of[item_id]) for item_id in asked]
        else:
            expected = np.array([row_of[i] for i in asked], store.dtype)
            np.testing.assert_array_equal(
                store.take(asked), expected.reshape(len(asked), *rows[0].shape)
            )
        assert store.ids == tuple(ids)
        everything = [(i, row) for block in store.blocks() for i, row in zip(*block, strict=True)]
        for (item_id, row), known in zip(everything, ids, strict=True):
            assert item_id == known
            np.testing.assert_array_equal(row, row_of[item_id])


@seeded
@given(drawn, st.lists(st.integers(0, 30), max_size=4), st.randoms(use_true_random=False))
def test_blocks_do_not_count_and_order_does(
    content: tuple[bool, tuple[list[str], list[NDArray[Any]]]], cuts: list[int], random: Any
) -> None:
    ragged, (ids, rows) = content
    order = list(range(len(ids)))
    random.shuffle(order)
    with (
        written(ids, rows, ragged) as whole,
        written(ids, rows, ragged, cuts) as cut,
        written([ids[k] for k in order], [rows[k] for k in order], ragged) as permuted,
    ):
        assert content_hash(whole) == content_hash(cut)
        assert (content_hash(whole) == content_hash(permuted)) == (order == sorted(order))
        with FeatureStore(whole, "g") as one, FeatureStore(permuted, "g") as other:
            for item_id in ids:
                np.testing.assert_array_equal(one.read(item_id), other.read(item_id))


@seeded
@given(drawn, st.integers(0, 29), st.integers(0, 30), st.lists(st.integers(0, 30), max_size=3))
def test_an_id_that_repeats_is_refused_wherever_it_stands(
    content: tuple[bool, tuple[list[str], list[NDArray[Any]]]],
    which: int,
    place: int,
    cuts: list[int],
) -> None:
    ragged, (ids, rows) = content
    which, place = which % len(ids), place % (len(ids) + 1)
    ids = [*ids[:place], ids[which], *ids[place:]]
    rows = [*rows[:place], rows[which], *rows[place:]]
    with (
        pytest.raises(StoreError, match="1 ids appear twice"),
        written(ids, rows, ragged, cuts),
    ):
        pass


@seeded
@given(st.lists(id_lists, min_size=2, max_size=3), id_lists, st.randoms(use_true_random=False))
def test_rows_of_several_stores_are_joined_by_id(
    stores: list[list[str]], further: list[str], random: Any
) -> None:
    """Each store has ids of its own, in an order of its own, and its row says which id it is of."""
    with TemporaryDirectory() as folder:
        opened = {}
        for k, ids in enumerate(stores):
            rows = np.array([[hash_of(i), k + 1] for i in ids], np.float32)
            write_store(Path(folder) / f"{k}.h5", "g", [(ids, rows)], PROVENANCE)
            opened[str(k)] = FeatureStore(Path(folder) / f"{k}.h5", "g")
        asked = list({*further, *(i for ids in stores for i in ids)})
        random.shuffle(asked)
        table = gather(opened, asked)
        for store in opened.values():
            store.close()
    assert table.ids == tuple(asked)
    for k, ids in enumerate(stores):
        for item_id, row, here in zip(asked, table.x[str(k)], table.present[str(k)], strict=True):
            assert here == (item_id in ids)
            assert row.tolist() == ([hash_of(item_id), k + 1] if here else [0, 0])


def hash_of(item_id: str) -> int:
    """A number that float32 holds exactly."""
    return sum(ord(letter) * (k + 1) for k, letter in enumerate(item_id)) % (1 << 20)


WORDS = [f"item {k:02d}" for k in range(40)]


@seeded
@given(st.lists(st.sampled_from(WORDS), min_size=1, unique=True), st.data())
def test_what_is_read_is_of_its_item(words: list[str], data: st.DataObject) -> None:
    """Inline texts; rows of the file in any order, any of them left out, texts exchanged."""
    texts = dict(zip(words, data.draw(st.permutations(words)), strict=True))
    with TemporaryDirectory() as folder:
        path = Path(folder, "m.csv")
        rows = [f"{item_id},The text of {text}." for item_id, text in texts.items()]
        path.write_text("\n".join(["id,text", *rows]), encoding="utf-8")
        target = Path(folder, "text.h5")
        extract_inputs(Manifest.read(path), "text", TextInput(), target, workers=1)
        with FeatureStore(target, "text") as store:
            found = {item_id: store.read_text(item_id) for item_id in store.ids}
    assert found == {item_id: f"The text of {text}." for item_id, text in texts.items()}


@seeded
@given(id_lists, st.booleans(), st.randoms(use_true_random=False))
def test_given_vectors_are_of_their_ids(ids: list[str], beside: bool, random: Any) -> None:
    """Ids in the archive or in a file beside it."""
    ids = [f"{k}-{''.join(c for c in i if c.isalnum())}" for k, i in enumerate(ids)]
    random.shuffle(ids)
    x = np.array([[hash_of(i), k] for k, i in enumerate(ids)], np.float32)
    with TemporaryDirectory() as folder:
        source = Path(folder, "v.npy" if beside else "v.npz")
        if beside:
            np.save(source, x)
            Path(folder, "v.ids.txt").write_text("\n".join(ids), encoding="utf-8")
        else:
            np.savez(source, ids=np.array(ids), x=x)
        with FeatureStore(import_features({"v": source}, Path(folder, "f.h5")), "v") as store:
            assert sorted(store.ids) == sorted(ids)
            for item_id, row in zip(ids, x, strict=True):
                np.testing.assert_array_equal(store.read(item_id), row)
        again = random.choice(ids)
        np.savez(Path(folder, "w.npz"), ids=np.array([*ids, again]), x=np.vstack([x, x[:1]]))
        with pytest.raises(StoreError, match=rf"row {len(ids)}: id '{again}' is already in row"):
            import_features({"w": Path(folder, "w.npz")}, Path(folder, "g.h5"))


# Of a whole run: items with their split and genre, and vectors of some and of others.
N_ITEMS = 24
SPLITS: tuple[Split, ...] = (*("train",) * 12, *("val",) * 6, *("test",) * 6)
IDS = [f"i{k:02d}" for k in range(N_ITEMS)]
TEST = IDS[18:]
X = np.random.default_rng(0).standard_normal((N_ITEMS, 5)).astype(np.float32)
X[::2] += 1
VECTORS = dict(zip(IDS, X, strict=True))


def scores(order: list[str], vectors: dict[str, NDArray[np.float32]]) -> dict[str, list[float]]:
    """Scores of the test items by a run on given vectors, the manifest's rows in some order."""
    with TemporaryDirectory() as folder:
        path, source = Path(folder, "m.csv"), Path(folder, "v.npz")
        rows = [f"{i},{SPLITS[IDS.index(i)]},{('Jazz', 'Rock')[IDS.index(i) % 2]}" for i in order]
        path.write_text("\n".join(["id,split,labels", *rows]), encoding="utf-8")
        np.savez(source, ids=np.array(list(vectors)), x=np.array(list(vectors.values())))
        run = Path(folder, "run")
        fuse(run=run, manifest=path, features={"given": source})
        [fusion] = finished_folders(run / "fusion")
        found = read_scores(fusion)
    return dict(zip(found.ids, found.values.reshape(len(found.ids), -1).tolist(), strict=True))


def check_scores(random: Any) -> None:
    plain = scores(IDS, VECTORS)
    assert sorted(plain) == TEST
    assert len({str(row) for row in plain.values()}) == len(TEST)

    mixed = random.sample(IDS, N_ITEMS)
    others = {"stranger": X[0] + 9, **{i: VECTORS[i] for i in random.sample(IDS, N_ITEMS)}}
    assert scores(mixed, others) == plain  # rows of the manifest and the vectors permuted

    one, other = random.sample(TEST, 2)
    exchanged = VECTORS | {one: VECTORS[other], other: VECTORS[one]}
    found = scores(mixed, exchanged)
    expected = plain | {one: plain[other], other: plain[one]}
    for item_id in TEST:
        np.testing.assert_allclose(found[item_id], expected[item_id], rtol=1e-6)

    gone = random.choice(TEST)
    for found in (
        scores([i for i in mixed if i != gone], VECTORS),
        scores(mixed, {i: x for i, x in others.items() if i != gone}),
    ):
        for item_id in TEST:
            if item_id != gone:
                np.testing.assert_allclose(found[item_id], plain[item_id], rtol=1e-6)


def test_scores_are_of_their_items() -> None:
    check_scores(Random(0))


@pytest.mark.slow
@settings(seeded, max_examples=10)
@given(st.randoms(use_true_random=False))
def test_scores_are_of_their_items_however_they_are_mixed(random: Any) -> None:
    check_scores(random)
