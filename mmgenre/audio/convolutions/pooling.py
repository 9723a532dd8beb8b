"""Bias, max pool and ReLU in one pass over what a matrix product leaves, and back; compiled.

What is pooled are rows of a matrix (rows, filters), one row a place of the kernel; which rows make
a pool stands in `members`, (pools, size). So it does not matter in which order a product made them.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmgenre.learning.compiling import compiled

Members = NDArray[np.int32]
MOST = 255  # rows of a pool


def pool(rows: Tensor, members: Members, bias: Tensor) -> tuple[Tensor, Tensor]:
    """ReLU(max of a pool's rows + bias).

    Returns (pools, filters), and of each the place in its pool of the first that was highest, or
    of the last that was NaN, uint8; where ReLU gave 0, the size of the pool.

    Raises:
        ValueError: a pool has more rows than a uint8 counts.
    """
    if members.shape[1] > MOST:
        raise ValueError(f"pools of {members.shape[1]} rows; at most {MOST} can be told apart")
    pooled = rows.new_empty(len(members), rows.shape[1])
    places = rows.new_empty(pooled.shape, dtype=torch.uint8)
    arrays = (t.detach().numpy() for t in (rows, bias, pooled, places))
    _pool(members, *arrays)
    return pooled, places


def unpool(
    gradient: Tensor, places: Tensor, members: Members, n_rows: int
) -> tuple[Tensor, Tensor]:
    """The gradient of `pool` -> those of its rows and of its bias: it goes to the highest alone."""
    make = gradient.new_empty if members.size == n_rows else gradient.new_zeros
    full, bias = make((n_rows, gradient.shape[1])), gradient.new_zeros(gradient.shape[1])
    _unpool(members, *(t.numpy() for t in (gradient.contiguous(), places, full, bias)))
    return full, bias


# The inner loops go along the filters, which lie side by side: so they become vector instructions.


@compiled
def _pool(
    members: Members,
    rows: NDArray[np.float32],
    bias: NDArray[np.float32],
    pooled: NDArray[np.float32],
    places: NDArray[np.uint8],
) -> None:
    n, size = members.shape
    for i in range(n):
        highest, place, first = pooled[i], places[i], rows[members[i, 0]]
        for j in range(len(bias)):
            highest[j] = first[j]
            place[j] = 0
        for k in range(1, size):
            row = rows[members[i, k]]
            for j in range(len(bias)):
                higher = row[j] > highest[j] or row[j] != row[j]  # NaN stays
                highest[j] = row[j] if higher else highest[j]
                place[j] = k if higher else place[j]
        for j in range(len(bias)):
            value = highest[j] + bias[j]
            highest[j] = np.float32(0) if value <= 0 else value
            place[j] = size if value <= 0 else place[j]


@compiled
def _unpool(
    members: Members,
    gradient: NDArray[np.float32],
    places: NDArray[np.uint8],
    full: NDArray[np.float32],
    bias: NDArray[np.float32],
) -> None:
    n, size = members.shape
    for i in range(n):
        given, place = gradient[i], places[i]
        for k in range(size):
            row = full[members[i, k]]
            for j in range(len(bias)):
                row[j] = given[j] if place[j] == k else np.float32(0)
        for j in range(len(bias)):
            bias[j] += given[j] if place[j] < size else np.float32(0)
