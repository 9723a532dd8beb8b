"""Covers through any of timm's networks, without its classifier."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from mmgenre.errors import WeightsError
from mmgenre.frozen.pictures import Pictures
from mmgenre.frozen.places import PICKLES, Place, files_of
from mmgenre.frozen.settings import FrozenInput
from mmgenre.learning.training import pick_device


def load(place: Place, reads: FrozenInput) -> Pictures:
    """The model of a folder as timm's `save_for_hf` writes it.

    Raises:
        WeightsError: timm is missing, the weights do not fit, or settings it cannot follow.
    """
    try:
        import timm
    except ImportError:
        raise WeightsError(f"{reads.model}: needs timm: pip install 'mmgenre[timm]'") from None
    if reads.layer is not None or reads.pool is not None:
        raise WeightsError(f"{reads.model}: gives one vector a cover; leave layer and pool out")
    config = place.config()
    own = {**config.get("pretrained_cfg", {}), **config.get("model_args", {})}
    name = config["architecture"]
    if not timm.is_model(name):
        raise WeightsError(f"{place.folder}: architecture {name!r}: unknown to this timm")
    network: Any = timm.create_model(
        name, pretrained=False, num_classes=0, **config.get("model_args", {})
    )
    state = _state(place)
    classifier = own.get("classifier") or ()
    heads = tuple([classifier] if isinstance(classifier, str) else classifier)
    kept = {key: t for key, t in state.items() if not heads or not key.startswith(heads)}
    try:
        network.load_state_dict(kept)
    except RuntimeError as error:
        why = " ".join(str(error).split())
        raise WeightsError(f"{place.folder}: its weights do not fit {name}: {why:.300}") from None
    _, height, width = own.get("input_size", (3, 224, 224))
    if height != width:
        raise WeightsError(f"{place.folder}: reads {height} x {width} pixels, no square")
    network = network.eval().requires_grad_(False).to(pick_device())
    mean, std = (np.array(own[key], np.float32) for key in ("mean", "std"))
    return Pictures(network, network, int(height), int(network.num_features), mean, std)


def _state(place: Place) -> dict[str, Any]:
    files = [f for f in files_of(place.folder) if f.suffix in (".safetensors", PICKLES)]
    if len(files) != 1:
        raise WeightsError(f"{place.folder}: {len(files)} files of weights, and not one")
    if files[0].suffix == PICKLES:
        found: dict[str, Any] = torch.load(files[0], map_location="cpu", weights_only=True)
        return found
    from safetensors.torch import load_file

    return load_file(files[0])
