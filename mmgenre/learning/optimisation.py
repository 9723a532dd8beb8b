"""How weights move: optimiser, learning rates by layer and by epoch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from mmgenre.config import Settings

# Parameter name -> factor on the learning rate; 0: frozen.
Rates = Callable[[str], float]


class TrainingConfig(Settings):
    """METHOD section 8: Adam 1e-3, batches of 32, at most 100 epochs, patience 4.

    `patience` None: no early stopping; the best weights are kept all the same. `schedule` "step"
    multiplies the learning rate by `step_factor` after every `step_epochs`, "cosine" lowers it to
    0 over `max_epochs`. `accumulate`: each batch is computed in so many parts, whose gradients add
    up to its own: less memory, the same step (batch norm apart). `channels_last`: how images and
    patches lie in memory; no part of the method.
    """

    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: float = Field(1e-3, gt=0)
    momentum: float = Field(0.0, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)
    schedule: Literal["none", "step", "cosine"] = "none"
    step_epochs: int = Field(3, ge=1)
    step_factor: float = Field(0.1, gt=0, le=1)
    batch_size: int = Field(32, ge=1)
    accumulate: int = Field(1, ge=1)
    max_epochs: int = Field(100, ge=1)
    patience: int | None = Field(4, ge=1)
    precision: Literal["float32", "bfloat16"] = "float32"
    channels_last: bool = False

    @model_validator(mode="after")
    def _settings_go_together(self) -> Self:
        if self.momentum and self.optimizer != "sgd":
            raise ValueError(
                f"momentum {self.momentum:g} is for optimizer sgd, not {self.optimizer}"
            )
        if self.accumulate > 1 and 2 * self.accumulate > self.batch_size:
            raise ValueError(
                f"accumulate {self.accumulate}: parts of a batch of {self.batch_size} would have "
                "fewer than two examples, and batch norm needs two"
            )
        return self

    def rate_at(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 1."""
        if self.schedule == "step":
            return self.learning_rate * self.step_factor ** ((epoch - 1) // self.step_epochs)
        if self.schedule == "cosine":
            return self.learning_rate * (1 + math.cos(math.pi * (epoch - 1) / self.max_epochs)) / 2
        return self.learning_rate


def make_optimizer(
    module: nn.Module, config: TrainingConfig, rates: Rates | None = None
) -> torch.optim.Optimizer:
    """The optimiser over all weights that learn, in groups of one learning-rate factor each.

    Sparse gradients, which are of some rows alone, are taken for what they mean: 0 elsewhere.
    """
    by_factor: dict[float, list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        factor = 1.0 if rates is None else rates(name)
        if factor and parameter.requires_grad:
            by_factor.setdefault(factor, []).append(parameter)
    groups: list[dict[str, Any]] = [{"params": p, "factor": f} for f, p in by_factor.items()]
    decay, device = config.weight_decay, next(module.parameters()).device.type
    fused = device in ("cpu", "cuda")
    optimizer: torch.optim.Optimizer
    if config.optimizer == "sgd":
        optimizer = torch.optim.SGD(
            groups, config.learning_rate, config.momentum, weight_decay=decay, fused=fused
        )
    else:
        kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
        optimizer = kind(groups, config.learning_rate, weight_decay=decay, fused=fused)
    optimizer.register_step_pre_hook(_DenseGradients())
    return optimizer


class _DenseGradients:
    """Puts sparse gradients into dense ones before a step.

    The dense ones are kept: to allocate and clear 82 MB for the rows of a few words would take as
    long as the step.
    """

    def __init__(self) -> None:
        self.kept: dict[nn.Parameter, tuple[Tensor, Tensor]] = {}  # gradient, rows that are not 0

    def __call__(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        for parameter in (p for group in optimizer.param_groups for p in group["params"]):
            sparse = parameter.grad
            if sparse is None or not sparse.is_sparse:
                continue
            (rows,), values = sparse._indices(), sparse._values()
            if parameter in self.kept:
                dense, before = self.kept[parameter]
                dense.index_fill_(0, before, 0)
            else:
                dense = torch.zeros_like(parameter)
            # Added: a batch computed in parts has several gradients of a row.
            parameter.grad = dense.index_add_(0, rows, values)
            self.kept[parameter] = dense, rows


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Gives every group its factor of an epoch's learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]
