"""Optimisers against steps written by hand, and through a kill; rates and settings."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError
from test_training import Lines, StopError, same, squares, weights
from torch import Tensor, nn

from mmgenre.learning.devices import Batch
from mmgenre.learning.optimisation import make_optimizer
from mmgenre.learning.settings import TrainingConfig
from mmgenre.learning.training import FitLog, fit, seeded

CPU = torch.device("cpu")


def network() -> nn.Module:
    """Without dropout and batch norm: a step is its gradient and nothing else."""
    return nn.Sequential(nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 1))


def train(config: TrainingConfig, **more: Any) -> tuple[dict[str, Tensor], FitLog]:
    module = seeded(more.pop("init", 0), network)
    log = fit(module, squares, Lines(33, 1), Lines(8, 2), config, seed=3, device=CPU, **more)
    return weights(module), log


@pytest.mark.parametrize(
    ("settings", "rates"),
    [
        ({}, [0.5, 0.5, 0.5, 0.5, 0.5]),
        ({"schedule": "step", "step_epochs": 2}, [0.5, 0.5, 0.05, 0.05, 0.005]),
        ({"schedule": "step", "step_epochs": 1, "step_factor": 0.5}, [0.5, 0.25, 0.125]),
        ({"schedule": "cosine", "max_epochs": 4}, [0.5, 0.25 * (1 + math.sqrt(0.5)), 0.25]),
    ],
)
def test_the_learning_rate_of_each_epoch(settings: dict[str, Any], rates: list[float]) -> None:
    config = TrainingConfig(learning_rate=0.5, **settings)
    assert [config.rate_at(k + 1) for k in range(len(rates))] == pytest.approx(rates)


@given(
    schedule=st.sampled_from(["none", "step", "cosine"]),
    learning_rate=st.floats(1e-6, 10),
    step_factor=st.floats(0.01, 1),
    step_epochs=st.integers(1, 10),
    max_epochs=st.integers(1, 50),
)
def test_rates_start_at_the_learning_rate_and_fall(**settings: Any) -> None:
    config = TrainingConfig(**settings)
    rates = [config.rate_at(epoch + 1) for epoch in range(config.max_epochs)]
    assert rates[0] == config.learning_rate
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] > 0
    assert TrainingConfig.model_validate_json(config.model_dump_json()) == config


def test_the_schedule_is_that_of_torch() -> None:
    config = TrainingConfig(learning_rate=0.3, schedule="cosine", max_epochs=7)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], 0.3)
    peer = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 7)
    for epoch in range(1, 8):
        assert config.rate_at(epoch) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        peer.step()


def test_a_step_of_sgd_with_momentum_and_decay_by_hand() -> None:
    config = TrainingConfig(optimizer="sgd", learning_rate=0.1, momentum=0.9, weight_decay=0.01)
    module = nn.Linear(1, 1, bias=False)
    nn.init.constant_(module.weight, 2.0)
    optimizer = make_optimizer(module, config)
    w, velocity = 2.0, 0.0
    for _ in range(3):
        optimizer.zero_grad()
        module(torch.tensor([[3.0]])).sum().backward()  # its gradient is 3
        optimizer.step()
        velocity = 0.9 * velocity + (3.0 + 0.01 * w)
        w -= 0.1 * velocity
        assert float(module.weight.detach()) == pytest.approx(w, rel=1e-6)


def test_adamw_decays_weights_apart_from_gradients() -> None:
    config = TrainingConfig(optimizer="adamw", learning_rate=0.1, weight_decay=0.5)
    module = nn.Linear(1, 1, bias=False)
    nn.init.constant_(module.weight, 2.0)
    optimizer = make_optimizer(module, config)
    module.weight.grad = torch.zeros(1, 1)
    optimizer.step()
    assert float(module.weight.detach()) == pytest.approx(2.0 * (1 - 0.1 * 0.5))


def test_rates_by_layer_and_what_is_frozen() -> None:
    def rate(name: str) -> float:
        return 0.0 if name == "0.bias" else 0.1 if name.startswith("0.") else 1.0

    start = weights(seeded(0, network))
    config = TrainingConfig(optimizer="sgd", learning_rate=0.1, batch_size=33, max_epochs=1)
    plain, _ = train(config)
    slowed, _ = train(config, rates=rate)
    assert torch.equal(slowed["0.bias"], start["0.bias"])
    step = {name: plain[name] - start[name] for name in start}
    torch.testing.assert_close(slowed["0.weight"], start["0.weight"] + 0.1 * step["0.weight"])
    torch.testing.assert_close(slowed["2.weight"], plain["2.weight"])


def test_what_needs_no_gradient_is_left_alone() -> None:
    module = network()
    module[0].requires_grad_(False)  # type: ignore[index]
    optimizer = make_optimizer(module, TrainingConfig())
    moved = [p for group in optimizer.param_groups for p in group["params"]]
    assert [tuple(p.shape) for p in moved] == [(1, 6), (1,)]


class Fixed(Lines):
    """The same views in training as in evaluation: parts of a batch draw as the whole does."""

    def batch(self, rows: NDArray[np.intp], rng: np.random.Generator | None) -> Batch:
        del rng
        return super().batch(rows, None)


@pytest.mark.parametrize("parts", [2, 3, 5])
def test_a_batch_in_parts_is_the_same_step(parts: int) -> None:
    """Also where the parts differ in size, and for the smaller last batch."""
    states = []
    for accumulate in (1, parts):
        config = TrainingConfig(
            optimizer="sgd", learning_rate=0.1, batch_size=14, accumulate=accumulate, max_epochs=3
        )
        module = seeded(0, network)
        examples = Fixed(33, 1)
        fit(module, squares, examples, Fixed(8, 2), config, seed=3, device=CPU)
        states.append(weights(module))
        assert max(examples.sizes) == math.ceil(14 / accumulate)
    for name, tensor in states[0].items():
        torch.testing.assert_close(states[1][name], tensor, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "sgd", "momentum": 0.9, "schedule": "step", "step_epochs": 2},
        {"optimizer": "adamw", "weight_decay": 0.01, "schedule": "cosine", "accumulate": 2},
    ],
)
def test_a_killed_training_goes_on_to_the_same_weights(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    config = TrainingConfig(learning_rate=0.02, batch_size=8, max_epochs=6, **settings)
    expected, expected_log = train(config)

    def stop(task: str, done: int, total: int) -> None:
        if done == 3:
            raise StopError

    checkpoint = tmp_path / "checkpoint"
    with pytest.raises(StopError):
        train(config, checkpoint=checkpoint, checkpoint_every_s=0.0, progress=stop)
    got, log = train(config, checkpoint=checkpoint, init=5)
    assert log == expected_log
    assert same(got, expected)


def test_without_patience_it_goes_to_the_last_epoch() -> None:
    config = TrainingConfig(learning_rate=0.5, optimizer="sgd", max_epochs=25, patience=None)
    _, log = train(config)
    assert len(log.epochs) == 25
    assert log.best_epoch < 25 or log.best_loss < log.epochs[0]["val_loss"]


def test_channels_last_changes_nothing_but_memory() -> None:
    class Squares:
        def __len__(self) -> int:
            return 12

        def batch(self, rows: NDArray[np.intp], rng: np.random.Generator | None) -> Batch:
            x = torch.from_numpy(np.random.default_rng(0).random((12, 3, 8, 8), np.float32)[rows])
            return {"x": x, "y": x.mean(dim=(1, 2, 3))[:, None]}

    def convolutions() -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 1))

    states = []
    for channels_last in (False, True):
        config = TrainingConfig(batch_size=6, max_epochs=2, channels_last=channels_last)
        module = seeded(0, convolutions)
        fit(module, squares, Squares(), Squares(), config, seed=0, device=CPU)
        states.append(weights(module))
    for name, tensor in states[0].items():
        torch.testing.assert_close(states[1][name], tensor, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"momentum": 0.9}, "momentum 0.9 is for optimizer sgd, not adam"),
        ({"accumulate": 20}, "accumulate 20: parts of a batch of 32 would have fewer than two"),
        ({"optimizer": "lion"}, "'adam', 'adamw' or 'sgd'"),
    ],
)
def test_settings_that_do_not_go_together(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TrainingConfig(**settings)
