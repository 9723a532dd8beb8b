"""Pretrained weights: loaded strictly, never run; without them an error that says what to do."""

from __future__ import annotations

import hashlib
import os
import pickle
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision import models

from mmgenre.disk.provenance import sha256_file
from mmgenre.errors import WeightsError
from mmgenre.image.backbones import BACKBONES, ImageNetwork
from mmgenre.image.encoder import make_image_encoder
from mmgenre.image.settings import ImageConfig
from mmgenre.learning.weights import load_path, load_published

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def resnet18() -> State:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state: State = models.resnet18().state_dict()
    return state


def save(path: Path, state: Any) -> Path:
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return path


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_whole_networks_file_loads(tmp_path: Path, resnet18: State, suffix: str) -> None:
    path = save(tmp_path / f"resnet18{suffix}", resnet18)
    config = ImageConfig(
        network="resnet-18", weights=str(path), weights_sha256=sha256_file(path).upper()
    )
    backbone = make_image_encoder(config).backbone.state_dict()
    expected = {k: v for k, v in resnet18.items() if not k.startswith("fc.")}
    assert backbone.keys() == expected.keys()
    assert all(torch.equal(backbone[k], expected[k]) for k in expected)


def test_weights_of_another_network_are_refused(tmp_path: Path, resnet18: State) -> None:
    renamed = {k.replace("conv1.weight", "conv0.weight"): v for k, v in resnet18.items()}
    path = save(tmp_path / "renamed.pth", renamed)
    config = ImageConfig(network="resnet-18", weights=str(path))
    with pytest.raises(WeightsError, match=r"(?s)renamed\.pth: does not fit.*conv1\.weight"):
        make_image_encoder(config)
    path = save(tmp_path / "shape.pth", resnet18 | {"fc.bias": torch.zeros(10)})
    config = ImageConfig(network="resnet-18", weights=str(path))
    with pytest.raises(WeightsError, match=r"(?s)shape\.pth: does not fit.*fc\.bias"):
        make_image_encoder(config)


def test_a_file_in_the_layout_of_resnet_50_loads(tmp_path: Path) -> None:
    with torch.device("meta"):
        layout = models.resnet50().state_dict()
    rng = torch.Generator().manual_seed(0)
    state = {
        key: torch.tensor(3) if key.endswith("tracked") else torch.rand(t.shape, generator=rng)
        for key, t in layout.items()
    }
    path = save(tmp_path / "resnet50.pth", state)
    encoder = make_image_encoder(ImageConfig(network="resnet-50", weights=str(path)))
    assert encoder.state()["weights_from"] == {"name": str(path), "sha256": sha256_file(path)}
    loaded = encoder.backbone.state_dict()
    assert loaded.keys() == state.keys() - {"fc.weight", "fc.bias"}
    assert all(torch.equal(loaded[key], state[key]) for key in loaded)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_densenets_published_names_are_known(tmp_path: Path, suffix: str) -> None:
    network = models.DenseNet(growth_rate=2, block_config=(2, 1), num_init_features=4)
    state = {
        re.sub(r"(denselayer\d+\.\w+)([12]\.)", r"\1.\2", key): torch.full_like(t, 2)
        for key, t in network.state_dict().items()
    }
    assert "features.denseblock1.denselayer2.norm.1.running_mean" in state
    assert state.keys() != network.state_dict().keys()
    load_path(network, save(tmp_path / f"w{suffix}", state), None)
    assert all((t == 2).all() for t in network.state_dict().values())
    state["features.denseblock1.denselayer1.norm.3.weight"] = torch.ones(4)
    with pytest.raises(WeightsError, match=r"does not fit the network(?s:.*)norm\.3\.weight"):
        load_path(network, save(tmp_path / f"more{suffix}", state), None)


def test_small_networks_have_weights_of_one_s_own_only(tmp_path: Path) -> None:
    config = ImageConfig(network="cnn-5x5")
    with pytest.raises(WeightsError, match=r"cnn-5x5: no ImageNet weights .*image\.weights=none"):
        make_image_encoder(config)
    scratch = make_image_encoder(config.model_copy(update={"weights": "none"}))
    assert scratch.state()["weights_from"] == {}
    path = save(tmp_path / "own.safetensors", scratch.backbone.state_dict())
    again = make_image_encoder(config.model_copy(update={"weights": str(path)}))
    state = again.backbone.state_dict()
    assert all(torch.equal(t, state[key]) for key, t in scratch.backbone.state_dict().items())


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    ("state", "match"),
    [
        ({"weight": torch.ones(2, 2)}, r"does not fit the network(?s:.*)bias"),
        (
            {"weight": torch.ones(2, 2), "bias": torch.ones(2), "more": torch.ones(1)},
            r"does not fit the network(?s:.*)more",
        ),
        ({"weight": torch.ones(2, 3), "bias": torch.ones(2)}, r"does not fit(?s:.*)size mismatch"),
    ],
)
def test_every_key_and_shape_must_fit(
    tmp_path: Path, suffix: str, state: State, match: str
) -> None:
    network = nn.Linear(2, 2)
    with pytest.raises(WeightsError, match=match):
        load_path(network, save(tmp_path / f"w{suffix}", state), None)


def test_another_hash_is_refused(tmp_path: Path) -> None:
    network = nn.Linear(2, 2)
    path = save(tmp_path / "w.pth", network.state_dict())
    load_path(network, path, sha256_file(path))
    with pytest.raises(WeightsError, match=r"w\.pth: sha256 is [0-9a-f]{64}, the recipe says 0000"):
        load_path(network, path, "0" * 64)
    with pytest.raises(WeightsError, match=r"absent\.pth: no such weights file"):
        load_path(network, tmp_path / "absent.pth", None)


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_code_in_a_file_is_not_run(tmp_path: Path, how: str) -> None:
    marker = tmp_path / "ran"

    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch {marker}",)

    path = tmp_path / "evil.pth"
    if how == "torch":
        torch.save({"weight": Payload()}, path)
    else:
        path.write_bytes(pickle.dumps({"weight": Payload()}))
    with pytest.raises(WeightsError, match=r"evil\.pth: refused, it holds more than tensors"):
        load_path(nn.Linear(2, 2), path, None)
    assert not marker.exists()
    torch.load(path, weights_only=False) if how == "torch" else pickle.loads(path.read_bytes())
    assert marker.exists()  # the payload works where it is let loose


@pytest.mark.parametrize(
    ("state", "match"),
    [
        ([torch.ones(2)], "holds a list, not a state dict"),
        (torch.ones(2), "holds a Tensor, not a state dict"),
        ({1: torch.ones(2)}, "the key 1 is not a string"),
        ({"weight": 3, "bias": 4}, "does not fit the network"),
    ],
)
def test_what_is_no_state_dict_is_refused(tmp_path: Path, state: Any, match: str) -> None:
    with pytest.raises(WeightsError, match=match):
        load_path(nn.Linear(2, 2), save(tmp_path / "w.pth", state), None)


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize(
    "content", [b"", b"hello world, no weights", b"PK\x03\x04 broken", b"\x80"]
)
def test_garbage_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=name):
        load_path(nn.Linear(2, 2), path, None)


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache and no network; the folder where weights would lie."""

    def fails(url: str, *args: Any, **kwargs: Any) -> None:
        raise URLError("no route")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setattr(torch.hub, "download_url_to_file", fails)
    return tmp_path / "torch" / "hub" / "checkpoints"


def test_offline_the_error_says_what_to_do(offline: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        make_image_encoder(ImageConfig(network="resnet-18"))
    message = str(caught.value)
    weights = models.ResNet18_Weights.IMAGENET1K_V1
    for part in (
        weights.url,
        str(offline / Path(weights.url).name),
        "image.weights=PATH",
        "image.weights=none",
        "no route",
    ):
        assert part in message
    assert make_image_encoder(ImageConfig(network="resnet-18", weights="none"))


@pytest.mark.parametrize("name", [n for n, made in BACKBONES.items() if made.imagenet])
def test_every_published_file_has_its_place(offline: Path, name: ImageNetwork) -> None:
    weights = BACKBONES[name].published_weights()
    with pytest.raises(WeightsError) as caught:
        load_published(nn.Linear(1, 1), weights)
    message = str(caught.value)
    assert message.startswith(f"{weights}: cannot be downloaded (")
    assert f"Download {weights.url} on another machine and copy it to {offline}/" in message


def test_a_wrong_file_under_the_right_name_is_refused(offline: Path, resnet18: State) -> None:
    name = Path(models.ResNet18_Weights.IMAGENET1K_V1.url).name
    offline.mkdir(parents=True)
    save(offline / name, resnet18)  # loads, but is not what was published
    with pytest.raises(WeightsError, match=rf"{name}: sha256 .* should begin f37072fd"):
        make_image_encoder(ImageConfig(network="resnet-18"))


def test_the_right_file_in_the_cache_needs_no_network(offline: Path) -> None:
    network, saved = nn.Linear(2, 2), nn.Linear(2, 2)
    offline.mkdir(parents=True)
    path = save(offline / "draft.pth", saved.state_dict())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.rename(offline / f"tiny-{digest[:8]}.pth")
    entry = SimpleNamespace(url=f"https://example.org/tiny-{digest[:8]}.pth")
    assert load_published(network, entry) == {"name": str(entry), "sha256": digest}
    assert torch.equal(network.weight, saved.weight)
