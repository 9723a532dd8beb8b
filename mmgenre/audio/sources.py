"""What audio encoders read of an input store; without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmgenre.audio.settings import FLOOR_DB, HOP_SAMPLES, SAMPLE_RATE_HZ, AudioConfig
from mmgenre.disk.store import FeatureStore
from mmgenre.learning.rows import Note

SECONDS_PER_FRAME = HOP_SAMPLES / SAMPLE_RATE_HZ


def patches_of(config: AudioConfig, store: FeatureStore) -> AudioSource:
    """The patches that the settings of a convolutional encoder name."""
    return AudioSource(store, config.patch_frames, config.patches)


def timbre_of(config: AudioConfig, store: FeatureStore) -> TimbreSource:
    """The timbre of tracks, whatever the settings."""
    del config
    return TimbreSource(store)


@dataclass(frozen=True)
class AudioSource:
    """Patches of `frames` frames: a random one for training, evenly spaced ones otherwise."""

    store: FeatureStore
    frames: int
    patches: int

    def views(self, ids: Sequence[str], rng: np.random.Generator | None) -> NDArray[np.float16]:
        """Patches of tracks, (n, 1 or patches, frames, 96)."""
        starts: list[int] = []
        for length in self.store.lengths(ids):
            last = max(length - self.frames, 0)
            if rng is not None:
                starts.append(int(rng.integers(last + 1)))
            elif self.patches == 1:
                starts.append(last // 2)
            else:
                starts += [round(s) for s in np.linspace(0, last, self.patches)]
        k = 1 if rng is not None else self.patches
        repeated = [row_id for row_id in ids for _ in range(k)]
        # A track shorter than a patch is padded with silence.
        patches = self.store.windows(repeated, starts, self.frames, fill=FLOOR_DB)
        return patches.reshape(len(ids), k, *patches.shape[1:]).astype(np.float16, copy=False)

    def notes(self, ids: Sequence[str]) -> list[Note | None]:
        """Of tracks that are shorter than a patch, how many seconds there are."""
        patch_s = self.frames * SECONDS_PER_FRAME
        return [
            Note(f"{n * SECONDS_PER_FRAME:.0f} s, of {patch_s:.0f} s that are heard at once")
            if n < self.frames
            else None
            for n in self.store.lengths(ids)
        ]


@dataclass(frozen=True)
class TimbreSource:
    """Timbres; all views of a track are the same."""

    store: FeatureStore

    def views(self, ids: Sequence[str], rng: np.random.Generator | None) -> NDArray[np.float32]:
        """Timbres of tracks, (n, 1, 48)."""
        del rng
        return np.asarray(self.store.take(ids)[:, None])
