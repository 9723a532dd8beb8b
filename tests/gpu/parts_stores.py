"""Networks fed from an HDF5 store: what training and embedding take in a second."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from gpu_cases import N_LABELS, Case, Line, audio_case, bce, image_case
from numpy.typing import NDArray
from torch import Tensor, nn

from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import Block, FeatureStore, write_store
from mmgenre.image.augmentation import draw_views, views_of
from mmgenre.image.settings import ImageConfig, ImageInput
from mmgenre.learning.budget import Budget
from mmgenre.learning.devices import Batch, put, tf32
from mmgenre.learning.embedding import embed
from mmgenre.learning.encoder import InputExamples, views_in
from mmgenre.learning.feed import AHEAD, feed
from mmgenre.learning.optimisation import make_optimizer
from mmgenre.learning.rounds import Examples, Part, parts_of, train_round
from mmgenre.learning.settings import TrainingConfig

MAX_APART = 1e-4  # of the largest number of a vector on the CPU
MAX_BYTES_APART = 2  # of views that are interpolated and then given other colours
COMPARED = 16  # vectors with those of the CPU
CLIP_FRAMES = 1292  # 30 s
COVER_PX = 256
Fed = Literal["low-4x70", "single-label", "resnet-50"]
# Of the speed from memory; the smallest network takes more patches than one thread may read.
MIN_FED: dict[Fed, float] = {"low-4x70": 0.8, "single-label": 0.5, "resnet-50": 0.8}


def case_of(name: Fed, small: bool) -> tuple[Case, str]:
    """The network and its modality; in small a cheaper one of that modality."""
    if name == "resnet-50":
        return image_case("cnn-5x5" if small else name, small), "image"
    return audio_case(name, small), "audio"


@contextmanager
def stored(modality: str, n: int) -> Iterator[FeatureStore]:
    """A store of n clips or covers of noise, as inputs are written: in blocks, with checksums."""
    rng, size = np.random.default_rng(0), 64

    def blocks() -> Iterator[Block]:
        for start in range(0, n, size):
            ids = [f"{k:06d}" for k in range(start, min(start + size, n))]
            if modality == "image":
                shape = (len(ids), COVER_PX, COVER_PX, 3)
                yield ids, rng.integers(256, size=shape, dtype=np.uint8)
            else:
                rows = rng.standard_normal((len(ids), CLIP_FRAMES, 96), np.float32)
                yield ids, list(rows.astype(np.float16))

    with tempfile.TemporaryDirectory() as name:
        made, path = Provenance("check of a GPU", 1, {}), Path(name) / "inputs.h5"
        write_store(path, modality, blocks(), made, ragged=modality == "audio")
        with FeatureStore(path, modality) as store:
            yield store


@dataclass(frozen=True)
class Held:
    """The same batch each time, from memory."""

    kept: Batch
    n: int

    def __len__(self) -> int:
        return self.n

    def batch(self, rows: NDArray[np.intp], rng: np.random.Generator | None) -> Batch:
        return {name: tensor[: len(rows)] for name, tensor in self.kept.items()}


def epoch(
    network: nn.Module,
    source: Any,
    examples: Examples,
    config: TrainingConfig,
    device: torch.device,
) -> tuple[float, float]:
    """Seconds of the second of two rounds, and the share of them that it waited for batches."""
    budget, optimizer = Budget.of(config, len(examples)), make_optimizer(network, config)
    took = waited = 0.0

    def loss(module: nn.Module, batch: Batch) -> Tensor:
        return bce(module(views_in(batch, source)), batch["target"])

    for number in (1, 2):
        waited = 0.0

        def noted(parts: Iterator[Part]) -> Iterator[Part]:
            nonlocal waited
            while True:
                asked = time.perf_counter()
                part = next(parts, None)
                waited += time.perf_counter() - asked
                if part is None:
                    return
                yield part

        started = time.perf_counter()
        parts = parts_of(examples, budget, (0, number), None, device)
        with tf32(config.tf32, device), feed(parts, device, AHEAD) as fed:
            # It reads the losses at its end, for which the device must be done.
            train_round(network, network, loss, noted(fed), budget, optimizer)
        took = time.perf_counter() - started
    return took, waited / took


def check_feed(device: torch.device, small: bool) -> list[Line]:
    """Training from a store through the feed, and from memory: views and steps are the package's.

    Their speed is that of the whole loop, crops, patches, transfers and optimiser included.
    """
    lines = []
    for name in list(MIN_FED)[1 if small else 0 :]:
        case, modality = case_of(name, small)
        config = TrainingConfig(batch_size=8 if small else 32, max_epochs=2, patience=None)
        n = 16 if small else 2048
        encoder, batch = case.network.encoder, np.arange(config.batch_size)
        with stored(modality, min(n, 1024)) as store:
            ids = [store.ids[k % len(store)] for k in range(n)]
            targets = np.zeros((n, N_LABELS), np.float32)
            source = encoder.source(store)
            examples = InputExamples(source, ids, targets)
            held = Held(examples.batch(batch, np.random.default_rng(0)), n)
            put(case.network, device)
            case.network.train()
            from_memory, _ = epoch(case.network, source, held, config, device)
            from_store, waited = epoch(case.network, source, examples, config, device)
        value = f"{n / from_store:.0f} /s, from memory {n / from_memory:.0f} /s, "
        limit = "-" if small else f"{MIN_FED[name]} of memory"
        passed = small or from_memory / from_store >= MIN_FED[name]
        lines.append(Line("feed", case.name, f"{value}waited {waited:.0%}", limit, passed))
    return lines


def check_views(device: torch.device, small: bool) -> list[Line]:
    """Random views of covers on the device against the CPU's: bytes may be rounded to another."""
    n, side = (4, 40) if small else (64, COVER_PX)
    sizes: dict[str, Any] = {"crop_px": side * 7 // 8, "input": ImageInput(size_px=side)}
    changed = {"min_scale": 0.3, "rotation_deg": 20.0, "colour_jitter": 0.4}
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(256, size=(n, side, side, 3), dtype=np.uint8))
    lines = []
    for name, own in (("crops", {}), ("scaled, turned, other colours", changed)):
        config = ImageConfig.model_validate({"weights": "none", **sizes, **own})
        drawn = torch.from_numpy(draw_views(n, side, config, rng))
        there = views_of(images.to(device), drawn.to(device), config).cpu()
        apart = int((there.int() - views_of(images, drawn, config).int()).abs().max())
        limit = MAX_BYTES_APART if own else 0
        lines.append(Line("views", name, f"{apart} of 255 apart", f"{limit} apart", apart <= limit))
    return lines


def check_embedding(device: torch.device, small: bool) -> list[Line]:
    """Vectors of 10 000 clips and covers by the package's own function, against the CPU's."""
    lines = []
    names: tuple[Fed, ...] = ("low-4x70", "resnet-50")
    for name in names:
        case, modality = case_of("single-label" if small and name != "resnet-50" else name, small)
        encoder: Any = case.network.encoder
        with stored(modality, 20 if small else 1000) as store:
            source = encoder.source(store)
            some: Sequence[str] = store.ids[:COMPARED]
            on_cpu = embed(deepcopy(encoder), source, some)
            ids = store.ids if small else 10 * store.ids
            embed(encoder, source, some, device=device)  # the first call loads kernels
            started = time.perf_counter()
            vectors = embed(encoder, source, ids, device=device)
            took = time.perf_counter() - started
        apart = float(np.abs(vectors[:COMPARED] - on_cpu).max() / np.abs(on_cpu).max())
        value = f"{len(ids) / took:.0f} /s, {apart:.1e} apart"
        passed = apart <= MAX_APART and bool(np.isfinite(vectors).all())
        lines.append(Line("embedding", case.name, value, f"{MAX_APART:.0e} apart", passed))
    return lines
