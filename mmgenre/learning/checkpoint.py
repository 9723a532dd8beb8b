"""A training in a file: weights, best weights, the optimiser's state, how it went so far."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from mmgenre.disk.bundle import save_tensors
from mmgenre.disk.files import replacing


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
    """Writes a safetensors file, whole or not at all; `log` is plain data.

    Raises:
        OSError: the disk is full, or may not be written.
    """
    tensors = {f"now.{name}": tensor for name, tensor in copy_weights(module).items()}
    tensors |= {f"best.{name}": tensor for name, tensor in best.items()}
    for i, state in optimizer.state_dict()["state"].items():
        held = {key: t for key, t in state.items() if t is not None}
        tensors |= {f"step.{i}.{key}": t.detach().cpu().contiguous() for key, t in held.items()}
    with replacing(path) as temporary:
        save_tensors(tensors, temporary, path, {"log": json.dumps(dict(log))})


def read_checkpoint(
    path: Path, module: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Puts a checkpoint back into module and optimiser; returns the best weights and the log."""
    with safe_open(path, framework="pt") as file:
        log: dict[str, Any] = json.loads(file.metadata()["log"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    module.load_state_dict(_below("now.", tensors))
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _below("step.", tensors).items():
        i, key = name.split(".")
        state.setdefault(int(i), {})[key] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    return _below("best.", tensors), log


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
