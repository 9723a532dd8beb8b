"""Audio files to mono samples."""

from __future__ import annotations

import math
import threading
from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from mmgenre.audio.decoder_lines import without_decoder_lines
from mmgenre.audio.files import MIN_HELD_SHARE, Audio, open_audio, skip_samples
from mmgenre.audio.settings import SAMPLE_RATE_HZ, AudioInput
from mmgenre.disk.files import check_file
from mmgenre.errors import InputError
from mmgenre.items.modalities import SUFFIXES

Floats = NDArray[np.float32]

MAX_PEAK = 1e6  # of full scale; more is a damaged file of floats
MIN_PEAK = 1e-4  # -80 dBFS; below, decibels relative to the track's maximum show only noise
MIN_SOUND_S = 0.5  # in all; a click in silence is no music
WINDOW_S = 0.05
MIN_SHARE_OF_OFFSET = 0.03  # codecs turn a constant offset into a ripple below that
CANCELLED_SHARE = 0.1  # of the power that the mean of unrelated channels has
PROBED, PROBED_OF = 64, 8192  # samples
SAMPLES_AT_ONCE = 1 << 21  # memory does not grow with the track
BAD_FILE = 7  # libsndfile's error for a file that is missing, and for an mp3 without a frame
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


def open_excerpt(path: Path, config: AudioInput) -> tuple[int, Generator[Floats]]:
    """The sampling rate in Hz, and the excerpt in blocks, (n, channels), full scale = 1.

    A single block reuses memory. Channels of opposite polarity are replaced by the loudest one.
    InputError: missing, unreadable or truncated; as blocks are read, also too_short or silent.
    """
    check_file(path)
    if path.suffix.lower() == ".h5":
        what = "holds features of the Million Song Dataset and no audio; read them with"
        how = "--set 'audio.encoders=[\"timbre\"]' --set audio.input.features=msd-timbre"
        raise InputError("unreadable", str(path), f"{what} {how}")
    with path.open("rb") as probe:  # a failing disk: libsndfile reports it as a damaged file
        probe.read(1)
    try:
        audio = open_audio(path)
        n_samples = min(audio.n_samples, round(config.excerpt_s * audio.rate_hz))
        blocks = _blocks(path, audio, n_samples)
    except DECODER_ERRORS as error:
        raise _unreadable(path, error) from None
    return audio.rate_hz, _checked(path, audio.rate_hz, n_samples, config.min_s, blocks)


def _checked(
    path: Path, rate_hz: int, n_samples: int, min_s: float, blocks: Iterator[Floats]
) -> Generator[Floats]:
    """The blocks, of which those whose channels cancel have one of them in all.

    InputError: truncated, too_short or silent.
    """
    n_decoded, sounding_s = 0, 0.0
    for block in blocks:
        n_decoded += len(block)
        if sounding_s < MIN_SOUND_S:
            sounding_s += _sounding_s(block, rate_hz, MIN_SOUND_S - sounding_s)
        _keep_one_if_cancelling(block)
        yield block
    # Checked first: the middle of a long truncated file may hold nothing at all.
    if n_decoded < MIN_HELD_SHARE * n_samples:
        raise InputError("truncated", str(path), f"{n_decoded:,} of {n_samples:,} samples")
    if n_decoded < min_s * rate_hz:
        raise InputError("too_short", str(path), f"{n_decoded / rate_hz:.2f} s < {min_s} s")
    if sounding_s < MIN_SOUND_S:
        what = f"less than {MIN_SOUND_S} s vary by more than {MIN_PEAK:g} of full scale"
        raise InputError("silent", str(path), what)


def _blocks(path: Path, audio: Audio, n_samples: int) -> Generator[Floats]:
    """The middle `n_samples` of a file, (n, channels)."""
    skip, left = (audio.n_samples - n_samples) // 2, n_samples
    for file in audio.parts:
        with file:
            try:
                with without_decoder_lines():
                    skip -= skip_samples(file, skip)
                while left and not skip:
                    n = min(SAMPLES_AT_ONCE, left)
                    shape = n, audio.channels
                    is_only = n == n_samples and len(audio.parts) == 1
                    out = scratch("decoded", *shape) if is_only else np.empty(shape, np.float32)
                    with without_decoder_lines():  # not around `yield`: others work meanwhile
                        block = file.read(n, dtype="float32", always_2d=True, out=out)
                    left -= len(block)
                    if len(block):
                        yield block
                    if len(block) < n:
                        break
            except DECODER_ERRORS as error:
                raise _unreadable(path, error) from None


@np.errstate(over="ignore", invalid="ignore")  # such samples are refused later
def _sounding_s(block: Floats, rate_hz: int, enough_s: float) -> float:
    """Seconds of windows in which a channel varies, (n, channels), counted up to `enough_s`.

    A constant offset does not vary; a click is within one window.
    """
    size, sounding_s = round(WINDOW_S * rate_hz), 0.0
    n_windows, at_once = len(block) // size, math.ceil(enough_s / WINDOW_S)
    for first in range(0, n_windows, at_once):
        n = min(at_once, n_windows - first)
        # Row by row: ten times as fast as along the columns of interleaved channels.
        rows = np.ascontiguousarray(block[first * size : (first + n) * size].T)
        windows = rows.reshape(-1, n, size)  # (channels, n, size)
        most, least = windows.max(axis=2), windows.min(axis=2)
        constant = np.maximum(MIN_PEAK, MIN_SHARE_OF_OFFSET * np.abs(most + least) / 2)
        is_still = ((most - least) / 2 < constant).all(axis=0)  # not of NaN, refused later
        sounding_s += WINDOW_S * (n - int(is_still.sum()))
        if sounding_s >= enough_s:
            break
    return sounding_s


@np.errstate(over="ignore", invalid="ignore")
def _keep_one_if_cancelling(block: Floats) -> None:
    """Overwrites channels of opposite polarity by the loudest of them: their mean is nothing.

    Judged by the power around the mean of `PROBED` of every `PROBED_OF` samples, (n, channels).
    """
    n_spans, channels = len(block) // PROBED_OF, block.shape[1]
    if channels == 1 or not n_spans:
        return
    spans = block[: n_spans * PROBED_OF].reshape(n_spans, PROBED_OF, channels)
    probed = spans[:, :PROBED].reshape(-1, channels).T.copy()  # (channels, n)
    probed -= probed.mean(axis=1, keepdims=True)
    power = np.square(probed).mean(axis=1)
    kept = np.square(probed.mean(axis=0)).mean()
    # Channels that have nothing in common keep 1 / channels of their power.
    if kept < CANCELLED_SHARE / channels * power.mean():
        block[:] = block[:, [power.argmax()]]


def _unreadable(path: Path, error: Exception) -> InputError:
    known = " ".join(sorted(SUFFIXES["audio"]))
    how = f"supported: {known}; convert, for instance: ffmpeg -i IN OUT.flac"
    told = str(error).removeprefix(f"Error opening {str(path)!r}: ").removeprefix("Error : ")
    if getattr(error, "code", None) == BAD_FILE:  # it is there: `check_file` has looked
        told = "no sound that its decoder knows; damaged, or no audio in spite of its name"
    return InputError("unreadable", str(path), f"{told.rstrip('.')}; {how}")


def check_audio(path: Path) -> None:
    """Opens a file without decoding it. InputError: missing, unreadable or truncated."""
    open_excerpt(path, AudioInput())[1].close()


def check_peak(path: Path, peak: float) -> None:
    """InputError (not_finite, silent) by a track's largest sample; NaN or Inf if any sample is."""
    if not math.isfinite(peak):
        raise InputError("not_finite", str(path), "NaN or Inf among the samples")
    if peak > MAX_PEAK:  # the transform would overflow
        raise InputError("not_finite", str(path), f"samples up to {peak:g} times full scale")
    if peak < MIN_PEAK:
        raise InputError("silent", str(path), f"peak below {MIN_PEAK:g} of full scale")


def load_audio(path: Path, config: AudioInput | None = None, to_hz: int = SAMPLE_RATE_HZ) -> Floats:
    """Decodes a file into mono samples at `to_hz`, (n_samples,), full scale = 1.

    InputError: missing, unreadable, truncated, not_finite, too_short or silent.
    """
    rate_hz, blocks = open_excerpt(path, config or AudioInput())
    mono = np.concatenate([mixdown(block) for block in blocks])
    check_peak(path, float(np.abs(mono).max()))
    if rate_hz == to_hz:
        return mono
    return np.asarray(soxr.resample(mono, rate_hz, to_hz), dtype=np.float32)


@np.errstate(over="ignore", invalid="ignore")
def mixdown(samples: Floats) -> Floats:
    """(n, channels) or (n,) -> (n,): the mean of the channels."""
    if samples.ndim == 1 or samples.shape[1] == 1:
        return samples.reshape(-1)
    if samples.shape[1] == 2:
        # Twelve times as fast as mean(axis=1) over interleaved stereo.
        return (samples[:, 0] + samples[:, 1]) * np.float32(0.5)
    return np.asarray(samples.mean(axis=1), dtype=np.float32)
