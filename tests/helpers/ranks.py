"""What `test_processes.py` runs on several ranks: `run`, or torchrun ranks.py TASK,TASK FOLDER.

Each rank writes FOLDER/TASK/RANK.json or FOLDER/TASK/RANK.safetensors.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
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

from mmgenre.disk.provenance import Provenance
from mmgenre.errors import TrainingError
from mmgenre.learning import processes
from mmgenre.learning.devices import Batch
from mmgenre.learning.selection import Metric
from mmgenre.learning.settings import TrainingConfig
from mmgenre.learning.training import FitLog, evaluate_loss, fit, seeded
from mmgenre.pipeline.artefact import Artefact, carry_out
from mmgenre.progress import Progress

CPU = torch.device("cpu")
# None of ours: the server's sys.path may not be that of the tests. Optimisers import torch._dynamo.
SLOW_IMPORTS = [
    "torch",
    "torch._dynamo",
    "accelerate",
    "safetensors.torch",
    "pydantic",
    "scipy.sparse",
]
# 43 rows in batches of 8: parts of 4 and 4; the last batch has 3, which no two can share.
CONFIG = TrainingConfig(learning_rate=0.05, batch_size=8, max_epochs=6, patience=6)
STEPS = CONFIG.model_copy(
    update={
        "max_epochs": 1,
        "min_steps": 80,
        "patience": None,
        "schedule": "warmup-cosine",
        "select": "metric",
    }
)
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
    """Its training views are random; remembers the first."""

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
    metric: Metric | None = None,
    train: Waves | None = None,
    checkpoint: Path | None = None,
    progress: Callable[[str, int, int], None] = lambda task, done, total: None,
    device: torch.device | None = CPU,
) -> tuple[nn.Module, FitLog]:
    """Initial weights differ by rank: those of rank 0 count."""
    module = seeded(init + processes.place()[0], make)
    log = fit(
        module,
        squares,
        train or Waves(43, 1),
        Waves(21, 2),
        config,
        seed=4,
        metric=metric,
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


def nearness(outputs: NDArray[np.float32]) -> dict[str, float]:
    """Of all validation outputs, in their order."""
    return {"macro_roc_auc": -float(np.abs(outputs - Waves(21, 2).y).mean())}


def task_steps(folder: Path) -> None:
    leave_weights(folder, *trained(config=STEPS, metric=nearness))


def task_rough_steps(folder: Path) -> None:
    leave_weights(folder, *trained(rough, STEPS, train=Noisy(44, 1), metric=nearness))


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
    """Rank 0 is busy for longer than a collective operation of training may take."""
    PartialState(cpu=True, timeout=timedelta(seconds=1))

    def ask() -> list[str]:
        time.sleep(2.5)
        return ["from", "main"]

    got = processes.from_main(ask)
    leave_weights(folder, *trained())  # and they are still connected
    leave_words(folder, got)


def task_nested(folder: Path) -> None:
    """What rank 0 does for all knows of no other rank, however deep."""

    def ask() -> list[int]:
        return [*processes.from_main(processes.place), *processes.place()]

    leave_words(folder, [processes.from_main(ask), [*processes.place()]])


def task_fail(folder: Path) -> None:
    """Rank 0 fails for all; then training fails on all ranks; then they go on."""
    words = []
    try:
        processes.from_main(lambda: int("x"))
    except (ValueError, processes.ElsewhereError) as error:
        words.append(f"{type(error).__name__}: {error}")
    try:
        trained(config=CONFIG.model_copy(update={"learning_rate": 1e30}))
    except TrainingError as error:
        processes.check_all_failed(error)
        words.append(str(error))
    leave_words(folder, [*words, processes.from_main(lambda: "in step")])


def task_plan(folder: Path) -> None:
    """A plan of three trainings: one that works, one that fails on all ranks, one after that."""
    made: list[str] = []

    def artefact(name: str) -> Artefact:
        def make(progress: Progress) -> None:
            made.append(name)
            rate = 1e30 if name == "diverge" else CONFIG.learning_rate
            trained(config=CONFIG.model_copy(update={"learning_rate": rate}))

        provenance = Provenance("test", 1, {"name": name})
        return Artefact("learn", name, folder / name, provenance, (), lambda: None, make, True)

    plan = [artefact(name) for name in ("first", "diverge", "last")]
    outcome = carry_out(plan, folder, keep_going=True)
    leave_words(folder, [made, [why[:22] for why in outcome.failed.values()]])


def task_out_of_step(folder: Path) -> None:
    """Rank 1 fails alone while rank 0 waits for it in a collective operation."""
    processes.LONGEST_DELAY = timedelta(seconds=1)
    processes.from_main(lambda: None)
    try:
        if not processes.is_main():
            raise TrainingError("no room on this machine")
        trained()
    except TrainingError as failure:
        try:
            processes.check_all_failed(failure)
        except processes.OutOfStepError as error:
            leave_words(folder, str(error))
            raise


def task_kill(folder: Path) -> None:
    """Rank 1 dies in the middle of the fourth epoch."""
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
    epochs: list[int] = []
    module, log = trained(
        init=70, checkpoint=folder / "checkpoint", progress=lambda task, k, n: epochs.append(k)
    )
    leave_weights(folder, module, log)
    leave_words(folder, epochs)


def do(tasks: Sequence[str], folder: Path) -> None:
    for name in tasks:
        place = folder / name
        place.mkdir(parents=True, exist_ok=True)
        globals()[f"task_{name}"](place)


def start_rank(rank: int, n: int, port: int, tasks: Sequence[str], folder: Path) -> None:
    """As a launcher starts it, in a new process."""
    where = {"MASTER_ADDR": "localhost", "MASTER_PORT": port, "RANK": rank, "LOCAL_RANK": rank}
    sizes = {"WORLD_SIZE": n, "LOCAL_WORLD_SIZE": n}
    os.environ |= {key: str(value) for key, value in (where | sizes).items()}
    os.environ |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    torch.set_num_threads(1)
    do(tasks, folder)
    processes.leave()


def run(folder: Path, *tasks: str, n: int = 2, limit_s: float = 120) -> list[int | None]:
    """Does tasks on n ranks, forked from one server that has imported torch; their exit codes."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(SLOW_IMPORTS)
    port = free_port()
    started = [
        context.Process(target=start_rank, args=(rank, n, port, tasks, folder)) for rank in range(n)
    ]
    for process in started:
        process.start()
    end = time.monotonic() + limit_s
    try:
        for process in started:
            process.join(max(0.0, end - time.monotonic()))
        return [process.exitcode for process in started]  # None: still running
    finally:
        for process in started:
            process.kill()


def free_port() -> int:
    with socket.socket() as own:
        own.bind(("localhost", 0))
        return int(own.getsockname()[1])


if __name__ == "__main__":
    do(sys.argv[1].split(","), Path(sys.argv[2]))
    processes.leave()
