"""Audio files to mono samples."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from pydantic import Field

from mmgenre.config import Settings
from mmgenre.errors import InputError

SAMPLE_RATE_HZ = 22_050
MSD_SUFFIX = ".h5"  # files of the Million Song Dataset, which hold features and no audio
SILENCE_PEAK = 1e-4  # -80 dBFS: below it, decibels relative to the track's maximum show only noise
# An mp3 may decode a frame or two less than its header declares; one cut short lacks far more.
DECODED_SHARE = 0.98

AudioFeatures = Literal["cqt", "timbre", "msd-timbre"]


class AudioInput(Settings):
    """Which part of a track is read.

    Of a track longer than `excerpt_s` the middle is read: it bounds memory, and intros and fades
    say little. One shorter than `min_s` is refused; the lowest filters of the CQT need 0.75 s.
    `features`: what becomes of the samples (`mmgenre.inputs.cqt`, `mmgenre.inputs.timbre`); with
    "msd-timbre" the files hold no audio but features, which are read whole.
    """

    features: AudioFeatures = "cqt"
    excerpt_s: float = Field(300.0, gt=0)
    min_s: float = Field(1.0, ge=0.75)


def load_audio(path: Path, config: AudioInput | None = None) -> NDArray[np.float32]:
    """Decodes a file into mono samples at 22 050 Hz, (n_samples,), full scale = 1.

    Raises:
        InputError: missing, unreadable, truncated, not_finite, too_short or silent.
    """
    config = config or AudioInput()
    if not path.is_file():
        raise InputError("missing", str(path), "no such file")
    if path.suffix.lower() == MSD_SUFFIX:
        raise InputError(
            "unreadable",
            str(path),
            "holds features of the Million Song Dataset and no audio; "
            "read them with --set audio.network=timbre --set audio.input.features=msd-timbre",
        )
    try:
        with soundfile.SoundFile(path) as file:
            rate_hz, declared = file.samplerate, file.frames
            wanted = min(declared, round(config.excerpt_s * rate_hz))
            start = (declared - wanted) // 2
            if start:
                file.seek(start)
            samples = file.read(wanted, dtype="float32", always_2d=True)  # (n, channels)
    except (soundfile.LibsndfileError, RuntimeError, ValueError) as error:
        raise InputError(
            "unreadable",
            str(path),
            f"{error}; read are wav, flac, ogg, opus, mp3, for instance: ffmpeg -i IN OUT.flac",
        ) from None
    where = str(path)
    # First, since the middle of a long file that was cut short may hold nothing at all.
    if len(samples) < DECODED_SHARE * wanted:
        raise InputError("truncated", where, f"{len(samples):,} of {wanted:,} samples decoded")
    if len(samples) < config.min_s * rate_hz:
        raise InputError("too_short", where, f"{len(samples) / rate_hz:.2f} s < {config.min_s} s")
    if not np.isfinite(samples).all():
        raise InputError("not_finite", where, "NaN or Inf among the samples")
    mono = mixdown(samples)
    if float(np.abs(mono).max()) < SILENCE_PEAK:
        raise InputError("silent", where, f"peak below {SILENCE_PEAK:g} of full scale")
    if rate_hz == SAMPLE_RATE_HZ:
        return mono
    return np.asarray(soxr.resample(mono, rate_hz, SAMPLE_RATE_HZ), dtype=np.float32)


def mixdown(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, channels) -> (n,): the mean of the channels."""
    if samples.shape[1] == 1:
        return samples[:, 0]
    if samples.shape[1] == 2:
        # Twelve times as fast as mean(axis=1) over interleaved stereo.
        return (samples[:, 0] + samples[:, 1]) * np.float32(0.5)
    return np.asarray(samples.mean(axis=1), dtype=np.float32)
