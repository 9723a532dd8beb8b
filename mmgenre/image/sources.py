"""What networks on covers read of an input store; without torch, random views apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mmgenre.disk.store import FeatureStore
from mmgenre.image.crops import middle_crops
from mmgenre.image.settings import ImageConfig

if TYPE_CHECKING:
    from torch import Tensor


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
        if rng is None:
            return middle_crops(self._squares(ids), self.config.crop_px)[:, None]
        import torch

        views = self.seen(*(torch.from_numpy(own) for own in self.drawn(ids, rng)))
        return views.numpy()[:, None]

    def drawn(
        self, ids: Sequence[str], rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Whole squares, (n, stored, stored, 3), and which view of each is random, (n, ...)."""
        from mmgenre.image.augmentation import draw_views

        images = self._squares(ids)
        return images, draw_views(len(images), images.shape[1], self.config, rng)

    def seen(self, images: Tensor, drawn: Tensor) -> Tensor:
        """The views of `drawn`, (n, crop_px, crop_px, 3), computed where the squares are."""
        from mmgenre.image.augmentation import views_of

        return views_of(images, drawn, self.config)

    def _squares(self, ids: Sequence[str]) -> NDArray[np.uint8]:
        # One read per row: one call for scattered rows of this size is 100 times slower in HDF5.
        return np.stack([self.store.read(i) for i in ids])  # (n, stored, stored, 3)
