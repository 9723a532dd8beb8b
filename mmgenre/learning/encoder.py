"""What all encoders share: the genre task on top of one, its training and saving."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor, nn

from mmgenre.config import Settings
from mmgenre.disk.bundle import Bundle, read_bundle, write_bundle
from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import FeatureStore
from mmgenre.errors import BundleError
from mmgenre.learning.devices import Batch
from mmgenre.learning.kind import Kind, is_foreign, resolve
from mmgenre.learning.permission import checked_inputs, unnamed
from mmgenre.learning.rows import Source
from mmgenre.learning.selection import Metric
from mmgenre.learning.settings import EmbeddingDim, TrainingConfig
from mmgenre.learning.targets import Target, load_target
from mmgenre.learning.training import FitLog, fit, seeded
from mmgenre.progress import Progress, silent

KIND = "{} encoder"  # of a modality: what its folder is
OUTPUT = "output."  # names of the output layer's weights in it


class Encoder(Protocol):
    """A torch module: a batch of views -> embeddings (batch, embedding_dim).

    In evaluation mode several threads call it at once.

    It may also have `files() -> dict` of further JSON files for its folder (`NAME.json` ->
    content), and `rate_of(parameter name) -> float`, a factor on the learning rate (0: frozen).
    """

    embedding_dim: int
    output_dropout: float  # between it and the layer of the task, in training

    def __call__(self, x: Tensor) -> Tensor: ...

    def source(self, store: FeatureStore) -> Source:
        """The rows of an input store in the form that the encoder reads."""

    def state(self) -> dict[str, Any]:
        """Plain data from which its type's `load` makes it again, weights apart."""

    def eval(self) -> Encoder: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any: ...
    def parameters(self) -> Iterator[nn.Parameter]: ...


def to_embedding(width: int, embedding_dim: EmbeddingDim) -> tuple[nn.Module, int]:
    """(layer, its output width): a dense ReLU layer if the widths differ, else the identity."""
    if embedding_dim == "native" or embedding_dim == width:
        return nn.Identity(), width
    return nn.Sequential(nn.Linear(width, embedding_dim), nn.ReLU()), embedding_dim


class InputExamples:
    """Views of input rows with the targets of their items."""

    def __init__(self, source: Source, ids: Sequence[str], targets: NDArray[np.float32]) -> None:
        self.source, self.ids, self.targets = source, ids, targets

    def __len__(self) -> int:
        return len(self.ids)

    def batch(self, rows: NDArray[np.intp], rng: np.random.Generator | None) -> Batch:
        """{"x": (n_views, ...), "target": (n_views, dim)}; each view is an example.

        Of views that `seen` makes, "x" and "drawn" are what it makes them of.
        """
        ids, targets = [self.ids[i] for i in rows], self.targets[rows]
        sparse_views = getattr(self.source, "sparse_views", None)
        if sparse_views is not None:
            return {"x": sparse_views(ids), "target": torch.from_numpy(targets)}
        if rng is not None and hasattr(self.source, "drawn"):
            arrays = (*self.source.drawn(ids, rng), targets)
            return dict(zip(("x", "drawn", "target"), map(torch.from_numpy, arrays), strict=True))
        views = self.source.views(ids, rng)
        x = torch.from_numpy(views.reshape(-1, *views.shape[2:]))
        target = torch.from_numpy(np.repeat(targets, views.shape[1], axis=0))
        return {"x": x, "target": target}


def views_in(batch: Batch, source: Any) -> Tensor:
    """What the network reads of a batch of `InputExamples`, computed where the batch is."""
    if "drawn" not in batch:
        return batch["x"]
    seen: Tensor = source.seen(batch["x"], batch["drawn"])
    return seen


class GenreNetwork(nn.Module):
    """An encoder under the linear layer of its task: inputs -> (batch, target.dim)."""

    def __init__(self, encoder: Encoder, target_dim: int) -> None:
        super().__init__()
        self.encoder: Any = encoder
        self.dropout = nn.Dropout(encoder.output_dropout)
        self.output = nn.Linear(encoder.embedding_dim, target_dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.dropout(self.encoder(x)))  # type: ignore[no-any-return]


def train_encoder(
    make: Callable[[], Encoder],
    target: Target,
    store: FeatureStore,
    targets: Mapping[str, Mapping[str, NDArray[np.float32]]],
    training: TrainingConfig,
    *,
    seed: int,
    metric: Metric | None = None,
    checkpoint: Path | None = None,
    task: str = "training",
    progress: Progress = silent,
) -> tuple[GenreNetwork, FitLog]:
    """Trains an encoder under the output layer of its task; the network holds both.

    `make` gives the untrained encoder, `targets` {"train": {row id: target vector}, "val": {...}};
    `metric` is of the outputs for the rows of "val", in their order. For the rest see `fit`.
    """
    network = cast(GenreNetwork, seeded(seed, lambda: GenreNetwork(make(), target.dim)))
    if target.first_bias is not None:
        network.output.bias.data.copy_(torch.from_numpy(target.first_bias))
    source = network.encoder.source(store)
    own_rate: Callable[[str], float] | None = getattr(network.encoder, "rate_of", None)

    def loss(module: nn.Module, batch: Batch) -> Tensor:
        return target.loss(module(views_in(batch, source)), batch["target"])

    def rate_of(name: str) -> float:
        own = name.removeprefix("encoder.")
        return own_rate(own) if own_rate is not None and own != name else 1.0

    def examples(of: Mapping[str, NDArray[np.float32]]) -> InputExamples:
        return InputExamples(source, tuple(of), np.array(list(of.values())))

    log = fit(
        network,
        loss,
        examples(targets["train"]),
        examples(targets["val"]),
        training,
        seed=seed,
        rates=rate_of,
        metric=metric,
        checkpoint=checkpoint,
        task=task,
        progress=progress,
    )
    return network, log


@dataclass(frozen=True)
class Learned:
    """What an encoder's training gives beside it."""

    output: nn.Linear
    target: Target
    labels: Sequence[str]
    log: FitLog


def save_network(
    folder: Path,
    modality: str,
    encoder_type: str,
    reads: Settings,
    encoder: Encoder,
    provenance: Provenance,
    learned: Learned | None,
) -> Path:
    """Writes an encoder's folder: the encoder, the output layer it was trained under, its curve.

    `encoder_type` is its name in the kind's encoders, `reads` the settings of its inputs; `learned`
    None: it is fixed.
    """
    config = {
        **encoder.state(),
        "encoder": encoder_type,
        "reads": reads.model_dump(mode="json"),
        "embedding_dim": encoder.embedding_dim,
        "learned": None,
    }
    weights, log = dict(encoder.state_dict()), FitLog()
    if learned is not None:
        config["learned"] = {"target": learned.target.state(), "labels": list(learned.labels)}
        weights |= {f"{OUTPUT}{name}": t for name, t in learned.output.state_dict().items()}
        log = learned.log
    config["n_parameters"] = sum(t.numel() for t in weights.values())
    files = {"curve.json": log.curve(), **getattr(encoder, "files", dict)()}
    return write_bundle(folder, KIND.format(modality), config, weights, provenance, files=files)


def load_encoder(
    folder: Path, modality: str, kind: Kind, names: Collection[str] = ()
) -> tuple[Encoder, Bundle]:
    """Reads an encoder's folder.

    `names`: what the user has named of code that it consists of and of files that it opens.

    Raises:
        BundleError: the folder is missing, damaged, another modality's or another version's, what
            the encoder depends on is not what it was in training, or it names code or files that
            the user did not.
        WeightsError: it needs a model that is not there, or is another one now.
    """
    bundle = read_bundle(folder, KIND.format(modality))
    if "encoder" not in bundle.config:
        raise BundleError(
            f"{folder}: made by an older version of mmgenre, which named no type of encoder; "
            "train it again: mmgenre extract-features"
        )
    own = {name: t for name, t in bundle.weights.items() if not name.startswith(OUTPUT)}
    name = str(bundle.config["encoder"])
    is_folder = name.startswith("dir:")  # which is opened; of any other name code is imported
    if is_foreign(name) and name not in names and not is_folder:
        raise BundleError(unnamed(folder, "import", name))
    encoder_type = kind.encoder(name)
    if is_folder and name not in names and not encoder_type.carried(bundle):
        raise BundleError(unnamed(folder, "open", name))
    try:
        checked_inputs(folder, bundle.config, kind, names)
        encoder: Encoder = resolve(encoder_type.load)(bundle)
        encoder.load_state_dict(own)
    except (RuntimeError, ValidationError) as error:
        why = textwrap.shorten(str(error), 300, placeholder=" ...")  # may name every weight
        raise BundleError(
            f"{folder}: made by another version of mmgenre: {why}; train again: "
            "mmgenre extract-features"
        ) from None
    return encoder.eval(), bundle


@dataclass(frozen=True)
class TaskHead:
    """The output layer that an encoder was trained under, and what its outputs mean."""

    output: nn.Linear
    target: Target
    labels: tuple[str, ...]

    def scores(self, embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
        """The encoder's own genre scores, (n, n_labels), for embeddings (n, embedding_dim)."""
        return self.target.scores(self.outputs(embeddings))

    @torch.inference_mode()
    def outputs(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the scores are made from, (n, target.dim): logits, or label factors."""
        found: Tensor = self.output(torch.from_numpy(embeddings))
        return cast(NDArray[np.float32], found.numpy())


def load_task_head(folder: Path, modality: str) -> TaskHead:
    """Reads the output layer out of an encoder's folder; raises as `load_encoder` does."""
    bundle = read_bundle(folder, KIND.format(modality))
    if bundle.config["learned"] is None:
        raise BundleError(
            f"{folder}: {bundle.config['encoder']} is not trained, and has no scores of its own; "
            "a head on its vectors has: mmgenre fuse"
        )
    weights = {n.removeprefix(OUTPUT): t for n, t in bundle.weights.items() if n.startswith(OUTPUT)}
    target_dim, width = weights["weight"].shape
    output = nn.Linear(width, target_dim)
    output.load_state_dict(weights)
    learned = bundle.config["learned"]
    return TaskHead(output.eval(), load_target(learned["target"]), tuple(learned["labels"]))
