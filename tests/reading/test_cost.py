"""Multiply-accumulates against sums done by hand."""

from __future__ import annotations

from typing import get_args

import pytest

from mmgenre.audio.encoder import AudioConfig
from mmgenre.audio.networks import AudioNetwork
from mmgenre.image.backbones import ImageNetwork
from mmgenre.image.encoder import ImageConfig
from mmgenre.reading.cost import forward_macs
from mmgenre.reading.network import EncoderConfig
from mmgenre.text.encoder import TextConfig

# Filters x channels x kernel x the positions that the kernel takes.
SINGLE_LABEL = (
    64 * 1 * (4 * 96) * (319 * 1)  # 322 frames; then a pool of 4
    + 128 * 64 * (4 * 1) * (76 * 1)  # 79 frames
    + 256 * 128 * (4 * 1) * (16 * 1)  # 19 frames; 8 after the pool, 2048 numbers
)
LOW_3X3_AS_COUNTED = (
    64 * 1 * (3 * 3) * (320 * 94)
    + 128 * 64 * (3 * 3) * (78 * 45)  # 80 x 47
    + 128 * 128 * (3 * 3) * (17 * 20)  # 19 x 22
    + 64 * 128 * (3 * 3) * (4 * 20)  # padded: 4 x 20 stay
)
RESNET_50_224_PX = 4_087_136_256  # without its classifier: torchvision publishes 4.09 G with it


@pytest.mark.parametrize(
    ("config", "macs"),
    [
        (AudioConfig(network="single-label"), SINGLE_LABEL),
        (AudioConfig(network="single-label", embedding_dim=100), SINGLE_LABEL + 2048 * 100),
        (AudioConfig(network="low-3x3-as-counted", embedding_dim="native"), LOW_3X3_AS_COUNTED),
        (AudioConfig(network="low-3x3-as-counted"), LOW_3X3_AS_COUNTED + 256 * 2048),
        (AudioConfig(network="timbre"), 0),
        (AudioConfig(network="timbre", embedding_dim=10), 48 * 10),
        (TextConfig(), 10_000 * 2048 + 2048 * 2048),
        (TextConfig(hidden_dim=30, embedding_dim=7), 10_000 * 30 + 30 * 30 + 30 * 7),
        (ImageConfig(network="resnet-50"), RESNET_50_224_PX),
        (ImageConfig(network="resnet-50", embedding_dim=10), RESNET_50_224_PX + 2048 * 10),
    ],
)
def test_the_count_is_the_sum_over_layers(config: EncoderConfig, macs: int) -> None:
    assert forward_macs(config) == macs


def test_the_vocabulary_decides_the_cost_of_a_text() -> None:
    assert forward_macs(TextConfig(hidden_dim=8), n_words=50) == 50 * 8 + 8 * 8 + 8 * 2048


def test_every_network_has_a_cost_and_smaller_ones_cost_less() -> None:
    for name in get_args(AudioNetwork):
        if name != "timbre":
            small = AudioConfig(network=name, width_multiplier=0.25)
            assert 0 < forward_macs(small) < forward_macs(AudioConfig(network=name))
            long = AudioConfig(network=name, patch_s=30.0)
            assert forward_macs(long) > forward_macs(AudioConfig(network=name))
    costs = [forward_macs(ImageConfig(network=name)) for name in get_args(ImageNetwork)]
    assert costs == sorted(costs)
