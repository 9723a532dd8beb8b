"""Covers in 8-bit integers: near the float32 embeddings, calibrated the same way each time."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import FeatureStore, write_store
from mmgenre.errors import MmgenreError
from mmgenre.image import quantised as module
from mmgenre.image.backbones import BACKBONES, INT8_NETWORKS, ImageNetwork
from mmgenre.image.decoding import ImageInput
from mmgenre.image.encoder import ImageConfig, ImageEncoder
from mmgenre.image.quantised import calibrated, cosines, quantised
from mmgenre.reading.network import embed

SIDE, N = 64, 24
IDS = [f"{k:02d}" for k in range(N)]
NETWORK: ImageNetwork = "cnn-6-blocks"
CONFIG = ImageConfig(network=NETWORK, weights="none", crop_px=SIDE, input=ImageInput(size_px=SIDE))


def covers(side: int, n: int = N) -> Tensor:
    """Smooth pictures of unlike colours, (n, side, side, 3)."""
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.integers(0, 256, (n, 3, 4, 4)).astype(np.float32))
    smooth = nn.functional.interpolate(coarse, size=(side, side), mode="bilinear")
    return smooth.to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def with_statistics(network: ImageNetwork, side: int, x: Tensor) -> ImageEncoder:
    """An encoder whose batch norms have the statistics of covers."""
    torch.manual_seed(0)
    encoder = ImageEncoder(ImageConfig(network=network, weights="none", crop_px=side))
    for layer in encoder.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None  # the mean over all batches, here one
    with torch.no_grad():
        encoder.train()(x)
    return encoder.eval()


@pytest.fixture(scope="module")
def encoder() -> ImageEncoder:
    made = with_statistics(NETWORK, SIDE, covers(SIDE))
    made.config = CONFIG
    return made


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    rows = covers(SIDE).numpy()
    path = write_store(tmp_path / "image.h5", "image", [(IDS, rows)], Provenance("t", 1, {}))
    with FeatureStore(path, "image") as opened:
        yield opened


def test_embeddings_stay_near(encoder: ImageEncoder, store: FeatureStore) -> None:
    exact = embed(encoder, encoder.source(store), IDS)
    made = calibrated(encoder, encoder.source(store), IDS[:16])
    rounded = embed(made, encoder.source(store), IDS)
    assert rounded.shape == exact.shape
    assert (rounded != exact).any()
    norms = np.linalg.norm(exact, axis=1) * np.linalg.norm(rounded, axis=1)
    assert ((exact * rounded).sum(axis=1) / norms > 0.99).all()
    # A cover's nearest neighbour among the others is mostly the same.
    nearest = [(np.corrcoef(v) - 2 * np.eye(N)).argmax(axis=1) for v in (exact, rounded)]
    assert (nearest[0] == nearest[1]).mean() > 0.7


def test_layers_are_integers_and_the_trained_network_is_untouched(encoder: ImageEncoder) -> None:
    before = deepcopy(encoder.state_dict())
    training = encoder.training
    engine = torch.backends.quantized.engine
    made = quantised(encoder, covers(SIDE))
    kinds = {type(m).__module__.split(".")[-1] for m in made.backbone.modules()}
    assert "conv_relu" in kinds
    assert not any(isinstance(m, nn.Conv2d) for m in made.modules())
    assert not list(made.backbone.parameters())
    assert encoder.training is training
    assert before.keys() == encoder.state_dict().keys()
    assert all(torch.equal(before[k], v) for k, v in encoder.state_dict().items())
    assert any(p.requires_grad for p in encoder.parameters())
    assert torch.backends.quantized.engine == engine


def test_calibration_is_the_same_each_time_and_sees_what_it_is_given(
    encoder: ImageEncoder, store: FeatureStore
) -> None:
    source, x = encoder.source(store), covers(SIDE)
    one, other = (calibrated(encoder, source, ids)(x) for ids in (IDS[:16], IDS[15::-1]))
    assert torch.equal(one, other)
    dim = torch.full_like(x, 100)
    assert not torch.equal(one, quantised(encoder, dim)(x))
    # A cover's embedding does not depend on those beside it.
    made = calibrated(encoder, source, IDS[:16])
    torch.testing.assert_close(made(x)[3:4], made(x[3:4]), rtol=0, atol=1e-5)


def test_covers_are_taken_evenly_and_checked_on_others(
    encoder: ImageEncoder, store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CALIBRATION_COVERS", 4)
    monkeypatch.setattr(module, "CHECKED_COVERS", 3)
    read: list[tuple[str, ...]] = []

    class Watched:
        def views(self, ids, rng):  # type: ignore[no-untyped-def]
            assert rng is None  # evaluation views
            read.append(tuple(ids))
            return encoder.source(store).views(ids, rng)

    calibrated(encoder, Watched(), IDS[:10])
    assert read == [("00", "03", "06", "09"), ("01", "04", "08")]
    read.clear()
    calibrated(encoder, Watched(), IDS[:2])
    assert read == [("00", "01"), ("00", "01")]


def test_a_network_that_does_not_bear_rounding_is_refused(
    encoder: ImageEncoder, store: FeatureStore
) -> None:
    spoilt = deepcopy(encoder)
    with torch.no_grad():  # the same function, but one channel so large that it hides the others
        spoilt.backbone.block1[1].weight[0] *= 1e6
        spoilt.backbone.block2[0].weight[:, 0] *= 1e-6
    x = covers(SIDE)
    torch.testing.assert_close(spoilt(x), encoder(x), rtol=1e-3, atol=1e-3)
    with pytest.raises(MmgenreError, match=r"cnn-6-blocks have a mean cosine of 0\.[0-8]\d* "):
        calibrated(spoilt, encoder.source(store), IDS)


def test_what_cannot_be_is_refused(
    encoder: ImageEncoder, store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MmgenreError, match="no training item has a cover to calibrate with"):
        calibrated(encoder, encoder.source(store), [])
    with pytest.raises(MmgenreError, match="the encoder is on meta"):
        quantised(deepcopy(encoder).to("meta"), covers(SIDE))
    other = deepcopy(encoder)
    other.config = CONFIG.model_copy(update={"network": "swin-t"})  # as an adopted one has it
    with pytest.raises(MmgenreError, match=r"int8: not for swin-t, but for alexnet, .* vgg-16"):
        quantised(other, covers(SIDE))
    monkeypatch.setattr(module, "ENGINE", "abacus")
    with pytest.raises(MmgenreError, match=r"no abacus integer kernels .*precision=float32"):
        calibrated(encoder, encoder.source(store), IDS)


def test_settings_refuse_networks_that_do_not_gain() -> None:
    refused: set[ImageNetwork] = {"convnext-tiny", "inception-v3", "swin-t", "vit-b-16"}
    assert set(INT8_NETWORKS) == set(get_args(ImageNetwork)) - refused
    for name in refused:
        with pytest.raises(ValidationError, match=rf"int8: {name} .* one of alexnet, .*vgg-16"):
            ImageConfig(network=name, embedding_precision="int8")
    for name in INT8_NETWORKS:
        assert ImageConfig(network=name, embedding_precision="int8").backbone.int8


@pytest.mark.parametrize("name", ["cnn-5x5", "cnn-10x10"])
def test_shallow_networks_bear_it_with_random_weights(name: ImageNetwork) -> None:
    x = covers(max(BACKBONES[name].least_px, 64), 12)
    encoder = with_statistics(name, x.shape[1], x)
    assert cosines(encoder, quantised(encoder, x[:8]), x[8:]).min() > 0.99


@pytest.mark.slow
@pytest.mark.parametrize("name", ["alexnet", "densenet-169", "resnet-18", "resnet-50", "vgg-16"])
def test_deep_networks_can_be_quantised(name: ImageNetwork) -> None:
    """Random weights that deep lose much of a cover: near, but not as near as trained ones."""
    x = covers(max(BACKBONES[name].least_px, 96), 12)
    encoder = with_statistics(name, x.shape[1], x)
    assert cosines(encoder, quantised(encoder, x[:8]), x).min() > 0.8
