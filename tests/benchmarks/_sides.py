"""Sides of a ratio run in turn in one process, after a round that does not count."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Side = Callable[[], object]
Seconds = Mapping[str, NDArray[np.float64]]


def in_turn(
    sides: Mapping[str, Side], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> Seconds:
    """Seconds of each side in each round but the first."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds + 1):
        for name, side in sides.items():
            started = clock()
            side()
            seconds[name].append(clock() - started)
    return {name: np.array(times[1:]) for name, times in seconds.items()}


def show(title: str, seconds: Seconds, unit: Literal["s", "ms", "/s"], n: int = 1) -> None:
    """A table of medians and ranges for each of n things, and ratios to the first side."""
    print(f"\n{title}")
    base = next(iter(seconds.values()))
    for name, times in seconds.items():
        each = {"s": times / n, "ms": 1000 * times / n, "/s": n / times}[unit]
        digits = 3 if unit == "s" else 2 if unit == "ms" else 0 if each.min() > 100 else 1
        low, middle, high = (f"{v:,.{digits}f}" for v in np.quantile(each, [0, 0.5, 1]))
        ratios = base / times
        print(
            f"{name:<46}{middle:>9} {unit} ({low} to {high})"
            f"{np.median(ratios):8.2f} x ({ratios.min():.2f} to {ratios.max():.2f})",
            flush=True,
        )
