"""Covers through any of timm's networks, without its classifier.

Networks of several resolutions give, unless told otherwise, mean and deviation of the channels of
each of them: what genre shows in, colour and texture, stands in the middle of networks that learned
objects. Covers of three splits of a real set were told apart better by these than by the last
layer (docs/measured.md).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmgenre.errors import WeightsError
from mmgenre.frozen.pictures import Pictures
from mmgenre.frozen.places import PICKLES, Place, files_of
from mmgenre.frozen.pooling import pooled
from mmgenre.frozen.settings import FrozenInput
from mmgenre.learning.devices import pick_device


def load(place: Place, reads: FrozenInput) -> Pictures:
    """The model of a folder as timm's `save_for_hf` writes it.

    Raises:
        WeightsError: timm is missing, the weights do not fit, or settings it cannot follow.
    """
    try:
        import timm
    except ImportError:
        raise WeightsError(f"{reads.model}: needs timm: pip install 'mmgenre[timm]'") from None
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
    features, width = _features(network, reads)
    return Pictures(network, features, int(height), width, mean, std)


def _features(network: Any, reads: FrozenInput) -> tuple[Callable[[Tensor], Tensor], int]:
    """Squares -> vectors, and their width."""
    stages = getattr(network, "feature_info", None) or []
    is_hierarchy = len({stage["reduction"] for stage in stages}) > 1
    layer = reads.layer or ("stages" if is_hierarchy and reads.layer is None else "last")
    if layer == "last" and reads.pool is None:
        return network, int(network.num_features)
    if layer != "stages" or not is_hierarchy:
        raise WeightsError(
            f'{reads.model}: layer {layer}, pool {reads.pool}: give layer "last" without pool'
            + (', or "stages" with pool "mean" or "mean+std"' if is_hierarchy else "")
        )
    pool = reads.pool or "mean+std"
    if pool == "cls":
        raise WeightsError(f'{reads.model}: pool "cls": it has no such place; give "mean"')

    def features(squares: Tensor) -> Tensor:
        found = network.forward_intermediates(squares, intermediates_only=True)
        places = [state.flatten(2).transpose(1, 2) for state in found]
        return torch.cat([pooled([state], pool) for state in places], dim=1)

    channels = sum(int(stage["num_chs"]) for stage in stages)
    return features, channels * (2 if pool == "mean+std" else 1)


def _state(place: Place) -> dict[str, Any]:
    files = [f for f in files_of(place.folder) if f.suffix in (".safetensors", PICKLES)]
    if len(files) != 1:
        raise WeightsError(f"{place.folder}: {len(files)} files of weights, and not one")
    if files[0].suffix == PICKLES:
        found: dict[str, Any] = torch.load(files[0], map_location="cpu", weights_only=True)
        return found
    from safetensors.torch import load_file

    return load_file(files[0])
