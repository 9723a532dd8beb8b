"""What the model of a run says of test items, and what items lack or share. Nothing is trained.

Many test items are judged by a random sample of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from mmgenre.errors import MmgenreError
from mmgenre.explain import results
from mmgenre.fusion.table import FeatureTable
from mmgenre.fusion.trust import TRUST, Trust
from mmgenre.fusion.whole import model_of
from mmgenre.items.splits import find_leaks
from mmgenre.measuring import calibration
from mmgenre.measuring.results import headline_metric
from mmgenre.pipeline.missing import SHARES, Whole, whole_of
from mmgenre.pipeline.rows import row_name
from mmgenre.pipeline.run import SYNTHETIC, Run
from mmgenre.pipeline.twins import pairs_across

MOST_ITEMS = 2000  # test items that are judged
DRAWS = 3
FEWEST = 20  # test items of a curve; of fewer it is luck
SHOWN = 20  # of what several splits share
SHOWN_IDS = 4


@dataclass(frozen=True)
class Judged:
    """The whole model of a run with n test items that have an input; L labels."""

    whole: Whole
    trust: Trust | None  # None: of a model of an earlier version
    n_test: int  # test items, of which `whole` has a sample
    scores: NDArray[np.float64]  # (n, L), probabilities if there is trust

    @property
    def table(self) -> FeatureTable:
        return self.whole.table


def judged_test(run: Run, *, seed: int) -> Judged:
    """The run's own fusion on its test items, or a random sample of `MOST_ITEMS`.

    Raises:
        MmgenreError: the run has no fusion of its own, or one on joint vectors; or no test item has
            any of its inputs.
    """
    ids = run.manifest.ids("test")
    drawn = np.random.default_rng(seed).permutation(len(ids))[:MOST_ITEMS]
    whole = whole_of(run, on="test", ids=[ids[k] for k in np.sort(drawn)])
    has_input = np.any(list(whole.table.present.values()), axis=0)
    if not has_input.any():
        raise MmgenreError(f"No test item has an input of fusion {whole.name}.")
    whole = Whole(whole.name, whole.model, whole.table.select(has_input), whole.y[has_input])
    folder = model_of(run.folder, whole.name)[0] / TRUST
    trust = Trust.load(folder) if folder.is_dir() else None
    scores = whole.scores(whole.modalities)
    if trust is not None:
        scores = trust.probabilities(scores, whole.table)
    return Judged(whole, trust, len(ids), scores)


def _check_enough(judged: Judged) -> None:
    if len(judged.table) < FEWEST:
        raise MmgenreError(
            f"{len(judged.table)} test items: {FEWEST} are needed for curves that mean something."
        )


def reliability_of(judged: Judged) -> results.ReliabilityResult:
    """How often what has a probability is so, on test items.

    Raises MmgenreError for a model without probabilities, or too few items.
    """
    if judged.trust is None:
        raise MmgenreError("This model was made by an earlier version, and knows no probabilities.")
    _check_enough(judged)
    exclusive = judged.whole.model.labels.exclusive
    found = calibration.reliability(judged.whole.y, judged.scores, exclusive=exclusive)
    error = (found.n * np.abs(found.said - found.true)).sum() / found.n.sum()
    return {
        "fusion": judged.whole.name,
        "exclusive": exclusive,
        "n_items": len(judged.table),
        "error": float(error),
        "said": found.said.tolist(),
        "true": found.true.tolist(),
        "n": found.n.tolist(),
    }


def lacking_of(judged: Judged, *, seed: int) -> results.LackingResult:
    """The headline metric on test items as if they lacked modalities.

    Raises MmgenreError for a model of one modality, or too few items.
    """
    _check_enough(judged)
    whole = judged.whole
    if len(whole.modalities) < 2:
        raise MmgenreError("The model has one modality, so that none can be left out.")
    metric = headline_metric(exclusive=whole.model.labels.exclusive)
    subsets = {
        row_name(own): _known(whole.figures(whole.scores(own))[metric])
        for k in range(1, len(whole.modalities) + 1)
        for own in combinations(whole.modalities, k)
    }
    curve = whole.curve(draws=DRAWS, seed=seed)[metric]
    return {
        "fusion": whole.name,
        "metric": metric,
        "n_items": len(whole.table),
        "draws": DRAWS,
        "subsets": subsets,
        "shares": list(SHARES),
        "curve": [_known(value) for value in curve],
    }


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None  # JSON has no NaN


def audit_of(run: Run) -> results.AuditResult:
    """Artists, albums and texts in several splits; near twins, as far as they were looked for."""
    checked = ["artists", "albums", "identical texts"]
    found: list[results.FoundLeak] = [
        {
            "kind": leak.kind,
            "value": leak.value,
            "splits": list(leak.splits),
            "ids": list(leak.ids[:SHOWN_IDS]),
        }
        for leak in find_leaks(run.manifest)
    ]
    twins = {} if run.dataset == SYNTHETIC else pairs_across(run)
    for noun, pairs in twins.items():
        checked.append(f"{noun}s that are alike, edited or not")
        for pair in pairs:
            splits = sorted({str(run.manifest[i].split) for i in pair})
            found.append({"kind": noun, "value": "", "splits": splits, "ids": list(pair)})
    return {"checked": checked, "n_leaks": len(found), "leaks": found[:SHOWN]}
