"""Arrays too large for memory, in files that are gone with the array."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
from numpy.typing import DTypeLike, NDArray

MEMORY_BYTES = 1 << 26  # of an array that is kept in memory


def scratch(shape: Sequence[int], dtype: DTypeLike, folder: Path) -> NDArray[np.generic]:
    """An array to be filled; a large one is a file without a name, in `folder` if that may be.

    Its pages are the page cache's, which the machine writes to disk when memory is needed.
    """
    n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    if n_bytes <= MEMORY_BYTES:
        return np.empty(shape, dtype)
    try:
        return _mapped(shape, dtype, folder)
    except OSError:  # a run that may only be read
        return _mapped(shape, dtype, None)


def _mapped(shape: Sequence[int], dtype: DTypeLike, folder: Path | None) -> NDArray[np.generic]:
    with TemporaryFile(dir=folder) as file:  # the map keeps what it needs of it
        return np.memmap(file, dtype=dtype, mode="w+", shape=tuple(shape))
