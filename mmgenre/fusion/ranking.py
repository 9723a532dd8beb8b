"""Joined vectors of items -> predictions: probabilities, what is named, how sure, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from mmgenre.errors import MmgenreError
from mmgenre.fusion.ensemble import SolvedFusion
from mmgenre.fusion.prediction import Genre, Neighbour, Prediction, Reasons
from mmgenre.fusion.shares import Shares, shapley
from mmgenre.fusion.table import FeatureTable
from mmgenre.fusion.trust import COVERAGES, Judged, Trust
from mmgenre.items.modalities import modality_of
from mmgenre.learning.rows import Note

if TYPE_CHECKING:  # torch takes seconds to import, and models of ONNX need none
    from mmgenre.fusion.head import FusionModel

N_NEIGHBOURS = 5
STRANGE = "unlike 95 % of the items that it was checked on"
Kind = Literal["probability", "cosine"]


@dataclass(frozen=True)
class Asked:
    """What is asked of predictions.

    `explain`: with `reasons`. `risk`: an item is unsure if its likeliest genre is wrong with a
    higher probability; None: only if the item is unlike what the model was checked on. `coverage`:
    the share of an item's genres that its label set has, on average; one of `COVERAGES`.
    """

    explain: bool = False
    risk: float | None = None
    coverage: float = 0.9

    def __post_init__(self) -> None:
        if self.risk is not None and not 0 < self.risk < 1:
            raise ValueError(f"risk {self.risk:g}: must lie between 0 and 1")
        if self.coverage not in COVERAGES:
            known = ", ".join(f"{c:g}" for c in COVERAGES)
            raise ValueError(f"coverage {self.coverage:g}: label sets are made for {known}")


def rank(
    fusion: FusionModel | SolvedFusion,
    trust: Trust | None,
    table: FeatureTable,
    order: Sequence[str],
    asked: Asked,
    notes: Mapping[str, Mapping[str, Note]],
) -> list[Prediction]:
    """A prediction for each item of a table.

    Args:
        fusion: gives scores.
        trust: makes probabilities of them; None: of a model of an earlier version.
        table: the items; each has an input.
        order: of what predictions say they were judged by.
        asked: see there.
        notes: item -> modality -> what is said of its medium.

    Raises:
        MmgenreError: a risk is asked of a model that knows no probabilities.
    """
    if not len(table):
        return []
    if asked.risk is not None and trust is None:
        raise MmgenreError(
            "risk: this model was made by an earlier version, and its scores are no probabilities; "
            "make it again: mmgenre fuse"
        )
    scores = fusion.scores(table)
    judged = _as_before(fusion, scores) if trust is None else trust.judge(scores, table)
    shares = shapley(worth_of(fusion, trust), table) if asked.explain else None
    near = None if trust is None or not asked.explain else _neighbours(trust, table)
    kind: Kind = "cosine" if trust is None and fusion.target_name == "cosine" else "probability"
    names = fusion.labels.names
    predictions = []
    for i, p in enumerate(judged.p):
        by_score = np.argsort(-p, kind="stable")
        here = {modality_of(n) for n, present in table.present.items() if present[i]}
        used = tuple(m for m in order if m in here)
        own_notes = notes.get(table.ids[i], {})
        found = Prediction(
            table.ids[i],
            kind,
            tuple(map(Genre, map(names.__getitem__, by_score.tolist()), p[by_score].tolist())),
            tuple(names[j] for j in by_score[judged.named[i][by_score]].tolist()),
            used,
            notes=tuple(f"{modality}: {note.text}" for modality, note in own_notes.items()),
        )
        if asked.coverage in judged.sets:
            likely = judged.sets[asked.coverage][i]
            by_set = tuple(names[j] for j in by_score[likely[by_score]].tolist())
            found = replace(found, likely=by_set)
        if why := _unsure(judged, i, asked, [own_notes.get(modality) for modality in used]):
            found = replace(found, unsure=why, named=())
        if shares is not None:
            own = _reasons(shares, names, i, int(by_score[0]), used)
            found = replace(found, reasons=replace(own, nearest=near[i] if near else ()))
        predictions.append(found)
    return predictions


def worth_of(
    fusion: FusionModel | SolvedFusion, trust: Trust | None
) -> Callable[[FeatureTable], NDArray[np.float64]]:
    """What predictions say of the genres of items, (n, n_labels): probabilities, with trust."""

    def worth(items: FeatureTable) -> NDArray[np.float64]:
        found = fusion.scores(items)
        return found if trust is None else trust.probabilities(found, items)

    return worth


def _as_before(fusion: FusionModel | SolvedFusion, scores: NDArray[np.float64]) -> Judged:
    """What a model without `Trust` says."""
    if fusion.threshold is None:
        named = np.zeros(scores.shape, dtype=bool)
        named[np.arange(len(scores)), scores.argmax(axis=1)] = True
    else:
        named = scores >= fusion.threshold
    return Judged(scores, named, {}, np.zeros(len(scores), dtype=bool))


def _unsure(judged: Judged, item: int, asked: Asked, notes: Sequence[Note | None]) -> str | None:
    """Why no genre is named, if so; `notes` on each modality that it was judged by."""
    if all(note is not None and note.is_thin for note in notes):
        return "too little is known: " + "; ".join(note.text for note in notes if note)
    if judged.is_strange[item]:
        return STRANGE
    best = float(judged.p[item].max())
    if asked.risk is not None and best < 1 - asked.risk:
        return f"the likeliest genre is wrong with {1 - best:.2f}, more than {asked.risk:g}"
    return None


def _reasons(
    shares: Shares, names: Sequence[str], item: int, genre: int, used: Sequence[str]
) -> Reasons:
    """What the modalities of an item add to the score of a genre."""
    alone = {}
    for player in used:
        scores = shares.alone[player][item]
        first = int(scores.argmax())
        alone[player] = Genre(names[first], float(scores[first]))
    of = {player: float(shares.of[player][item, genre]) for player in used}
    return Reasons(names[genre], float(shares.base[item, genre]), of, alone)


def _neighbours(trust: Trust, table: FeatureTable) -> list[tuple[Neighbour, ...]]:
    """The training items that are most similar to each item."""
    known = trust.familiar
    order, cosines = known.nearest(table, N_NEIGHBOURS)
    return [
        tuple(
            Neighbour(known.ids[j], float(c), known.genres[j])
            for j, c in zip(own, similar, strict=True)
        )
        for own, similar in zip(order, cosines, strict=True)
    ]
