"""Encoders by their settings alone, as a run makes, trains, saves and loads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmgenre.disk.bundle import Bundle
from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import FeatureStore
from mmgenre.kinds import KINDS, kind_of
from mmgenre.learning import encoder as encoders
from mmgenre.learning.encoder import Encoder, GenreNetwork
from mmgenre.learning.kind import resolve
from mmgenre.learning.selection import Metric
from mmgenre.learning.settings import TargetName
from mmgenre.learning.targets import Target
from mmgenre.learning.training import FitLog


def make_encoder(
    config: Any, target: TargetName, store: FeatureStore, train_ids: Sequence[str]
) -> Any:
    """An untrained encoder: the first that the settings name."""
    [kind] = [kind for kind in KINDS.values() if isinstance(config, kind.settings)]
    return resolve(kind.encoder(config.encoders[0]).make)(config, target, store, train_ids)


def train_encoder(
    config: Any,
    target: Target,
    target_name: TargetName,
    store: FeatureStore,
    targets: Mapping[str, Mapping[str, NDArray[np.float32]]],
    *,
    seed: int,
    metric: Metric | None = None,
    checkpoint: Path | None = None,
) -> tuple[GenreNetwork, FitLog]:
    """Trains the first encoder that the settings name."""
    return encoders.train_encoder(
        lambda: make_encoder(config, target_name, store, tuple(targets["train"])),
        target,
        store,
        targets,
        config.training,
        seed=seed,
        metric=metric,
        checkpoint=checkpoint,
    )


def save_network(
    folder: Path,
    modality: str,
    network: GenreNetwork,
    target: Target,
    labels: Sequence[str],
    log: FitLog,
    provenance: Provenance,
) -> Path:
    """Writes an encoder's folder."""
    config = network.encoder.config
    name = config.encoders[0]
    reads = kind_of(modality).encoder(name).reads(config)
    learned = encoders.Learned(network.output, target, labels, log)
    return encoders.save_network(
        folder, modality, name, reads, network.encoder, provenance, learned
    )


def load_encoder(folder: Path, modality: str, names: Sequence[str] = ()) -> tuple[Any, Bundle]:
    """Reads an encoder's folder; `names`: what the user has named."""
    kind = kind_of(modality)
    found: tuple[Encoder, Bundle] = encoders.load_encoder(folder, modality, kind, names)
    return found
