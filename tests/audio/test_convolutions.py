"""Convolutions as matrix products: the function that torch's layers compute, gradients and all."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from mmgenre.audio import convolutions as module
from mmgenre.audio.convolutions import FastConvolutions, _as_products
from mmgenre.audio.encoder import AudioEncoder
from mmgenre.audio.networks import AudioNetwork
from mmgenre.audio.settings import AudioConfig

NAMES: tuple[AudioNetwork, ...] = tuple(n for n in get_args(AudioNetwork) if n != "timbre")
FAST: tuple[AudioNetwork, ...] = ("single-label", "low-4x96", "high-4x96", "low-4x70", "high-4x70")


def convolutions(name: AudioNetwork, seed: int = 0) -> FastConvolutions:
    """A small network; a fifth of its filters, its kernels and pools."""
    config = AudioConfig(network=name, width_multiplier=0.2 if "high" not in name else 0.05)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AudioEncoder(config, "logistic").convolutions.eval()


def plain(layers: FastConvolutions, x: Tensor) -> Tensor:
    """Layer by layer, as torch runs them."""
    for layer in layers:
        x = layer(x)
    return x


def gradients(layers: FastConvolutions, output: Tensor) -> list[Tensor]:
    layers.zero_grad()
    weights = torch.linspace(-1, 1, output.numel()).view_as(output)
    (output * weights).sum().backward()  # type: ignore[no-untyped-call]
    return [p.grad.clone() for p in layers.parameters() if p.grad is not None]


def patches(n: int, frames: int) -> Tensor:
    return torch.randn(n, 1, frames, 96, generator=torch.Generator().manual_seed(n))


@pytest.mark.parametrize("name", NAMES)
def test_wide_kernels_become_products_and_others_do_not(name: AudioNetwork) -> None:
    assert (_as_products(convolutions(name), 322, 96) is not None) == (name in FAST)


@pytest.mark.parametrize("name", FAST)
@pytest.mark.parametrize("frames", [322, 325, 200])
def test_outputs_and_gradients_are_those_of_the_layers(name: AudioNetwork, frames: int) -> None:
    layers, x = convolutions(name), patches(3, frames)
    theirs, ours = plain(layers, x), layers(x)
    assert ours.shape == theirs.shape
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    assert theirs.abs().max() > 0.01
    wanted, got = gradients(layers, plain(layers, x)), gradients(layers, layers(x))
    assert len(wanted) == len(got) == len(list(layers.parameters()))
    for one, other in zip(wanted, got, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5 * float(one.abs().max()))


@pytest.mark.parametrize("name", ["low-4x70", "single-label"])
def test_parts_of_a_batch_add_up(monkeypatch: pytest.MonkeyPatch, name: AudioNetwork) -> None:
    layers, x = convolutions(name), patches(5, 100 if name == "single-label" else 322)
    whole, whole_gradients = layers(x), gradients(layers, layers(x))
    monkeypatch.setattr(module, "CHUNK_BYTES", 1)  # one patch at once
    torch.testing.assert_close(layers(x), whole)
    for one, other in zip(whole_gradients, gradients(layers, layers(x)), strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5 * float(one.abs().max()))


def test_patches_do_not_affect_each_other() -> None:
    """The rows of all patches are one matrix; a change in one must not show in the next."""
    layers, x = convolutions("low-4x70"), patches(4, 322)
    changed = x.clone()
    changed[1] += 3
    before, after = layers(x), layers(changed)
    assert not torch.equal(before[1], after[1])
    torch.testing.assert_close(before[[0, 2, 3]], after[[0, 2, 3]])


def test_patches_may_be_a_view() -> None:
    layers, x = convolutions("low-4x96"), patches(3, 322)
    view = x.transpose(2, 3).contiguous().transpose(2, 3)  # frames are not side by side
    torch.testing.assert_close(layers(view), plain(layers, x), rtol=1e-5, atol=1e-5)


def test_silence_has_the_gradient_of_the_layers() -> None:
    """All outputs under a pool are equal: both take the same one for the highest."""
    layers, x = convolutions("low-4x70"), torch.full((2, 1, 322, 96), -0.5)
    wanted, got = gradients(layers, plain(layers, x)), gradients(layers, layers(x))
    for one, other in zip(wanted, got, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5)


def test_bfloat16_is_computed_by_torchs_layers() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert convolutions("low-4x96")(patches(2, 322)).dtype == torch.bfloat16


@pytest.mark.parametrize("name", FAST)
def test_patches_have_the_gradient_of_the_layers(name: AudioNetwork) -> None:
    layers, x = convolutions(name), patches(2, 322).requires_grad_()
    (wanted,) = torch.autograd.grad(plain(layers, x).square().sum(), x)
    (got,) = torch.autograd.grad(layers(x).square().sum(), x)
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5 * float(wanted.abs().max()))


def test_dropout_after_the_pools_acts_in_training_alone() -> None:
    layers, x = convolutions("single-label"), patches(8, 322)
    with torch.no_grad():
        for name, parameter in layers.named_parameters():  # nothing is 0 by ReLU
            parameter.abs_().add_(9 * name.endswith("bias"))
    assert (layers(x) > 0).all()
    layers.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        one, other = layers(x), layers(x)
    assert (one == 0).float().mean().item() == pytest.approx(0.5, abs=0.05)
    assert not torch.equal(one, other)
    # Before the last convolution, too: else its outputs were the same wherever both are there.
    there = (one > 0) & (other > 0)
    assert (one[there] != other[there]).float().mean() > 0.9


def test_an_empty_batch_gives_an_empty_one() -> None:
    layers = convolutions("low-4x70")
    out = layers(torch.zeros(0, 1, 322, 96))
    assert out.shape == plain(layers, torch.zeros(0, 1, 322, 96)).shape
    out.sum().backward()


def test_patches_with_two_channels_are_refused() -> None:
    """Not read in part: a second channel would be passed over."""
    with pytest.raises(RuntimeError, match="to have 1 channels, but got 2"):
        convolutions("low-4x70")(torch.zeros(2, 2, 322, 96))


@pytest.mark.parametrize("name", FAST)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_nan_and_infinity_propagate_as_in_torchs_layers(name: AudioNetwork, value: float) -> None:
    layers = convolutions(name)
    for frame, bin_ in ((0, 0), (60, 50), (10, 95), (129, 95)):
        x = patches(3, 130)
        x[1, 0, frame, bin_] = value
        torch.testing.assert_close(layers(x), plain(layers, x), equal_nan=True)
    for parameter in range(len(list(layers.parameters()))):
        layers, x = convolutions(name), patches(3, 130)
        with torch.no_grad():
            list(layers.parameters())[parameter].flatten()[0] = value
        torch.testing.assert_close(layers(x), plain(layers, x), equal_nan=True)


@pytest.mark.parametrize("frozen", [(0, 1), (0,), (1,), (2,), (0, 1, 2, 3), (4, 5)])
def test_frozen_layers_do_not_change_the_gradients_of_others(frozen: tuple[int, ...]) -> None:
    layers, x = convolutions("low-4x70"), patches(2, 322)
    for k, parameter in enumerate(layers.parameters()):
        parameter.requires_grad_(k not in frozen)
    wanted, got = gradients(layers, plain(layers, x)), gradients(layers, layers(x))
    assert len(wanted) == len(got) == len(list(layers.parameters())) - len(frozen)
    for one, other in zip(wanted, got, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5 * float(one.abs().max()))


def test_a_gradient_of_a_gradient_is_refused() -> None:
    layers = convolutions("low-4x70")
    out = layers(patches(2, 322))
    with pytest.raises(RuntimeError, match="requires grad"):
        torch.autograd.grad(out.square().sum(), list(layers.parameters()), create_graph=True)


def test_weights_are_saved_as_the_layers_have_them() -> None:
    layers = convolutions("low-4x70")
    peer = nn.Sequential(*layers)
    assert {n: t.shape for n, t in layers.state_dict().items()} == {
        n: t.shape for n, t in peer.state_dict().items()
    }
    assert layers.state_dict()["0.weight"].shape[1:] == (1, 4, 70)
