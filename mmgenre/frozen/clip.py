"""Covers and words through CLIP and SigLIP."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmgenre.errors import WeightsError
from mmgenre.frozen.models import Floats, strictly
from mmgenre.frozen.pictures import Pictures, normalisation_of, size_of
from mmgenre.frozen.places import Place
from mmgenre.frozen.pooling import as_rows, projected
from mmgenre.frozen.settings import FrozenInput


def load(place: Place, reads: FrozenInput) -> Pictures:
    """The model of a folder: its projections, of length 1.

    Raises:
        WeightsError: settings that it cannot follow.
    """
    from transformers import AutoModel

    if reads.layer not in (None, "last") or reads.pool is not None:
        raise WeightsError(f"{reads.model}: gives one vector a cover; leave layer and pool out")
    network = strictly(AutoModel, place)
    config = network.config
    width = getattr(config, "projection_dim", None) or config.vision_config.hidden_size
    # SigLIP has learned from texts that are filled up to one length, CLIP masks what is missing.
    filled = config.model_type != "clip"

    def features(x: Tensor) -> Tensor:
        return projected(network.get_image_features(pixel_values=x))

    @torch.inference_mode()
    def words(texts: Sequence[str]) -> Floats:
        from transformers import AutoTokenizer

        read = AutoTokenizer.from_pretrained(place.folder, local_files_only=True)
        found = read(
            list(texts),
            padding="max_length" if filled else True,
            max_length=config.text_config.max_position_embeddings,
            truncation=True,
            return_tensors="pt",
        )
        known = {k: v for k, v in found.items() if k in ("input_ids", "attention_mask")}
        if filled:
            known.pop("attention_mask", None)
        on_device = {key: value.to(network.device) for key, value in known.items()}
        return as_rows(projected(network.get_text_features(**on_device)))

    found = normalisation_of(place)
    return Pictures(network, features, size_of(place), int(width), *found, words=words)
