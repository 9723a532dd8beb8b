"""Every network with examples for it, and a line of the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mmgenre.audio.encoder import AudioEncoder, TimbreEncoder
from mmgenre.audio.networks import NETWORKS, AudioNetwork
from mmgenre.audio.settings import N_BINS, N_TIMBRE, AudioConfig
from mmgenre.image.backbones import BACKBONES, ImageNetwork
from mmgenre.image.encoder import ImageEncoder
from mmgenre.image.settings import ImageConfig
from mmgenre.learning.devices import Batch
from mmgenre.learning.encoder import GenreNetwork
from mmgenre.learning.training import seeded
from mmgenre.text.encoder import TextEncoder, sparse_tensor
from mmgenre.text.settings import TextConfig

N_LABELS = 20
SMALL_BACKBONES: tuple[ImageNetwork, ...] = ("cnn-5x5", "resnet-18")
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
