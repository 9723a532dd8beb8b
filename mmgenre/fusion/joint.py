"""The joint space of all modalities (Oramas 2018, sec. 3.4): one learned embedding of each."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from mmgenre.disk.bundle import read_bundle, write_bundle
from mmgenre.disk.provenance import Provenance
from mmgenre.errors import TrainingError
from mmgenre.fusion.settings import JointConfig
from mmgenre.fusion.table import FeatureTable
from mmgenre.learning.devices import Batch, to_device
from mmgenre.learning.training import FitLog, fit, seeded
from mmgenre.progress import Progress, silent

KIND = "joint space"


class JointSpace(nn.Module):
    """One embedding e_x(x) = W2 tanh(W1 x) a modality, no biases."""

    def __init__(self, widths: Mapping[str, int], dim: int) -> None:
        super().__init__()
        self.widths, self.dim = dict(widths), dim
        self.e = nn.ModuleDict()
        for name, width in widths.items():
            w1, w2 = nn.Linear(width, dim, bias=False), nn.Linear(dim, dim, bias=False)
            self.e[_key(name)] = nn.Sequential(w1, nn.Tanh(), w2)

    def forward(self, x: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """{modality: (batch, width)} -> {modality: (batch, dim)}; any of the modalities."""
        return {name: self.e[_key(name)](rows) for name, rows in x.items()}


def _key(name: str) -> str:
    """`audio.statistics` -> `audio/statistics`: no name of a torch module has a dot."""
    return name.replace(".", "/")


def margin_loss(
    e: Mapping[str, Tensor], e_r: Mapping[str, Tensor], present: Mapping[str, Tensor], m: float
) -> Tensor:
    """The loss summed over the pairs of modalities, each averaged over the items that have both.

    `e`: {modality: (batch, dim)} of the items, `e_r` of their random negatives; `present`:
    {modality: (batch,) bool}; `m`: margin.
    """
    cos = functional.cosine_similarity
    total = torch.zeros((), device=next(iter(e.values())).device)
    for a, v in combinations(e, 2):
        both = present[a] & present[v]
        pair = 1 - cos(e[a], e[v])
        pair = pair + (cos(e_r[a], e[v]) - m).clamp(min=0)
        pair = pair + (cos(e[a], e_r[v]) - m).clamp(min=0)
        total = total + (pair * both).sum() / both.sum().clamp(min=1)
    return total


def infonce_loss(
    e: Mapping[str, Tensor], present: Mapping[str, Tensor], temperature: float
) -> Tensor:
    """Symmetric InfoNCE summed over the pairs of modalities, over the items that have both.

    For a pair, s_ij = cos(a_i, v_j) / temperature; the mean of -log softmax_j(s)_ii, each item's
    own match against those of the batch, and of the same the other way. `e` and `present` as for
    `margin_loss`.
    """
    total = torch.zeros((), device=next(iter(e.values())).device)
    for a, v in combinations(e, 2):
        both = present[a] & present[v]
        if both.any():
            unit_a, unit_v = (functional.normalize(e[name][both], dim=1) for name in (a, v))
            s = unit_a @ unit_v.T / temperature
            own = torch.arange(len(s), device=s.device)
            total = (
                total + (functional.cross_entropy(s, own) + functional.cross_entropy(s.T, own)) / 2
            )
    return total


class JointExamples:
    """Items with a random negative of each modality, drawn anew at every step."""

    def __init__(self, table: FeatureTable, *, negatives: bool = True) -> None:
        """`negatives`: whether they are drawn; a loss by the others of a batch needs none."""
        self.table, self.negatives = table, negatives
        self.having = {name: np.flatnonzero(here) for name, here in table.present.items()}
        for name, rows in self.having.items():
            if len(rows) < 2:
                raise TrainingError(
                    f"the joint space needs two items with {name} in training and in validation, "
                    f"so that one can be the other's negative; got {len(rows)}"
                )

    def __len__(self) -> int:
        return len(self.table)

    def batch(self, rows: NDArray[np.intp], rng: np.random.Generator | None) -> Batch:
        """{"x.M", "negative.M": (batch, width), "present.M": (batch,)} for every modality M."""
        rng = rng or np.random.default_rng(0)  # the same negatives at every evaluation
        result: dict[str, Tensor] = {}
        for name, having in self.having.items():
            result[f"x.{name}"] = torch.from_numpy(self.table.take(name, rows))
            result[f"present.{name}"] = torch.from_numpy(self.table.present[name][rows])
            if self.negatives:
                drawn = rng.integers(len(having), size=len(rows))
                # Where an item drew itself, the next one is its negative.
                drawn = np.where(having[drawn] == rows, (drawn + 1) % len(having), drawn)
                negative = self.table.take(name, having[drawn])
                result[f"negative.{name}"] = torch.from_numpy(negative)
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

    Items with fewer than two modalities teach nothing here and are left out. Rows are drawn as by
    `train_fusion`; negatives are any items, wherever their vectors lie.
    """

    def pairs(table: FeatureTable) -> JointExamples:
        several = np.sum(list(table.present.values()), axis=0) >= 2
        return JointExamples(table.select(several), negatives=config.loss == "margin")

    def loss(module: nn.Module, batch: Batch) -> Tensor:
        x, negative, present = (
            {name: batch[key] for name in train.x if (key := f"{part}.{name}") in batch}
            for part in ("x", "negative", "present")
        )
        if config.dropout and module.training:
            x, negative = (
                {name: functional.dropout(rows, config.dropout) for name, rows in of.items()}
                for of in (x, negative)
            )
        if config.loss == "infonce":
            return infonce_loss(module(x), present, config.temperature)
        return margin_loss(module(x), module(negative), present, config.margin)

    space = cast(JointSpace, seeded(seed, lambda: JointSpace(train.widths, config.dim)))
    of_train, of_val = pairs(train), pairs(val)
    log = fit(
        space, loss, of_train, of_val, config.training, seed=seed, order=of_train.table.order,
        task=KIND, progress=progress,
    )  # fmt: skip
    return space, log


@torch.inference_mode()
def project(space: JointSpace, table: FeatureTable) -> dict[str, NDArray[np.float32]]:
    """Joint vectors of the rows that are present, {modality: (n present, dim)}."""
    x = {name: torch.from_numpy(rows[table.present[name]]) for name, rows in table.x.items()}
    return {name: e.float().cpu().numpy() for name, e in space(to_device(x, space)).items()}


def save_joint(folder: Path, space: JointSpace, log: FitLog, provenance: Provenance) -> Path:
    """Writes the folder of a joint space."""
    config, files = {"widths": space.widths, "dim": space.dim}, {"curve.json": log.curve()}
    return write_bundle(folder, KIND, config, space.state_dict(), provenance, files=files)


def load_joint(folder: Path) -> JointSpace:
    """Reads the folder of a joint space."""
    bundle = read_bundle(folder, KIND)
    space = JointSpace(bundle.config["widths"], bundle.config["dim"])
    space.load_state_dict(bundle.weights)
    return space.eval()
