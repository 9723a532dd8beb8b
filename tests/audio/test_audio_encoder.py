"""Audio networks against METHOD section 2; patches, standardisation, masks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor, nn

from mmgenre.audio.encoder import AudioEncoder
from mmgenre.audio.networks import NETWORKS, AudioNetwork
from mmgenre.audio.settings import AudioConfig, AudioInput
from mmgenre.audio.sources import AudioSource
from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import FeatureStore, write_store
from mmgenre.kinds import kind_of
from mmgenre.learning.settings import TargetName

NAMES: tuple[AudioNetwork, ...] = tuple(n for n in get_args(AudioNetwork) if n != "timbre")


def counted(n_frames: int) -> NDArray[np.float16]:
    """A track whose values are the numbers of its frames."""
    return np.repeat(np.arange(n_frames, dtype=np.float16)[:, None], 96, axis=1)


def write(path: Path, tracks: Mapping[str, NDArray[np.float16]]) -> Path:
    rows = list(tracks.values())
    return write_store(path, "audio", [(list(tracks), rows)], Provenance("t", 1, {}), ragged=True)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    tracks = {"short#0": counted(40), "exact#0": counted(322), "long#0": counted(1000)}
    with FeatureStore(write(tmp_path / "audio.h5", tracks), "audio") as opened:
        yield opened


@pytest.mark.parametrize("name", ["single-label", "low-4x70"])
def test_embeddings_are_2048_wide_and_not_negative(name: AudioNetwork) -> None:
    encoder = AudioEncoder(AudioConfig(network=name), "logistic").eval()
    assert encoder.embedding_dim == 2048
    with torch.inference_mode():
        embedding = encoder(torch.randn(2, 322, 96))
    assert embedding.shape == (2, 2048)
    assert (embedding >= 0).all()
    assert (embedding > 0).any()
    # A layer is added only where the network's own width differs.
    assert isinstance(encoder.embedding, nn.Identity) == (name == "single-label")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("target", ["logistic", "cosine"])
def test_dropout_is_where_the_paper_has_it(name: AudioNetwork, target: TargetName) -> None:
    has_dropout = name == "single-label" or (name.startswith("high") and target == "cosine")
    expected = 0.5 if has_dropout else 0.0
    assert AudioConfig(network=name).dropout_for(target) == expected
    assert AudioConfig(network=name, dropout=0.2).dropout_for(target) == 0.2
    if name.startswith("low") or name == "single-label":
        encoder = AudioEncoder(AudioConfig(network=name), target)
        layers = [m for m in encoder.convolutions if isinstance(m, nn.Dropout)]
        assert len(layers) == (3 if expected else 0)
        assert all(layer.p == expected for layer in layers)


@pytest.mark.parametrize("width", [0.0, -0.5, 1.5])
def test_widths_outside_of_0_to_1_are_refused(width: float) -> None:
    with pytest.raises(ValidationError, match="width_multiplier"):
        AudioConfig(width_multiplier=width)


def test_each_encoder_reads_the_features_that_it_needs() -> None:
    kind = kind_of("audio")
    config = AudioConfig(encoders=("cnn", "timbre"), input=AudioInput(min_s=2.0))
    assert kind.encoder("cnn").reads(config) == AudioInput(features="cqt", min_s=2.0)
    assert kind.encoder("timbre").reads(config) == AudioInput(features="timbre", min_s=2.0)
    msd = config.model_copy(update={"input": AudioInput(features="msd-timbre")})
    assert kind.encoder("timbre").reads(msd) == AudioInput(features="msd-timbre")
    kept = msd.model_dump(mode="json")
    assert AudioConfig.model_validate(kept) == msd
    with pytest.raises(ValidationError, match="'msd-timbre': is for the encoder timbre, but enc"):
        AudioConfig.model_validate(kept | {"encoders": ["cnn"]})


def test_a_patch_of_fifteen_seconds_has_322_frames() -> None:
    assert AudioConfig().patch_frames == 322


def test_a_patch_too_short_for_the_pools_is_refused() -> None:
    for name in NAMES:
        least_s = NETWORKS[name].least_frames * 1024 / 22_050
        fits = AudioConfig(network=name, patch_s=least_s + 0.05, embedding_dim="native")
        if not name.startswith("high"):
            assert AudioEncoder(fits, "logistic").embedding_dim > 0
        with pytest.raises(ValidationError, match=rf"patch_s .*: {name} needs {least_s:.2f} s"):
            AudioConfig(network=name, patch_s=least_s - 0.05)


def test_patches_are_evenly_spaced(store: FeatureStore) -> None:
    views = AudioSource(store, 322, 3).views(["long#0", "exact#0"], None)
    assert views.shape == (2, 3, 322, 96)
    assert views[0, :, 0, 0].tolist() == [0, 339, 678]
    assert views[0, :, -1, 5].tolist() == [321, 660, 999]
    assert views[1, :, 0, 0].tolist() == [0, 0, 0]
    one = AudioSource(store, 322, 1).views(["long#0"], None)
    assert one[0, :, 0, 0].tolist() == [339]  # the middle


def test_a_short_track_ends_in_silence(store: FeatureStore) -> None:
    for rng in (None, np.random.default_rng(0)):
        patch = AudioSource(store, 322, 3).views(["short#0"], rng)[0, 0]
        np.testing.assert_array_equal(patch[:40], counted(40))
        assert (patch[40:] == -80).all()


def test_training_patches_are_random_and_reach_both_ends(store: FeatureStore) -> None:
    source, rng = AudioSource(store, 990, 3), np.random.default_rng(1)
    starts = [source.views(["long#0"], rng)[0, 0, 0, 0] for _ in range(200)]
    assert set(starts) == set(range(11))
    views = source.views(["long#0", "long#0"], np.random.default_rng(2))
    assert views.shape == (2, 1, 990, 96)
    again = source.views(["long#0", "long#0"], np.random.default_rng(2))
    np.testing.assert_array_equal(views, again)


def test_statistics_come_from_the_given_tracks_only(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    tracks = {
        f"{k}#0": (rng.standard_normal((50 + k, 96)) * 9 - 40).astype(np.float16) for k in range(6)
    }
    tracks["0#0"][:, 7] = tracks["1#0"][:, 7] = tracks["2#0"][:, 7] = -80.0
    train = ["0#0", "1#0", "2#0"]
    encoders = []
    for k, change in enumerate((0.0, 20.0)):
        changed = {i: x if i in train else x + np.float16(change) for i, x in tracks.items()}
        encoder = AudioEncoder(AudioConfig(network="low-4x96"), "logistic")
        with FeatureStore(write(tmp_path / f"{k}.h5", changed), "audio") as store:
            encoder.fit(store, train)
        encoders.append(encoder)
    frames = np.concatenate([tracks[i] for i in train]).astype(np.float64)
    std = frames.std(axis=0)
    std[7] = 1.0  # a bin that never moves
    np.testing.assert_allclose(encoders[0].mean.numpy(), frames.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(encoders[0].std.numpy(), std, rtol=1e-4)
    assert torch.equal(encoders[0].mean, encoders[1].mean)
    assert torch.equal(encoders[0].std, encoders[1].std)


def given_to_convolutions(encoder: AudioEncoder, x: Tensor) -> Tensor:
    seen: list[Tensor] = []
    hook = encoder.convolutions.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        encoder(x)
    hook.remove()
    return seen[0][:, 0]


def test_patches_are_standardised() -> None:
    encoder = AudioEncoder(AudioConfig(network="low-4x96"), "logistic").eval()
    encoder.mean.copy_(torch.linspace(-60, -20, 96))
    encoder.std.copy_(torch.linspace(5, 10, 96))
    x = torch.randn(2, 322, 96) * 10 - 40
    expected = (x - torch.linspace(-60, -20, 96)) / torch.linspace(5, 10, 96)
    assert torch.allclose(given_to_convolutions(encoder, x), expected, atol=1e-5)


def test_masks_hide_some_frames_and_some_bins_of_each_patch_in_training_only() -> None:
    config = AudioConfig(network="low-4x96", spec_augment=True)
    encoder = AudioEncoder(config, "logistic")
    x = torch.ones(60, 322, 96)
    encoder.eval()
    assert (given_to_convolutions(encoder, x) == 1).all()
    plain = AudioEncoder(AudioConfig(network="low-4x96"), "logistic").train()
    assert (given_to_convolutions(plain, x) == 1).all()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        hidden = given_to_convolutions(encoder.train(), x) == 0
    frames = hidden.all(dim=2)  # (patch, frames)
    bins = hidden.all(dim=1)  # (patch, bins)
    # Nothing is hidden but whole frames and whole bins.
    assert torch.equal(hidden, frames[:, :, None] | bins[:, None, :])
    n_frames, n_bins = frames.sum(dim=1), bins.sum(dim=1)
    assert 30 < n_frames.max() <= 48
    assert 6 < n_bins.max() <= 12
    assert len(set(n_frames.tolist())) > 10  # each patch has masks of its own
