"""The training loop: early stopping, best weights, reproducibility, resuming after a kill."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from limits import files_up_to
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from mmgenre.errors import TrainingError
from mmgenre.learning import optimisation, training
from mmgenre.learning.budget import Budget
from mmgenre.learning.devices import Batch, pick_device
from mmgenre.learning.optimisation import save_checkpoint
from mmgenre.learning.selection import Metric
from mmgenre.learning.settings import TrainingConfig
from mmgenre.learning.training import FitLog, evaluate_loss, fit, seeded

CPU = torch.device("cpu")
Weights = dict[str, Tensor]


@dataclass
class Lines:
    """y = 3 x0 - x1; training views of x are noisy."""

    n: int
    seed: int
    sizes: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        self.x = rng.standard_normal((self.n, 2)).astype(np.float32)
        self.y = (self.x @ np.array([3, -1], np.float32))[:, None]

    def __len__(self) -> int:
        return self.n

    def batch(self, rows: NDArray[np.intp], rng: np.random.Generator | None) -> Batch:
        self.sizes.append(len(rows))
        x = self.x[rows]
        if rng is not None:
            x = x + 0.1 * rng.standard_normal(x.shape).astype(np.float32)
        return {"x": torch.from_numpy(x), "y": torch.from_numpy(self.y[rows])}


def network() -> nn.Module:
    return nn.Sequential(
        nn.Linear(2, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 1)
    )


def squares(module: nn.Module, batch: Batch) -> Tensor:
    return functional.mse_loss(module(batch["x"]), batch["y"])


def weights(module: nn.Module) -> Weights:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def same(a: Weights, b: Weights) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def train(
    config: TrainingConfig,
    *,
    seed: int = 0,
    init: int = 0,
    loss: Callable[[nn.Module, Batch], Tensor] = squares,
    metric: Metric | None = None,
    checkpoint: Path | None = None,
    every_s: float = 0.0,
    progress: Callable[[str, int, int], None] = lambda task, done, total: None,
) -> tuple[Weights, FitLog]:
    module = seeded(init, network)
    log = fit(
        module,
        loss,
        Lines(33, 1),
        Lines(8, 2),
        config,
        seed=seed,
        metric=metric,
        checkpoint=checkpoint,
        checkpoint_every_s=every_s,
        device=CPU,
        progress=progress,
    )
    assert not module.training
    return weights(module), log


FAST = TrainingConfig(learning_rate=0.05, batch_size=8, max_epochs=7, patience=7)


def test_it_learns() -> None:
    config = FAST.model_copy(update={"max_epochs": 30, "patience": 30})
    _, log = train(config)
    losses = [epoch["val_loss"] for epoch in log.epochs]
    assert [epoch["epoch"] for epoch in log.epochs] == list(range(1, 31))
    assert min(losses) == log.best_loss == losses[log.best_epoch - 1]
    assert log.best_loss < 0.1 * losses[0]
    assert log.curve() == {
        "epochs": log.epochs,
        "best_epoch": log.best_epoch,
        "n_train": 33,
        "n_val": 8,
        "n_parameters": 2 * 8 + 8 + 2 * 8 + 8 + 1,
        "chance_auc": None,
    }
    assert set(log.epochs[0]) == {"epoch", "train_loss", "val_loss"}  # as published


class Scripted:
    """A loss whose validation values are given; notes the weight seen at each."""

    def __init__(self, values: list[float]) -> None:
        self.values, self.seen = values, list[Weights]()

    def __call__(self, module: nn.Module, batch: Batch) -> Tensor:
        if module.training:
            return squares(module, batch)
        self.seen.append(weights(module))
        module(batch["x"])
        return torch.tensor(self.values[len(self.seen) - 1])


@pytest.mark.parametrize(
    ("values", "patience", "epochs", "best"),
    [
        ([3.0, 2.0, 2.5, 2.4, 1.0], 2, 4, 2),  # stops before the better value
        ([3.0, 2.0, 2.5, 2.4, 1.0], 3, 5, 5),
        ([3.0, 2.0, 2.0, 2.0, 1.0], 2, 4, 2),  # an equal value is no improvement
        ([1.0, 2.0, 3.0, 4.0, 5.0], 1, 2, 1),
        ([5.0, 4.0, 3.0, 2.0, 1.0], 1, 5, 5),
    ],
)
def test_early_stopping_restores_the_best_weights(
    values: list[float], patience: int, epochs: int, best: int
) -> None:
    loss = Scripted(values)
    config = TrainingConfig(batch_size=33, max_epochs=5, patience=patience)
    got, log = train(config, loss=loss)
    assert (len(log.epochs), log.best_epoch, log.best_loss) == (epochs, best, values[best - 1])
    assert same(got, loss.seen[best - 1])
    assert not same(loss.seen[0], loss.seen[1])


def test_a_seed_decides_everything() -> None:
    first, log = train(FAST, seed=5)
    torch.manual_seed(123)
    torch.rand(7)
    again, log_again = train(FAST, seed=5)
    assert same(first, again)
    assert log == log_again
    other, _ = train(FAST, seed=6)
    assert not same(first, other)
    other_init, _ = train(FAST, seed=5, init=1)
    assert not same(first, other_init)


@pytest.mark.parametrize("accumulate", [1, 3])
def test_one_process_does_what_a_plain_loop_does_to_the_bit(accumulate: int) -> None:
    config = FAST.model_copy(update={"accumulate": accumulate})
    module, train_set, val = seeded(0, network), Lines(33, 1), Lines(8, 2)
    optimizer = torch.optim.Adam(module.parameters(), 0.05, fused=True)
    best, best_loss = weights(module), float("inf")
    expected = []
    with torch.random.fork_rng():
        for epoch in range(1, 8):
            state = np.random.SeedSequence((5, epoch)).generate_state(1, np.uint64)
            torch.manual_seed(int(state[0] >> 1))
            rng = np.random.default_rng((5, epoch))
            order, total = rng.permutation(33), 0.0
            module.train()
            for rows in (order[:8], order[8:16], order[16:24], order[24:]):
                optimizer.zero_grad()
                for part in np.array_split(rows, accumulate):
                    value = squares(module, train_set.batch(part, rng))
                    (value * (len(part) / len(rows))).backward()  # type: ignore[no-untyped-call]
                    total += float(value.detach()) * len(part)
                optimizer.step()
            module.eval()
            with torch.no_grad():
                val_loss = float(squares(module, val.batch(np.arange(8), None)))
            expected.append({"epoch": epoch, "train_loss": total / 33, "val_loss": val_loss})
            if val_loss < best_loss:
                best, best_loss = weights(module), val_loss
    got, log = train(config, seed=5)
    assert log.epochs == expected
    assert same(got, best)


def test_the_callers_random_states_stay_as_they_were() -> None:
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002
    train(FAST)
    assert torch.equal(torch.get_rng_state(), torch_state)
    after = np.random.get_state()  # noqa: NPY002
    assert str(after) == str(numpy_state)


def test_first_weights_depend_on_the_seed_alone() -> None:
    one = weights(seeded(3, network))
    torch.rand(5)
    assert same(one, weights(seeded(3, network)))
    assert not same(one, weights(seeded(4, network)))


class StopError(Exception):
    pass


@pytest.mark.parametrize("after", [1, 3, 6])
def test_a_killed_training_resumes_to_the_same_weights(tmp_path: Path, after: int) -> None:
    expected, expected_log = train(FAST, seed=9)
    checkpoint = tmp_path / "run" / "audio.checkpoint"

    def stop(task: str, done: int, total: int) -> None:
        if done == after:
            raise StopError

    with pytest.raises(StopError):
        train(FAST, seed=9, checkpoint=checkpoint, progress=stop)
    done: list[int] = []
    # Other first weights: everything must come out of the checkpoint.
    got, log = train(
        FAST,
        seed=9,
        init=77,
        checkpoint=checkpoint,
        progress=lambda task, n, total: done.append(n),
    )
    assert done == [*range(after, 7), 7]
    assert log == expected_log
    assert same(got, expected)


def test_one_killed_within_an_epoch_repeats_that_epoch(tmp_path: Path) -> None:
    expected, expected_log = train(FAST, seed=9)
    calls = 0

    def fails(module: nn.Module, batch: Batch) -> Tensor:
        nonlocal calls
        calls += module.training
        if calls == 14:  # four batches of 8 and 9 an epoch: the second batch of the fourth
            raise StopError
        return squares(module, batch)

    checkpoint = tmp_path / "checkpoint"
    with pytest.raises(StopError):
        train(FAST, seed=9, checkpoint=checkpoint, loss=fails)
    got, log = train(FAST, seed=9, init=77, checkpoint=checkpoint)
    assert log == expected_log
    assert same(got, expected)
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint"]


def test_checkpoints_are_written_no_oftener_than_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter(range(0, 1000, 10))  # ten seconds between two looks at the clock
    monkeypatch.setattr(training, "monotonic", lambda: float(next(times)))
    saved: list[int] = []

    def noted(path: Path, *args: Any) -> None:
        saved.append(len(args[3]["epochs"]))
        save_checkpoint(path, *args)

    monkeypatch.setattr(optimisation, "save_checkpoint", noted)
    expected, _ = train(FAST, seed=9, checkpoint=tmp_path / "checkpoint", every_s=25.0)
    assert saved == [3, 6]
    got, _ = train(FAST, seed=9, init=77, checkpoint=tmp_path / "checkpoint", every_s=25.0)
    assert same(got, expected)


def test_a_full_disk_is_an_error_of_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_text("the earlier one")
    module = nn.Linear(100, 100)
    message = (
        r"x\.safetensors: cannot be written: .*File too large.*; make room, then run this agai"
    )
    with files_up_to(4_000), pytest.raises(OSError, match=message):
        save_checkpoint(path, module, {}, torch.optim.Adam(module.parameters()), {})
    assert path.read_text() == "the earlier one"
    assert list(tmp_path.iterdir()) == [path]


def test_a_finished_training_is_not_repeated(tmp_path: Path) -> None:
    config = TrainingConfig(batch_size=33, max_epochs=5, patience=2)
    values = [3.0, 2.0, 2.5, 2.4, 1.0]
    expected, expected_log = train(
        config, loss=Scripted(values), checkpoint=tmp_path / "checkpoint"
    )
    again = Scripted([])
    got, log = train(config, init=77, loss=again, checkpoint=tmp_path / "checkpoint")
    assert again.seen == []
    assert log == expected_log
    assert same(got, expected)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", ["training", "validation"])
def test_a_loss_that_is_no_number_ends_the_training(bad: float, where: str) -> None:
    epoch = 0

    def loss(module: nn.Module, batch: Batch) -> Tensor:
        nonlocal epoch
        value = squares(module, batch)
        if not module.training:
            epoch += 1
            return value + bad if where == "validation" and epoch == 2 else value
        return value + bad if where == "training" and epoch == 1 else value

    with pytest.raises(TrainingError, match=r"epoch 2 gave losses .* smaller learning rate"):
        train(FAST, loss=loss)


def test_no_examples_is_an_error() -> None:
    for n_train, n_val in ((0, 3), (3, 0)):
        with pytest.raises(TrainingError, match=f"{n_train} training and {n_val} validation"):
            fit(network(), squares, Lines(n_train, 0), Lines(n_val, 0), FAST, seed=0, device=CPU)


@pytest.mark.parametrize(
    ("n", "size", "sizes"),
    [(33, 8, [8, 8, 8, 9]), (34, 8, [8, 8, 8, 8, 2]), (5, 8, [5]), (16, 8, [8, 8]), (1, 8, [1])],
)
def test_no_batch_of_one_is_left_over(n: int, size: int, sizes: list[int]) -> None:
    examples = Lines(n, 0)
    evaluate_loss(network(), squares, examples, size)
    assert examples.sizes == sizes


def test_the_mean_loss_is_over_examples_and_not_over_batches() -> None:
    module, examples = seeded(0, network), Lines(34, 3)
    whole = evaluate_loss(module, squares, examples, 34)
    assert evaluate_loss(module, squares, examples, 8) == pytest.approx(whole, rel=1e-5)
    assert not module.training


def test_training_views_are_drawn_anew_each_epoch() -> None:
    seen: list[list[float]] = []

    class Noted(Lines):
        def batch(self, rows: NDArray[np.intp], rng: np.random.Generator | None) -> Batch:
            batch = super().batch(rows, rng)
            if rng is not None:
                seen.append(sorted(batch["x"][:, 0].tolist()))
            return batch

    config = FAST.model_copy(update={"max_epochs": 3, "batch_size": 33})
    fit(network(), squares, Noted(33, 0), Lines(5, 0), config, seed=0, device=CPU)
    assert len(seen) == 3
    assert seen[0] != seen[1] != seen[2]


def test_dropout_is_drawn_anew_each_epoch() -> None:
    drawn: list[float] = []

    def loss(module: nn.Module, batch: Batch) -> Tensor:
        if module.training:
            drawn.append(float(torch.rand(1)))
        return squares(module, batch)

    train(FAST, loss=loss)
    assert len(set(drawn)) == len(drawn) == 4 * 7


def test_bfloat16_learns_with_float32_weights() -> None:
    config = FAST.model_copy(update={"precision": "bfloat16", "max_epochs": 20, "patience": 20})
    dtypes = set()

    def loss(module: nn.Module, batch: Batch) -> Tensor:
        output = module(batch["x"])
        dtypes.add(output.dtype)
        return functional.mse_loss(output.float(), batch["y"])

    got, log = train(config, loss=loss)
    assert dtypes == {torch.bfloat16}
    assert {t.dtype for t in got.values() if t.is_floating_point()} == {torch.float32}
    untrained = evaluate_loss(seeded(0, network), loss, Lines(8, 2), 8)
    assert log.best_loss < 0.1 * untrained
    # Weights that are cast once an epoch would follow another curve from the first epoch on.
    _, exact = train(config.model_copy(update={"precision": "float32"}), loss=squares)
    for here, there in zip(log.epochs, exact.epochs, strict=False):
        assert here["train_loss"] == pytest.approx(there["train_loss"], rel=0.05)


def test_the_progress_callback_gets_every_epoch() -> None:
    calls: list[tuple[int, int]] = []
    train(FAST, progress=lambda task, done, total: calls.append((done, total)))
    assert calls == [(k, 7) for k in range(8)]


def test_a_device_is_found() -> None:
    assert torch.ones(2, device=pick_device()).sum().item() == 2


def nearness(outputs: NDArray[np.float32]) -> dict[str, float]:
    """Of all outputs for the validation examples, in their order."""
    return {"macro_roc_auc": -float(np.abs(outputs - Lines(8, 2).y).mean())}


STEPS = TrainingConfig(
    learning_rate=0.03,
    batch_size=8,
    schedule="warmup-cosine",
    max_epochs=1,
    min_steps=110,
    min_patience_steps=110,
    select="metric",
)


def test_rounds_of_steps_do_what_a_plain_loop_does_to_the_bit() -> None:
    """Four steps a pass, 25 a round; the best round's weights are kept."""
    module, train_set, val = seeded(0, network), Lines(33, 1), Lines(8, 2)
    optimizer = torch.optim.Adam(module.parameters(), fused=True)
    expected, states, step = [], [], 0
    with torch.random.fork_rng():
        for number in range(1, 6):
            state = np.random.SeedSequence((5, number)).generate_state(1, np.uint64)
            torch.manual_seed(int(state[0] >> 1))
            rng, losses, n_seen = np.random.default_rng((5, number)), 0.0, 0
            module.train()
            for _ in range(25 if number < 5 else 10):
                order = np.random.default_rng((5, 0, 1 + step // 4)).permutation(33)
                rows = (order[:8], order[8:16], order[16:24], order[24:])[step % 4]
                optimizer.param_groups[0]["lr"] = Budget.of(STEPS, 33).rate(step)
                optimizer.zero_grad()
                value = squares(module, train_set.batch(rows, rng))
                value.backward()  # type: ignore[no-untyped-call]
                losses, n_seen, step = (
                    losses + value.item() * len(rows),
                    n_seen + len(rows),
                    step + 1,
                )
                optimizer.step()
            with torch.no_grad():
                outputs = module.eval()(val.batch(np.arange(8), None)["x"])
                val_loss = float(functional.mse_loss(outputs, torch.from_numpy(val.y)))
            expected.append(
                {
                    "epoch": number,
                    "train_loss": losses / n_seen,
                    "val_loss": val_loss,
                    "step": step,
                    "metrics": nearness(outputs.numpy()),
                }
            )
            states.append(weights(module))
    got, log = train(STEPS, seed=5, metric=nearness)
    assert log.epochs == expected
    assert same(got, states[log.best_epoch - 1])
    assert not same(states[0], states[1])


@pytest.mark.parametrize("after", [1, 4])
def test_a_killed_training_of_steps_resumes_to_the_same_weights(tmp_path: Path, after: int) -> None:
    expected, expected_log = train(STEPS, seed=9, metric=nearness)

    def stop(task: str, done: int, total: int) -> None:
        assert total == 5
        if done == after:
            raise StopError

    checkpoint = tmp_path / "checkpoint"
    with pytest.raises(StopError):
        train(STEPS, seed=9, metric=nearness, checkpoint=checkpoint, progress=stop)
    got, log = train(STEPS, seed=9, init=77, metric=nearness, checkpoint=checkpoint)
    assert log == expected_log
    assert same(got, expected)


def test_patience_counts_steps_and_the_metric_decides() -> None:
    values = iter([1.0, 4.0, 4.0, 1.0, 4.0, 1.0])
    config = STEPS.model_copy(update={"min_steps": 900, "min_patience_steps": 75, "patience": 1})
    loss = Scripted([0.1, *[3.0] * 9])
    got, log = train(config, loss=loss, metric=lambda _: {"macro_f1": next(values)})
    # Smoothed 1, 2.5, 3, 3, 3, 2: the third is best, and 75 steps later it ends.
    assert (len(log.epochs), log.best_epoch) == (6, 3)
    assert [epoch["step"] for epoch in log.epochs] == [25, 50, 75, 100, 125, 150]
    assert same(got, loss.seen[2])


def test_selection_by_metric_needs_one() -> None:
    with pytest.raises(TrainingError, match="no metric to select weights by; set select to loss"):
        train(STEPS)


def test_in_bfloat16_a_training_of_steps_learns_in_float32() -> None:
    config = STEPS.model_copy(update={"precision": "bfloat16", "min_steps": 300})

    def loss(module: nn.Module, batch: Batch) -> Tensor:
        return functional.mse_loss(module(batch["x"]).float(), batch["y"])

    got, log = train(config, loss=loss, metric=nearness)
    assert {t.dtype for t in got.values() if t.is_floating_point()} == {torch.float32}
    untrained = evaluate_loss(seeded(0, network), loss, Lines(8, 2), 8)
    assert log.best_loss < 0.1 * untrained
