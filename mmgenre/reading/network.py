"""What all encoders share: the genre task on top of one, its training, embedding, saving."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mmgenre.audio.encoder import AudioConfig, AudioEncoder
from mmgenre.audio.timbre_encoder import TimbreEncoder
from mmgenre.disk.bundle import Bundle, read_bundle, write_bundle
from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import FeatureStore
from mmgenre.errors import BundleError
from mmgenre.image.encoder import ImageConfig, ImageEncoder, make_image_encoder
from mmgenre.items.manifest import TRACK_SEPARATOR, Modality
from mmgenre.learning.examples import InputExamples, Source
from mmgenre.learning.optimisation import TrainingConfig
from mmgenre.learning.targets import Target, TargetName, load_target
from mmgenre.learning.training import Batch, FitLog, fit, seeded
from mmgenre.progress import Progress, silent
from mmgenre.text.encoder import TextConfig, TextEncoder, make_text_encoder
from mmgenre.text.entities.annotators import entity_provenance
from mmgenre.text.sentences import SentenceEncoder, make_sentence_encoder

Encoder = AudioEncoder | TimbreEncoder | TextEncoder | SentenceEncoder | ImageEncoder
EncoderConfig = AudioConfig | TextConfig | ImageConfig
VOCABULARY = "vocabulary.json"
OUTPUT = "output."  # names of the output layer's weights in an encoder's folder


class GenreNetwork(nn.Module):
    """An encoder under the linear layer of its task: inputs -> (batch, target.dim)."""

    def __init__(self, encoder: Encoder, target_dim: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(encoder.output_dropout)
        self.output = nn.Linear(encoder.embedding_dim, target_dim)

    def forward(self, x: Tensor) -> Tensor:
        """The task's output for inputs."""
        return self.output(self.dropout(self.encoder(x)))  # type: ignore[no-any-return]


def make_encoder(
    config: EncoderConfig, target: TargetName, store: FeatureStore, train_ids: Sequence[str]
) -> Encoder:
    """An untrained encoder, its statistics fitted on the training rows."""
    if isinstance(config, TextConfig):
        if config.encoder == "sentence-transformers":
            return make_sentence_encoder(config)
        return make_text_encoder(config, store, train_ids)
    if isinstance(config, ImageConfig):
        return make_image_encoder(config)
    kind = TimbreEncoder if config.network == "timbre" else AudioEncoder
    encoder = kind(config, target)
    encoder.fit(store, train_ids)
    return encoder


def train_encoder(
    config: EncoderConfig,
    target: Target,
    target_name: TargetName,
    store: FeatureStore,
    targets: Mapping[str, Mapping[str, NDArray[np.float32]]],
    *,
    seed: int,
    checkpoint: Path | None = None,
    task: str = "training",
    progress: Progress = silent,
) -> tuple[GenreNetwork, FitLog]:
    """Trains an encoder under the output layer of its task; the network holds both.

    Args:
        config: of the modality.
        target: the fitted target.
        target_name: which one it is.
        store: input rows.
        targets: {"train": {row id: target vector}, "val": {...}}.
        seed: of first weights and of training.
        checkpoint: where to go on after an interruption.
        task: what the progress is called.
        progress: told after each epoch.
    """
    ids = {split: tuple(rows) for split, rows in targets.items()}

    def make() -> GenreNetwork:
        encoder = make_encoder(config, target_name, store, ids["train"])
        return GenreNetwork(encoder, target.dim)

    network = cast(GenreNetwork, seeded(seed, make))
    encoder = network.encoder
    source = encoder.source(store)
    examples = {
        split: InputExamples(source, ids[split], np.array(list(targets[split].values())))
        for split in ("train", "val")
    }

    def loss(module: nn.Module, batch: Batch) -> Tensor:
        return target.loss(module(batch["x"]), batch["target"])

    def rate_of(name: str) -> float:
        own = name.removeprefix("encoder.")
        return encoder.rate_of(own) if isinstance(encoder, ImageEncoder) and own != name else 1.0

    training: TrainingConfig = config.training
    log = fit(
        network,
        loss,
        examples["train"],
        examples["val"],
        training,
        seed=seed,
        rates=rate_of if isinstance(encoder, ImageEncoder) else None,
        checkpoint=checkpoint,
        task=task,
        progress=progress,
    )
    return network, log


@torch.inference_mode()
def embed(
    encoder: Encoder,
    source: Source,
    ids: Sequence[str],
    *,
    batch_size: int = 16,
    task: str = "embedding",
    progress: Progress = silent,
) -> NDArray[np.float32]:
    """Embeddings of input rows, (n, embedding_dim): the mean over the evaluation views."""
    encoder.eval()
    half = isinstance(encoder, ImageEncoder) and encoder.config.embedding_precision == "bfloat16"
    device = next(iter(encoder.state_dict().values())).device  # some have no parameter
    result = np.zeros((len(ids), encoder.embedding_dim), np.float32)
    for start in range(0, len(ids), batch_size):
        progress(task, start, len(ids))
        views = source.views(ids[start : start + batch_size], None)
        n, k = views.shape[:2]
        x = torch.from_numpy(views.reshape(n * k, *views.shape[2:])).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            vectors = encoder(x).view(n, k, -1).mean(dim=1)
        result[start : start + n] = vectors.float().cpu().numpy()
    progress(task, len(ids), len(ids))
    return result


def item_of(row_id: str) -> str:
    """The item that an input row belongs to: `ID#1` -> `ID`."""
    return row_id.split(TRACK_SEPARATOR)[0]


def mean_by_item(
    row_ids: Sequence[str], rows: NDArray[np.float32]
) -> tuple[list[str], NDArray[np.float32]]:
    """Rows of tracks -> (item ids, the mean over each item's tracks)."""
    ids, position = np.unique([item_of(row_id) for row_id in row_ids], return_inverse=True)
    sums = np.zeros((len(ids), rows.shape[1]), np.float32)
    np.add.at(sums, position, rows)
    counts = np.bincount(position, minlength=len(ids)).astype(np.float32)
    return ids.tolist(), sums / counts[:, None]


def save_network(
    folder: Path,
    modality: Modality,
    network: GenreNetwork,
    target: Target,
    labels: Sequence[str],
    log: FitLog,
    provenance: Provenance,
) -> Path:
    """Writes an encoder's folder: the encoder, the output layer it was trained under, its curve."""
    encoder = network.encoder
    files: dict[str, Any] = {"curve.json": log.curve()}
    if isinstance(encoder, TextEncoder):
        files[VOCABULARY] = encoder.vocabulary
    config = {**encoder.state(), "embedding_dim": encoder.embedding_dim}
    if isinstance(encoder.config, TextConfig):
        config["entities"] = entity_provenance(encoder.config.input.entities)
    config["learned"] = {"target": target.state(), "labels": list(labels)}
    output = {f"{OUTPUT}{name}": t for name, t in network.output.state_dict().items()}
    return write_bundle(
        folder,
        f"{modality} encoder",
        config,
        {**encoder.state_dict(), **output},
        provenance,
        files=files,
    )


def load_encoder(folder: Path, modality: Modality) -> tuple[Encoder, Bundle]:
    """Reads an encoder's folder.

    Raises:
        BundleError: the folder is missing, damaged, another modality's, or made by another version
            of mmgenre, or the tables by which it was given entities are others now.
        WeightsError: it needs a sentence model that is not there, or is another one now.
    """
    bundle = read_bundle(folder, f"{modality} encoder")
    encoder = _untrained(folder, bundle, modality)
    own = {name: t for name, t in bundle.weights.items() if not name.startswith(OUTPUT)}
    try:
        encoder.load_state_dict(own)
    except RuntimeError as error:
        why = textwrap.shorten(str(error), 300, placeholder=" ...")  # may name every weight
        raise BundleError(
            f"{folder}: made by another version of mmgenre: {why}; train again: "
            "mmgenre extract-features"
        ) from None
    return encoder.eval(), bundle


def _untrained(folder: Path, bundle: Bundle, modality: Modality) -> Encoder:
    """The encoder that a folder describes, without its weights."""
    state = bundle.config["config"]
    if modality == "audio":
        config = AudioConfig.model_validate(state)
        kind = TimbreEncoder if config.network == "timbre" else AudioEncoder
        return kind(config, bundle.config["target"])
    if modality == "image":
        return ImageEncoder(ImageConfig.model_validate(state))
    text = TextConfig.model_validate(state)
    was, now = bundle.config["entities"], entity_provenance(text.input.entities)
    if was != now:
        changed = sorted(key for key in {*was, *now} if was.get(key) != now.get(key))
        raise BundleError(
            f"{folder}: learned from texts with entities of other {', '.join(changed)} than those "
            "at hand, so that its words would mean something else; bring the old ones back, or "
            "train again: mmgenre extract-features"
        )
    if text.encoder == "sentence-transformers":
        return make_sentence_encoder(text, bundle.config["model_sha256"])
    return TextEncoder(text, bundle.files[VOCABULARY])


@dataclass(frozen=True)
class TaskHead:
    """The output layer that an encoder was trained under, and what its outputs mean."""

    output: nn.Linear
    target: Target
    labels: tuple[str, ...]

    @torch.inference_mode()
    def scores(self, embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
        """The encoder's own genre scores, (n, n_labels), for embeddings (n, embedding_dim)."""
        output = self.output(torch.from_numpy(embeddings))
        return cast(NDArray[np.float64], self.target.scores(output).double().numpy())


def load_task_head(folder: Path, modality: Modality) -> TaskHead:
    """Reads the output layer out of an encoder's folder.

    Raises:
        BundleError: the folder is missing, damaged, or another modality's.
    """
    bundle = read_bundle(folder, f"{modality} encoder")
    weights = {
        name.removeprefix(OUTPUT): tensor
        for name, tensor in bundle.weights.items()
        if name.startswith(OUTPUT)
    }
    target_dim, width = weights["weight"].shape
    output = nn.Linear(width, target_dim)
    output.load_state_dict(weights)
    learned = bundle.config["learned"]
    return TaskHead(output.eval(), load_target(learned["target"]), tuple(learned["labels"]))
