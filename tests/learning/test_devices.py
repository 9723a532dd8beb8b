"""Layouts, precision and compilation: where they apply, and that all is as it was afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from mmgenre.image.encoder import ImageEncoder
from mmgenre.image.settings import ImageConfig
from mmgenre.learning import devices
from mmgenre.learning.devices import Batch, put, tf32
from mmgenre.learning.encoder import GenreNetwork
from mmgenre.learning.optimisation import make_optimizer, read_checkpoint, save_checkpoint
from mmgenre.learning.settings import Tf32, TrainingConfig
from mmgenre.learning.training import fit, seeded

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def covers() -> GenreNetwork:
    config = ImageConfig(network="cnn-5x5", weights="none", crop_px=64)
    return cast(GenreNetwork, seeded(0, lambda: GenreNetwork(ImageEncoder(config), 3)))


def layouts(module: nn.Module) -> set[bool]:
    """Of convolutions with several channels: whether they are channels last."""
    kernels = [p for p in module.parameters() if p.ndim == 4 and p.shape[1] > 1]
    return {p.is_contiguous(memory_format=torch.channels_last) for p in kernels}


def test_networks_of_images_are_channels_last_where_it_helps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = covers()
    put(network, CPU)
    assert layouts(network) == {False}
    monkeypatch.setattr(devices, "LAID_OUT", ("cpu",))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    put(network, CPU)
    assert layouts(network) == {True}
    assert all(torch.equal(before[name], t) for name, t in network.state_dict().items())
    other = nn.Conv2d(3, 4, 3)
    put(other, CPU)
    assert layouts(other) == {False}
    put(other, CPU, channels_last=True)
    assert layouts(other) == {True}


def test_a_resumed_optimiser_has_the_layout_of_the_weights(tmp_path: Path) -> None:
    """A fused optimiser reads both in the order of memory, and refuses others on CUDA."""
    x = torch.randn(5, 3, 6, 6, generator=torch.Generator().manual_seed(0))

    def step(module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        torch.autograd.backward(module(x).square().mean())
        optimizer.step()

    def made() -> tuple[nn.Module, torch.optim.Optimizer]:
        module = seeded(0, lambda: nn.Conv2d(3, 4, 3))
        put(module, CPU, channels_last=True)
        return module, make_optimizer(module, TrainingConfig(learning_rate=0.1))

    whole, optimizer = made()
    step(whole, optimizer)
    save_checkpoint(tmp_path / "checkpoint", whole, whole.state_dict(), optimizer, {})
    step(whole, optimizer)
    resumed, other = made()
    read_checkpoint(tmp_path / "checkpoint", resumed, other)
    (weight, _), state = resumed.parameters(), next(iter(other.state.values()))
    assert state["exp_avg"].stride() == state["exp_avg_sq"].stride() == weight.stride()
    step(resumed, other)
    torch.testing.assert_close(resumed.state_dict(), whole.state_dict(), rtol=0, atol=0)


def allowed() -> tuple[bool, bool]:
    cuda = torch.backends.cuda.matmul, torch.backends.cudnn
    return cuda[0].allow_tf32, cuda[1].allow_tf32


@pytest.fixture
def _as_before() -> Iterator[None]:
    """Torch's own values within a test, whatever a test before it has set."""
    products, convolutions = allowed()
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = False, True
    yield
    torch.backends.cuda.matmul.allow_tf32 = products
    torch.backends.cudnn.allow_tf32 = convolutions


@pytest.mark.usefixtures("_as_before")
@pytest.mark.parametrize(
    ("where", "inside"),
    [("none", (False, False)), ("convolutions", (False, True)), ("all", (True, True))],
)
def test_tf32_is_for_a_time_and_for_cuda(where: Tf32, inside: tuple[bool, bool]) -> None:
    assert allowed() == (False, True)  # torch's own
    with tf32(where, CPU):
        assert allowed() == (False, True)
    with pytest.raises(KeyError), tf32(where, CUDA):  # noqa: PT012
        assert allowed() == inside
        raise KeyError
    assert allowed() == (False, True)


@pytest.mark.usefixtures("_as_before")
def test_tf32_that_a_caller_set_by_the_newer_names_comes_back() -> None:
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    with tf32("none", CUDA):
        assert torch.backends.cuda.matmul.fp32_precision != "tf32"
    assert torch.backends.cuda.matmul.fp32_precision == "tf32"


class Squares:
    """Pictures of 64 px whose label is how bright they are."""

    def __len__(self) -> int:
        return 6

    def batch(self, rows: Any, rng: object) -> Batch:
        generator = torch.Generator().manual_seed(0)
        x = torch.randint(256, (6, 64, 64, 3), generator=generator, dtype=torch.uint8)
        return {"x": x[rows], "y": x.float().mean(dim=(1, 2, 3))[rows, None] / 255}


def loss(module: nn.Module, batch: Batch) -> Tensor:
    return functional.mse_loss(module(batch["x"]), batch["y"].expand(-1, 3))


def test_only_steps_are_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []

    class Marked(nn.Module):
        def __init__(self, module: nn.Module) -> None:
            super().__init__()
            self.module, self.training_calls = module, 0
            compiled.append(self)

        def forward(self, x: Tensor) -> Any:
            assert self.module.training
            self.training_calls += 1
            return self.module(x)

    monkeypatch.setattr(torch, "compile", Marked)
    results = []
    for asked in (False, True):
        network = covers()
        config = TrainingConfig(batch_size=3, max_epochs=2, compile=asked)
        fit(network, loss, Squares(), Squares(), config, seed=0, device=CPU)
        results.append(network.state_dict())
    assert [mark.training_calls for mark in compiled] == [4]
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


@pytest.mark.slow
def test_a_compiled_training_learns_the_same() -> None:
    """Needs a C++ compiler."""
    curves = []
    for asked in (False, True):
        config = TrainingConfig(batch_size=3, max_epochs=3, learning_rate=1e-3, compile=asked)
        log = fit(covers(), loss, Squares(), Squares(), config, seed=0, device=CPU)
        curves.append([epoch["val_loss"] for epoch in log.epochs])
    assert curves[1] == pytest.approx(curves[0], rel=0.02)
