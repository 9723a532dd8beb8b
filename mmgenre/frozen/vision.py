"""Covers through vision transformers: DINOv2, DINOv3, ViT."""

from __future__ import annotations

from torch import Tensor

from mmgenre.frozen.models import strictly
from mmgenre.frozen.pictures import Pictures, normalisation_of, size_of
from mmgenre.frozen.places import Place
from mmgenre.frozen.pooling import layers_of, pooled
from mmgenre.frozen.settings import FrozenInput


def load(place: Place, reads: FrozenInput) -> Pictures:
    """The model of a folder; hidden states, the class token of the last unless asked otherwise."""
    from transformers import AutoModel, ViTModel

    is_vit = place.config()["model_type"] == "vit"
    heads = ("classifier", "pooler")
    network = (
        strictly(ViTModel, place, heads, add_pooling_layer=False)
        if is_vit
        else strictly(AutoModel, place, heads)
    )
    special = 1 + int(getattr(network.config, "num_register_tokens", 0) or 0)

    def features(x: Tensor) -> Tensor:
        found = network(x, output_hidden_states=True)
        states = list(found.hidden_states)
        states[-1] = found.last_hidden_state  # after the last normalisation
        return pooled(layers_of(states, reads.layer, reads.model), reads.pool or "cls", special)

    width = network.config.hidden_size * (2 if reads.pool == "mean+std" else 1)
    return Pictures(network, features, size_of(place), width, *normalisation_of(place))
