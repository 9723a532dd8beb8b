"""Late fusion by one network that all modalities share (SiBraR, Ganhör et al. 2024, sec. 3).

Every input has a projection of its own and the network behind it in common, so that an item lands
in the same place whichever of its modalities is given. Training shows the network one modality of
an item at a time, drawn at random, and has two of an item pick each other among the batch.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmgenre.fusion.head import FusionHead
from mmgenre.fusion.joint import infonce_loss
from mmgenre.learning.devices import Batch
from mmgenre.learning.targets import Target

DIM = 512  # of the shared network
TEMPERATURE, WEIGHT = 0.2, 0.1  # of the contrastive loss


class SingleBranchHead(FusionHead):
    """Vectors of any subset of the inputs -> (batch, target_dim).

    An item is the mean of what the shared network makes of its inputs, each of length 1; an item
    without any is a vector of zeros, so that the bias of the last layer judges it.
    """

    def __init__(self, widths: Mapping[str, int], target_dim: int, dropout: float) -> None:
        nn.Module.__init__(self)
        self.widths = dict(widths)
        self.projections = nn.ModuleList(nn.Linear(width, DIM) for width in widths.values())
        self.shared = nn.Sequential(
            nn.LayerNorm(DIM), nn.ReLU(), nn.Dropout(dropout), nn.Linear(DIM, DIM)
        )
        self.output = nn.Linear(DIM, target_dim)

    def forward(self, batch: Batch, *, unit: bool = False) -> Tensor:
        return self._judged(self._embedded(batch, unit=unit), self._here(batch))

    def loss(self, batch: Batch, target: Target) -> Tensor:
        """Of items by one of their modalities each, while it trains; of whole items in evaluation.

        The contrastive loss is of training alone: which weights are kept is decided by genres.
        """
        embedded, here = self._embedded(batch, unit=True), self._here(batch)
        if not self.training:
            return target.loss(self._judged(embedded, here), batch["target"])
        drawn = torch.rand(here.shape, device=here.device).masked_fill(~here, -1).argmax(dim=1)
        one = functional.one_hot(drawn, here.shape[1]).bool() & here
        found = target.loss(self._judged(embedded, one), batch["target"])
        names = dict(enumerate(self.widths))
        e = {name: embedded[:, i] for i, name in names.items()}
        present = {name: here[:, i] for i, name in names.items()}
        return found + WEIGHT * infonce_loss(e, present, TEMPERATURE)

    def _here(self, batch: Batch) -> Tensor:
        return torch.stack([batch[f"present.{name}"] for name in self.widths], dim=1)

    def _embedded(self, batch: Batch, *, unit: bool) -> Tensor:
        """What the network makes of each input, (batch, inputs, DIM), of length 1."""
        found = []
        for name, projection in zip(self.widths, self.projections, strict=True):
            x = batch[f"x.{name}"]
            found.append(self.shared(projection(x if unit else functional.normalize(x, dim=1))))
        return functional.normalize(torch.stack(found, dim=1), dim=2)

    def _judged(self, embedded: Tensor, here: Tensor) -> Tensor:
        weights = here.to(embedded.dtype)[:, :, None]
        mean = (embedded * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
        result: Tensor = self.output(mean)
        return result
