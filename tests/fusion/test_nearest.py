"""Exact search against every cosine computed at once in float64."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import FeatureStore, write_store
from mmgenre.errors import StoreError
from mmgenre.fusion import nearest
from mmgenre.fusion.nearest import Gallery, Views, highest, mean_direction

Rows = NDArray[np.floating]
WIDTH = 24


def vectors(n: int, seed: int) -> NDArray[np.float32]:
    """Vectors of very unlike lengths; one of ten is zero."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((n, WIDTH)) * rng.lognormal(sigma=3, size=(n, 1))
    rows[::10] = 0
    return rows.astype(np.float32)


def written(path: Path, name: str, ids: list[str], rows: Rows) -> FeatureStore:
    write_store(path, name, [(ids, rows)], Provenance("joint", 1, {}))
    return FeatureStore(path, name)


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def by_hand(rows: Rows, query: Rows) -> NDArray[np.float64]:
    """Cosines, (n,); -inf where a row is zero."""
    found = []
    for row in rows.astype(np.float64):
        length = np.linalg.norm(row)
        found.append(row @ query / length / np.linalg.norm(query) if length else -np.inf)
    return np.array(found)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("block", [1, 4 * WIDTH * 7, 1 << 22])
def test_every_cosine_is_as_by_hand(
    tmp_path: Path,
    opened: ExitStack,
    monkeypatch: pytest.MonkeyPatch,
    dtype: type[np.floating],
    block: int,
) -> None:
    monkeypatch.setattr(nearest, "BLOCK_BYTES", block)
    rows = np.clip(vectors(503, 0), -6e4, 6e4).astype(dtype)
    ids = [f"item {k}" for k in range(len(rows))]
    gallery = Gallery(opened.enter_context(written(tmp_path / "v.h5", "audio", ids, rows)))
    queries = np.random.default_rng(1).standard_normal((3, WIDTH)) * 1e3
    expected = [by_hand(rows, q) for q in queries]
    for _ in range(2):  # of which the second knows the lengths of the rows
        np.testing.assert_allclose(gallery.cosines(queries), expected, atol=1e-6)


def test_squares_that_overflow_have_a_direction(tmp_path: Path, opened: ExitStack) -> None:
    rows = np.eye(3, WIDTH, dtype=np.float32) * np.float32(1e30)
    store = opened.enter_context(written(tmp_path / "v.h5", "audio", list("abc"), rows))
    np.testing.assert_allclose(Gallery(store).cosines(np.eye(1, WIDTH))[0], [1, 0, 0])


def test_the_nearest_of_several_views_is_by_their_mean(tmp_path: Path, opened: ExitStack) -> None:
    """Views that have the same items in the same order, or others in another."""
    query = np.random.default_rng(9).standard_normal(WIDTH).astype(np.float32)
    one, other = vectors(120, 2), vectors(120, 3)
    other[::5] = 0  # other rows than those of `one`
    ids = [f"i{k}" for k in range(120)]
    shuffled = np.random.default_rng(0).permutation(120)[:70]
    for name, rows in (("same", np.arange(120)), ("others", shuffled)):
        stores = [
            opened.enter_context(written(tmp_path / f"{name}.h5", "audio", ids, one)),
            opened.enter_context(
                written(tmp_path / f"{name}.h5", "audio.b", [ids[k] for k in rows], other[rows])
            ),
        ]
        cosines = {k: [c] for k, c in enumerate(by_hand(one, query))}
        for k, c in zip(rows, by_hand(other[rows], query), strict=True):
            cosines[int(k)].append(c)
        means = {
            ids[k]: float(np.mean(known))
            for k, own in cosines.items()
            if (known := [c for c in own if np.isfinite(c)])
        }
        assert 100 < len(means) < 120
        best = sorted(means, key=lambda i: -means[i])
        for top in (1, 10, 500):
            found = Views([Gallery(store) for store in stores]).nearest(query, top)
            assert [m.id for m in found] == best[:top]
            expected = [means[m.id] for m in found]
            np.testing.assert_allclose([m.similarity for m in found], expected, atol=1e-6)


def test_ties_are_in_the_order_of_the_rows() -> None:
    values = np.array([1.0, 3.0, 3.0, 2.0, 3.0, -np.inf])
    for top in range(1, 9):
        assert highest(values, top).tolist() == [1, 2, 4, 3, 0, 5][:top]
    assert highest(np.array([]), 3).tolist() == []


def test_a_query_of_several_is_the_mean_of_unit_vectors() -> None:
    x, y = np.array([5.0, 0.0]), np.array([0.0, 0.01])
    np.testing.assert_allclose(mean_direction([x, y]), [0.5, 0.5])
    with pytest.raises(ValueError, match="no direction in common"):
        mean_direction([x, -x])
    with pytest.raises(ValueError, match="no vector"):
        mean_direction([])


def test_what_cannot_be_searched_is_refused(tmp_path: Path, opened: ExitStack) -> None:
    store = opened.enter_context(written(tmp_path / "v.h5", "a", list("abc"), vectors(3, 0)))
    gallery = Gallery(store)
    with pytest.raises(ValueError, match=rf"queries \(1, 3\): must be \(m, {WIDTH}\)"):
        gallery.cosines(np.ones((1, 3)))
    for bad in (0.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="zeros, or holds NaN"):
            gallery.cosines(np.full((1, WIDTH), bad))
    with pytest.raises(ValueError, match="at least 1"):
        Views([gallery]).nearest(np.ones(WIDTH), 0)
    pictures = np.zeros((2, 4, 4), np.float32)
    with pytest.raises(StoreError, match="no vectors"):
        Gallery(opened.enter_context(written(tmp_path / "p.h5", "a", list("ab"), pictures)))


def test_damage_is_found_and_not_searched(tmp_path: Path) -> None:
    path, rows = tmp_path / "v.h5", vectors(900, 0)
    ids = [f"item {k}" for k in range(900)]
    with written(path, "audio", ids, rows) as store:
        (chunk, *_) = _places(store)
    content = bytearray(path.read_bytes())
    content[chunk + 17] ^= 0x40
    path.write_bytes(content)
    with FeatureStore(path, "audio") as store, pytest.raises(StoreError, match="cannot be read"):
        Gallery(store).cosines(np.ones((1, WIDTH)))


def _places(store: FeatureStore) -> list[int]:
    return [int(place) for place in store._chunks.places]
