"""Audio files to mono samples."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from pydantic import Field

from mmgenre.audio.scratch import SCRATCH
from mmgenre.config import Settings
from mmgenre.errors import InputError

SAMPLE_RATE_HZ = 22_050
MSD_SUFFIX = ".h5"  # files of the Million Song Dataset, which hold features and no audio
HOP_SAMPLES, N_BINS, FLOOR_DB = 1024, 96, -80.0  # of the constant-Q transform, for its readers
LOUDEST_PEAK = 1e6  # no sound, but a damaged file of floats
SILENCE_PEAK = 1e-4  # -80 dBFS: below it, decibels relative to the track's maximum show only noise
# An mp3 may decode a frame or two less than its header declares; one cut short lacks far more.
DECODED_SHARE = 0.98
BLOCK_SAMPLES = 1 << 21  # read at once: memory does not grow with the track

AudioFeatures = Literal["cqt", "timbre", "msd-timbre"]


class AudioInput(Settings):
    """Which part of a track is read.

    Of a track longer than `excerpt_s` the middle is read: it bounds memory, and intros and fades
    say little. One shorter than `min_s` is refused; the lowest filters of the CQT need 0.75 s.
    `features`: what becomes of the samples (`mmgenre.audio.cqt`, `mmgenre.audio.timbre`); with
    "msd-timbre" the files hold no audio but features, which are read whole. `cqt`: "exact" is
    within 1e-6 of librosa at half the speed, with all of an excerpt in memory.
    """

    features: AudioFeatures = "cqt"
    cqt: Literal["fast", "exact"] = "fast"
    excerpt_s: float = Field(300.0, gt=0)
    min_s: float = Field(1.0, ge=0.75)


@dataclass(frozen=True)
class Excerpt:
    """The part of a track that is read, open: `n_samples` a channel, as the file declares."""

    path: Path
    rate_hz: int
    n_samples: int
    min_s: float
    file: soundfile.SoundFile

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """The samples in blocks, (n, channels), full scale = 1; one alone lies in scratch memory.

        Raises:
            InputError: unreadable, truncated or too_short.
        """
        n_decoded = 0
        while n_decoded < self.n_samples:
            wanted = min(BLOCK_SAMPLES, self.n_samples - n_decoded)
            shape = wanted, self.file.channels
            whole = wanted == self.n_samples
            room = SCRATCH.array("decoded", *shape) if whole else np.empty(shape, np.float32)
            try:
                block = self.file.read(wanted, dtype="float32", always_2d=True, out=room)
            except (soundfile.LibsndfileError, RuntimeError, ValueError) as error:
                raise unreadable(self.path, error) from None
            n_decoded += len(block)
            if len(block):
                yield block
            if len(block) < wanted:
                break
        where = str(self.path)
        # First, since the middle of a long file that was cut short may hold nothing at all.
        if n_decoded < DECODED_SHARE * self.n_samples:
            raise InputError("truncated", where, f"{n_decoded:,} of {self.n_samples:,} samples")
        if n_decoded < self.min_s * self.rate_hz:
            length_s = n_decoded / self.rate_hz
            raise InputError("too_short", where, f"{length_s:.2f} s < {self.min_s} s")


@contextmanager
def open_excerpt(path: Path, config: AudioInput) -> Iterator[Excerpt]:
    """Opens a file at the part that is read.

    Raises:
        InputError: missing or unreadable.
    """
    if not path.is_file():
        raise InputError("missing", str(path), "no such file")
    if path.suffix.lower() == MSD_SUFFIX:
        raise InputError(
            "unreadable",
            str(path),
            "holds features of the Million Song Dataset and no audio; "
            "read them with --set audio.network=timbre --set audio.input.features=msd-timbre",
        )
    with path.open("rb") as probe:  # libsndfile does not tell a failing disk from a damaged file
        probe.read(1)
    try:
        file = soundfile.SoundFile(path)
    except (soundfile.LibsndfileError, RuntimeError, ValueError) as error:
        raise unreadable(path, error) from None
    with file:
        wanted = min(file.frames, round(config.excerpt_s * file.samplerate))
        try:
            if wanted < file.frames:
                file.seek((file.frames - wanted) // 2)
        except (soundfile.LibsndfileError, RuntimeError, ValueError) as error:
            raise unreadable(path, error) from None
        yield Excerpt(path, file.samplerate, wanted, config.min_s, file)


def unreadable(path: Path, error: Exception) -> InputError:
    """No decoder accepts the file."""
    return InputError(
        "unreadable",
        str(path),
        f"{error}; read are wav, flac, ogg, opus, mp3, for instance: ffmpeg -i IN OUT.flac",
    )


def check_peak(path: Path, peak: float) -> None:
    """Refuses a track by its largest sample, which is NaN or infinite if any is.

    Raises:
        InputError: not_finite or silent.
    """
    if not math.isfinite(peak):
        raise InputError("not_finite", str(path), "NaN or Inf among the samples")
    if peak > LOUDEST_PEAK:  # of which the transform would overflow
        raise InputError("not_finite", str(path), f"samples up to {peak:g} times full scale")
    if peak < SILENCE_PEAK:
        raise InputError("silent", str(path), f"peak below {SILENCE_PEAK:g} of full scale")


def load_audio(path: Path, config: AudioInput | None = None) -> NDArray[np.float32]:
    """Decodes a file into mono samples at 22 050 Hz, (n_samples,), full scale = 1.

    Raises:
        InputError: missing, unreadable, truncated, not_finite, too_short or silent.
    """
    with open_excerpt(path, config or AudioInput()) as excerpt:
        mono = np.concatenate([mixdown(block) for block in excerpt.blocks()])
    check_peak(path, float(np.abs(mono).max()))
    if excerpt.rate_hz == SAMPLE_RATE_HZ:
        return mono
    return np.asarray(soxr.resample(mono, excerpt.rate_hz, SAMPLE_RATE_HZ), dtype=np.float32)


def mixdown(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, channels) -> (n,): the mean of the channels; mono stays."""
    if samples.ndim == 1:
        return samples
    if samples.shape[1] == 1:
        return samples[:, 0]
    if samples.shape[1] == 2:
        # Twelve times as fast as mean(axis=1) over interleaved stereo.
        return (samples[:, 0] + samples[:, 1]) * np.float32(0.5)
    return np.asarray(samples.mean(axis=1), dtype=np.float32)
