"""Timbre of a track in 48 numbers: the baseline of Oramas 2018 (table 6, TIMBRE-MLP).

The paper uses the 12 timbre coefficients of each segment in the Million Song Dataset, whose
analyser was never published. `msd_timbre` reads them from the dataset's files, which an item names
in place of its audio. For audio, `cepstra` replaces them: 12 mel-frequency cepstral coefficients,
averaged over segments of a quarter of a second, about the mean length of the dataset's. Both
describe the spectral envelope, the first one the energy, but with other bases and scales, and
segments that do not begin at notes. So no store holds both: `input.features` selects one.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import h5py
import librosa
import numpy as np
from numpy.typing import NDArray

from mmgenre.audio.decoding import load_audio
from mmgenre.audio.settings import SAMPLE_RATE_HZ, AudioInput
from mmgenre.disk.files import check_file
from mmgenre.disk.store.layout import HDF5_DAMAGE, filters_of, lies_elsewhere, own_member
from mmgenre.errors import InputError

N_COEFFICIENTS = 12
MFCC: dict[str, Any] = {"n_mels": 128, "n_fft": 2048, "hop_length": 512, "pad_mode": "constant"}
SEGMENT_FRAMES = 11  # 0.26 s
MSD_TIMBRE = "/analysis/segments_timbre"
MAX_SEGMENTS = 100_000  # seven hours of music; the dataset's longest track has some 12 000
# The dataset's files are made with zlib; a reader needs nothing else.
ALLOWED_FILTERS = frozenset({h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE})


def load_timbre(path: Path, config: AudioInput) -> NDArray[np.float32]:
    """A track's timbre, (48,): from audio, or ("msd-timbre") from the Million Song Dataset's file.

    InputError: as `load_audio` and `msd_timbre` do.
    """
    if config.features == "msd-timbre":
        return aggregate(msd_timbre(path), str(path))
    return aggregate(cepstra(load_audio(path, config)), str(path))


def aggregate(segments: NDArray[np.float64], where: str) -> NDArray[np.float32]:
    """Coefficients of segments, (segments, 12) -> mean, max, variance, l2 norm, (48,).

    The norm grows with the square root of the number of segments. InputError: numbers too large to
    square (not_finite).

    >>> aggregate(np.array([[3.0] * 12, [-4.0] * 12]), "x")[::12].tolist()
    [-0.5, 3.0, 12.25, 5.0]
    """
    with np.errstate(over="ignore", invalid="ignore"):
        moments = segments.mean(axis=0), segments.max(axis=0), segments.var(axis=0)
        norm = np.linalg.norm(segments, axis=0)
        numbers = np.concatenate([*moments, norm]).astype(np.float32)
    if not np.isfinite(numbers).all():
        raise InputError("not_finite", where, "timbre coefficients too large to square")
    return numbers


def cepstra(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mono samples at 22 050 Hz -> cepstral coefficients of segments, (segments, 12).

    Frames at the end that do not fill a segment are left out, unless the track has no segment.

    >>> cepstra(np.sin(np.arange(22_050, dtype=np.float32))).shape  # a second
    (4, 12)
    """
    mfcc = librosa.feature.mfcc(y=samples, sr=SAMPLE_RATE_HZ, n_mfcc=N_COEFFICIENTS, **MFCC)
    frames = mfcc.T.astype(np.float64)  # (frames, 12)
    n_segments = max(1, len(frames) // SEGMENT_FRAMES)
    whole = frames[: n_segments * SEGMENT_FRAMES]
    return np.stack([part.mean(axis=0) for part in np.array_split(whole, n_segments)])


def msd_timbre(path: Path) -> NDArray[np.float64]:
    """Timbre of a track's segments in a file of the Million Song Dataset, (segments, 12).

    InputError: missing, unreadable (also links, and data that would come from other files),
    too_large, too_short (no segment) or not_finite.
    """
    where = str(path)
    check_file(path)
    try:
        with h5py.File(path, "r") as file:
            segments = _segments(file, where)
    except HDF5_DAMAGE as error:
        what = f"no readable HDF5 file of the Million Song Dataset: {error}"
        how = "audio is read with --set audio.input.features=timbre"
        raise InputError("unreadable", where, f"{what}; {how}") from None
    if not len(segments):
        raise InputError("too_short", where, f"{MSD_TIMBRE} holds no segment")
    if not np.isfinite(segments).all():
        raise InputError("not_finite", where, "NaN or Inf among the timbre coefficients")
    return segments


def _segments(file: h5py.File, where: str) -> NDArray[np.float64]:
    """The dataset itself; read only when it is known to lie in this file and to be small."""
    _, group_name, name = MSD_TIMBRE.split("/")
    group = own_member(file, group_name)
    data = own_member(group, name) if isinstance(group, h5py.Group) else None
    if not isinstance(data, h5py.Dataset):
        fault = f"no dataset {MSD_TIMBRE}; is it a file of the Million Song Dataset?"
    elif lies_elsewhere(data):
        fault = f"{MSD_TIMBRE} would come from another file"
    elif data.dtype.kind != "f" or data.ndim != 2 or data.shape[1] != N_COEFFICIENTS:
        fault = f"{MSD_TIMBRE} is {data.dtype} {data.shape}, not floats (segments, 12)"
    elif not (filters := filters_of(data)) <= ALLOWED_FILTERS:
        fault = f"{MSD_TIMBRE}: filters {sorted(filters)} are not zlib's"
    # HDF5 unpacks whole chunks, and those of a growing dataset may be larger than itself.
    elif (held := max(data.size, math.prod(data.chunks or ()))) > MAX_SEGMENTS * N_COEFFICIENTS:
        raise InputError("too_large", where, f"{MSD_TIMBRE} declares {held:,} numbers")
    else:
        return np.asarray(data[:], dtype=np.float64)
    raise InputError("unreadable", where, fault)
