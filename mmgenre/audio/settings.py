"""Settings of a modality of audio; here, where neither torch nor a decoder is imported."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from mmgenre.audio.networks import NETWORKS, AudioNetwork
from mmgenre.frozen.settings import ReadByModel, WithModels
from mmgenre.learning.settings import EmbeddingDim, Encoders, Options, TargetName, TrainingConfig

SAMPLE_RATE_HZ = 22_050
HOP_SAMPLES, N_BINS, FLOOR_DB = 1024, 96, -80.0  # of the constant-Q transform
N_TIMBRE = 48  # numbers per track
AudioFeatures = Literal["cqt", "timbre", "msd-timbre"]


class AudioInput(ReadByModel):
    """Which part of a track is read, and what is computed from it.

    Of a longer track only the middle `excerpt_s` are read: this bounds memory, and intros and fades
    tell little about the genre. A shorter one than `min_s` is refused; the lowest filters of the
    CQT need 0.75 s. `features`: see `mmgenre.audio.cqt` and `mmgenre.audio.timbre`; "msd-timbre"
    reads files that hold features instead of audio, whole. `cqt`: "exact" is within 1e-6 of librosa
    at half the speed, with the whole excerpt in memory.
    """

    features: AudioFeatures = "cqt"
    cqt: Literal["fast", "exact"] = "fast"
    excerpt_s: float = Field(300.0, gt=0)
    min_s: float = Field(1.0, ge=0.75)


class AudioConfig(WithModels):
    """Settings of a modality of audio. `encoders`: each one is a view of the modality.

    `width_multiplier` scales the number of filters of every convolution; the paper has 1.
    `patches`: how many evenly spaced ones are averaged at prediction; the paper used 1.
    `embedding_dim` None: 2048. `dropout` None: as published (0.5 for single-label, and for HIGH
    with COSINE; else 0). `spec_augment` hides a stretch of frames and one of bins of each training
    patch. `options`: settings of encoders from outside the package, by name. The encoder "timbre"
    uses `embedding_dim` (None: its 48 numbers), `dropout` (of these) and `training` only.
    """

    encoders: Encoders = ("cnn",)
    network: AudioNetwork = "low-4x70"
    width_multiplier: float = Field(1.0, gt=0, le=1)
    patch_s: float = Field(15.0, gt=0)
    patches: int = Field(3, ge=1)
    embedding_dim: EmbeddingDim | None = None
    dropout: float | None = Field(None, ge=0, lt=1)
    spec_augment: bool = False
    options: Options = Field(default_factory=dict)
    input: AudioInput = AudioInput()
    training: TrainingConfig = TrainingConfig()

    @property
    def patch_frames(self) -> int:
        """Frames of a patch: 322 for 15 s."""
        return int(self.patch_s * SAMPLE_RATE_HZ / HOP_SAMPLES)

    @property
    def filters(self) -> tuple[int, ...]:
        """Number of filters of each convolution, at least 1."""
        published = NETWORKS[self.network].filters
        return tuple(max(1, round(self.width_multiplier * n)) for n in published)

    def dropout_for(self, target: TargetName) -> float:
        """The dropout after each pool."""
        if self.dropout is not None:
            return self.dropout
        high_cosine = self.network.startswith("high") and target == "cosine"
        return 0.5 if self.network == "single-label" or high_cosine else 0.0

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.input.features == "msd-timbre" and "timbre" not in self.encoders:
            raise ValueError(
                "input.features 'msd-timbre': is for the encoder timbre, but encoders are "
                f"{', '.join(self.encoders)}; add it there, or leave features out"
            )
        if self.encoders == ("timbre",) and self.width_multiplier != 1:
            raise ValueError(
                f"width_multiplier {self.width_multiplier:g}: timbre has no filters; give 1"
            )
        if self.encoders == ("timbre",) and self.spec_augment:
            raise ValueError("spec_augment: timbre has no patches to mask; set it to false")
        least = NETWORKS[self.network].least_frames
        if self.patch_frames < least:
            least_s = least * HOP_SAMPLES / SAMPLE_RATE_HZ
            raise ValueError(
                f"patch_s {self.patch_s:g}: {self.network} needs {least_s:.2f} s or more"
            )
        return self
