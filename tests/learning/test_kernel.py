"""Random features: inner products are the kernel's, and blocks count equally."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mmgenre.errors import TrainingError
from mmgenre.learning.descriptors import orthogonal_directions
from mmgenre.learning.kernel import CLIP, KernelEncoder


def rows(n: int, columns: int, seed: int = 0) -> NDArray[np.float32]:
    """Columns of unlike units."""
    rng = np.random.default_rng(seed)
    units = 10.0 ** rng.integers(-2, 3, columns)
    return ((rng.standard_normal((n, columns)) + 1) * units).astype(np.float32)


def embedded(encoder: KernelEncoder, x: NDArray[np.float32]) -> NDArray[np.float32]:
    with torch.inference_mode():
        return np.asarray(encoder(torch.from_numpy(x)).numpy())


def kernel(x: NDArray[np.float32], train: NDArray[np.float32], widths: list[int]) -> NDArray:  # type: ignore[type-arg]
    """Written from the docstring, in a loop over blocks."""
    wide = x.astype(np.float64)
    std = train.std(axis=0, dtype=np.float64)
    z = np.clip((wide - train.mean(axis=0, dtype=np.float64)) / np.where(std, std, 1), -CLIP, CLIP)
    start, blocks = 0, []
    for width in widths:
        own = z[:, start : start + width]
        blocks.append(((own[:, None] - own[None]) ** 2).mean(axis=2))
        start += width
    return np.asarray(np.exp(-np.mean(blocks, axis=0) / 2))


@pytest.mark.parametrize("widths", [[6], [40, 3], [5, 90, 20, 1]])
def test_inner_products_are_the_kernel_s(widths: list[int]) -> None:
    train, x = rows(300, sum(widths)), rows(30, sum(widths), 1)
    encoder = KernelEncoder(widths, 2048).fit(train)
    found = embedded(encoder, x)
    assert found.shape == (30, 2048)
    expected = kernel(x, train, widths)
    assert expected[~np.eye(30, dtype=bool)].std() > 0.03  # else any constant would do
    np.testing.assert_allclose(found @ found.T, expected, atol=0.09)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


def test_more_features_are_nearer_and_orthogonal_ones_nearer_than_independent() -> None:
    train = rows(100, 30)
    expected = kernel(train, train, [30])

    def error(dim: int) -> float:
        found = embedded(KernelEncoder([30], dim).fit(train), train)
        return float(np.abs(found @ found.T - expected).mean())

    assert error(64) > 2 * error(1024)
    z = np.clip((train - train.mean(axis=0)) / train.std(axis=0), -CLIP, CLIP)
    angles = z @ np.random.default_rng(0).standard_normal((30, 32)) / np.sqrt(30)
    plain = np.concatenate([np.cos(angles), np.sin(angles)], axis=1) / np.sqrt(32)
    assert error(64) < np.abs(plain @ plain.T - expected).mean()


def test_a_block_counts_as_much_as_another_however_wide() -> None:
    """Rows that differ by one deviation in all columns of one block are equally far apart."""
    widths = [50, 2]
    train = rows(200, 52)
    encoder = KernelEncoder(widths, 2048).fit(train)
    centre = np.repeat(train.mean(axis=0, keepdims=True), 3, axis=0)
    deviation = train.std(axis=0)
    centre[1, :50] += deviation[:50]
    centre[2, 50:] += deviation[50:]
    found = embedded(encoder, centre)
    wide, narrow = found[0] @ found[1], found[0] @ found[2]
    assert wide == pytest.approx(np.exp(-1 / 4), abs=0.04)
    assert narrow == pytest.approx(np.exp(-1 / 4), abs=0.04)


def test_a_broken_descriptor_outweighs_nothing_and_a_constant_column_says_nothing() -> None:
    train = rows(100, 8)
    train[:, 3] = 5.0
    encoder = KernelEncoder([8], 256).fit(train)
    x = np.repeat(train[:1], 2, axis=0)
    x[0, 0], x[1, 0] = 1e30, train[:, 0].mean() + 2 * CLIP * train[:, 0].std()
    found = embedded(encoder, x)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_allclose(embedded(encoder, train)[0] @ embedded(encoder, train)[0], 1)


def test_directions_are_the_same_in_every_run_and_orthogonal() -> None:
    w = orthogonal_directions(20, 50)
    assert w.shape == (20, 50)
    orthogonal_directions.cache_clear()
    np.testing.assert_array_equal(w, orthogonal_directions(20, 50))
    first = w[:, :20] / np.linalg.norm(w[:, :20], axis=0)
    np.testing.assert_allclose(first.T @ first, np.eye(20), atol=1e-9)
    # Lengths as of normal vectors: their squares are 20 on average.
    lengths = (orthogonal_directions(20, 2000) ** 2).sum(axis=0)
    assert lengths.mean() == pytest.approx(20, abs=0.7)
    assert lengths.std() == pytest.approx(np.sqrt(40), abs=0.7)


def test_features_come_in_pairs() -> None:
    with pytest.raises(TrainingError, match=r"embedding_dim 5: .* give an even number"):
        KernelEncoder([3], 5)
