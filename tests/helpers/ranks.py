"""What `test_processes.py` has several processes do: torchrun ranks.py TASK,TASK FOLDER.

Each process leaves FOLDER/TASK/RANK.json or FOLDER/TASK/RANK.safetensors behind.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from mmgenre.errors import TrainingError
from mmgenre.learning import processes
from mmgenre.learning.crew import ElsewhereError, OutOfStepError
from mmgenre.learning.optimisation import TrainingConfig
from mmgenre.learning.training import Batch, FitLog, evaluate_loss, fit, seeded

CPU = torch.device("cpu")
# 43 rows in batches of 8: parts of 4 and 4; the last batch has 3, which no two can share.
CONFIG = TrainingConfig(learning_rate=0.05, batch_size=8, max_epochs=6, patience=6)
ODD = CONFIG.model_copy(update={"batch_size": 7, "accumulate": 2})  # parts of 4 and 3


class Waves:
    """y = sin of x, the same view each time."""

    def __init__(self, n: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.x = rng.standard_normal((n, 3)).astype(np.float32)
        self.y = np.sin(self.x @ np.array([1, 2, -1], np.float32))[:, None]

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, rows: NDArray[np.intp], rng: np.random.Generator | None) -> Batch:
        return {"x": torch.from_numpy(self.x[rows]), "y": torch.from_numpy(self.y[rows])}


class Noisy(Waves):
    """Whose training views are random; remembers the first."""

    first: list[float] | None = None

    def batch(self, rows: NDArray[np.intp], rng: np.random.Generator | None) -> Batch:
        batch = super().batch(rows, rng)
        if rng is not None:
            batch["x"] = batch["x"] + torch.from_numpy(rng.random(batch["x"].shape, np.float32))
            self.first = self.first or rng.random(3).tolist()
        return batch


def smooth() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 1))


def rough() -> nn.Module:
    return nn.Sequential(
        nn.Linear(3, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 1)
    )


def squares(module: nn.Module, batch: Batch) -> Tensor:
    return functional.mse_loss(module(batch["x"]), batch["y"])


def trained(
    make: Callable[[], nn.Module] = smooth,
    config: TrainingConfig = CONFIG,
    *,
    init: int = 0,
    train: Waves | None = None,
    checkpoint: Path | None = None,
    progress: Callable[[str, int, int], None] = lambda task, done, total: None,
    device: torch.device | None = CPU,
) -> tuple[nn.Module, FitLog]:
    """First weights differ by rank: those of the main process count."""
    module = seeded(init + processes.place()[0], make)
    log = fit(
        module,
        squares,
        train or Waves(43, 1),
        Waves(21, 2),
        config,
        seed=4,
        checkpoint=checkpoint,
        checkpoint_every_s=0.0,
        device=device,
        progress=progress,
    )
    return module, log


def batch_normed() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Linear(16, 1))


def leave_weights(folder: Path, module: nn.Module, log: FitLog) -> None:
    rank = processes.place()[0]
    assert not any(isinstance(layer, nn.SyncBatchNorm) for layer in module.modules())
    save_file(module.state_dict(), folder / f"{rank}.safetensors", {"log": json.dumps(log.epochs)})


def leave_words(folder: Path, words: object) -> None:
    (folder / f"{os.environ.get('RANK', '0')}.json").write_text(json.dumps(words))


def task_fit(folder: Path) -> None:
    leave_weights(folder, *trained())


def task_odd(folder: Path) -> None:
    leave_weights(folder, *trained(config=ODD))


def task_rough(folder: Path) -> None:
    train, drawn = Noisy(44, 1), list[float]()  # its last batch is split, too

    class Noted(nn.Dropout):
        def forward(self, x: Tensor) -> Tensor:
            if self.training and not drawn:
                drawn.extend(torch.rand(3).tolist())
            return super().forward(x)

    def make() -> nn.Module:
        module = rough()
        module[3] = Noted(0.3)  # type: ignore[operator]
        return module

    leave_weights(folder, *trained(make, train=train))
    leave_words(folder, {"views": train.first, "dropout": drawn})


def task_gpus(folder: Path) -> None:
    config = CONFIG.model_copy(update={"batch_size": 43, "precision": "bfloat16"})
    leave_weights(folder, *trained(batch_normed, config, device=None))


def task_evaluate(folder: Path) -> None:
    losses = [evaluate_loss(seeded(3, smooth), squares, Waves(n, 5), 8) for n in (2, 8, 9, 61)]
    leave_words(folder, losses)


def task_wait(folder: Path) -> None:
    """The main process is busy for longer than any collective operation may take."""
    PartialState(cpu=True, timeout=timedelta(seconds=3))
    made = folder / "made"

    def make() -> str:
        time.sleep(7)
        made.write_text("by main")
        return "made"

    got = processes.by_main(make, made.read_text)
    leave_weights(folder, *trained())  # and they are still connected
    leave_words(folder, [got, processes.agreed(lambda: processes.is_main())])


def task_nested(folder: Path) -> None:
    """What the main process does for all knows of no other, however deep."""

    def make() -> list[int]:
        inner = processes.by_main(lambda: [*processes.place()], lambda: [-1])
        return [*inner, *processes.place()]

    seen = processes.by_main(make, lambda: [*processes.place()])
    leave_words(folder, [seen, [*processes.place()]])


def task_fail(folder: Path) -> None:
    words = []
    for call in (processes.by_main, lambda make, read: processes.agreed(make)):
        try:
            call(lambda: int("x"), lambda: 0)
        except (ValueError, ElsewhereError) as error:
            words.append(f"{type(error).__name__}: {error}")
    leave_words(folder, [words, processes.agreed(lambda: "in step")])


def task_lead(folder: Path) -> None:
    """Steps: one that works, one that fails everywhere, one after that."""
    done: list[str] = []

    def work(order: str) -> int:
        done.append(order)
        if order == "diverge":
            trained(config=CONFIG.model_copy(update={"learning_rate": 1e30}))
        return len(processes.by_main(lambda: done, lambda: done))

    def program() -> list[str]:
        outcomes = []
        for order in ("first", "diverge", "last"):
            try:
                outcomes.append(f"{processes.lead(order, lambda: work(order))}")  # noqa: B023
            except TrainingError as error:
                outcomes.append(str(error)[:22])
        return outcomes

    result = processes.led(program, work, (TrainingError,))
    leave_words(folder, [result, done])


def task_out_of_step(folder: Path) -> None:
    """Process 1 fails alone while the main one waits for it in a collective operation."""
    from mmgenre.learning import crew

    crew.PATIENCE_S = 1.0

    def work(order: str) -> None:
        if not processes.is_main():
            raise TrainingError("no room on this machine")
        trained()

    try:
        processes.led(lambda: processes.lead("x", lambda: work("x")), work, (TrainingError,))
    except OutOfStepError as error:
        leave_words(folder, str(error))
        raise


def task_kill(folder: Path) -> None:
    """Process 1 dies in the middle of the fourth epoch."""
    checkpoint = folder / "checkpoint"

    class Deadly(Waves):
        calls = 0

        def batch(self, rows: NDArray[np.intp], rng: np.random.Generator | None) -> Batch:
            self.calls += 1
            if self.calls == 20 and processes.place()[0] == 1:  # six batches an epoch
                os.kill(os.getpid(), signal.SIGKILL)
            return super().batch(rows, rng)

    trained(train=Deadly(43, 1), checkpoint=checkpoint)


def task_resume(folder: Path) -> None:
    told: list[int] = []
    module, log = trained(
        init=70, checkpoint=folder / "checkpoint", progress=lambda task, k, n: told.append(k)
    )
    leave_weights(folder, module, log)
    leave_words(folder, told)


def do(tasks: Sequence[str], folder: Path) -> None:
    for name in tasks:
        place = folder / name
        place.mkdir(parents=True, exist_ok=True)
        globals()[f"task_{name}"](place)


if __name__ == "__main__":
    do(sys.argv[1].split(","), Path(sys.argv[2]))
    processes.leave()
