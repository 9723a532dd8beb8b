"""The encoder of statistics of tracks: a kernel machine without training."""

from __future__ import annotations

from mmgenre.audio.settings import AudioConfig
from mmgenre.audio.statistics import WIDTHS, described
from mmgenre.disk.bundle import Bundle
from mmgenre.disk.store import FeatureStore
from mmgenre.learning.descriptors import DescriptorSource
from mmgenre.learning.kernel import KernelEncoder
from mmgenre.learning.settings import TargetName, width_of


class StatisticsEncoder(KernelEncoder):
    """Statistics of tracks -> random Fourier features."""

    def source(self, store: FeatureStore) -> DescriptorSource:
        return DescriptorSource(store, described)


def _empty(config: AudioConfig) -> StatisticsEncoder:
    state = {"config": config.model_dump(mode="json")}
    return StatisticsEncoder(WIDTHS, width_of(config.embedding_dim), state)


def make_statistics(
    config: AudioConfig, target: TargetName, store: FeatureStore, train_ids: list[str]
) -> StatisticsEncoder:
    """An encoder standardised by the training tracks."""
    del target
    encoder = _empty(config)
    return encoder.fit(encoder.source(store).sample(train_ids))


def load_statistics(bundle: Bundle) -> StatisticsEncoder:
    """The encoder that a folder describes, without its weights."""
    return _empty(AudioConfig.model_validate(bundle.config["config"]))
