"""The encoder of descriptors of covers: a kernel machine without training."""

from __future__ import annotations

from collections.abc import Sequence

from mmgenre.disk.bundle import Bundle
from mmgenre.disk.store import FeatureStore
from mmgenre.image.descriptors import WIDTHS, described
from mmgenre.image.settings import ImageConfig
from mmgenre.learning.descriptors import DescriptorSource
from mmgenre.learning.kernel import KernelEncoder
from mmgenre.learning.settings import width_of


class CoverDescriptors(KernelEncoder):
    """Descriptors of covers -> random Fourier features, (batch, embedding_dim)."""

    def source(self, store: FeatureStore) -> DescriptorSource:
        return DescriptorSource(store, described)


def make_descriptors(
    config: ImageConfig, target: str, store: FeatureStore, train_ids: Sequence[str]
) -> CoverDescriptors:
    """An encoder standardised by the training covers."""
    del target
    encoder = _empty(config)
    return encoder.fit(encoder.source(store).sample(train_ids))


def load_descriptors(bundle: Bundle) -> CoverDescriptors:
    """The encoder that a folder describes, without its weights."""
    return _empty(ImageConfig.model_validate(bundle.config["config"]))


def _empty(config: ImageConfig) -> CoverDescriptors:
    state = {"config": config.model_dump(mode="json")}
    return CoverDescriptors(WIDTHS, width_of(config.embedding_dim), state)
