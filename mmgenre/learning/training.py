"""The one training loop: early stopping on validation loss, best weights kept, resumable."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mmgenre.errors import TrainingError
from mmgenre.learning import processes
from mmgenre.learning.checkpoint import copy_weights, read_checkpoint, save_checkpoint
from mmgenre.learning.optimisation import Rates, TrainingConfig, make_optimizer, set_rate
from mmgenre.measuring.results import Curve, Epoch
from mmgenre.progress import Progress, silent

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
    """The first CUDA device if there is one, else Apple's, else the CPU.

    Of several processes, each has a CUDA device of its own, or the CPU.
    """
    if processes.is_launched():
        return processes.device()
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

    Several processes call this together. They share each batch, and end with the same weights.
    These are those of a single process, rounding apart, if the loss is a mean over rows and the
    module has neither dropout nor batch norm nor random views: views and dropout are drawn anew
    from (seed, epoch, batch, rank), so they are equal in law only. Batches and their order are
    the same, and so is the loss of the same weights on validation examples.

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
        progress: told after each epoch, by the main process.

    Raises:
        TrainingError: no examples, or a loss that is NaN or infinite, or one of several processes
            is to train on another device than its own.
    """
    if not len(train) or not len(val):
        raise TrainingError(f"{task}: {len(train)} training and {len(val)} validation examples")
    device = device or pick_device()
    rank, n_processes = processes.place()
    if n_processes > 1 and device != processes.device():
        raise TrainingError(
            f"{task}: device {device} is asked for, but process {rank} of {n_processes} has "
            f"{processes.device()}; leave it to the launcher"
        )
    main = rank == 0
    module.to(device)
    if config.channels_last:
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = make_optimizer(module, config, rates)
    log = FitLog()
    best = copy_weights(module)
    if checkpoint is not None and processes.agreed(checkpoint.is_file):
        best, told = read_checkpoint(checkpoint, module, optimizer)
        log = FitLog(**told)
    saved_at = monotonic()
    with (
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
        processes.shared(module) as shared,
    ):
        for epoch in range(len(log.epochs) + 1, config.max_epochs + 1):
            if config.patience and len(log.epochs) - log.best_epoch >= config.patience:
                break
            set_rate(optimizer, config.rate_at(epoch))
            if main:
                progress(task, epoch - 1, config.max_epochs)
            torch.manual_seed(_torch_seed(seed, epoch, rank))
            with torch.autocast(device.type, torch.bfloat16, config.precision == "bfloat16"):
                module.train()
                train_loss = _train_epoch(shared, loss, train, config, optimizer, (seed, epoch))
                processes.copy_buffers(module)
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
                best = copy_weights(module)
            if main and checkpoint is not None and monotonic() - saved_at >= checkpoint_every_s:
                saved_at = monotonic()
                save_checkpoint(checkpoint, module, best, optimizer, asdict(log))
    if main:
        progress(task, config.max_epochs, config.max_epochs)
    module.load_state_dict(best)
    module.eval()
    return log


def _train_epoch(
    shared: nn.Module,
    loss: Loss,
    train: Examples,
    config: TrainingConfig,
    optimizer: torch.optim.Optimizer,
    seed: tuple[int, int],
) -> float:
    """Mean training loss of an epoch, over the examples of all processes."""
    rank, n = processes.place()
    rng = np.random.default_rng(seed)
    total = 0.0
    for number, rows in enumerate(_batches(rng.permutation(len(train)), config.batch_size)):
        # Batch norm needs two rows; a batch too small for that is computed by all, whole.
        split = len(rows) >= 2 * n
        own = np.array_split(rows, n)[rank] if split else rows
        weight = n * len(own) / len(rows) if split else 1.0  # in the mean over the processes
        if n > 1:
            rng = np.random.default_rng((*seed, 1 + number, rank if split else 0))
        # As many parts in every process: batch norm may wait for the others in each.
        least = len(rows) // n if split else len(rows)
        parts = np.array_split(own, min(config.accumulate, max(1, least // 2)))
        optimizer.zero_grad(set_to_none=True)
        for k, part in enumerate(parts):
            apart = processes.gradients_apart(shared) if k + 1 < len(parts) else nullcontext()
            with apart:
                value = loss(shared, to_device(train.batch(part, rng), shared))
                (value * (len(part) / len(own) * weight)).backward()  # type: ignore[no-untyped-call]
            total += float(value.detach()) * len(part) / (1 if split else n)
        optimizer.step()
    return float(processes.summed(np.array([total]))[0]) / len(train)


@torch.no_grad()
def evaluate_loss(module: nn.Module, loss: Loss, examples: Examples, batch_size: int) -> float:
    """Mean loss over all examples, in evaluation mode; of several processes, each takes batches."""
    module.eval()
    rank, n = processes.place()
    batches = list(_batches(np.arange(len(examples)), batch_size))
    losses = np.zeros(len(batches))
    for k in range(rank, len(batches), n):
        batch = to_device(examples.batch(batches[k], None), module)
        losses[k] = float(loss(module, batch)) * len(batches[k])
    # Summed in the order of the batches: the same to the bit, however many processes there are.
    return float(sum(processes.summed(losses).tolist())) / len(examples)


def to_device(batch: Batch, module: nn.Module) -> Batch:
    """The batch where the module's weights are; dense on devices that take nothing else."""
    device = next(module.parameters()).device
    if not sparse_is_possible(device.type):
        batch = {k: x.to_dense() if x.is_sparse else x for k, x in batch.items()}
    return {name: tensor.to(device) for name, tensor in batch.items()}


def sparse_is_possible(device_type: str) -> bool:
    """Whether a device takes sparse tensors: CPUs and CUDA do, Apple's MPS at best in part.

    That MPS works with the dense rows it then gets is not tried: no such device was at hand.

    >>> sparse_is_possible("cuda"), sparse_is_possible("mps")
    (True, False)
    """
    return device_type in ("cpu", "cuda")


def seeded(seed: int, make: Callable[[], nn.Module]) -> nn.Module:
    """A network whose first weights depend on `seed` alone; the global state stays untouched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_torch_seed(seed, 0))
        return make()


def _torch_seed(seed: int, epoch: int, rank: int = 0) -> int:
    sequence = np.random.SeedSequence((seed, epoch, rank))  # rank 0: that of (seed, epoch)
    return int(sequence.generate_state(1, np.uint64)[0] >> 1)


def _batches(rows: NDArray[np.intp], size: int) -> Iterator[NDArray[np.intp]]:
    """Batches of `size`; a last batch of one joins the batch before it (batch norm needs two)."""
    starts = list(range(0, len(rows), size))
    if len(starts) > 1 and len(rows) - starts[-1] == 1:
        starts.pop()
    for start, stop in zip(starts, [*starts[1:], len(rows)], strict=True):
        yield rows[start:stop]
