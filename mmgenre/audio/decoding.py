"""Audio files to mono samples."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from mmgenre.audio.settings import SAMPLE_RATE_HZ, AudioInput
from mmgenre.errors import InputError

Floats = NDArray[np.float32]

MAX_PEAK = 1e6  # of full scale; more is a damaged file of floats
MIN_PEAK = 1e-4  # -80 dBFS; below, decibels relative to the track's maximum show only noise
# An mp3 may have a frame or two fewer than its header declares; a truncated one lacks far more.
MIN_DECODED_SHARE = 0.98
SAMPLES_AT_ONCE = 1 << 21  # memory does not grow with the track
DECODER_ERRORS = (soundfile.LibsndfileError, RuntimeError, ValueError)

_SCRATCH = threading.local()


def scratch(name: str, *shape: int) -> Floats:
    """An array with arbitrary contents, valid until the thread's next call with that name.

    Its memory is reused: the first write to new memory is as slow as the work on it.
    """
    arrays, size = vars(_SCRATCH), math.prod(shape)
    if name not in arrays or arrays[name].size < size:
        arrays[name] = np.empty(size, np.float32)
    return arrays[name][:size].reshape(shape)  # type: ignore[no-any-return]


def open_excerpt(path: Path, config: AudioInput) -> tuple[int, Iterator[Floats]]:
    """The sampling rate in Hz, and the excerpt in blocks, (n, channels), full scale = 1.

    A single block reuses memory. InputError: missing or unreadable; as blocks are read, also
    truncated or too_short.
    """
    if not path.is_file():
        raise InputError("missing", str(path), "no such file")
    if path.suffix.lower() == ".h5":
        what = "holds features of the Million Song Dataset and no audio; read them with"
        how = "--set 'audio.encoders=[\"timbre\"]' --set audio.input.features=msd-timbre"
        raise InputError("unreadable", str(path), f"{what} {how}")
    with path.open("rb") as probe:  # a failing disk: libsndfile reports it as a damaged file
        probe.read(1)
    try:
        file = soundfile.SoundFile(path)
        n_samples = min(file.frames, round(config.excerpt_s * file.samplerate))
        if n_samples < file.frames:
            file.seek((file.frames - n_samples) // 2)
    except DECODER_ERRORS as error:
        raise _unreadable(path, error) from None
    return file.samplerate, _blocks(path, file, n_samples, config.min_s)


def _blocks(
    path: Path, file: soundfile.SoundFile, n_samples: int, min_s: float
) -> Iterator[Floats]:
    n_decoded = 0
    with file:
        while n_decoded < n_samples:
            n = min(SAMPLES_AT_ONCE, n_samples - n_decoded)
            shape = n, file.channels
            out = scratch("decoded", *shape) if n == n_samples else np.empty(shape, np.float32)
            try:
                block = file.read(n, dtype="float32", always_2d=True, out=out)
            except DECODER_ERRORS as error:
                raise _unreadable(path, error) from None
            n_decoded += len(block)
            if len(block):
                yield block
            if len(block) < n:
                break
    # Checked first: the middle of a long truncated file may hold nothing at all.
    if n_decoded < MIN_DECODED_SHARE * n_samples:
        raise InputError("truncated", str(path), f"{n_decoded:,} of {n_samples:,} samples")
    if n_decoded < min_s * file.samplerate:
        raise InputError("too_short", str(path), f"{n_decoded / file.samplerate:.2f} s < {min_s} s")


def _unreadable(path: Path, error: Exception) -> InputError:
    how = "supported: wav, flac, ogg, opus, mp3; convert, for instance: ffmpeg -i IN OUT.flac"
    return InputError("unreadable", str(path), f"{error}; {how}")


def check_peak(path: Path, peak: float) -> None:
    """InputError (not_finite, silent) by a track's largest sample; NaN or Inf if any sample is."""
    if not math.isfinite(peak):
        raise InputError("not_finite", str(path), "NaN or Inf among the samples")
    if peak > MAX_PEAK:  # the transform would overflow
        raise InputError("not_finite", str(path), f"samples up to {peak:g} times full scale")
    if peak < MIN_PEAK:
        raise InputError("silent", str(path), f"peak below {MIN_PEAK:g} of full scale")


def load_audio(path: Path, config: AudioInput | None = None) -> Floats:
    """Decodes a file into mono samples at 22 050 Hz, (n_samples,), full scale = 1.

    InputError: missing, unreadable, truncated, not_finite, too_short or silent.
    """
    rate_hz, blocks = open_excerpt(path, config or AudioInput())
    mono = np.concatenate([mixdown(block) for block in blocks])
    check_peak(path, float(np.abs(mono).max()))
    if rate_hz == SAMPLE_RATE_HZ:
        return mono
    return np.asarray(soxr.resample(mono, rate_hz, SAMPLE_RATE_HZ), dtype=np.float32)


def mixdown(samples: Floats) -> Floats:
    """(n, channels) or (n,) -> (n,): the mean of the channels."""
    if samples.ndim == 1 or samples.shape[1] == 1:
        return samples.reshape(-1)
    if samples.shape[1] == 2:
        # Twelve times as fast as mean(axis=1) over interleaved stereo.
        return (samples[:, 0] + samples[:, 1]) * np.float32(0.5)
    return np.asarray(samples.mean(axis=1), dtype=np.float32)
