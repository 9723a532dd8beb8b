"""Rows of media through a frozen model, several at a time where that is faster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmgenre.frozen.models import Floats, load_model

BATCH = 16


def mean_vectors(
    rows: Sequence[Any], vectors: Callable[[Any], Floats], *, on_cpu: bool = False
) -> list[Floats]:
    """Of each row, which is an array or a list of examples, the mean of their vectors.

    On a GPU, examples of several rows share a batch. On a CPU they do so only if asked: then a
    vector may differ in its last digits by its neighbours, which pays for windows of audio, of
    which short ones take half of the time (docs/measured.md), and not for covers and texts.
    """
    from mmgenre.learning.devices import pick_device

    if pick_device().type == "cpu" and not on_cpu:
        return [_means([row], vectors)[0] for row in rows]
    return _means(rows, vectors)


def _means(rows: Sequence[Any], vectors: Callable[[Any], Floats]) -> list[Floats]:
    examples = [example for row in rows for example in row]
    alike: dict[tuple[int, ...], list[int]] = {}  # a short track is a window of its own length
    for k, example in enumerate(examples):
        alike.setdefault(np.shape(example), []).append(k)
    found: dict[int, Floats] = {}
    for shape, places in alike.items():
        for start in range(0, len(places), BATCH):
            own = places[start : start + BATCH]
            batch = [examples[k] for k in own]
            found |= zip(own, vectors(np.stack(batch) if shape else batch), strict=True)
    ordered = np.stack([found[k] for k in range(len(examples))])
    ends = np.cumsum([len(row) for row in rows])
    return [np.asarray(own.mean(axis=0), np.float32) for own in np.split(ordered, ends[:-1])]


def vectors_of_covers(squares: Sequence[NDArray[np.uint8]], config: Any) -> list[Floats]:
    """Squares of the model's size -> vectors, (width,) or (layers, width)."""
    model = load_model(config.frozen, "image")
    return mean_vectors([square[None] for square in squares], model.vectors)


def vectors_of_texts(texts: Sequence[NDArray[np.uint8]], config: Any) -> list[Floats]:
    """Texts as UTF-8 bytes -> vectors, (width,)."""
    model = load_model(config.frozen, "text")
    return mean_vectors([[text.tobytes().decode()] for text in texts], model.vectors)
