"""Bias, max pool and ReLU in one pass: what a slow loop gives, and what torch's layers give."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from mmgenre.audio.convolutions import Members, pool, unpool

NAN, INF = math.nan, math.inf


def slow_pool(rows: Tensor, members: Members, bias: Tensor) -> tuple[Tensor, Tensor]:
    """One number after another, by the definition: higher than all before it, or NaN."""
    n, size = members.shape
    pooled, places = torch.zeros(n, rows.shape[1]), torch.zeros(n, rows.shape[1], dtype=torch.uint8)
    for i in range(n):
        for f in range(rows.shape[1]):
            values = [float(rows[m, f]) for m in members[i]]
            best = 0
            for k, value in enumerate(values):
                if value > values[best] or math.isnan(value):
                    best = k
            total = float(rows[members[i][best], f] + bias[f])
            pooled[i, f], places[i, f] = (0.0, size) if total <= 0 else (total, best)
    return pooled, places


def slow_unpool(
    gradient: Tensor, places: Tensor, members: Members, n_rows: int
) -> tuple[Tensor, Tensor]:
    full, bias = torch.zeros(n_rows, gradient.shape[1]), torch.zeros(gradient.shape[1])
    for i, pool_ in enumerate(members):
        for f in range(gradient.shape[1]):
            place = int(places[i, f])
            if place < len(pool_):
                full[pool_[place], f] = gradient[i, f]
                bias[f] += gradient[i, f]
    return full, bias


def some(n_rows: int, filters: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Rows and biases with many ties, sums that are 0, and numbers that are none."""
    made = torch.Generator().manual_seed(seed)
    rows = torch.randint(-2, 3, (n_rows, filters), generator=made).float()
    strange = torch.tensor([NAN, INF, -INF])[torch.randint(3, rows.shape, generator=made)]
    rows = torch.where(torch.rand(rows.shape, generator=made) < 0.1, strange, rows)
    return rows, torch.randint(-1, 2, (filters,), generator=made).float()


def some_members(n: int, size: int, n_rows: int, seed: int = 0) -> Members:
    """Rows in no order, none of them in two pools."""
    order = np.random.default_rng(seed).permutation(n_rows).astype(np.int32)
    return order[: n * size].reshape(n, size)


@pytest.mark.parametrize("filters", [1, 7, 16, 33])
@pytest.mark.parametrize(("n", "size", "n_rows"), [(5, 4, 20), (5, 4, 27), (9, 1, 9), (1, 16, 16)])
def test_pools_are_those_of_a_slow_loop(filters: int, n: int, size: int, n_rows: int) -> None:
    (rows, bias), members = some(n_rows, filters), some_members(n, size, n_rows)
    pooled, places = pool(rows, members, bias)
    wanted, wanted_places = slow_pool(rows, members, bias)
    torch.testing.assert_close(pooled, wanted, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(places, wanted_places)
    gradient = torch.arange(1.0, 1 + wanted.numel()).view_as(wanted)
    full, dbias = unpool(gradient, places, members, n_rows)
    wanted_full, wanted_bias = slow_unpool(gradient, places, members, n_rows)
    assert torch.equal(full, wanted_full)
    torch.testing.assert_close(dbias, wanted_bias)


def test_of_several_that_are_highest_the_first_has_the_gradient() -> None:
    members = np.array([[2, 0, 1]], np.int32)
    rows = torch.tensor([[3.0], [3.0], [1.0]])
    assert pool(rows, members, torch.zeros(1))[1].tolist() == [[1]]


def test_where_relu_gives_zero_there_is_no_gradient() -> None:
    members = np.array([[0, 1], [2, 3]], np.int32)
    rows = torch.tensor([[-3.0, 1.0], [-1.0, 2.0], [1.0, -4.0], [1.0, -4.0]])
    pooled, places = pool(rows, members, torch.tensor([-1.0, 1.0]))
    assert pooled.tolist() == [[0.0, 3.0], [0.0, 0.0]]  # and 1 - 1 is not above 0
    assert places.tolist() == [[2, 1], [2, 2]]
    full, bias = unpool(torch.ones(2, 2), places, members, 4)
    assert full.tolist() == [[0, 0], [0, 1], [0, 0], [0, 0]]
    assert bias.tolist() == [0, 1]


def test_pools_and_gradients_are_those_of_torch_layers() -> None:
    """Bias zero, so that torch's order (bias, ReLU, pool) meets the same ties."""
    rows, _ = some(24, 5)
    rows.requires_grad_()
    members = np.arange(24, dtype=np.int32).reshape(6, 4)
    theirs = torch.nn.functional.max_pool1d(torch.relu(rows.T), 4).T
    pooled, places = pool(rows, members, torch.zeros(5))
    torch.testing.assert_close(pooled, theirs.detach(), rtol=0, atol=0, equal_nan=True)
    gradient = torch.arange(1.0, 31.0).view(6, 5)
    theirs.backward(gradient)  # type: ignore[no-untyped-call]
    assert rows.grad is not None
    assert torch.equal(unpool(gradient, places, members, 24)[0], rows.grad)


def test_no_pools_give_nothing() -> None:
    members = np.zeros((0, 4), np.int32)
    pooled, places = pool(torch.ones(3, 2), members, torch.ones(2))
    assert pooled.shape == places.shape == (0, 2)
    full, bias = unpool(pooled, places, members, 3)
    assert not full.any()
    assert not bias.any()


@pytest.mark.parametrize("size", [255, 256])
def test_a_pool_too_large_to_be_counted_is_refused(size: int) -> None:
    members = np.arange(size, dtype=np.int32)[None]
    rows = torch.zeros(size, 1)
    if size > 255:
        with pytest.raises(ValueError, match="pools of 256 rows; at most 255"):
            pool(rows, members, torch.ones(1))
    else:
        rows[254] = 1
        assert pool(rows, members, torch.ones(1))[1].tolist() == [[254]]
