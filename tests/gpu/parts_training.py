"""Short trainings in three precisions, and trainings that are killed and resumed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from gpu_cases import (
    N_LABELS,
    Case,
    Examples,
    Line,
    audio_case,
    bce,
    image_case,
    learnable,
)
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from mmgenre.learning.devices import Batch
from mmgenre.learning.encoder import GenreNetwork
from mmgenre.learning.settings import Tf32, TrainingConfig
from mmgenre.learning.targets import LogisticTarget
from mmgenre.learning.training import FitLog, fit
from mmgenre.learning.validation import task_metric

Precision = Literal["float32", "bfloat16"]
PRECISIONS: tuple[tuple[Precision, Tf32], ...] = (
    ("float32", "none"),
    ("float32", "all"),
    ("bfloat16", "none"),
)
BY_STEPS: dict[str, Any] = {"min_steps": 100, "schedule": "warmup-cosine", "select": "metric"}


def train(
    case: Case,
    examples: Examples,
    precision: Precision,
    device: torch.device,
    checkpoint: Path | None = None,
    **more: Any,
) -> tuple[GenreNetwork, FitLog]:
    """Four epochs by the package's own loop; `more` settings."""

    def loss(module: nn.Module, batch: Batch) -> Tensor:
        return bce(module(batch["x"]).float(), batch["target"])

    config = TrainingConfig(batch_size=16, max_epochs=4, patience=None, precision=precision, **more)
    val = Examples(examples.x[:16], examples.y[:16])
    target = LogisticTarget(N_LABELS, exclusive=False)
    log = fit(
        case.network,
        loss,
        examples,
        val,
        config,
        seed=0,
        metric=task_metric(target, val.y.numpy() > 0.5, exclusive=False),
        checkpoint=checkpoint,
        checkpoint_every_s=0.0,
        device=device,
    )
    return case.network, log


def loss_of_shares(examples: Examples) -> float:
    """The loss of who knows nothing but how frequent each label is."""
    shares = examples.y.mean(dim=0).expand_as(examples.y)
    return float(functional.binary_cross_entropy(shares, examples.y))


def check_training(device: torch.device, small: bool) -> list[Line]:
    """Loss curves of an audio and an image network in three precisions, and one by steps."""
    lines = []
    audio, image = partial(audio_case, "low-4x96", small), partial(image_case, "resnet-18", small)
    for make in (audio, image):
        exact: list[float] = []
        for precision, where in PRECISIONS:
            case = make()
            examples = learnable(case, 256)
            _, log = train(case, examples, precision, device, tf32=where)
            losses = [epoch["train_loss"] for epoch in log.epochs]
            exact = exact or losses
            what = f"{case.name}, {'TF32' if where == 'all' else precision}"
            lines.append(curve(what, losses, examples, exact[-1]))
    case = audio()
    examples = learnable(case, 64)
    _, log = train(case, examples, "bfloat16", device, **BY_STEPS)
    losses = [epoch["val_loss"] for epoch in log.epochs]
    return [*lines, curve(f"{case.name}, by steps", losses, examples, losses[-1])]


def curve(what: str, losses: Sequence[float], examples: Examples, exact: float) -> Line:
    """Losses whose last must be near `exact` and well below that of labels' shares."""
    knowing_nothing = loss_of_shares(examples)
    limit = 0.9 * knowing_nothing
    passed = losses[-1] <= limit and abs(losses[-1] - exact) <= 0.1 * knowing_nothing
    shown = " ".join(f"{value:.3f}" for value in losses)
    return Line("training", what, shown, f"{limit:.3f}", passed)


def train_and_save(folder: Path, *, kill_at: int | None, small: bool, by_steps: bool) -> None:
    """Trains a network with dropout from the checkpoint in a folder; at a batch, it may be killed.

    The weights at the end are written to FOLDER/weights.safetensors.
    """
    # Max pooling has no deterministic gradient on CUDA, but its windows do not overlap here.
    torch.use_deterministic_algorithms(True, warn_only=True)
    device = torch.device("cpu" if small else "cuda")
    case, batches = audio_case("single-label", small), iter(range(1, 1000))

    def kill() -> None:
        if next(batches) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    examples = learnable(case, 64, at_batch=kill)
    more = BY_STEPS if by_steps else {}
    file = folder / "checkpoint.safetensors"
    network, _ = train(case, examples, "float32", device, file, tf32="none", **more)
    weights = {name: t.cpu().contiguous() for name, t in network.state_dict().items()}
    save_file(weights, folder / "weights.safetensors")


def check_resume(device: torch.device, small: bool) -> list[Line]:
    """The weights of trainings that were killed and resumed against uninterrupted ones'."""
    # Four batches an epoch: in the third epoch; 25 in a round of steps: in the second.
    return [
        resumed("single-label", 10, small),
        resumed("single-label, by steps", 40, small, "--by-steps"),
    ]


def resumed(what: str, kill_at: int, small: bool, *more: str) -> Line:
    """One training, killed at a batch."""

    def run(folder: Path, *words: str) -> int:
        folder.mkdir(exist_ok=True)
        words = (*words, *more, "--small") if small else (*words, *more)
        environment = {**os.environ, "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
        command = [
            sys.executable,
            str(Path(__file__).with_name("check.py")),
            "--train",
            str(folder),
            *words,
        ]
        return subprocess.run(command, env=environment, check=False).returncode

    with tempfile.TemporaryDirectory() as name:
        whole, killed = Path(name) / "whole", Path(name) / "killed"
        codes = [run(whole), run(killed, "--kill-at", str(kill_at))]
        resumed_from = (killed / "checkpoint.safetensors").is_file()
        codes.append(run(killed))
        if codes != [0, -signal.SIGKILL, 0] or not resumed_from:
            value = f"exit codes {codes}, checkpoint {'found' if resumed_from else 'missing'}"
            return Line("resume", what, value, "0, -9, 0", False)
        one, other = (load_file(folder / "weights.safetensors") for folder in (whole, killed))
    apart = max(float((one[key].double() - other[key].double()).abs().max()) for key in one)
    return Line("resume", what, f"{apart:.1e} apart", "0", apart == 0)
