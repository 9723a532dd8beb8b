"""Threads that share batches and not the sums inside of one, so that their number changes nothing.

Several threads that share a convolution or a matrix product add its terms in another order than one
thread does, and float32 rounds them otherwise: 1e-7 of the length of a ResNet-50's vectors.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

import torch

MOST = 8  # threads, as each holds the layers of a batch of its own

In = TypeVar("In")
Out = TypeVar("Out")


def map_by_threads(
    function: Callable[[In], Out], batches: Iterable[In]
) -> Generator[Out, None, None]:
    """Results in the order of the batches, each by one of torch's threads alone.

    Batches are taken by the calling thread, a few ahead of the results.
    """
    with _one_thread_each() as n:
        if n == 1:
            yield from map(function, batches)
            return
        ahead: deque[Future[Out]] = deque()
        with ThreadPoolExecutor(n, initializer=partial(torch.set_num_threads, 1)) as pool:
            for batch in batches:
                ahead.append(pool.submit(function, batch))
                if len(ahead) > n:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()


@contextmanager
def _one_thread_each() -> Iterator[int]:
    """Torch computes with one thread inside; gives how many it had, `MOST` at most."""
    n = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield min(n, MOST)
    finally:
        torch.set_num_threads(n)
