"""Steps per second of ours and of plain torch's layers."""

from __future__ import annotations

import time
from collections.abc import Callable
from copy import deepcopy
from typing import Literal, cast

import numpy as np
import torch
from gpu_cases import (
    N_LABELS,
    Case,
    Line,
    audio_case,
    bce,
    image_case,
    text_case,
)
from torch import Tensor, nn
from torchvision import models

from mmgenre.audio.encoder import AudioEncoder
from mmgenre.audio.networks import AudioNetwork
from mmgenre.learning.devices import to_device
from mmgenre.learning.optimisation import make_optimizer
from mmgenre.learning.settings import TrainingConfig

MIN_SPEED = 0.8
Timed = AudioNetwork | Literal["text", "resnet-50"]
TIMED: tuple[Timed, ...] = ("single-label", "low-4x70", "high-4x70", "text", "resnet-50")


def with_plain_torch(
    name: Timed, small: bool
) -> tuple[Case, nn.Module, Callable[[Tensor], Tensor]]:
    """A network of ours, the same of plain torch layers, and what makes its input of ours."""
    if name == "resnet-50":
        plain = models.resnet50(num_classes=N_LABELS)
        return image_case(name, small), plain, lambda x: x.permute(0, 3, 1, 2) / 255
    if name == "text":
        case = text_case(small)
        n_words, width = case.examples(1).shape[1], case.network.output.in_features
        plain = nn.Sequential(
            *(nn.Dropout(), nn.Linear(n_words, width), nn.ReLU()),
            *(nn.Dropout(), nn.Linear(width, width), nn.ReLU()),
            *(nn.Dropout(), nn.Linear(width, N_LABELS)),
        )
        return case, plain, Tensor.to_dense
    case = audio_case(name, small)
    copy = deepcopy(case.network)
    encoder = cast(AudioEncoder, copy.encoder)
    encoder.convolutions = nn.Sequential(*encoder.convolutions)  # type: ignore[assignment]
    return case, copy, Tensor.clone


def seconds_of_a_step(
    network: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, *, device: torch.device
) -> float:
    """One step of training, the transfer of its batch included."""
    y = torch.zeros(len(x), N_LABELS, device=device)
    started = time.perf_counter()
    optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(bce(network(to_device({"x": x}, network)["x"]), y))
    optimizer.step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def check_speed(device: torch.device, small: bool) -> list[Line]:
    """Steps of 32 examples, of ours and of plain torch's in turn."""
    lines = []
    n, rounds = (4, 3) if small else (32, 20)
    for name in TIMED:
        case, plain, convert = with_plain_torch(name, small)
        ours, plain = case.network.to(device).train(), plain.to(device).train()
        x = case.examples(n)
        sides = (
            (ours, make_optimizer(ours, TrainingConfig()), x),
            (plain, torch.optim.Adam(plain.parameters()), convert(x)),
        )
        took = [[seconds_of_a_step(*s, device=device) for s in sides] for _ in range(rounds + 2)]
        mine, theirs = np.median(took[2:], axis=0)
        value = f"{1 / mine:.1f} /s, plain torch {1 / theirs:.1f} /s"
        limit = "-" if small else f"{MIN_SPEED} of plain"
        lines.append(Line("speed", name, value, limit, small or theirs / mine >= MIN_SPEED))
    return lines
