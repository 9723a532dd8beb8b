"""What a fusion is, and its folder: scores of all test items, from which figures are computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mmgenre.disk.records import read_record
from mmgenre.disk.scratch import scratch
from mmgenre.disk.store import FeatureStore, fingerprint_of, group_names
from mmgenre.errors import StoreError
from mmgenre.frozen.settings import FrozenInput
from mmgenre.measuring.by_value import row_blocks
from mmgenre.pipeline.align import Places

SCORES, ABOUT = "scores.h5", "fusion.json"
PREDICTIONS = "predictions.csv"  # genres of the items that have none
SCORES_OF = {"test": "scores", "val": "val"}  # the group of each split's scores
INPUTS_OF = {"test": "inputs", "val": "val.inputs"}  # and of which inputs its items have
On = Literal["val", "test"]
ABSENT, HIDDEN, PRESENT = 0, 1, 2  # an input of a test item; evaluation may hide some


@dataclass(frozen=True)
class RowInputs:
    """A row: its name, and the inputs ("audio", "joint.image") that its head reads.

    `combine`: how they are joined; None: as the recipe says. `words`: the frozen model that made
    the one input; no head reads it, but the names of the genres are compared with it.
    """

    name: str
    inputs: tuple[str, ...]
    combine: Literal["concatenation"] | None = None
    words: FrozenInput | None = None


@dataclass(frozen=True)
class ViewOf:
    """What made the vectors of an input."""

    encoder: Path
    fixed: bool
    crossfit: Path | None  # store of its outputs for training items that it has not seen


@dataclass(frozen=True)
class Heads:
    """What a fusion is: heads over rows of inputs, each trained from several seeds.

    `encoder`: the modality and folder of a view whose own scores are taken instead of a head's; the
    one row reads it alone.
    """

    rows: tuple[RowInputs, ...]  # the last is the whole, whose first head is kept as the model
    seeds: int  # how many, counted from the recipe's seed
    places: Places  # input -> where its vectors lie
    joint: Path | None = None  # folder of the joint space, if an input is of it
    encoder: tuple[str, Path] | None = None
    views: Mapping[str, ViewOf] = field(default_factory=dict)  # of the inputs that encoders embed

    @property
    def inputs(self) -> list[str]:
        """All inputs of the rows, sorted."""
        return sorted({name for row in self.rows for name in row.inputs})


def fusion_stored(folder: Path) -> str | None:
    """Fingerprint of the fusion that lies in a folder; None if there is none."""
    about = fusion_about(folder)
    if about is None:
        return None
    stored = fingerprint_of(folder / SCORES, SCORES_OF["test"])
    return stored if stored == about["provenance"]["fingerprint"] else None


def fusion_about(folder: Path) -> dict[str, Any] | None:
    """Rows, seeds, labels, provenance of a fusion; None if there is none, StoreError if damaged."""
    path = folder / ABOUT
    if not path.is_file():
        return None
    try:
        about = read_record(path)
        str(about["provenance"]["fingerprint"])
    except (ValueError, LookupError, TypeError) as error:
        raise StoreError(
            f"{path}: damaged ({type(error).__name__}: {error}); move its folder away, then make "
            "the fusion again: mmgenre fuse"
        ) from error
    return about


@dataclass(frozen=True)
class Scores:
    """Scores of n items by R rows and K seeds, for L labels."""

    about: Mapping[str, Any]
    ids: tuple[str, ...]
    values: NDArray[np.float32]  # (n, R, K, L)
    given: NDArray[np.uint8]  # (n, inputs): ABSENT, HIDDEN or PRESENT

    @property
    def complete(self) -> NDArray[np.bool_]:
        """(n,): whether the item has every input, those included that evaluation hides."""
        return np.asarray((self.given != ABSENT).all(axis=1))

    def has_input(self, row: int) -> NDArray[np.bool_]:
        """(n,): whether the item has any of a row's inputs that is not hidden."""
        columns = [self.about["inputs"].index(name) for name in self.about["rows"][row]["inputs"]]
        return np.asarray((self.given[:, columns] == PRESENT).any(axis=1))

    def of(self, row: str, seed: int, ids: Sequence[str]) -> NDArray[np.float32]:
        """Scores of some items by the head of a row and seed, (len(ids), L)."""
        r = [found["name"] for found in self.about["rows"]].index(row)
        k = self.about["seeds"].index(seed)
        position = {item_id: i for i, item_id in enumerate(self.ids)}
        return self.values[[position[i] for i in ids], r, k]


def read_scores(folder: Path, on: On = "test") -> Scores:
    """Reads what a fusion wrote; StoreError if it is damaged, or not there."""
    about = fusion_about(folder)
    if about is None:
        raise StoreError(f"{folder}: no fusion here")
    if SCORES_OF[on] not in group_names(folder / SCORES):
        raise StoreError(
            f"{folder}: has no scores of {on} items, as it was made by an older version; make it "
            "again: mmgenre fuse"
        )
    with FeatureStore(folder / SCORES, SCORES_OF[on]) as store:
        if store.fingerprint != about["provenance"]["fingerprint"]:
            raise StoreError(f"{folder}: is just being made anew; wait, then run this again")
        store.verify()
        ids = store.ids
        width = [n for n in store.row_shape if n is not None]  # of scores all are known
        values: Any = scratch((len(ids), *width), store.dtype, folder)
        for own in row_blocks(len(ids), values[:1].size):
            store.read_rows(own.start, values[own])
    with FeatureStore(folder / SCORES, INPUTS_OF[on]) as store:
        store.verify()
        given = store.take(ids)
    shape = len(about["rows"]), len(about["seeds"]), values.shape[-1]
    return Scores(about, ids, values.reshape(len(ids), *shape), given)
