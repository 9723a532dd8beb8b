"""Checks of a GPU: numbers against the CPU, training, speed, and a training that was killed.

    python tests/gpu/check.py                    # needs a CUDA device; at most 6 minutes
    python tests/gpu/check.py --small            # on the CPU with small networks; a minute
    python tests/gpu/check.py --only networks    # one part: networks, training, speed or resume

It prints one table and exits with 1 if a value misses its limit. Limits:

- networks: outputs and gradients in float32, without TF32, are compared with float64 on the CPU.
  The error may be 20 times that of float32 on the CPU. In any case outputs may be 1e-4 of the
  largest number apart, and each gradient 2e-2 of its length: one ReLU of millions that falls to
  the other side of 0 has moved one by 1.1e-2 (H200).
- training: by `mmgenre.learning.training.fit`, in float32 and bfloat16, and once more in bfloat16
  with a budget in steps, warm-up, and selection by the metric. The last loss, of training and in
  the third case of validation, must be 0.9 of what the labels' shares alone would have; that in
  bfloat16 may differ by a tenth of it.
- speed: steps per second, in turn with the same layers of plain torch under its default Adam. Ours
  must reach 0.8 of theirs. With --small the numbers are shown, and there is no limit.
- resume: a training that is killed by SIGKILL within an epoch, and resumed, must have the weights
  of one that was not interrupted; with a budget in steps, too.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from torchvision import models

from mmgenre.audio.encoder import AudioEncoder, TimbreEncoder
from mmgenre.audio.networks import NETWORKS, AudioNetwork
from mmgenre.audio.settings import N_BINS, N_TIMBRE, AudioConfig
from mmgenre.image.backbones import BACKBONES, ImageNetwork
from mmgenre.image.encoder import ImageEncoder
from mmgenre.image.settings import ImageConfig
from mmgenre.learning.devices import Batch, to_device
from mmgenre.learning.encoder import GenreNetwork
from mmgenre.learning.optimisation import make_optimizer
from mmgenre.learning.settings import TrainingConfig
from mmgenre.learning.targets import LogisticTarget
from mmgenre.learning.training import FitLog, fit, seeded
from mmgenre.learning.validation import task_metric
from mmgenre.text.encoder import TextEncoder, sparse_tensor
from mmgenre.text.settings import TextConfig

N_LABELS = 20
# Name, tensors, order of the norm of the error, and the relative error that is always allowed.
PARTS_OF_A_PASS = (
    ("outputs", slice(0, 1), np.inf, 1e-4),
    ("gradients", slice(1, None), 2.0, 2e-2),
)
CPU_ERRORS = 20
SMALL_BACKBONES: tuple[ImageNetwork, ...] = ("cnn-5x5", "resnet-18")
MIN_SPEED = 0.8
Timed = AudioNetwork | Literal["text", "resnet-50"]
TIMED: tuple[Timed, ...] = ("single-label", "low-4x70", "high-4x70", "text", "resnet-50")
PRECISIONS: tuple[Literal["float32", "bfloat16"], ...] = ("float32", "bfloat16")
BY_STEPS: dict[str, Any] = {"min_steps": 100, "schedule": "warmup-cosine", "select": "metric"}
bce = functional.binary_cross_entropy_with_logits


@dataclass(frozen=True)
class Line:
    """A row of the table."""

    part: str
    what: str
    value: str
    limit: str
    passed: bool


@dataclass(frozen=True)
class Case:
    """A network and the function that makes n examples for it, the same ones each time."""

    name: str
    network: GenreNetwork
    examples: Callable[[int], Tensor]


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def network_of(encoder: Callable[..., Any], *settings: object) -> GenreNetwork:
    """An encoder and its output layer, with the same weights each time."""
    network = seeded(0, lambda: GenreNetwork(encoder(*settings), N_LABELS))
    assert isinstance(network, GenreNetwork)
    return network


def audio_case(name: AudioNetwork | Literal["timbre"], small: bool) -> Case:
    """An audio network over patches of 15 s; timbre over its 48 numbers."""
    if name == "timbre":
        network = network_of(TimbreEncoder, AudioConfig(encoders=("timbre",)), "logistic")
        return Case(name, network, lambda n: normal(n, N_TIMBRE))
    config = AudioConfig(network=name, width_multiplier=0.1 if small else 1.0)
    network = network_of(AudioEncoder, config, "logistic")
    return Case(name, network, lambda n: normal(n, config.patch_frames, N_BINS))


def text_case(small: bool) -> Case:
    """The text network over sparse tf-idf rows of 1.5 % of the words."""
    n_words, width = (300, 32) if small else (10_000, 2048)
    config = TextConfig(hidden_dim=width, embedding_dim="native")
    vocabulary = {"words": [str(k) for k in range(n_words)], "idf": []}

    def examples(n: int) -> Tensor:
        rng = np.random.default_rng(2)
        rows = rng.random((n, n_words), np.float32)
        return sparse_tensor(sp.csr_matrix(np.where(rows < 0.015, rows, 0)))

    return Case("text", network_of(TextEncoder, config, vocabulary), examples)


def image_case(name: ImageNetwork, small: bool) -> Case:
    """A backbone over covers of its own size; of its smallest size with `small`."""
    side = BACKBONES[name].least_px if small else BACKBONES[name].crop_px
    config = ImageConfig(network=name, weights="none", crop_px=side)

    def examples(n: int) -> Tensor:
        generator = torch.Generator().manual_seed(3)
        return torch.randint(256, (n, side, side, 3), dtype=torch.uint8, generator=generator)

    return Case(name, network_of(ImageEncoder, config), examples)


def cases(small: bool) -> Iterator[Case]:
    """Every network, one after the other, as all of them would need 10 GB."""
    for audio in NETWORKS:
        yield audio_case(audio, small)
    yield audio_case("timbre", small)
    yield text_case(small)
    for image in SMALL_BACKBONES if small else BACKBONES:
        yield image_case(image, small)


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


@dataclass(frozen=True)
class Examples:
    """Rows whose label is the sign of a random projection; `at_batch` is called before each."""

    x: Tensor
    y: Tensor
    at_batch: Callable[[], None] = lambda: None

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, rows: NDArray[np.intp], rng: np.random.Generator | None) -> Batch:
        self.at_batch()
        del rng
        own = torch.from_numpy(rows)
        return {"x": self.x[own], "target": self.y[own]}


def learnable(case: Case, n: int, at_batch: Callable[[], None] = lambda: None) -> Examples:
    """Examples whose labels depend on the mean over their first axes."""
    x = case.examples(n)
    y = torch.arange(n)[:, None] % torch.arange(2, 2 + N_LABELS) == 0
    mark = y.float() @ normal(N_LABELS, x.shape[-1])
    if x.is_floating_point():
        return Examples(x + mark.view(n, *(1,) * (x.ndim - 2), -1), y.float(), at_batch)
    shade = (64 * mark.tanh()).view(n, *(1,) * (x.ndim - 2), -1)
    return Examples((x / 4 + 96 + shade).byte(), y.float(), at_batch)


def train(
    case: Case,
    examples: Examples,
    precision: Literal["float32", "bfloat16"],
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
    """Loss curves of an audio and an image network in both precisions, and one by steps."""
    lines = []
    audio, image = partial(audio_case, "low-4x96", small), partial(image_case, "resnet-18", small)
    for make in (audio, image):
        exact: list[float] = []
        for precision in PRECISIONS:
            case = make()
            examples = learnable(case, 256)
            _, log = train(case, examples, precision, device)
            losses = [epoch["train_loss"] for epoch in log.epochs]
            exact = exact or losses
            lines.append(curve(f"{case.name}, {precision}", losses, examples, exact[-1]))
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
    network, _ = train(case, examples, "float32", device, file, **more)
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
        command = [sys.executable, __file__, "--train", str(folder), *words]
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


def check_networks(device: torch.device, small: bool) -> list[Line]:
    """Every network, one after the other, as all of them would need 10 GB."""
    return [line for case in cases(small) for line in check_network(case, device)]


PARTS: dict[str, Callable[[torch.device, bool], list[Line]]] = {
    "networks": check_networks,
    "training": check_training,
    "speed": check_speed,
    "resume": check_resume,
}


def show(lines: Sequence[Line]) -> None:
    """Prints the table."""
    rows = [("part", "of", "value", "limit", "")]
    rows += [(x.part, x.what, x.value, x.limit, "ok" if x.passed else "MISS") for x in lines]
    widths = [max(len(row[k]) for row in rows) for k in range(5)]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)))


def main(words: Sequence[str] | None = None) -> int:
    """Runs the parts that are asked for; 0: all passed, 1: a miss, 2: there is no device."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--small", action="store_true", help="small networks on the CPU")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts")
    parser.add_argument("--train", type=Path, metavar="FOLDER", help=argparse.SUPPRESS)
    parser.add_argument("--by-steps", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--kill-at", type=int, metavar="BATCH", help=argparse.SUPPRESS)
    asked = parser.parse_args(words)
    if not asked.small and not torch.cuda.is_available():
        print("no CUDA device here; --small runs the checks on the CPU", file=sys.stderr)
        return 2
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    if asked.small:  # threads that wait for each other cost more than these networks
        torch.set_num_threads(1)
    if asked.train is not None:
        how = {"small": asked.small, "by_steps": asked.by_steps}
        train_and_save(asked.train, kill_at=asked.kill_at, **how)
        return 0
    device = torch.device("cpu" if asked.small else "cuda")
    started = time.monotonic()
    lines = []
    for part in asked.only:
        lines += PARTS[part](device, asked.small)
        print(f"{part}: done after {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    name = "CPU" if asked.small else torch.cuda.get_device_name(device)
    print(f"\n{name}, torch {torch.__version__}")
    show(lines)
    return 0 if all(line.passed for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
