"""Rows of an input store as encoders read them, and vectors of rows as those of items; no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import compress
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from mmgenre.errors import Refusal
from mmgenre.items.item import TRACK_SEPARATOR


class Note(NamedTuple):
    """What a reader of a prediction should know of a row: "3 of 48 words known"."""

    text: str
    is_thin: bool = False  # whether so little of it is known that no genre should be named by it


class Source(Protocol):
    """Reads rows of an input store in the form that an encoder expects.

    If its rows are mostly zeros and have one view only, it may also have
    `sparse_views(ids) -> sparse Tensor (n, width)`; if an encoder may know nothing of what a row
    holds, `known(ids) -> bool (n,)`; if it may know but a part, `notes(ids) -> list[Note | None]`.
    If its random views, one a row, are computed where the network is, it has `drawn(ids, rng)`,
    two arrays (n, ...) of which `seen(*tensors) -> Tensor (n, ...)` makes them.
    """

    def views(self, ids: Sequence[str], rng: np.random.Generator | None) -> NDArray[Any]:
        """(n, n_views, ...): one random training view with `rng`, else the evaluation views."""


def known_rows(
    source: Source, ids: Sequence[str], modality: str, name: str
) -> tuple[list[str], list[Refusal]]:
    """The rows of which the encoder `name` knows something, and refusals of the others.

    Without this, texts in another language would all have the same vector, and the same genres.
    """
    known: Callable[[Sequence[str]], NDArray[np.bool_]] | None = getattr(source, "known", None)
    if known is None or not len(ids):
        return list(ids), []
    mask = known(ids).tolist()
    why = (
        f"no word of its {modality} was in those that {name} learned from, so it has no {modality}"
    )
    refused = [
        Refusal(item_of(i), modality, "unknown_words", f"{item_of(i)}: {why} [unknown_words]")
        for i, is_known in zip(ids, mask, strict=True)
        if not is_known
    ]
    return list(compress(ids, mask)), refused


def item_of(row_id: str) -> str:
    """The item that an input row belongs to: `ID#1` -> `ID`."""
    return row_id.split(TRACK_SEPARATOR)[0]


def mean_by_item(
    row_ids: Sequence[str], rows: NDArray[np.float32]
) -> tuple[list[str], NDArray[np.float32]]:
    """Rows of tracks -> (item ids, the mean over each item's tracks)."""
    ids, position = np.unique([item_of(row_id) for row_id in row_ids], return_inverse=True)
    sums = np.zeros((len(ids), rows.shape[1]), np.float32)
    np.add.at(sums, position, rows)
    return ids.tolist(), sums / np.bincount(position).astype(np.float32)[:, None]
