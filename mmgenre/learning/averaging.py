"""The moving average of a network's weights, which generalises better than the last of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """An exponential moving average of the weights and running statistics of a module.

    The decay of step n is min(decay, (n - 1) / (n + 8)): 0 in the first, and small at first, so
    that the average soon forgets the first weights. Other buffers are not averaged.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        state = module.state_dict(keep_vars=True)
        own = {t: name for name, t in state.items() if t.is_floating_point()}  # tied ones once
        self.names, self.own = list(own.values()), list(own)
        self.values = [tensor.detach().clone() for tensor in self.own]

    @torch.no_grad()
    def update(self, n: int) -> None:
        """Takes in the weights after step `n`, counted from 1."""
        decay = min(self.decay, (n - 1) / (n + 8))
        torch._foreach_lerp_(self.values, self.own, 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The module has the averaged weights; afterwards it has its own again."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for k, tensor in enumerate(self.own):
            tensor.data, self.values[k] = self.values[k], tensor.data

    def state(self) -> dict[str, Tensor]:
        """By name, for a checkpoint."""
        return dict(zip(self.names, self.values, strict=True))

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Goes on from a checkpoint."""
        for value, name in zip(self.values, self.names, strict=True):
            value.copy_(state[name])
