"""Timbre of a track in 48 numbers: the baseline of Oramas 2018 (table 6, TIMBRE-MLP).

The paper takes the 12 timbre coefficients that the Million Song Dataset gives for each segment of
a track: weights of the main shapes found in many spectrograms by an analyser that was never
published. `msd_timbre` reads them out of the dataset's files, which an item names in place of its
audio. Where there is audio, `cepstra` stands in for them: the first 12 mel-frequency cepstral
coefficients, averaged over segments of a quarter of a second, about the mean length of the
dataset's. They, too, say how energy spreads over the spectrum, the first of them how much there
is; but they have other bases and another scale, and their segments do not begin at notes. So no
store holds both kinds: `input.features` says which.
"""

from __future__ import annotations

import math
from pathlib import Path

import h5py
import librosa
import numpy as np
from numpy.typing import NDArray

from mmgenre.audio.decoding import SAMPLE_RATE_HZ, AudioInput, load_audio
from mmgenre.errors import InputError

N_COEFFICIENTS = 12
N_NUMBERS = 4 * N_COEFFICIENTS
WINDOW_SAMPLES, HOP_SAMPLES, N_MELS = 2048, 512, 128
SEGMENT_FRAMES = 11  # 0.26 s
MSD_GROUP, MSD_SEGMENTS = "analysis", "segments_timbre"
MAX_SEGMENTS = 100_000  # seven hours of music; the dataset's longest track has some 12 000
# The dataset's files are made with zlib; a reader needs nothing else.
ALLOWED_FILTERS = frozenset({h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE})
# What h5py raises for bytes that are not what they claim to be.
DAMAGE = (OSError, LookupError, ValueError, TypeError, AttributeError, RuntimeError)


def load_timbre(path: Path, config: AudioInput) -> NDArray[np.float32]:
    """A track's timbre, (48,): from audio, or ("msd-timbre") from the Million Song Dataset's file.

    Raises:
        InputError: as `load_audio` and `msd_timbre` do.
    """
    if config.features == "msd-timbre":
        return aggregate(msd_timbre(path), str(path))
    return aggregate(cepstra(load_audio(path, config)), str(path))


def aggregate(segments: NDArray[np.float64], where: str) -> NDArray[np.float32]:
    """Coefficients of segments, (segments, 12) -> mean, max, variance, l2 norm, (48,).

    The norm grows with the square root of the number of segments.

    >>> aggregate(np.array([[3.0] * 12, [-4.0] * 12]), "x")[::12].tolist()
    [-0.5, 3.0, 12.25, 5.0]

    Raises:
        InputError: numbers too large to square (not_finite).
    """
    with np.errstate(over="ignore", invalid="ignore"):
        numbers = np.concatenate(
            [
                segments.mean(axis=0),
                segments.max(axis=0),
                segments.var(axis=0),
                np.linalg.norm(segments, axis=0),
            ]
        ).astype(np.float32)
    if not np.isfinite(numbers).all():
        raise InputError("not_finite", where, "timbre coefficients too large to square")
    return numbers


def cepstra(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mono samples at 22 050 Hz -> cepstral coefficients of segments, (segments, 12).

    Frames at the end that fill no segment are left out unless there is no other.

    >>> cepstra(np.sin(np.arange(22_050, dtype=np.float32))).shape  # a second
    (4, 12)
    """
    frames = librosa.feature.mfcc(
        y=samples,
        sr=SAMPLE_RATE_HZ,
        n_mfcc=N_COEFFICIENTS,
        n_mels=N_MELS,
        n_fft=WINDOW_SAMPLES,
        hop_length=HOP_SAMPLES,
        pad_mode="constant",
    ).T.astype(np.float64)  # (frames, 12)
    n_segments = max(1, len(frames) // SEGMENT_FRAMES)
    whole = frames[: n_segments * SEGMENT_FRAMES]
    return np.stack([part.mean(axis=0) for part in np.array_split(whole, n_segments)])


def msd_timbre(path: Path) -> NDArray[np.float64]:
    """Timbre of a track's segments in a file of the Million Song Dataset, (segments, 12).

    Links, and data that would come from other files, are refused.

    Raises:
        InputError: missing, unreadable, too_large, too_short (no segment) or not_finite.
    """
    where = str(path)
    if not path.is_file():
        raise InputError("missing", where, "no such file")
    try:
        with h5py.File(path, "r") as file:
            segments = _segments(file, where)
    except DAMAGE as error:
        raise InputError(
            "unreadable",
            where,
            f"no readable HDF5 file of the Million Song Dataset: {error}; "
            "audio is read with --set audio.input.features=timbre",
        ) from None
    if not len(segments):
        raise InputError("too_short", where, f"/{MSD_GROUP}/{MSD_SEGMENTS} holds no segment")
    if not np.isfinite(segments).all():
        raise InputError("not_finite", where, "NaN or Inf among the timbre coefficients")
    return segments


def _segments(file: h5py.File, where: str) -> NDArray[np.float64]:
    """The dataset itself; read only when it is known to lie in this file and to be small."""
    name = f"/{MSD_GROUP}/{MSD_SEGMENTS}"
    group = file[MSD_GROUP] if _is_hard(file, MSD_GROUP) else None
    data = (
        group[MSD_SEGMENTS]
        if isinstance(group, h5py.Group) and _is_hard(group, MSD_SEGMENTS)
        else None
    )
    if not isinstance(data, h5py.Dataset):
        raise InputError(
            "unreadable", where, f"no dataset {name}; is it a file of the Million Song Dataset?"
        )
    if data.external or data.is_virtual:
        raise InputError("unreadable", where, f"{name} would come from another file")
    if data.dtype.kind != "f" or data.ndim != 2 or data.shape[1] != N_COEFFICIENTS:
        raise InputError(
            "unreadable", where, f"{name} is {data.dtype} {data.shape}, not floats (segments, 12)"
        )
    pipeline = data.id.get_create_plist()
    filters = {pipeline.get_filter(i)[0] for i in range(pipeline.get_nfilters())}
    if not filters <= ALLOWED_FILTERS:
        raise InputError("unreadable", where, f"{name}: filters {sorted(filters)} are not zlib's")
    # HDF5 unpacks whole chunks, and those of a growing dataset may be larger than itself.
    held = max(data.size, math.prod(data.chunks or ()))
    if held > MAX_SEGMENTS * N_COEFFICIENTS:
        raise InputError("too_large", where, f"{name} declares {held:,} numbers")
    return np.asarray(data[:], dtype=np.float64)


def _is_hard(group: h5py.Group, key: str) -> bool:
    return isinstance(group.get(key, getlink=True), h5py.HardLink)
