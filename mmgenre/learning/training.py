"""The training loop of all networks: early stopping, best weights kept, checkpoints."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mmgenre.errors import INTERRUPTS, TrainingError
from mmgenre.learning import optimisation, processes
from mmgenre.learning.budget import Budget, Order, batches_of
from mmgenre.learning.devices import pick_device, put, tf32, to_device
from mmgenre.learning.feed import ahead_for, feed, pinned
from mmgenre.learning.rounds import Examples, Loss, parts_of, train_round
from mmgenre.learning.selection import Metric, best_epoch
from mmgenre.learning.settings import TrainingConfig
from mmgenre.learning.stopping import signals_held_back
from mmgenre.learning.tracking import curve_of
from mmgenre.measuring.curves import Curve, Epoch
from mmgenre.progress import Progress, silent, tell


@dataclass
class FitLog:
    """Losses of a training, and the epoch whose weights were kept; see `Curve`."""

    epochs: list[Epoch] = field(default_factory=list)
    best_epoch: int = 0
    n_train: int = 0
    n_val: int = 0
    n_parameters: int | None = None  # that were trained, frozen ones apart
    chance_auc: float | None = None

    @property
    def best_loss(self) -> float:
        """The validation loss of the kept weights."""
        return self.epochs[self.best_epoch - 1]["val_loss"] if self.epochs else math.inf

    def curve(self) -> Curve:
        return cast(Curve, asdict(self))


def fit(
    module: nn.Module,
    loss: Loss,
    train: Examples,
    val: Examples,
    config: TrainingConfig,
    *,
    seed: int,
    order: Order | None = None,
    rates: optimisation.Rates | None = None,
    metric: Metric | None = None,
    checkpoint: Path | None = None,
    checkpoint_every_s: float = 60.0,
    device: torch.device | None = None,
    ahead: int | None = None,
    task: str = "training",
    progress: Progress = silent,
) -> FitLog:
    """Trains `module` in place; afterwards it holds the weights of the best evaluation.

    That is the one of least validation loss, or as `config.select` says. For "metric", `loss` must
    call `module` once with a batch; `metric` gets all its outputs for the validation examples.

    The random numbers of an epoch depend on (seed, epoch) only: a training that resumes from its
    checkpoint ends with the same weights as one that was never interrupted. With
    `config.min_steps`, a round of steps takes the place of an epoch in all this (see `Budget`).

    With several processes, all ranks call this function. They share each batch and end with the
    same weights. Batches and their order are those of a single process, and so is the validation
    loss of given weights. The final weights are those of a single process up to rounding if the
    loss is a mean over rows and the module has no dropout, batch norm or random views. Views and
    dropout are drawn from (seed, epoch, batch, rank), so they only have the same distribution.

    `order` draws the rows of each pass, as `Budget.batches` takes it.

    `module` is left on `device` (default: `pick_device`) in evaluation mode. `loss` gives the mean
    of a batch. A thread prepares `ahead` batches before they are needed (default: `ahead_for` the
    device); rows and views are the same with it.

    Training resumes from the safetensors file `checkpoint` if it exists; this holds four times the
    weights and is synced to disk, so `checkpoint_every_s` pass between two of them. `progress` is
    called on rank 0 after each epoch, and writes the curve if it is `Tracked`. A signal that ends a
    single process waits until the epoch at work is saved, unless the one before it is, or there is
    none.

    Raises:
        TrainingError: no examples, a NaN or infinite loss, no `metric` to select by, or a `device`
            that is not this rank's.
    """
    if not len(train) or not len(val):
        raise TrainingError(f"{task}: {len(train)} training and {len(val)} validation examples")
    if config.select == "metric" and metric is None:
        raise TrainingError(f"{task}: has no metric to select weights by; set select to loss")
    device = device or pick_device()
    rank, n_processes = processes.place()
    if n_processes > 1 and device != processes.device():
        raise TrainingError(
            f"{task}: got device {device}, but the launcher gave rank {rank} of {n_processes} "
            f"{processes.device()}; pass no device"
        )
    ahead = ahead_for(device) if ahead is None else ahead
    put(module, device, channels_last=config.channels_last)
    optimizer = optimisation.make_optimizer(module, config, rates)
    budget = Budget.of(config, len(train))
    log = FitLog(n_train=len(train), n_val=len(val))
    best = optimisation.copy_weights(module)
    if checkpoint is not None and processes.from_main(checkpoint.is_file):
        best, saved = optimisation.read_checkpoint(checkpoint, module, optimizer)
        log = FitLog(**saved)
    log.n_parameters = optimisation.n_trained(optimizer)
    chosen_by = metric if config.select == "metric" else None
    saved_at, n_saved = monotonic(), len(log.epochs)
    with (
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
        tf32(config.tf32, device),
        processes.shared(module) as shared,
        _telling(task, lambda: n_saved, budget.rounds),
        curve_of(progress, log.epochs) as keep,
        signals_held_back(wanted=n_processes == 1 and checkpoint is not None) as stop,
    ):
        stepped = cast(nn.Module, torch.compile(shared)) if config.compile else shared
        for epoch in range(len(log.epochs) + 1, budget.rounds + 1):
            if not budget.is_patient(epoch - 1, log.best_epoch):
                break
            is_saved = n_saved == epoch - 1
            stop.waits_for = None if is_saved else f"{task}: epoch {epoch} of {budget.rounds}"
            if rank == 0:
                progress(task, epoch - 1, budget.rounds)
            torch.manual_seed(_torch_seed(seed, epoch, rank))
            # Its cache would keep the weights of the first batch until the context ends.
            in_bfloat16 = config.precision == "bfloat16"
            with torch.autocast(device.type, torch.bfloat16, in_bfloat16, cache_enabled=False):
                module.train()
                parts = parts_of(train, budget, (seed, epoch), order, device)
                with feed(parts, device, ahead) as fed:
                    train_loss = train_round(stepped, shared, loss, fed, budget, optimizer)
                processes.copy_buffers(module)
                val_loss, metrics = evaluate(module, loss, val, config.batch_size, chosen_by, ahead)
            if not (math.isfinite(train_loss) and math.isfinite(val_loss)):
                raise TrainingError(
                    f"{task}: epoch {epoch} gave losses {train_loss:g} (training) and "
                    f"{val_loss:g} (validation); try a smaller learning rate than "
                    f"{config.learning_rate:g}"
                )
            log.epochs.append({"epoch": epoch, "train_loss": train_loss, "val_loss": val_loss})
            if config.min_steps is not None:
                log.epochs[-1]["step"] = budget.steps(epoch).stop
            if metrics:
                log.epochs[-1]["metrics"] = metrics
            log.best_epoch = best_epoch(log.epochs, config.select)
            if log.best_epoch == epoch:
                best = optimisation.copy_weights(module)
            tell(progress, task, _losses(log))
            keep(log.epochs[-1])
            is_due = monotonic() - saved_at >= checkpoint_every_s or stop.asked is not None
            if rank == 0 and checkpoint is not None and is_due:
                optimisation.save_checkpoint(checkpoint, module, best, optimizer, asdict(log))
                saved_at, n_saved = monotonic(), epoch
            stop.act()
    if rank == 0:
        if len(log.epochs) < budget.rounds:
            tell(progress, task, f"stopped early, after epoch {len(log.epochs)}; {_losses(log)}")
        progress(task, budget.rounds, budget.rounds)
    module.load_state_dict(best)
    module.eval()
    return log


def _losses(log: FitLog) -> str:
    """The losses of the last epoch, and which epoch is the best so far."""
    last = log.epochs[-1]
    losses = f"loss {last['train_loss']:.4g}, validation {last['val_loss']:.4g}"
    return f"{losses}, best epoch {log.best_epoch}"


@contextmanager
def _telling(task: str, n_saved: Callable[[], int], n: int) -> Iterator[None]:
    """Whoever ends the training learns how many of its n epochs are in the checkpoint."""
    try:
        yield
    except INTERRUPTS as stop:
        kept = f"epoch {n_saved()} of {n} is saved" if n_saved() else "begins again"
        stop.add_note(f"{task}: {kept}")
        raise


def evaluate_loss(module: nn.Module, loss: Loss, examples: Examples, batch_size: int) -> float:
    """Mean loss over all examples, in evaluation mode; several ranks share the batches."""
    return evaluate(module, loss, examples, batch_size)[0]


@torch.no_grad()
def evaluate(
    module: nn.Module,
    loss: Loss,
    examples: Examples,
    batch_size: int,
    metric: Metric | None = None,
    ahead: int = 0,
) -> tuple[float, dict[str, float]]:
    """Mean loss over all examples, and the metrics of all outputs; several ranks share the work.

    A thread prepares `ahead` batches before they are needed.
    """
    module.eval()
    rank, n = processes.place()
    batches = list(batches_of(np.arange(len(examples)), batch_size))
    losses, own = np.zeros(len(batches)), list[NDArray[np.float32]]()
    device, mine = next(module.parameters()).device, range(rank, len(batches), n)
    views = (pinned(examples.batch(batches[k], None), device) for k in mine)
    with (
        _outputs_to(own, module) if metric else nullcontext(),
        feed(views, device, ahead) as fed,
    ):
        for k, batch in zip(mine, fed, strict=True):
            losses[k] = float(loss(module, to_device(batch, module))) * len(batches[k])
    # Summed in the order of the batches: bit-equal for any number of ranks.
    mean = float(sum(processes.summed(losses).tolist())) / len(examples)
    if metric is None:
        return mean, {}
    of_rank = processes.gathered(own)
    return mean, metric(np.concatenate([of_rank[k % n][k // n] for k in range(len(batches))]))


@contextmanager
def _outputs_to(kept: list[NDArray[np.float32]], module: nn.Module) -> Iterator[None]:
    """Keeps the module's outputs, which `loss` does not return."""

    def keep(_: nn.Module, inputs: object, output: Tensor) -> None:
        del inputs
        kept.append(output.float().cpu().numpy())

    hook = module.register_forward_hook(keep)
    try:
        yield
    finally:
        hook.remove()


def seeded(seed: int, make: Callable[[], nn.Module]) -> nn.Module:
    """Calls `make` with torch's random state set by `seed`; the global state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_torch_seed(seed, 0))
        return make()


def _torch_seed(seed: int, epoch: int, rank: int = 0) -> int:
    sequence = np.random.SeedSequence((seed, epoch, rank))  # rank 0: that of (seed, epoch)
    return int(sequence.generate_state(1, np.uint64)[0] >> 1)
