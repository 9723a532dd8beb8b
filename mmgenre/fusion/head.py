"""Late fusion: L2-normalised vectors, concatenated, one linear layer (Oramas 2018, sec. 4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from mmgenre.disk.bundle import read_bundle, write_bundle
from mmgenre.disk.provenance import Provenance
from mmgenre.errors import BundleError
from mmgenre.fusion.settings import HEADS, FusionConfig
from mmgenre.fusion.stored import slices
from mmgenre.fusion.table import FeatureTable
from mmgenre.items.labels import LabelSpace
from mmgenre.items.modalities import JOINT
from mmgenre.learning.devices import Batch, to_device
from mmgenre.learning.kind import resolve
from mmgenre.learning.settings import TargetName
from mmgenre.learning.targets import Target, load_target
from mmgenre.learning.training import FitLog, fit, seeded
from mmgenre.progress import Progress, silent

KIND = "fusion head"


class FusionHead(nn.Module):
    """Vectors of any subset of the inputs -> (batch, target_dim).

    An absent input adds no vector; a flag says that it is absent, so that the linear layer has a
    weight for "no cover" that is unlike any cover.
    """

    def __init__(self, widths: Mapping[str, int], target_dim: int, dropout: float) -> None:
        super().__init__()
        self.widths = dict(widths)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(sum(widths.values()) + len(widths), target_dim)

    def forward(self, batch: Batch, *, unit: bool = False) -> Tensor:
        """For a batch of `FusionExamples`; `unit`: its vectors have length 1."""
        here = torch.stack([batch[f"present.{i}"] for i in self.widths], dim=1)  # (batch, inputs)
        *weights, of_flags = torch.split(
            self.output.weight, [*self.widths.values(), len(self.widths)], dim=1
        )
        result = functional.linear((~here).to(of_flags.dtype), of_flags, self.output.bias)
        # Input by input: a sum of products, which is the product of the concatenated vectors.
        for i, (name, weight) in enumerate(zip(self.widths, weights, strict=True)):
            x = batch[f"x.{name}"]
            vectors = x if unit else functional.normalize(x, dim=1)
            result = result + functional.linear(self.dropout(vectors), weight) * here[:, i : i + 1]
        return result

    def loss(self, batch: Batch, target: Target) -> Tensor:
        """Of a batch whose vectors have length 1."""
        return target.loss(self(batch, unit=True), batch["target"])


# Values of a target, (n, target_dim), or what gives those of some rows where all would be too many.
Goals = NDArray[np.float32] | Callable[[NDArray[np.intp]], NDArray[np.float32]]


class FusionExamples:
    """Items with their targets; training hides modalities at random."""

    def __init__(self, table: FeatureTable, targets: Goals, modality_dropout: float) -> None:
        self.table, self.targets, self.modality_dropout = table, targets, modality_dropout

    def __len__(self) -> int:
        return len(self.table)

    def batch(self, rows: NDArray[np.intp], rng: np.random.Generator | None) -> Batch:
        """{"x.I": (batch, width), "present.I": (batch,) bool for every input I, "target"}."""
        goals = self.targets(rows) if callable(self.targets) else self.targets[rows]
        result = {"target": torch.from_numpy(goals)}
        kept: dict[str, NDArray[np.bool_]] = {}
        for name in self.table.x:
            present = self.table.present[name][rows]
            if rng is not None and self.modality_dropout:
                modality = name.removeprefix(JOINT)  # hidden with its joint vector, or not
                if modality not in kept:
                    kept[modality] = rng.random(len(rows)) >= self.modality_dropout
                present = present & kept[modality]
            if self.table.is_stored:
                result[f"x.{name}"] = torch.from_numpy(self.table.take(name, rows))
            else:  # on all cores, unlike x[rows]
                x = torch.from_numpy(self.table.x[name])
                result[f"x.{name}"] = x.index_select(0, torch.from_numpy(rows))
            result[f"present.{name}"] = torch.from_numpy(present)
        return result


def train_fusion(
    train: FeatureTable,
    val: FeatureTable,
    target: Target,
    targets: Mapping[str, Goals],
    config: FusionConfig,
    *,
    exclusive: bool,
    seed: int,
    task: str = "fusion",
    progress: Progress = silent,
) -> tuple[FusionHead, FitLog]:
    """Trains a head over all inputs of the tables; `targets` has "train" and "val" rows.

    Where the vectors stay in their stores, each pass takes them in an order that is shuffled in
    windows (`fusion.stored.windowed_order`), else in one of all rows.
    """
    dropout = config.dropout_for(exclusive=exclusive)
    make = resolve(HEADS[config.network])
    head = cast(FusionHead, seeded(seed, lambda: make(train.widths, target.dim, dropout)))
    # Vectors get their length of 1 here, once, and not in every step.
    learned = FusionExamples(train.unit(), targets["train"], config.modality_dropout)
    checked = FusionExamples(val.unit(), targets["val"], 0.0)
    log = fit(
        _WithLoss(head, target),
        lambda module, batch: module(batch),  # several processes share what goes through `forward`
        learned,
        checked,
        config.training,
        seed=seed,
        order=learned.table.order,
        task=task,
        progress=progress,
    )
    return head, log


class _WithLoss(nn.Module):
    """A batch -> the loss of a head."""

    def __init__(self, head: FusionHead, target: Target) -> None:
        super().__init__()
        self.head, self.target = head, target

    def forward(self, batch: Batch) -> Tensor:
        return self.head.loss(batch, self.target)


def predict(head: FusionHead, target: Target, table: FeatureTable) -> NDArray[np.float64]:
    """Scores of all items of a table, (n, n_labels)."""
    return np.concatenate(list(predicted(head, target, table)))


def predicted(
    head: FusionHead, target: Target, table: FeatureTable
) -> Iterator[NDArray[np.float64]]:
    """Scores of a table's items in order, by blocks of at most 1024."""
    head.eval()
    for part in table.blocks():
        examples = FusionExamples(part, np.zeros((len(part), 0), np.float32), 0.0)
        for own in slices(len(part), 1024):
            rows = np.arange(own.start, own.stop)
            with torch.inference_mode():
                output = head(to_device(examples.batch(rows, None), head))
                scores = target.scores(output.cpu().numpy())
            yield scores


@dataclass(frozen=True)
class FusionModel:
    """A trained head with what its outputs mean."""

    head: FusionHead
    target: Target
    target_name: TargetName
    labels: LabelSpace
    threshold: float | None  # overlapping genres: the score (of validation) that names a genre

    @property
    def widths(self) -> dict[str, int]:
        """Input -> the width of its vectors."""
        return self.head.widths

    @property
    def n_parameters(self) -> int:
        """How many weights were trained."""
        return sum(p.numel() for p in self.head.parameters())

    def scores(self, table: FeatureTable) -> NDArray[np.float64]:
        """Genre scores of all items of a table, (n, n_labels)."""
        return predict(self.head, self.target, table)

    def save(
        self, folder: Path, provenance: Provenance, frozen: Mapping[str, Any] | None = None
    ) -> Path:
        """Writes its folder; `frozen`: the models of others that it needs, and their licence."""
        config = {
            **({"frozen": dict(frozen)} if frozen else {}),
            "widths": self.head.widths,
            "head": self.target_name,
            "network": f"{type(self.head).__module__}:{type(self.head).__name__}",
            "target": self.target.state(),
            "labels": list(self.labels.names),
            "exclusive": self.labels.exclusive,
            "threshold": self.threshold,
        }
        return write_bundle(folder, KIND, config, self.head.state_dict(), provenance)

    @classmethod
    def load(cls, folder: Path) -> FusionModel:
        bundle = read_bundle(folder, KIND)
        config = bundle.config
        target = load_target(config["target"])
        network = str(config.get("network"))
        if network not in HEADS.values():  # no other class is imported
            raise BundleError(
                f"{folder}: its network {network} is not known here: made by another "
                "version of mmgenre; train it again: mmgenre fuse"
            )
        head: FusionHead = resolve(network)(config["widths"], target.dim, 0.0)
        head.load_state_dict(bundle.weights)
        labels = LabelSpace(tuple(config["labels"]), config["exclusive"])
        return cls(head.eval(), target, config["head"], labels, config["threshold"])
