"""Loops over arrays, compiled to machine code by numba."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
F = TypeVar("F", bound=Callable[..., Any])
# Sums may be reordered, so that they use vector instructions; NaN and Inf keep their meaning.
FAST_MATH = {"reassoc", "contract", "arcp", "nsz"}


def jit(function: F) -> F:
    """Compiles a function at its first call; it then runs without Python's global lock.

    The machine code is cached beside the source file, so that only the first run compiles it.
    """
    try:
        return cast(F, numba.njit(nogil=True, cache=True, fastmath=FAST_MATH)(function))
    except RuntimeError:  # no folder is writable for the cache: each process compiles it
        return cast(F, numba.njit(nogil=True, fastmath=FAST_MATH)(function))
