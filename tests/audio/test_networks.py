"""The networks of METHOD section 2: widths, parameter counts, shortest patches, small sizes."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import nn

from mmgenre.audio.encoder import AudioEncoder
from mmgenre.audio.networks import NETWORKS, AudioNetwork
from mmgenre.audio.settings import AudioConfig
from mmgenre.learning.encoder import GenreNetwork
from mmgenre.learning.settings import TargetName

NAMES: tuple[AudioNetwork, ...] = tuple(n for n in get_args(AudioNetwork) if n != "timbre")


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def native(name: AudioNetwork, target: TargetName = "logistic") -> AudioEncoder:
    """A network of full size without memory for its weights."""
    with torch.device("meta"):
        return AudioEncoder(AudioConfig(network=name, embedding_dim="native"), target)


def test_every_published_network_is_there() -> None:
    assert set(NETWORKS) == set(NAMES)
    assert len(NAMES) == 9


@pytest.mark.parametrize(
    ("name", "width"),
    [
        ("single-label", 2048),
        ("low-4x96", 256),
        ("high-4x96", 4096),
        ("low-4x70", 256),
        ("high-4x70", 4096),
        ("low-3x3", 256),
        ("high-3x3", 4096),
        ("low-3x3-as-counted", 256),
        ("high-3x3-as-counted", 4096),
    ],
)
def test_native_widths_are_the_published_ones(name: AudioNetwork, width: int) -> None:
    encoder = native(name).eval()
    assert encoder.embedding_dim == width
    patches = torch.zeros(1, 322, 96, dtype=torch.float16, device="meta")
    with torch.no_grad():
        assert encoder(patches).shape == (1, width)


# Oramas 2018, table 6: as printed there, in millions, to the precision printed.
@pytest.mark.parametrize(
    ("name", "target", "n_outputs", "published", "step"),
    [
        ("low-4x96", "logistic", 250, 0.2, 0.1),
        ("high-4x96", "logistic", 250, 5.0, 1.0),
        ("low-4x70", "logistic", 250, 0.35, 0.05),
        ("high-4x70", "logistic", 250, 7.5, 0.5),
        ("high-4x70", "cosine", 50, 6.5, 0.5),
        ("high-3x3-as-counted", "logistic", 250, 16.5, 0.5),
    ],
)
def test_parameter_counts_are_the_published_ones(
    name: AudioNetwork, target: TargetName, n_outputs: int, published: float, step: float
) -> None:
    millions = parameters(GenreNetwork(native(name, target), n_outputs)) / 1e6
    assert round(millions / step) * step == pytest.approx(published)


def test_parameter_counts_do_not_drift() -> None:
    """METHOD section 2, row by row, under 250 logistic outputs.

    The 3x3 networks as printed give neither of the published 0.5M and 16.5M; as counted, HIGH
    does, and LOW comes nearer but not near enough: .36M.
    """
    counts = {name: parameters(GenreNetwork(native(name), 250)) for name in NAMES}
    assert counts == {
        "single-label": 701_114,
        "low-3x3": 294_586,
        "high-3x3": 7_976_186,
        "low-3x3-as-counted": 360_122,
        "high-3x3-as-counted": 16_364_794,
        "low-4x96": 195_706,
        "high-4x96": 4_795_386,
        "low-4x70": 352_890,
        "high-4x70": 7_390_202,
    }


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("width", [0.001, 0.13])
def test_every_network_runs_in_a_small_size(name: AudioNetwork, width: float) -> None:
    config = AudioConfig(network=name, width_multiplier=width, embedding_dim=12)
    encoder = AudioEncoder(config, "logistic").eval()
    made = [m for m in encoder.convolutions if isinstance(m, nn.Conv2d)]
    published = NETWORKS[name]
    expected = tuple(max(1, round(width * n)) for n in published.filters)
    assert config.filters == tuple(m.out_channels for m in made) == expected
    assert [m.kernel_size for m in made] == list(published.kernels)
    with torch.inference_mode():
        assert encoder(torch.zeros(1, 322, 96)).shape == (1, 12)
    assert AudioConfig(network=name).filters == published.filters


@pytest.mark.parametrize("name", NAMES)
def test_the_shortest_patch_is_the_shortest_that_works(name: AudioNetwork) -> None:
    config = AudioConfig(network=name, width_multiplier=0.01)
    layers, least = AudioEncoder(config, "logistic").convolutions, NETWORKS[name].least_frames
    with torch.inference_mode():
        for frames in (least, least + 5):
            features = layers(torch.zeros(1, 1, frames, 96)).shape[1]
            assert features == config.filters[-1] * NETWORKS[name].positions(frames, 96) > 0
        with pytest.raises(RuntimeError, match=r"too small|greater than actual input"):
            layers(torch.zeros(1, 1, least - 1, 96))
