"""Properties of the store, on drawn contents: what is written is read, by id, or refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import Block, FeatureStore, content_hash, write_store
from mmgenre.errors import StoreError

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


@settings(seeded, max_examples=60)
@given(st.booleans(), st.floats(0, 1, exclude_max=True), st.integers(0, 255))
def test_a_changed_byte_never_gives_other_values(ragged: bool, where: float, byte: int) -> None:
    rng = np.random.default_rng(0)
    ids = [f"item {k}" for k in range(12)]
    lengths = rng.integers(1, 60, 12) if ragged else [1] * 12
    rows = [rng.standard_normal((int(n), 3)).astype(np.float32) for n in lengths]
    rows = rows if ragged else [row[0] for row in rows]
    with written(ids, rows, ragged) as path:
        damaged = bytearray(path.read_bytes())
        used = np.flatnonzero(np.frombuffer(bytes(damaged), np.uint8))  # zeros: mostly spare room
        damaged[used[int(where * len(used))]] = byte
        path.write_bytes(damaged)
        try:
            with FeatureStore(path, "g") as store:
                found = [store.read(item_id) for item_id in ids]
                if ragged:
                    windows = store.windows(ids, [0] * 12, 60, fill=0)
                    taken = [w[:n] for w, n in zip(windows, lengths, strict=True)]
                else:
                    taken = list(store.take(ids[:6])) + list(store.take(ids))[6:]
        except StoreError:
            return
        for row, one, other in zip(rows, found, taken, strict=True):
            np.testing.assert_array_equal(row, one)
            np.testing.assert_array_equal(row, other)
