"""Batches that a thread reads and draws while a GPU is at work on those before.

One thread takes them in order, so that rows and random views are those of a loop without it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Final, TypeVar

import torch
from torch import Tensor

from mmgenre.learning.devices import Batch

AHEAD = 4  # batches that are ready before a GPU asks for them

T = TypeVar("T")


class _End:
    """What follows the last item."""


END: Final = _End()


def ahead_for(device: torch.device) -> int:
    """How many batches are prepared ahead; on a CPU none, as the network needs its cores."""
    return 0 if device.type == "cpu" else AHEAD


@contextmanager
def feed(items: Iterator[T], device: torch.device, ahead: int) -> Iterator[Iterator[T]]:
    """The items, of which a thread takes up to `ahead` before they are asked for; 0: no thread.

    An error among them is raised where the item would have been. The thread ends with the block,
    after the item that it is at.
    """
    if not ahead:
        yield items
        return
    waiting: deque[Future[T | _End]] = deque()
    pool = ThreadPoolExecutor(1, "mmgenre-feed", initializer=partial(_work_for, device))

    def ask() -> None:
        waiting.append(pool.submit(next, items, END))

    def taken() -> Iterator[T]:
        while not isinstance(item := waiting.popleft().result(), _End):
            ask()
            yield item

    try:
        for _ in range(ahead):
            ask()
        yield taken()
    finally:
        pool.shutdown(cancel_futures=True)


def _work_for(device: torch.device) -> None:
    """Pinned memory belongs to a GPU: without this, each rank would use the first one as well."""
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)


def pinned(batch: Batch, device: torch.device) -> Batch:
    """The batch in memory that a CUDA device copies by itself; as it is for other devices.

    Sparse rows stay: they are a few numbers for each text.
    """
    if device.type != "cuda":
        return batch
    return {name: _pinned(tensor) for name, tensor in batch.items()}


def _pinned(tensor: Tensor) -> Tensor:
    return tensor if tensor.is_sparse or not tensor.numel() else tensor.pin_memory()
