"""What networks on covers read of an input store; without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmgenre.disk.store import FeatureStore
from mmgenre.image.crops import middle_crops
from mmgenre.image.settings import ImageConfig


def crops_of(config: ImageConfig, store: FeatureStore) -> ImageSource:
    """The crops that the settings of a network name."""
    return ImageSource(store, config)


@dataclass(frozen=True)
class ImageSource:
    """Square crops of covers."""

    store: FeatureStore
    config: ImageConfig

    def views(self, ids: Sequence[str], rng: np.random.Generator | None) -> NDArray[np.uint8]:
        """Crops, (n, 1, crop_px, crop_px, 3)."""
        # One read per row: one call for scattered rows of this size is 100 times slower in HDF5.
        images = np.stack([self.store.read(i) for i in ids])  # (n, stored, stored, 3)
        if rng is None:
            return middle_crops(images, self.config.crop_px)[:, None]
        from mmgenre.image.augmentation import random_crops  # imports torch

        return random_crops(images, self.config, rng)[:, None]
