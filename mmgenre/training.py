"""The one training loop: early stopping on validation loss, best weights kept, resumable."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from mmgenre.errors import TrainingError
from mmgenre.files import replacing
from mmgenre.optimisation import Rates, TrainingConfig, make_optimizer, set_rate
from mmgenre.progress import Progress, silent
from mmgenre.results import Curve, Epoch

Batch = dict[str, Tensor]
Loss = Callable[[nn.Module, Batch], Tensor]


class Examples(Protocol):
    """Things to learn from, by position.

    `batch` with an `rng` draws training views (random patches, negatives, dropped modalities);
    without one it gives the same evaluation views each time. Tensors lead with the batch axis.
    """

    def __len__(self) -> int: ...
    def batch(self, rows: NDArray[np.intp], rng: np.random.Generator | None) -> Batch: ...


@dataclass
class FitLog:
    """How a training went."""

    epochs: list[Epoch] = field(default_factory=list)
    best_epoch: int = 0
    best_loss: float = math.inf

    def curve(self) -> Curve:
        """As shown in a report."""
        return {"epochs": self.epochs, "best_epoch": self.best_epoch}


def pick_device() -> torch.device:
    """The first CUDA device if there is one, else Apple's, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def fit(
    module: nn.Module,
    loss: Loss,
    train: Examples,
    val: Examples,
    config: TrainingConfig,
    *,
    seed: int,
    rates: Rates | None = None,
    checkpoint: Path | None = None,
    checkpoint_every_s: float = 60.0,
    device: torch.device | None = None,
    task: str = "training",
    progress: Progress = silent,
) -> FitLog:
    """Trains `module` in place; afterwards it holds the weights of the best validation loss.

    All randomness of an epoch derives from (seed, epoch), so that a training that was killed and
    goes on from its checkpoint ends with the weights of one that was not.

    Args:
        module: what to train; stays on `device`, in evaluation mode.
        loss: (module, batch) -> mean loss of the batch.
        train: training examples.
        val: validation examples.
        config: how.
        seed: of shuffling, views and dropout.
        rates: factors on the learning rate by parameter name, 0 for what is frozen; default: 1.
        checkpoint: a safetensors file to go on from if it is there. It holds four times the
            weights and is synced to disk, so it is written after an epoch only if
        checkpoint_every_s: seconds have passed since the last.
        device: default: the best there is.
        task: what the progress is called.
        progress: told after each epoch.

    Raises:
        TrainingError: no examples, or a loss that is NaN or infinite.
    """
    if not len(train) or not len(val):
        raise TrainingError(f"{task}: {len(train)} training and {len(val)} validation examples")
    device = device or pick_device()
    module.to(device)
    if config.channels_last:
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = make_optimizer(module, config, rates)
    log = FitLog()
    best = _copy(module)
    if checkpoint is not None and checkpoint.is_file():
        best = _resume(checkpoint, module, optimizer, log)
    saved_at = monotonic()
    dtype = torch.bfloat16 if config.precision == "bfloat16" else torch.float32
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        for epoch in range(len(log.epochs) + 1, config.max_epochs + 1):
            if config.patience and len(log.epochs) - log.best_epoch >= config.patience:
                break
            set_rate(optimizer, config.rate_at(epoch))
            progress(task, epoch - 1, config.max_epochs)
            torch.manual_seed(_torch_seed(seed, epoch))
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                train_loss = _train_epoch(
                    module, loss, train, config, optimizer, np.random.default_rng((seed, epoch))
                )
                val_loss = evaluate_loss(module, loss, val, config.batch_size)
            if not (math.isfinite(train_loss) and math.isfinite(val_loss)):
                raise TrainingError(
                    f"{task}: epoch {epoch} gave losses {train_loss:g} (training) and "
                    f"{val_loss:g} (validation); try a smaller learning rate than "
                    f"{config.learning_rate:g}"
                )
            log.epochs.append({"epoch": epoch, "train_loss": train_loss, "val_loss": val_loss})
            if val_loss < log.best_loss:
                log.best_epoch, log.best_loss = epoch, val_loss
                best = _copy(module)
            if checkpoint is not None and monotonic() - saved_at >= checkpoint_every_s:
                saved_at = monotonic()
                _save(checkpoint, module, best, optimizer, log)
    progress(task, config.max_epochs, config.max_epochs)
    module.load_state_dict(best)
    module.eval()
    return log


def _train_epoch(
    module: nn.Module,
    loss: Loss,
    train: Examples,
    config: TrainingConfig,
    optimizer: torch.optim.Optimizer,
    rng: np.random.Generator,
) -> float:
    module.train()
    total = 0.0
    for rows in _batches(rng.permutation(len(train)), config.batch_size):
        optimizer.zero_grad(set_to_none=True)
        for part in np.array_split(rows, min(config.accumulate, max(1, len(rows) // 2))):
            batch = to_device(train.batch(part, rng), module)
            value = loss(module, batch)
            (value * (len(part) / len(rows))).backward()  # type: ignore[no-untyped-call]
            total += float(value.detach()) * len(part)
        optimizer.step()
    return total / len(train)


@torch.no_grad()
def evaluate_loss(module: nn.Module, loss: Loss, examples: Examples, batch_size: int) -> float:
    """Mean loss over all examples, in evaluation mode."""
    module.eval()
    total = 0.0
    for rows in _batches(np.arange(len(examples)), batch_size):
        total += float(loss(module, to_device(examples.batch(rows, None), module))) * len(rows)
    return total / len(examples)


def to_device(batch: Batch, module: nn.Module) -> Batch:
    """The batch where the module's weights are."""
    device = next(module.parameters()).device
    return {name: tensor.to(device) for name, tensor in batch.items()}


def seeded(seed: int, make: Callable[[], nn.Module]) -> nn.Module:
    """A network whose first weights depend on `seed` alone; the global state stays untouched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_torch_seed(seed, 0))
        return make()


def _torch_seed(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence((seed, epoch)).generate_state(1, np.uint64)[0] >> 1)


def _batches(rows: NDArray[np.intp], size: int) -> Iterator[NDArray[np.intp]]:
    """Batches of `size`; a last batch of one joins the batch before it (batch norm needs two)."""
    starts = list(range(0, len(rows), size))
    if len(starts) > 1 and len(rows) - starts[-1] == 1:
        starts.pop()
    for start, stop in zip(starts, [*starts[1:], len(rows)], strict=True):
        yield rows[start:stop]


def _copy(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in module.state_dict().items()}


def _save(
    path: Path,
    module: nn.Module,
    best: dict[str, Tensor],
    optimizer: torch.optim.Optimizer,
    log: FitLog,
) -> None:
    tensors = {f"now.{name}": tensor for name, tensor in _copy(module).items()}
    tensors |= {f"best.{name}": tensor for name, tensor in best.items()}
    for i, state in optimizer.state_dict()["state"].items():
        held = {key: t for key, t in state.items() if t is not None}
        tensors |= {f"step.{i}.{key}": t.detach().cpu().contiguous() for key, t in held.items()}
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={"log": json.dumps(asdict(log))})


def _resume(
    path: Path, module: nn.Module, optimizer: torch.optim.Optimizer, log: FitLog
) -> dict[str, Tensor]:
    """Puts a checkpoint back into module, optimiser and log; returns the best weights."""
    with safe_open(path, framework="pt") as file:
        saved = json.loads(file.metadata()["log"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    log.epochs, log.best_epoch, log.best_loss = (
        saved["epochs"],
        saved["best_epoch"],
        saved["best_loss"],
    )
    module.load_state_dict(_below("now.", tensors))
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _below("step.", tensors).items():
        i, key = name.split(".")
        state.setdefault(int(i), {})[key] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    return _below("best.", tensors)


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
