"""Optimisers, learning rates by parameter and by epoch, and checkpoints."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from mmgenre.disk.bundle import save_tensors
from mmgenre.disk.locks import replacing_alone
from mmgenre.learning.settings import TrainingConfig

Rates = Callable[[str], float]  # parameter name -> factor on the learning rate; 0: frozen


def make_optimizer(
    module: nn.Module, config: TrainingConfig, rates: Rates | None = None
) -> torch.optim.Optimizer:
    """The optimiser of all trainable weights, with one group per learning-rate factor.

    Sparse gradients, which hold some rows only, are used as dense ones that are 0 elsewhere.
    """
    by_factor: dict[float, list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        factor = 1.0 if rates is None else rates(name)
        if factor and parameter.requires_grad:
            by_factor.setdefault(factor, []).append(parameter)
    groups: list[dict[str, Any]] = [{"params": p, "factor": f} for f, p in by_factor.items()]
    kinds: dict[str, Any] = {
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
        "sgd": partial(torch.optim.SGD, momentum=config.momentum),
    }
    optimizer: torch.optim.Optimizer = kinds[config.optimizer](
        groups,
        config.learning_rate,
        weight_decay=config.weight_decay,
        fused=next(module.parameters()).device.type in ("cpu", "cuda"),
    )
    optimizer.register_step_pre_hook(_DenseGradients())
    return optimizer


def n_trained(optimizer: torch.optim.Optimizer) -> int:
    """How many weights an optimiser changes."""
    return sum(p.numel() for group in optimizer.param_groups for p in group["params"])


class _DenseGradients:
    """Replaces sparse gradients by dense ones before a step.

    The dense tensors are reused: allocating and clearing 82 MB for the rows of a few words takes
    as long as the step.
    """

    def __init__(self) -> None:
        self.kept: dict[nn.Parameter, tuple[Tensor, Tensor]] = {}  # gradient, its nonzero rows

    def __call__(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        for parameter in (p for group in optimizer.param_groups for p in group["params"]):
            sparse = parameter.grad
            if sparse is None or not sparse.is_sparse:
                continue
            (rows,), values = sparse._indices(), sparse._values()
            dense, before = self.kept.get(parameter) or (torch.zeros_like(parameter), rows)
            # index_add_, because a batch computed in parts has several gradients per row.
            parameter.grad = dense.index_fill_(0, before, 0).index_add_(0, rows, values)
            self.kept[parameter] = dense, rows


def copy_weights(module: nn.Module) -> dict[str, Tensor]:
    """Weights and buffers by name, on the CPU."""
    return {name: tensor.detach().cpu().clone() for name, tensor in module.state_dict().items()}


def save_checkpoint(
    path: Path,
    module: nn.Module,
    best: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
    log: Mapping[str, Any],
) -> None:
    """Writes a safetensors file atomically; `log` is plain data. Raises OSError on a full disk."""
    tensors = {f"now.{name}": tensor for name, tensor in copy_weights(module).items()}
    tensors |= {f"best.{name}": tensor for name, tensor in best.items()}
    for i, state in optimizer.state_dict()["state"].items():
        held = {f"step.{i}.{key}": t for key, t in state.items() if t is not None}
        tensors |= {name: t.detach().cpu().contiguous() for name, t in held.items()}
    with replacing_alone(path) as temporary:
        save_tensors(tensors, temporary, path, {"log": json.dumps(dict(log))})


def read_checkpoint(
    path: Path,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Loads a checkpoint into module and optimiser; returns (best weights, log)."""
    with safe_open(path, framework="pt") as file:
        log: dict[str, Any] = json.loads(file.metadata()["log"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    module.load_state_dict(_below("now.", tensors))
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _below("step.", tensors).items():
        i, key = name.split(".")
        state.setdefault(int(i), {})[key] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    # Files have no layouts, and a fused optimiser goes through weights and states side by side.
    for parameter, held in optimizer.state.items():
        for key, value in held.items():
            if torch.is_tensor(value) and value.shape == parameter.shape:
                held[key] = torch.empty_like(parameter).copy_(value)
    return _below("best.", tensors), log


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
