"""Covers: embedding against the obvious loop, reads of the store, every network learning.

    python tests/benchmarks/covers.py speed      # some minutes
    python tests/benchmarks/covers.py learning   # some minutes; needs 6 GB

Covers are those of ../shared/data/real where that folder is there, else of the built-in catalogue;
weights are random, with the batch statistics of the covers. Both sides of a ratio run in turn in
this process, after a round that does not count; medians of the others, and the range.

What bfloat16 gains depends on the processor: with AMX it is several times faster, without it
slower (the first line says which). Decoding is a small part of an embedding, so most of the gain of
the store shows in training, which reads every cover once an epoch.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from _sides import Side, in_turn, show
from numpy.typing import NDArray
from PIL import Image
from torch import nn
from torchvision import models

from mmgenre.datasets.synthetic import make_catalogue
from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import FeatureStore, write_store
from mmgenre.image.backbones import ImageNetwork
from mmgenre.image.crops import middle_crops
from mmgenre.image.decoding import load_image
from mmgenre.image.encoder import ImageEncoder
from mmgenre.image.settings import ImageConfig
from mmgenre.image.sources import ImageSource
from mmgenre.learning.embedding import embed
from mmgenre.learning.encoder import GenreNetwork

REAL = Path(__file__).parents[3] / "shared/data/real/covers"
N_COVERS, BATCH, ROUNDS = 32, 16, 5
N_STORED = 512  # covers of the store that reads are timed on
LEARNING_STEPS, LEARNING_BATCH = 5, 4


def cover_files(folder: Path) -> list[Path]:
    """Real covers, else made ones."""
    if REAL.is_dir():
        return sorted(REAL.iterdir())[:N_COVERS]
    make_catalogue(folder / "catalogue", seed=0)
    covers = (p for p in folder.rglob("*") if p.suffix in (".jpg", ".png"))
    return sorted(covers)[:N_COVERS]


@torch.inference_mode()
def plain_loop(network: nn.Module, files: Sequence[Path]) -> NDArray[np.float32]:
    """Decode, torchvision's own transform, batches of 16 in float32."""
    transform = models.ResNet101_Weights.IMAGENET1K_V2.transforms()
    rows = []
    for start in range(0, len(files), BATCH):
        batch = [transform(Image.open(f).convert("RGB")) for f in files[start : start + BATCH]]
        rows.append(network(torch.stack(batch)).numpy())
    return np.concatenate(rows)


def middle(squares: NDArray[np.uint8]) -> torch.Tensor:
    """What prediction sees of stored squares, 224 px."""
    return torch.from_numpy(middle_crops(squares, 224))


def with_statistics(encoder: ImageEncoder, covers: torch.Tensor) -> ImageEncoder:
    """As if trained: its batch norms know the covers."""
    for layer in encoder.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None  # the mean over all batches, here one
    with torch.no_grad():
        encoder.train()(covers)
    return encoder.eval()


def speed(folder: Path) -> None:
    """Embedding, reading, augmenting."""
    files = cover_files(folder)
    ids = [f"{k:03d}" for k in range(len(files))]
    started = time.perf_counter()
    squares = np.stack([load_image(f) for f in files])
    path = write_store(folder / "covers.h5", "image", [(ids, squares)], Provenance("b", 1, {}))
    took = time.perf_counter() - started
    print(f"{len(files)} covers decoded and stored once: {len(files) / took:.0f} /s")

    torch.manual_seed(0)
    exact = ImageConfig(network="resnet-101", weights="none")
    rounded = exact.model_copy(update={"embedding_precision": "bfloat16"})
    encoder = with_statistics(ImageEncoder(exact), middle(squares))
    plain = models.resnet101()
    plain.fc = nn.Identity()
    plain.load_state_dict(encoder.backbone.state_dict())
    plain.eval()

    with FeatureStore(path, "image") as store:

        def ours(config: ImageConfig) -> NDArray[np.float32]:
            encoder.config = config
            return embed(encoder, ImageSource(store, config), ids, batch_size=BATCH)

        one, other = ours(exact), ours(rounded)
        alike = (one * other).sum(axis=1)
        alike /= np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
        print(f"cosine of bfloat16 to float32 embeddings: {alike.min():.6f} at least")
        sides: dict[str, Side] = {
            "Pillow, torchvision, float32": lambda: plain_loop(plain, files),
            "ours, float32": lambda: ours(exact),
            "ours, bfloat16": lambda: ours(rounded),
        }
        show("Covers embedded by ResNet-101, 224 px", in_turn(sides, ROUNDS), "/s", len(files))

    many = [f"{k:04d}" for k in range(N_STORED)]
    rows = squares[np.arange(N_STORED) % len(squares)]
    path = write_store(folder / "many.h5", "image", [(many, rows)], Provenance("b", 1, {}))
    rng = np.random.default_rng(0)
    drawn = [list(rng.choice(many, 32, replace=False)) for _ in range(8)]
    augmented = exact.model_copy(
        update={"rotation_deg": 15.0, "min_scale": 0.5, "colour_jitter": 0.3}
    )
    with FeatureStore(path, "image") as store:
        decoded = [files[int(i) % len(files)] for batch in drawn for i in batch]
        sides = {
            "decoded from files": lambda: [load_image(f) for f in decoded],
            "read from the store": lambda: [
                np.stack([store.read(i) for i in batch]) for batch in drawn
            ],
            "training views: crop, flip": lambda: [
                ImageSource(store, exact).views(batch, rng) for batch in drawn
            ],
            "... turned, scaled, colours": lambda: [
                ImageSource(store, augmented).views(batch, rng) for batch in drawn
            ],
        }
        show("Squares of 256 px, random batches of 32", in_turn(sides, ROUNDS), "/s", len(decoded))


def learning(folder: Path) -> None:
    """A few steps of each network at its full size: the loss on its own examples must fall."""
    files = cover_files(folder)[:LEARNING_BATCH]
    labels = torch.arange(LEARNING_BATCH) % 2
    print(f"{'network':<16}{'first loss':>12}{'last loss':>12}{'s a step':>12}")
    for name in get_args(ImageNetwork):
        learn(name, files, labels)


def learn(name: ImageNetwork, files: Sequence[Path], labels: torch.Tensor) -> None:
    """Prints a row of the table."""
    config = ImageConfig(network=name, weights="none")
    torch.manual_seed(0)
    network = GenreNetwork(ImageEncoder(config), 2).train()
    side, stored = config.crop_px, config.input.size_px
    start = (stored - side) // 2
    squares = np.stack([load_image(f, config.input) for f in files])
    x = torch.from_numpy(squares[:, start : start + side, start : start + side].copy())
    optimizer = torch.optim.Adam(network.parameters(), 1e-4)
    losses = []
    started = time.perf_counter()
    for _ in range(LEARNING_STEPS):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(x), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    a_step = (time.perf_counter() - started) / LEARNING_STEPS
    fell = "" if losses[-1] < losses[0] else "  did not fall"
    print(f"{name:<16}{losses[0]:12.3f}{losses[-1]:12.3f}{a_step:12.2f}{fell}", flush=True)


def main() -> None:
    """Runs the part that is named, or both."""
    amx = torch.cpu._is_amx_tile_supported()
    print(f"{torch.get_num_threads()} threads, AMX: {'yes' if amx else 'no'}")
    parts = {"speed": speed, "learning": learning}
    for name in sys.argv[1:] or parts:
        with tempfile.TemporaryDirectory() as folder:
            parts[name](Path(folder))


if __name__ == "__main__":
    main()
