"""Ctrl-C in a training: it ends where the next call goes on, and loses at most what it must."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from mmgenre.errors import StoppingWarning
from mmgenre.learning.devices import Batch
from mmgenre.learning.settings import TrainingConfig
from mmgenre.learning.stopping import signals_held_back
from mmgenre.learning.training import FitLog, fit, seeded
from mmgenre.progress import Progress, silent

SIX = TrainingConfig(max_epochs=6, patience=6, batch_size=8, learning_rate=0.01)
N = 24


class Sums:
    """y = x0 + x1."""

    def __len__(self) -> int:
        return N

    def batch(self, rows: NDArray[np.intp], rng: np.random.Generator | None) -> Batch:
        del rng
        x = torch.linspace(-1, 1, 2 * N).reshape(N, 2)[torch.from_numpy(rows)]
        return {"x": x, "y": x.sum(dim=1, keepdim=True)}


class Signalling:
    """A loss in which signals come: at batch number -> signal."""

    def __init__(self, at: dict[int, signal.Signals]) -> None:
        self.at, self.n = at, 0

    def __call__(self, module: nn.Module, batch: Batch) -> Tensor:
        self.n += 1
        if self.n in self.at:
            signal.raise_signal(self.at[self.n])
        return functional.mse_loss(module(batch["x"]), batch["y"])


PER_EPOCH = 2 * N // 8  # calls of the loss in an epoch: batches of training and of validation


def train(
    checkpoint: Path | None,
    at: dict[int, signal.Signals],
    *,
    every_s: float = 1e9,
    progress: Progress = silent,
) -> tuple[dict[str, Tensor], FitLog]:
    module = seeded(3, lambda: nn.Linear(2, 1))
    log = fit(
        module,
        Signalling(at),
        Sums(),
        Sums(),
        SIX,
        seed=1,
        checkpoint=checkpoint,
        checkpoint_every_s=every_s,
        device=torch.device("cpu"),
        task="training sums",
        progress=progress,
    )
    return module.state_dict(), log


def test_ctrl_c_saves_the_epoch_at_work_and_training_then_ends_as_if_nothing_had_been(
    tmp_path: Path,
) -> None:
    file = tmp_path / "checkpoint"
    with (
        pytest.warns(StoppingWarning, match="training sums: epoch 3 of 6, which is then saved"),
        pytest.raises(KeyboardInterrupt) as ended,
    ):
        train(file, {2 * PER_EPOCH + 1: signal.SIGINT})
    assert ended.value.__notes__ == ["training sums: epoch 3 of 6 is saved"]
    seen: list[int] = []
    weights, log = train(file, {}, progress=lambda task, done, total: seen.append(done))
    expected, whole = train(None, {})
    assert seen[0] == 3
    assert log.epochs == whole.epochs
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


def test_a_second_ctrl_c_does_not_wait(tmp_path: Path) -> None:
    at = {2 * PER_EPOCH + 1: signal.SIGINT, 2 * PER_EPOCH + 2: signal.SIGINT}
    with pytest.warns(StoppingWarning), pytest.raises(KeyboardInterrupt) as ended:
        train(tmp_path / "checkpoint", at)
    assert ended.value.__notes__ == ["training sums: begins again"]
    assert not (tmp_path / "checkpoint").exists()


def test_a_terminal_that_is_closed_says_so_twice_and_the_epoch_is_saved(tmp_path: Path) -> None:
    def end(*_: object) -> None:
        raise KeyboardInterrupt

    at = {2 * PER_EPOCH + 1: signal.SIGHUP, 2 * PER_EPOCH + 2: signal.SIGHUP}
    before = signal.signal(signal.SIGHUP, end)
    try:
        with pytest.warns(StoppingWarning), pytest.raises(KeyboardInterrupt) as ended:
            train(tmp_path / "checkpoint", at)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert ended.value.__notes__ == ["training sums: epoch 3 of 6 is saved"]


def test_what_is_saved_is_not_waited_for(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt) as ended:
        train(tmp_path / "checkpoint", {2 * PER_EPOCH + 1: signal.SIGINT}, every_s=0)
    assert ended.value.__notes__ == ["training sums: epoch 2 of 6 is saved"]


def test_without_a_checkpoint_nothing_waits(tmp_path: Path) -> None:
    loss = Signalling({2 * PER_EPOCH + 1: signal.SIGINT})
    with pytest.raises(KeyboardInterrupt) as ended:
        fit(seeded(3, lambda: nn.Linear(2, 1)), loss, Sums(), Sums(), SIX, seed=1, task="heads")
    assert (loss.n, ended.value.__notes__) == (2 * PER_EPOCH + 1, ["heads: begins again"])


def test_handlers_are_as_before_afterwards_and_ignored_signals_stay_ignored() -> None:
    before = signal.getsignal(signal.SIGINT)
    term = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with signals_held_back() as stop:
            stop.waits_for = "the end"
            signal.raise_signal(signal.SIGTERM)
            assert stop.asked is None
            assert signal.getsignal(signal.SIGINT) is not before
    finally:
        signal.signal(signal.SIGTERM, term)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_thread_leaves_signals_alone() -> None:
    found = []

    def inside() -> None:
        with signals_held_back():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGINT)]
