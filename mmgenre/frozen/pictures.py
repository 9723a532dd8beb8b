"""Models of pictures: what they read, and how squares of bytes go through them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmgenre.errors import WeightsError
from mmgenre.frozen.models import Floats
from mmgenre.frozen.places import Place
from mmgenre.frozen.pooling import as_rows

PREPROCESSOR = "preprocessor_config.json"


@dataclass(frozen=True)
class Pictures:
    """Squares -> vectors: an `ImageModel`.

    `features`: normalised squares (n, 3, size, size) on the network's device -> (n, width), or
    (n, layers, width). `words`: texts -> (n, width), to compare with those of squares.
    """

    network: Any
    features: Callable[[Tensor], Tensor]
    size_px: int
    width: int
    mean: Floats  # (3,), of values from 0 to 1, as the deviation
    std: Floats
    words: Callable[[Sequence[str]], Floats] | None = None

    @torch.inference_mode()
    def vectors(self, batch: np.ndarray[Any, Any]) -> Floats:
        """(n, size, size, 3) bytes -> (n, width), or (n, layers, width)."""
        x = (batch.astype(np.float32) / 255 - self.mean) / self.std
        squares = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
        return as_rows(self.features(squares.to(next(self.network.parameters()).device)))


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
