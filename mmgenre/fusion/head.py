"""Late fusion: L2-normalised vectors, concatenated, one linear layer (Oramas 2018, sec. 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from mmgenre.config import Settings
from mmgenre.disk.bundle import read_bundle, write_bundle
from mmgenre.disk.provenance import Provenance
from mmgenre.fusion.table import FeatureTable
from mmgenre.items.labels import LabelSpace
from mmgenre.learning.dropout import Dropout
from mmgenre.learning.optimisation import TrainingConfig
from mmgenre.learning.targets import Target, TargetName, load_target
from mmgenre.learning.training import Batch, FitLog, fit, seeded
from mmgenre.progress import Progress, silent

KIND = "fusion head"


class FusionConfig(Settings):
    """How the modalities are joined.

    `dropout` None: as published (METHOD section 7). `modality_dropout`: the share of
    an item's modalities that training hides, so that the head learns to do without any of them; the
    paper has 0. `joint`: whether a head reads embeddings, joint vectors beside them, or these
    alone.
    `missing_share`: the share of the test items' modalities that evaluation hides.
    """

    head: TargetName = "logistic"
    dropout: float | None = Field(None, ge=0, lt=1)
    modality_dropout: float = Field(0.1, ge=0, lt=1)
    joint: Literal["none", "beside", "alone"] = "none"
    missing_share: float = Field(0.0, ge=0, lt=1)
    training: TrainingConfig = TrainingConfig()

    def dropout_for(self, *, exclusive: bool) -> float:
        """The dropout of the concatenated vectors."""
        if self.dropout is not None:
            return self.dropout
        if exclusive:
            return 0.5
        return 0.7 if self.head == "cosine" else 0.0


class FusionHead(nn.Module):
    """Vectors of any subset of the inputs -> (batch, target_dim).

    An absent input adds no vector; a flag says that it is absent, so that the linear layer has a
    weight for "no cover" that is unlike any cover.
    """

    def __init__(self, widths: Mapping[str, int], target_dim: int, dropout: float) -> None:
        super().__init__()
        self.widths = dict(widths)
        self.dropout = Dropout(dropout)
        self.output = nn.Linear(sum(widths.values()) + len(widths), target_dim)

    def forward(
        self, x: Mapping[str, Tensor], present: Mapping[str, Tensor], *, unit: bool = False
    ) -> Tensor:
        """x: {input: (batch, width)}; present: {input: (batch,) bool}; unit: x has length 1."""
        here = torch.stack([present[name] for name in self.widths], dim=1)  # (batch, inputs)
        *weights, of_flags = torch.split(
            self.output.weight, [*self.widths.values(), len(self.widths)], dim=1
        )
        result = functional.linear((~here).to(of_flags.dtype), of_flags, self.output.bias)
        # Input by input: a sum of products, which is the product of the concatenated vectors.
        for i, (name, weight) in enumerate(zip(self.widths, weights, strict=True)):
            vectors = x[name] if unit else functional.normalize(x[name], dim=1)
            result = result + functional.linear(self.dropout(vectors), weight) * here[:, i : i + 1]
        return result


class FusionExamples:
    """Items with their targets; training hides modalities at random."""

    def __init__(
        self, table: FeatureTable, targets: NDArray[np.float32], modality_dropout: float
    ) -> None:
        self.table, self.targets, self.modality_dropout = table, targets, modality_dropout

    def __len__(self) -> int:
        """The number of items."""
        return len(self.table)

    def batch(self, rows: NDArray[np.intp], rng: np.random.Generator | None) -> Batch:
        """{"x.I": (batch, width), "present.I": (batch,) for every input I, "target"}."""
        result = {"target": torch.from_numpy(self.targets[rows])}
        kept: dict[str, NDArray[np.bool_]] = {}
        for name, x in self.table.x.items():
            present = self.table.present[name][rows]
            if rng is not None and self.modality_dropout:
                modality = name.removeprefix("joint.")  # hidden with its joint vector, or not
                if modality not in kept:
                    kept[modality] = rng.random(len(rows)) >= self.modality_dropout
                present = present & kept[modality]
            # On all cores, unlike x[rows].
            result[f"x.{name}"] = torch.from_numpy(x).index_select(0, torch.from_numpy(rows))
            result[f"present.{name}"] = torch.from_numpy(present)
        return result


def run_head(
    module: nn.Module, batch: Batch, names: Sequence[str], *, unit: bool = False
) -> Tensor:
    """A head's output for a batch; `unit`: its vectors have length 1."""
    output = module(
        {name: batch[f"x.{name}"] for name in names},
        {name: batch[f"present.{name}"] for name in names},
        unit=unit,
    )
    return cast(Tensor, output)


def train_fusion(
    train: FeatureTable,
    val: FeatureTable,
    target: Target,
    targets: Mapping[str, NDArray[np.float32]],
    config: FusionConfig,
    *,
    exclusive: bool,
    seed: int,
    task: str = "fusion",
    progress: Progress = silent,
) -> tuple[FusionHead, FitLog]:
    """Trains a head over all inputs of the tables; `targets` has "train" and "val" rows."""
    names = tuple(train.x)

    def make() -> FusionHead:
        return FusionHead(train.widths, target.dim, config.dropout_for(exclusive=exclusive))

    def loss(module: nn.Module, batch: Batch) -> Tensor:
        return target.loss(run_head(module, batch, names, unit=True), batch["target"])

    head = cast(FusionHead, seeded(seed, make))
    log = fit(
        head,
        loss,
        # Vectors get their length of 1 here, once, and not in every step.
        FusionExamples(train.unit(), targets["train"], config.modality_dropout),
        FusionExamples(val.unit(), targets["val"], 0.0),
        config.training,
        seed=seed,
        task=task,
        progress=progress,
    )
    return head, log


@torch.inference_mode()
def predict(head: FusionHead, target: Target, table: FeatureTable) -> NDArray[np.float64]:
    """Scores of all items of a table, (n, n_labels)."""
    head.eval()
    device = next(head.parameters()).device
    examples = FusionExamples(table, np.zeros((len(table), 0), np.float32), 0.0)
    blocks = []
    for start in range(0, len(table), 1024):
        rows = np.arange(start, min(start + 1024, len(table)))
        batch = {name: tensor.to(device) for name, tensor in examples.batch(rows, None).items()}
        output = run_head(head, batch, tuple(head.widths))
        blocks.append(target.scores(output).double().cpu().numpy())
    return np.concatenate(blocks)


@dataclass(frozen=True)
class FusionModel:
    """A trained head with what its outputs mean.

    `threshold`: for overlapping genres, the score from which a genre is named (from validation).
    """

    head: FusionHead
    target: Target
    target_name: TargetName
    labels: LabelSpace
    threshold: float | None

    def save(self, folder: Path, provenance: Provenance) -> Path:
        """Writes the model's folder."""
        config = {
            "widths": self.head.widths,
            "head": self.target_name,
            "target": self.target.state(),
            "labels": list(self.labels.names),
            "exclusive": self.labels.exclusive,
            "threshold": self.threshold,
        }
        return write_bundle(folder, KIND, config, self.head.state_dict(), provenance)

    @classmethod
    def load(cls, folder: Path) -> FusionModel:
        """Reads the model's folder."""
        bundle = read_bundle(folder, KIND)
        config = bundle.config
        target = load_target(config["target"])
        head = FusionHead(config["widths"], target.dim, 0.0)
        head.load_state_dict(bundle.weights)
        labels = LabelSpace(tuple(config["labels"]), config["exclusive"])
        return cls(head.eval(), target, config["head"], labels, config["threshold"])
