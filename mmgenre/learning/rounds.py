"""The steps of a round of training, and the batches that they take."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mmgenre.learning import processes
from mmgenre.learning.budget import Budget, Order
from mmgenre.learning.devices import Batch, to_device
from mmgenre.learning.feed import pinned

Loss = Callable[[nn.Module, Batch], Tensor]
MOST_UNREAD = 1000  # losses of steps that stay on the device


class Examples(Protocol):
    """Examples by position; the first axis of a tensor is the batch.

    With an `rng`, `batch` draws training views (random patches, negatives, dropped modalities),
    without one it returns the same evaluation views each time.
    """

    def __len__(self) -> int: ...
    def batch(self, rows: NDArray[np.intp], rng: np.random.Generator | None) -> Batch: ...


@dataclass(frozen=True)
class Part:
    """What a rank computes at once of the batch of a step."""

    step: int
    batch: Batch
    n: int  # its rows
    n_step: int  # rows of the step, of all ranks
    share: float  # of its mean in the gradient of the rank
    copies: int  # ranks that compute the same rows
    is_first: bool
    is_last: bool


def parts_of(
    train: Examples,
    budget: Budget,
    seed: tuple[int, int],
    order: Order | None,
    device: torch.device,
) -> Iterator[Part]:
    """What this rank computes in a round, the number of which is in `seed`."""
    rank, n = processes.place()
    rng = np.random.default_rng(seed)
    steps = budget.steps(seed[1])
    for number, rows in enumerate(budget.batches(seed[1], seed[0], rng, order)):
        # Batch norm needs two rows per rank; each rank computes the whole of a smaller batch.
        split = len(rows) >= 2 * n
        own = np.array_split(rows, n)[rank] if split else rows
        weight = n * len(own) / len(rows) if split else 1.0  # in the mean over ranks
        if n > 1:
            rng = np.random.default_rng((*seed, 1 + number, rank if split else 0))
        # The same number of parts on every rank: SyncBatchNorm waits for the others in each part.
        least = len(rows) // n if split else len(rows)
        parts = np.array_split(own, min(budget.config.accumulate, max(1, least // 2)))
        for k, part in enumerate(parts):
            yield Part(
                step=steps[number],
                batch=pinned(train.batch(part, rng), device),
                n=len(part),
                n_step=len(rows),
                share=len(part) / len(own) * weight,
                copies=1 if split else n,
                is_first=k == 0,
                is_last=k + 1 == len(parts),
            )


def train_round(
    stepped: nn.Module,
    shared: nn.Module,
    loss: Loss,
    parts: Iterable[Part],
    budget: Budget,
    optimizer: torch.optim.Optimizer,
) -> float:
    """Mean training loss of a round over all ranks' examples; `stepped`: `shared`, or compiled."""
    total, n_seen, unread = 0.0, 0, list[tuple[Tensor, Part]]()
    for part in parts:
        if part.is_first:
            for group in optimizer.param_groups:
                group["lr"] = budget.rate(part.step) * group["factor"]
            optimizer.zero_grad(set_to_none=True)
            n_seen += part.n_step
        with nullcontext() if part.is_last else processes.gradients_apart(shared):
            value = loss(stepped, to_device(part.batch, shared))
            (value * part.share).backward()  # type: ignore[no-untyped-call]
        # To read a loss waits for the GPU, which would have nothing to do until the next step.
        unread.append((value.detach(), replace(part, batch={})))
        if len(unread) == MOST_UNREAD:
            total, unread = _added(total, unread), []
        if part.is_last:
            optimizer.step()
    total = _added(total, unread)
    return float(processes.summed(np.array([total]))[0]) / n_seen


def _added(total: float, unread: Sequence[tuple[Tensor, Part]]) -> float:
    """The sum of losses over rows, with those of more parts."""
    values = torch.stack([value for value, _ in unread]).tolist() if unread else []
    for value, (_, part) in zip(values, unread, strict=True):
        total += value * part.n / part.copies
    return total
