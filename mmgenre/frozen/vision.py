"""Covers through vision transformers: DINOv2, DINOv3, ViT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mmgenre.frozen.models import Floats, strictly
from mmgenre.frozen.pictures import as_tensor, normalisation_of, size_of
from mmgenre.frozen.places import Place
from mmgenre.frozen.pooling import layers_of, pooled
from mmgenre.frozen.settings import FrozenInput, Pool


@dataclass(frozen=True)
class Vision:
    """Squares -> hidden states, the class token of the last unless asked otherwise."""

    network: Any
    size_px: int
    width: int
    mean: Floats
    std: Floats
    reads: FrozenInput
    pool: Pool

    @torch.inference_mode()
    def vectors(self, batch: np.ndarray[Any, Any]) -> Floats:
        """(n, size, size, 3) bytes -> (n, width), or (n, layers, width)."""
        x = as_tensor(batch, self.mean, self.std).to(self.network.device)
        found = self.network(x, output_hidden_states=True)
        states = list(found.hidden_states)
        states[-1] = found.last_hidden_state  # after the last normalisation
        special = 1 + int(getattr(self.network.config, "num_register_tokens", 0) or 0)
        chosen = layers_of(states, self.reads.layer, self.reads.model)
        return np.asarray(pooled(chosen, self.pool, special).float().cpu(), np.float32)


def load(place: Place, reads: FrozenInput) -> Vision:
    """The model of a folder."""
    from transformers import AutoModel, ViTModel

    is_vit = place.config()["model_type"] == "vit"
    heads = ("classifier", "pooler")
    network = (
        strictly(ViTModel, place, heads, add_pooling_layer=False)
        if is_vit
        else strictly(AutoModel, place, heads)
    )
    width = network.config.hidden_size * (2 if reads.pool == "mean+std" else 1)
    mean, std = normalisation_of(place)
    return Vision(network, size_of(place), width, mean, std, reads, reads.pool or "cls")
