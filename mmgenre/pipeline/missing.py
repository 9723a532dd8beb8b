"""How a fusion bears items that lack modalities: all but some hidden, or a share at random.

Nothing is trained. n items, L labels.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from mmgenre.disk.bundle import bundle_kind
from mmgenre.errors import MmgenreError
from mmgenre.fusion.ensemble import KIND as SOLVED
from mmgenre.fusion.ensemble import SolvedFusion
from mmgenre.fusion.table import FeatureTable
from mmgenre.fusion.whole import model_of
from mmgenre.items.modalities import JOINT, modality_of
from mmgenre.measuring import metrics
from mmgenre.measuring.metrics import Bools, Floats
from mmgenre.pipeline.align import feature_table
from mmgenre.pipeline.rows import row_name
from mmgenre.pipeline.run import Run
from mmgenre.pipeline.scores import On

if TYPE_CHECKING:  # torch takes seconds to import, and solved heads need none
    from mmgenre.fusion.head import FusionModel

SHARES = tuple(k / 10 for k in range(10))  # of the modalities, that are hidden
DRAWS = 3


class OfSubset(TypedDict):
    """Figures of items that have no other modalities than these."""

    name: str  # "A+T"
    figures: dict[str, float]


class WithoutSome(TypedDict):
    """Figures of one model on items that lack modalities; NaN: no genre can be measured."""

    fusion: str
    on: On
    n_items: int
    subsets: list[OfSubset]
    shares: list[float]  # of the modalities, that are hidden at random
    curve: dict[str, list[float]]  # metric -> a figure for each share


@dataclass(frozen=True)
class Whole:
    """The saved model of a fusion, with the vectors and the truth of the items of a split."""

    name: str
    model: SolvedFusion | FusionModel
    table: FeatureTable
    y: Bools  # (n, L)

    @property
    def modalities(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(map(modality_of, self.table.x)))

    def scores(self, having: Collection[str]) -> Floats:
        """Scores of the items as if they had no other modalities than these, (n, L).

        Raises:
            MmgenreError: the fusion has no such modality.
        """
        if unknown := sorted(set(having) - set(self.modalities)):
            raise MmgenreError(
                f"fusion {self.name}: has no {', '.join(unknown)}; it is of "
                f"{', '.join(self.modalities)}"
            )
        absent = np.zeros(len(self.table), dtype=bool)
        present = {
            name: here if modality_of(name) in having else absent
            for name, here in self.table.present.items()
        }
        return self.model.scores(FeatureTable(self.table.ids, self.table.x, present))

    def figures(self, scores: Floats) -> dict[str, float]:
        """As `metrics.main_figures`."""
        return metrics.main_figures(self.y, scores, exclusive=self.model.labels.exclusive)

    def curve(
        self, shares: Sequence[float] = SHARES, *, draws: int = DRAWS, seed: int = 0
    ) -> dict[str, list[float]]:
        """Metric -> a figure for each share of the modalities that is hidden at random.

        Means over the draws. An item that has nothing left is judged as one of which nothing is
        known. What a smaller share hides, a larger one hides, too.

        Raises:
            ValueError: a share is not from 0 to below 1, or there is no draw.
        """
        if draws < 1 or not all(0 <= share < 1 for share in shares):
            raise ValueError(f"draws {draws}, shares {list(shares)}: at least 1; from 0 to below 1")
        found: dict[str, list[float]] = {}
        for share in shares:
            each = [
                self.figures(self.model.scores(self.table.hide(share, seed + k)))
                for k in range(draws)
            ]
            for name in each[0]:
                found.setdefault(name, []).append(float(np.mean([own[name] for own in each])))
        return found


def whole_of(
    run: Run, fusion: str | None = None, on: On = "val", ids: Sequence[str] | None = None
) -> Whole:
    """The whole model of one of a run's fusions, on the items of a split, or on some of them.

    Raises:
        BundleError: the run has no such fusion, or several and none is its own.
        MmgenreError: the fusion reads joint vectors.
    """
    folder, name = model_of(run.folder, fusion)
    model = _load(folder)
    if joint := [n for n in model.widths if n.startswith(JOINT)]:
        raise MmgenreError(
            f"{folder}: reads joint vectors ({', '.join(joint)}), of which missing modalities are "
            "not measured; name another fusion of the run"
        )
    ids = run.manifest.ids(on) if ids is None else ids
    table = feature_table({n: (run.embeddings(n), n) for n in model.widths}, ids)
    return Whole(name, model, table, run.truth(ids, space=model.labels))


def without_some(
    run: Run, fusion: str | None = None, *, on: On = "val", draws: int = DRAWS, seed: int = 0
) -> WithoutSome:
    """Figures of the items of a split as if they had a subset only, and by the share hidden.

    Every item counts, also one that has none of a subset: it is judged as one of which nothing is
    known. Raises as `whole_of` does.
    """
    whole = whole_of(run, fusion, on)
    subsets = [
        own
        for k in range(1, len(whole.modalities) + 1)
        for own in combinations(whole.modalities, k)
    ]
    return {
        "fusion": whole.name,
        "on": on,
        "n_items": len(whole.table),
        "subsets": [
            {"name": row_name(own), "figures": whole.figures(whole.scores(own))} for own in subsets
        ],
        "shares": list(SHARES),
        "curve": whole.curve(draws=draws, seed=seed),
    }


def _load(folder: Path) -> SolvedFusion | FusionModel:
    if bundle_kind(folder) == SOLVED:
        return SolvedFusion.load(folder)
    from mmgenre.fusion.head import FusionModel

    return FusionModel.load(folder)
