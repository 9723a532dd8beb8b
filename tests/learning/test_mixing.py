"""Mixup: rows lie between two rows of the batch, and their targets just as far."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmgenre.learning.mixing import mixed


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float32])
def test_inputs_and_targets_are_mixed_alike(dtype: torch.dtype) -> None:
    x = (8 * torch.arange(12)).view(12, 1, 1).expand(12, 3, 2).to(dtype)
    target = torch.eye(12)
    got, mixture = mixed(x, target, 0.4, np.random.default_rng(0))
    assert got.dtype == mixture.dtype == torch.float32
    expected = mixture @ x[:, 0, 0].float()
    torch.testing.assert_close(got, expected.view(12, 1, 1).expand(12, 3, 2), atol=1e-3, rtol=0)
    torch.testing.assert_close(mixture.sum(dim=1), torch.ones(12))
    assert ((mixture > 0).sum(dim=1) <= 2).all()
    assert ((mixture > 0.02) & (mixture < 0.98)).any()


def test_a_large_alpha_mixes_halves_and_a_small_one_hardly_mixes() -> None:
    target = torch.eye(50)
    for alpha, share in ((1e4, 0.5), (1e-3, 1.0)):
        _, mixture = mixed(target, target, alpha, np.random.default_rng(1))
        largest = mixture.max(dim=1).values
        assert largest.median() == pytest.approx(share, abs=0.02)
