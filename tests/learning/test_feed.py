"""Batches that a thread prepares: the same weights, errors where they belong, no thread left."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from mmgenre.learning.devices import Batch
from mmgenre.learning.embedding import embed
from mmgenre.learning.feed import ahead_for, feed
from mmgenre.learning.settings import TrainingConfig
from mmgenre.learning.training import FitLog, fit, seeded

CPU = torch.device("cpu")


def threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("mmgenre-feed")]


class Noisy:
    """y = 3 x0 - x1, with noise on training views; fails at a call."""

    def __init__(self, n: int, fails_at: int = 0) -> None:
        self.x = np.random.default_rng(n).standard_normal((n, 2)).astype(np.float32)
        self.fails_at, self.calls, self.by = fails_at, 0, set[str]()

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, rows: NDArray[np.intp], rng: np.random.Generator | None) -> Batch:
        self.calls += 1
        self.by.add(threading.current_thread().name)
        if self.calls == self.fails_at:
            raise OSError("the disk is gone")
        x = torch.from_numpy(self.x[rows])
        y = (x @ torch.tensor([3.0, -1.0]))[:, None]
        if rng is not None:
            x = x + torch.from_numpy(rng.standard_normal(x.shape).astype(np.float32))
        return {"x": x, "y": y}


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 1))


def squares(module: nn.Module, batch: Batch) -> Tensor:
    return functional.mse_loss(module(batch["x"]), batch["y"])


def error_of(outputs: NDArray[np.float32]) -> dict[str, float]:
    return {"macro_roc_auc": float(outputs.sum())}


def trained(ahead: int, examples: Noisy, **more: Any) -> tuple[nn.Module, FitLog]:
    module = seeded(0, network)
    config = TrainingConfig(learning_rate=0.05, batch_size=8, max_epochs=4, **more)
    val = Noisy(21)
    how: dict[str, Any] = {"seed": 1, "metric": error_of, "device": CPU, "ahead": ahead}
    log = fit(module, squares, examples, val, config, **how)
    assert val.by == examples.by
    return module, log


@pytest.mark.parametrize(
    "more", [{}, {"accumulate": 3}, {"min_steps": 60, "select": "metric", "patience": None}]
)
def test_weights_and_losses_are_those_without_it_to_the_bit(more: dict[str, Any]) -> None:
    plain, here = trained(0, Noisy(33), **more)
    examples = Noisy(33)
    for ahead in (1, 5):
        fed, there = trained(ahead, examples, **more)
        assert here == there
        ours, theirs = plain.state_dict(), fed.state_dict()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert all(name.startswith("mmgenre-feed") for name in examples.by)  # it was no other thread
    assert not threads()


def test_an_error_in_the_thread_is_the_trainer_s() -> None:
    with pytest.raises(OSError, match="the disk is gone"):
        trained(3, Noisy(33, fails_at=7))
    assert not threads()


def test_what_came_before_an_error_is_used() -> None:
    def items() -> Iterator[int]:
        yield from (1, 2)
        raise ValueError("no third")

    seen = []
    with pytest.raises(ValueError, match="no third"), feed(items(), CPU, 8) as fed:  # noqa: PT012
        for item in fed:
            seen.append(item)
    assert seen == [1, 2]


def test_a_training_that_is_stopped_ends_the_thread() -> None:
    class StopError(Exception):
        pass

    examples, steps = Noisy(400), 0

    def stopping(module: nn.Module, batch: Batch) -> Tensor:
        nonlocal steps
        steps += 1
        if steps == 3:
            raise StopError
        return squares(module, batch)

    config = TrainingConfig(batch_size=8)
    with pytest.raises(StopError):
        fit(seeded(0, network), stopping, examples, examples, config, seed=0, device=CPU, ahead=4)
    assert not threads()
    assert 3 <= examples.calls <= 3 + 4  # no more than it was to be ahead


def test_it_stays_ahead_by_so_many() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        while True:
            taken += 1
            yield taken

    ready = threading.Event()
    with feed(items(), CPU, 3) as fed:
        assert [next(fed), next(fed)] == [1, 2]
        for _ in range(500):
            if taken == 5:
                break
            ready.wait(0.01)
        ready.wait(0.05)
        assert taken == 5


def test_a_cpu_has_no_use_for_it() -> None:
    assert ahead_for(CPU) == 0
    assert ahead_for(torch.device("cuda")) > 0


def test_the_thread_computes_as_the_caller_does() -> None:
    """Sums of views are divided among torch's threads, whose number is its own in each thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with feed(iter(torch.get_num_threads, None), CPU, 1) as fed:
            assert next(fed) == 2
    finally:
        torch.set_num_threads(before)


class Doubling(nn.Module):
    embedding_dim = 2
    output_dropout = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(2.0))

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


class Numbers:
    """Row "3" has the views (3, 0) and (3, 1)."""

    def views(self, ids: list[str], rng: np.random.Generator | None) -> NDArray[np.float32]:
        assert rng is None
        return np.array([[[float(i), k] for k in range(2)] for i in ids], np.float32)


def test_vectors_are_those_without_it() -> None:
    ids, calls = [str(k) for k in range(11)], list[tuple[str, int, int]]()

    def progress(task: str, done: int, total: int) -> None:
        assert threading.current_thread() is threading.main_thread()
        calls.append((task, done, total))

    encoder: Any = Doubling()
    source: Any = Numbers()
    how: dict[str, Any] = {"batch_size": 4, "device": CPU, "progress": progress}
    plain, fed = (embed(encoder, source, ids, ahead=k, **how) for k in (0, 2))
    np.testing.assert_array_equal(plain, fed)
    np.testing.assert_array_equal(fed, [[2.0 * k, 1.0] for k in range(11)])
    assert calls == 2 * [("embedding", k, 11) for k in (0, 4, 8, 11)]
