"""Media that are in memory, as files for as long as they are read: all media are read one way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL.Image import Image

Track = Path | str | bytes | NDArray[Any]  # samples: (n,) or (channels, n)
Cover = Path | str | bytes | Image | NDArray[Any]  # pixels: (height, width, 3), 0 to 255


@contextmanager
def as_files(
    audio: Track | Sequence[Track] | None, sr: int | None, image: Cover | None
) -> Iterator[tuple[list[Path], Path | None]]:
    """The files of tracks and a cover; those written here are gone afterwards.

    `sr`: the sampling rate of samples, in Hz; files have their own.

    Raises:
        ValueError: samples without a rate, a rate without samples, or arrays of another shape.
    """
    if isinstance(audio, str | Path | bytes) or hasattr(audio, "ndim"):
        audio = [audio]  # type: ignore[list-item]
    tracks = list(audio or [])
    are_samples = [not isinstance(track, str | Path | bytes) for track in tracks]
    if any(are_samples) != (sr is not None):
        raise ValueError("sr: give the sampling rate of samples in Hz, and of nothing else")
    with TemporaryDirectory(prefix="mmgenre-") as name:
        folder = Path(name)
        found = []
        for k, track in enumerate(tracks):
            path = folder / f"audio {k}.wav"  # whatever it is: decoders go by what is in it
            if isinstance(track, bytes):
                path.write_bytes(track)
            elif isinstance(track, str | Path):
                path = Path(track)
            else:
                _write_samples(path, track, sr or 0)
            found.append(path)
        cover = folder / "image.png"  # likewise
        if image is None or isinstance(image, str | Path):
            yield found, None if image is None else Path(image)
            return
        if isinstance(image, bytes):
            cover.write_bytes(image)
        else:
            _write_picture(cover, image)
        yield found, cover


def _write_samples(path: Path, samples: NDArray[Any], sr: int) -> None:
    array = np.asarray(samples)
    if array.ndim not in (1, 2) or not array.size or (array.ndim == 2 and len(array) > 32):
        raise ValueError(
            f"audio: an array of shape {array.shape}; give samples (n,) or (channels, n)"
        )
    if array.dtype.kind == "i":  # of the whole range of the integers
        array = array / -float(np.iinfo(array.dtype).min)
    elif array.dtype.kind != "f":
        raise ValueError(f"audio: samples of type {array.dtype}; give floats or signed integers")
    soundfile.write(path, array.T.astype(np.float32), sr, subtype="FLOAT")


def _write_picture(path: Path, picture: Image | NDArray[Any]) -> None:
    if not isinstance(picture, Image):
        from PIL.Image import fromarray

        array = np.asarray(picture)
        if array.dtype != np.uint8 or array.ndim not in (2, 3):
            raise ValueError(
                f"image: an array {array.shape} of {array.dtype}; give uint8 (height, width, 3)"
            )
        picture = fromarray(array)
    picture.save(path)
