"""Covers through CLIP and SigLIP: what their picture half gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mmgenre.errors import WeightsError
from mmgenre.frozen.models import Floats, strictly
from mmgenre.frozen.pictures import as_tensor, normalisation_of, size_of
from mmgenre.frozen.places import Place
from mmgenre.frozen.settings import FrozenInput


@dataclass(frozen=True)
class Clip:
    """Squares -> vectors of length 1."""

    network: Any
    size_px: int
    width: int
    mean: Floats
    std: Floats

    @torch.inference_mode()
    def vectors(self, batch: np.ndarray[Any, Any]) -> Floats:
        """(n, size, size, 3) bytes -> (n, width)."""
        x = as_tensor(batch, self.mean, self.std).to(self.network.device)
        found = self.network.get_image_features(pixel_values=x)
        rows = getattr(found, "pooler_output", found)  # a tensor before transformers 5
        return np.asarray(torch.nn.functional.normalize(rows.float(), dim=-1).cpu(), np.float32)


def load(place: Place, reads: FrozenInput) -> Clip:
    """The model of a folder.

    Raises:
        WeightsError: settings that it cannot follow.
    """
    from transformers import AutoModel

    if reads.layer is not None or reads.pool is not None:
        raise WeightsError(f"{reads.model}: gives one vector a cover; leave layer and pool out")
    network = strictly(AutoModel, place)
    config = network.config
    width = getattr(config, "projection_dim", None) or config.vision_config.hidden_size
    mean, std = normalisation_of(place)
    return Clip(network, size_of(place), int(width), mean, std)
