"""Dropout: its law, drawn or out of a pool."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from mmgenre.encoders import dropout
from mmgenre.encoders.dropout import Dropout


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def kept(layer: Dropout, shape: tuple[int, ...]) -> Tensor:
    out: Tensor = layer(torch.ones(shape))
    # What is kept is divided by 1 - p, all else is 0.
    assert set(out.flatten().tolist()) <= {0.0, out.max().item()}
    assert out.max().item() == pytest.approx(1 / (1 - layer.p), rel=1e-4)
    return out > 0


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.7])
def test_each_number_is_kept_with_the_same_probability(p: float, pooled: bool) -> None:
    layer = Dropout(p, pooled=pooled).train()
    masks = torch.stack([kept(layer, (100, 40)) for _ in range(60)]).float()
    assert masks.mean().item() == pytest.approx(1 - p, abs=0.004)
    by_unit = masks.mean(dim=(0, 1))  # (40,), of 6000 each
    assert (by_unit - (1 - p)).abs().max() < 0.035  # no unit is fixed: five standard deviations
    by_row = masks.mean(dim=(0, 2))
    assert (by_row - (1 - p)).abs().max() < 0.06
    # Neighbours are independent: four come out of one draw.
    together = (masks[..., :-1] * masks[..., 1:]).mean().item()
    assert together == pytest.approx((1 - p) ** 2, abs=0.006)


def test_masks_of_a_pool_differ_and_the_pool_is_drawn_anew() -> None:
    layer = Dropout(0.5, pooled=True).train()
    masks = [kept(layer, (50, 50)) for _ in range(dropout.REDRAWN_AFTER)]
    pool = layer.pool
    assert pool is not None
    agree = [(a == b).float().mean().item() for a, b in pairwise(masks)]
    assert max(agree) < 0.6
    kept(layer, (50, 50))
    assert layer.pool is not pool
    layer.train()  # an epoch begins
    assert layer.pool is None


def test_a_pool_is_a_matter_of_the_seed_alone() -> None:
    layer, masks = Dropout(0.5, pooled=True), []
    for _ in range(2):
        torch.manual_seed(7)
        layer.train()
        masks.append(torch.stack([kept(layer, (9, 9)) for _ in range(3)]))
    assert torch.equal(masks[0], masks[1])


def test_what_does_not_fit_into_a_pool_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dropout, "POOL", 100)
    layer = Dropout(0.5, pooled=True).train()
    assert 0.4 < kept(layer, (30, 30)).float().mean() < 0.6
    assert layer.pool is None


def test_evaluation_and_no_dropout_change_nothing() -> None:
    x = torch.randn(5, 7)
    assert torch.equal(Dropout(0.5).eval()(x), x)
    assert torch.equal(Dropout(0.0).train()(x), x)
    assert not Dropout(1.0).train()(x).any()


def test_gradients_flow_where_numbers_were_kept() -> None:
    x = torch.ones(6, 6, requires_grad=True)
    out = Dropout(0.5).train()(x)
    out.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, out.detach())
