"""Dropout: its law, and where its random numbers come from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from mmgenre.learning.dropout import Dropout, _masked


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def kept(layer: Dropout, shape: tuple[int, ...]) -> Tensor:
    out: Tensor = layer(torch.ones(shape))
    # What is kept is divided by 1 - p, all else is 0.
    assert set(out.flatten().tolist()) <= {0.0, out.max().item()}
    assert out.max().item() == pytest.approx(1 / (1 - layer.p), rel=1e-6)
    return out > 0


@pytest.mark.parametrize("p", [0.1, 0.5, 0.7])
def test_each_number_is_kept_with_the_same_probability(p: float) -> None:
    layer = Dropout(p).train()
    masks = torch.stack([kept(layer, (100, 40)) for _ in range(60)]).float()
    assert masks.mean().item() == pytest.approx(1 - p, abs=0.004)
    by_unit = masks.mean(dim=(0, 1))  # (40,), of 6000 each
    assert (by_unit - (1 - p)).abs().max() < 0.035  # no unit is fixed: five standard deviations
    by_row = masks.mean(dim=(0, 2))
    assert (by_row - (1 - p)).abs().max() < 0.06
    # Independent of each other: neighbours, numbers of one draw, masks that follow each other.
    flat = masks.flatten(1)
    for one, other in (
        (flat[:, :-1], flat[:, 1:]),
        (flat[:, :1000], flat[:, 1000:2000]),
        (flat[:-1], flat[1:]),
    ):
        assert (one * other).mean().item() == pytest.approx((1 - p) ** 2, abs=0.006)


def philox(place: int, key: tuple[int, int]) -> list[int]:
    """Philox 4x32-10 by its definition (Salmon et al. 2011, sec. 3.3)."""
    (a, b, c, d), (k, m) = (place, 0, 0, 0), key
    for _ in range(10):
        p, q = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = q >> 32 ^ b ^ k, q % 2**32, p >> 32 ^ d ^ m, p % 2**32
        k, m = (k + 0x9E3779B9) % 2**32, (m + 0xBB67AE85) % 2**32
    return [a, b, c, d]


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5, 6, 7, 1000, 1003])
def test_numbers_are_those_of_philox(n: int) -> None:
    # The known answer that its authors publish for counter 0 and key 0.
    assert philox(0, (0, 0)) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    key, each = (0xDEADBEEF, 12345), -(-n // 4)
    draws = [philox(place, key) for place in range(each)]
    numbers = [draws[i % each][i // each] for i in range(n)]
    wanted = [0.0 if number < 0.3 * 2**32 else (i + 1) / 0.7 for i, number in enumerate(numbers)]
    x = torch.arange(1, n + 1, dtype=torch.float32)
    torch.testing.assert_close(_masked(x, 0.3, key), torch.tensor(wanted))


def test_masks_are_a_matter_of_the_seed_alone() -> None:
    layer, masks = Dropout(0.5).train(), []
    for seed in (7, 7, 8):
        torch.manual_seed(seed)
        masks.append(torch.stack([kept(layer, (9, 9)) for _ in range(3)]))
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


def test_evaluation_and_no_dropout_change_nothing() -> None:
    x = torch.randn(5, 7)
    assert torch.equal(Dropout(0.5).eval()(x), x)
    assert torch.equal(Dropout(0.0).train()(x), x)
    assert not Dropout(1.0).train()(x).any()


def test_gradients_flow_where_numbers_were_kept() -> None:
    x = torch.ones(6, 6, requires_grad=True)
    out = Dropout(0.5).train()(x.T)  # not side by side
    (2 * out).sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, 2 * out.detach().T)
    assert 0 < (out > 0).float().mean() < 1


def test_gradients_of_gradients_pass_the_same_mask() -> None:
    x = torch.linspace(-2, 2, 50).requires_grad_()
    out = Dropout(0.5).train()(x)
    scale = out.detach() / x.detach()  # 0 or 2
    (first,) = torch.autograd.grad((out**3).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    torch.testing.assert_close(second, 6 * scale**3 * x.detach())
    assert {0.0, 2.0} == set(scale.tolist())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_is_none_shows_though_it_is_dropped(value: float) -> None:
    """As with torch's: a network that goes astray must not look well in half of its numbers."""
    x = torch.full((101,), value)
    theirs = nn.Dropout(0.5).train()(x)
    ours = Dropout(0.5).train()(x)
    assert not theirs.isfinite().any()
    assert not ours.isfinite().any()


def test_half_precision_is_left_to_torch() -> None:
    out = Dropout(0.5).train()(torch.ones(8, 8, dtype=torch.bfloat16))
    assert out.dtype == torch.bfloat16
    assert set(out.flatten().tolist()) == {0.0, 2.0}
