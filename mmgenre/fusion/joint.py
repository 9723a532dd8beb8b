"""The joint space of all modalities, learned with a cosine margin loss (Oramas 2018, sec. 3.4)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from mmgenre.config import Settings
from mmgenre.disk.bundle import read_bundle, write_bundle
from mmgenre.disk.provenance import Provenance
from mmgenre.errors import TrainingError
from mmgenre.fusion.table import FeatureTable
from mmgenre.items.manifest import Modality
from mmgenre.learning.optimisation import TrainingConfig
from mmgenre.learning.training import Batch, FitLog, fit, seeded
from mmgenre.progress import Progress, silent

KIND = "joint space"


class JointConfig(Settings):
    """METHOD section 6: 200 dimensions, margin 0.5. `modalities` None: all that are fused."""

    modalities: tuple[Modality, ...] | None = Field(None, strict=False, min_length=2)
    dim: int = Field(200, ge=1)
    margin: float = Field(0.5, ge=-1, le=1)
    training: TrainingConfig = TrainingConfig()


class JointSpace(nn.Module):
    """One embedding e_x(x) = W2 tanh(W1 x) a modality, no biases."""

    def __init__(self, widths: Mapping[str, int], dim: int) -> None:
        super().__init__()
        self.e = nn.ModuleDict(
            {
                name: nn.Sequential(
                    nn.Linear(width, dim, bias=False), nn.Tanh(), nn.Linear(dim, dim, bias=False)
                )
                for name, width in widths.items()
            }
        )

    def forward(self, x: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """{modality: (batch, width)} -> {modality: (batch, dim)}; any of the modalities."""
        return {name: self.e[name](rows) for name, rows in x.items()}


def margin_loss(
    e: Mapping[str, Tensor], e_r: Mapping[str, Tensor], present: Mapping[str, Tensor], m: float
) -> Tensor:
    """The loss summed over the pairs of modalities, each averaged over the items that have both.

    Args:
        e: {modality: (batch, dim)} of the items.
        e_r: the same of each item's random negatives.
        present: {modality: (batch,) bool}.
        m: margin.
    """
    cos = functional.cosine_similarity
    total = torch.zeros((), device=next(iter(e.values())).device)
    for a, v in combinations(e, 2):
        both = present[a] & present[v]
        pair = (
            (1 - cos(e[a], e[v]))
            + (cos(e_r[a], e[v]) - m).clamp(min=0)
            + (cos(e[a], e_r[v]) - m).clamp(min=0)
        )
        total = total + (pair * both).sum() / both.sum().clamp(min=1)
    return total


class JointExamples:
    """Items with a random negative of each modality, drawn anew at every step."""

    def __init__(self, table: FeatureTable) -> None:
        self.table = table
        self.having = {name: np.flatnonzero(here) for name, here in table.present.items()}
        for name, rows in self.having.items():
            if len(rows) < 2:
                raise TrainingError(
                    f"the joint space needs two items with {name} in training and in validation, "
                    f"so that one can be the other's negative; got {len(rows)}"
                )

    def __len__(self) -> int:
        """The number of items."""
        return len(self.table)

    def batch(self, rows: NDArray[np.intp], rng: np.random.Generator | None) -> Batch:
        """{"x.M", "negative.M": (batch, width), "present.M": (batch,)} for every modality M."""
        rng = rng or np.random.default_rng(0)  # the same negatives at every evaluation
        result: dict[str, Tensor] = {}
        for name, having in self.having.items():
            drawn = rng.integers(len(having), size=len(rows))
            # Where an item drew itself, the next one is its negative.
            drawn = np.where(having[drawn] == rows, (drawn + 1) % len(having), drawn)
            x = self.table.x[name]
            result[f"x.{name}"] = torch.from_numpy(x[rows])
            result[f"negative.{name}"] = torch.from_numpy(x[having[drawn]])
            result[f"present.{name}"] = torch.from_numpy(self.table.present[name][rows])
        return result


def train_joint(
    train: FeatureTable,
    val: FeatureTable,
    config: JointConfig,
    *,
    seed: int,
    progress: Progress = silent,
) -> tuple[JointSpace, FitLog]:
    """Learns the joint space of all inputs of the tables.

    Items with fewer than two modalities teach nothing here and are left out.
    """
    names = tuple(train.x)

    def pairs(table: FeatureTable) -> FeatureTable:
        return table.select(np.sum([table.present[name] for name in names], axis=0) >= 2)

    def loss(module: nn.Module, batch: Batch) -> Tensor:
        e = module({name: batch[f"x.{name}"] for name in names})
        e_r = module({name: batch[f"negative.{name}"] for name in names})
        present = {name: batch[f"present.{name}"] for name in names}
        return margin_loss(e, e_r, present, config.margin)

    space = cast(JointSpace, seeded(seed, lambda: JointSpace(train.widths, config.dim)))
    examples = [JointExamples(pairs(table)) for table in (train, val)]
    log = fit(
        space,
        loss,
        examples[0],
        examples[1],
        config.training,
        seed=seed,
        task="joint space",
        progress=progress,
    )
    return space, log


@torch.inference_mode()
def project(space: JointSpace, table: FeatureTable) -> dict[str, NDArray[np.float32]]:
    """Joint vectors of the rows that are present, {modality: (n present, dim)}."""
    device = next(space.parameters()).device
    x = {
        name: torch.from_numpy(rows[table.present[name]]).to(device)
        for name, rows in table.x.items()
    }
    return {name: e.float().cpu().numpy() for name, e in space(x).items()}


def save_joint(folder: Path, space: JointSpace, log: FitLog, provenance: Provenance) -> Path:
    """Writes the folder of a joint space."""
    layers = {name: cast(nn.Sequential, e) for name, e in space.e.items()}
    firsts = {name: cast(nn.Linear, e[0]) for name, e in layers.items()}
    config = {
        "widths": {name: layer.in_features for name, layer in firsts.items()},
        "dim": next(iter(firsts.values())).out_features,
    }
    files = {"curve.json": log.curve()}
    return write_bundle(folder, KIND, config, space.state_dict(), provenance, files=files)


def load_joint(folder: Path) -> JointSpace:
    """Reads the folder of a joint space."""
    bundle = read_bundle(folder, KIND)
    space = JointSpace(bundle.config["widths"], bundle.config["dim"])
    space.load_state_dict(bundle.weights)
    return space.eval()
