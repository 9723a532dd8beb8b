"""What models of pictures read: the size of a square, and its normalisation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmgenre.errors import WeightsError
from mmgenre.frozen.models import Floats
from mmgenre.frozen.places import Place

PREPROCESSOR = "preprocessor_config.json"


def size_of(place: Place) -> int:
    """The side of the square that a model reads, in pixels."""
    config = place.config(PREPROCESSOR)
    size: Any = config.get("crop_size") if config.get("do_center_crop") else None
    size = size or config.get("size")
    if isinstance(size, Mapping):
        size = size.get("height", size.get("shortest_edge"))
    if not isinstance(size, int):
        raise WeightsError(f"{place.folder}: {PREPROCESSOR} does not say what size it reads")
    return size


def normalisation_of(place: Place) -> tuple[Floats, Floats]:
    """Mean and deviation of the channels, (3,) each, of values from 0 to 1."""
    config = place.config(PREPROCESSOR)
    try:
        mean, std = (np.array(config[key], np.float32) for key in ("image_mean", "image_std"))
        assert mean.shape == std.shape == (3,)
    except (KeyError, ValueError, AssertionError):
        raise WeightsError(f"{place.folder}: {PREPROCESSOR} has no image_mean and std") from None
    return mean, std


def as_tensor(batch: np.ndarray[Any, Any], mean: Floats, std: Floats) -> Tensor:
    """Squares (n, size, size, 3) of bytes -> (n, 3, size, size)."""
    x = (batch.astype(np.float32) / 255 - mean) / std
    return torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
