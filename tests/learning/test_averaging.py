"""The moving average of weights: its equation, running statistics, tied weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mmgenre.learning.averaging import Average


def test_it_is_the_equation_and_forgets_the_first_weights() -> None:
    module, decay = nn.Linear(1, 1, bias=False), 0.5
    values = [3.0, -1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0, 5.0, 3.0, 5.0]
    nn.init.constant_(module.weight, 100.0)
    average, expected = Average(module, decay), 100.0
    for n, value in enumerate(values, start=1):
        nn.init.constant_(module.weight, value)
        average.update(n)
        d = min(decay, (n - 1) / (n + 8))
        expected = d * expected + (1 - d) * value
        if n == 1:
            assert average.values[0].item() == value
    assert average.values[0].item() == pytest.approx(expected, rel=1e-5)


def test_the_module_has_the_average_for_a_time_only() -> None:
    module = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    average = Average(module, 0.9)
    module(torch.randn(8, 2, generator=torch.Generator().manual_seed(0)))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(1.0)
    average.update(20)
    own = {name: t.clone() for name, t in module.state_dict().items()}
    pointers = [p.data_ptr() for p in module.parameters()]
    with average.in_place():
        inside = {name: t.clone() for name, t in module.state_dict().items()}
    assert not torch.equal(inside["0.weight"], own["0.weight"])
    assert not torch.equal(inside["1.running_mean"], own["1.running_mean"])
    assert torch.equal(inside["1.num_batches_tracked"], own["1.num_batches_tracked"])
    assert all(torch.equal(t, own[name]) for name, t in module.state_dict().items())
    assert [p.data_ptr() for p in module.parameters()] == pointers
    assert inside["1.running_mean"].allclose(average.state()["1.running_mean"])


def test_tied_weights_are_averaged_once() -> None:
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    second.weight = first.weight
    average = Average(nn.Sequential(first, second), 0.9)
    with torch.no_grad():
        before = first.weight.clone()
        first.weight.add_(1.0)
    assert len(average.state()) == 3
    with average.in_place():
        assert torch.equal(first.weight, before)
        assert torch.equal(second.weight, before)
    assert torch.equal(first.weight, before + 1.0)
