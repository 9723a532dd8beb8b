"""Outputs and gradients of every network against float64 on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from functools import partial

import numpy as np
import torch
from gpu_cases import (
    Case,
    Line,
    cases,
)
from torch import Tensor, nn

# Name, tensors, order of the norm of the error, and the relative error that is always allowed.
PARTS_OF_A_PASS = (
    ("outputs", slice(0, 1), np.inf, 1e-4),
    ("gradients", slice(1, None), 2.0, 2e-2),
)
CPU_ERRORS = 20


def outputs_and_gradients(network: nn.Module, x: Tensor) -> list[Tensor]:
    """On the network's device and in its precision, returned in float64 on the CPU."""
    network.zero_grad()
    output = network(x)
    weights = torch.linspace(-1, 1, output.numel(), dtype=output.dtype, device=output.device)
    torch.autograd.backward((output.flatten() * weights).sum())
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    dense = [g.to_dense() if g.is_sparse else g for g in gradients]
    return [t.detach().double().cpu() for t in (output, *dense)]


def largest_error(got: Sequence[Tensor], exact: Sequence[Tensor], order: float) -> float:
    """Of all tensors, the largest difference relative to the tensor, in the norm of an order."""
    length = partial(torch.linalg.vector_norm, ord=order)
    errors = [
        float(length(one - other)) / (float(length(other)) or 1.0)
        for one, other in zip(got, exact, strict=True)
    ]
    return max(errors) if np.isfinite(errors).all() else float("inf")


def check_network(case: Case, device: torch.device) -> list[Line]:
    """Outputs and gradients in float32 on the device, in evaluation mode, against float64."""
    network, x = case.network.eval(), case.examples(2)
    double = deepcopy(network).double()
    exact = outputs_and_gradients(double, x.double() if x.is_floating_point() else x)
    del double
    on_cpu = outputs_and_gradients(network, x)
    there = outputs_and_gradients(network.to(device), x.to(device))
    lines = []
    for what, part, order, at_least in PARTS_OF_A_PASS:
        error = largest_error(there[part], exact[part], order)
        limit = max(at_least, CPU_ERRORS * largest_error(on_cpu[part], exact[part], order))
        lines.append(
            Line("networks", f"{case.name}, {what}", f"{error:.1e}", f"{limit:.0e}", error <= limit)
        )
    return lines


def check_networks(device: torch.device, small: bool) -> list[Line]:
    """Every network, one after the other, as all of them would need 10 GB."""
    return [line for case in cases(small) for line in check_network(case, device)]
