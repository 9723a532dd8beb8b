"""Loops over arrays as machine code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])

# Sums in any order, so that they go eight at a time; but NaN and Inf stay what they are.
FAST = {"reassoc", "contract", "arcp", "nsz"}


def compiled(function: F) -> F:
    """Machine code that holds no lock; kept beside the file, so that only the first run waits."""
    try:
        return cast(F, numba.njit(nogil=True, cache=True, fastmath=FAST)(function))
    except RuntimeError:  # nowhere to keep it: compiled in each process
        return cast(F, numba.njit(nogil=True, fastmath=FAST)(function))
