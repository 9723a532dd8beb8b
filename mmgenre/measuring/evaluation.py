"""From scores of test items to the rows of a result table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmgenre.items.labels import LabelSpace
from mmgenre.measuring import metrics
from mmgenre.measuring.metrics import FIGURES, Bools, Floats
from mmgenre.measuring.results import Metrics, Result, SeedReport, Spread, headline_metric, spread

RANKINGS = ("roc_auc", "pr_auc")  # independent of a threshold
DECIMALS = 6  # of a share in a classification report; one test item changes more


def result(
    y: Bools,
    scores: Sequence[Floats],
    thresholds: Sequence[float | None],
    labels: LabelSpace,
    has_input: Bools,
    *,
    seed: int,
) -> Result:
    """Evaluates a row of a fusion table on a set of items.

    `scores` and `thresholds` are by seed of the fusion; a threshold is None for exclusive labels.
    `has_input`: (n,), whether an item has any of the row's inputs. `seed` is the bootstrap's.
    """
    exclusive = labels.exclusive

    def headline(y: Bools, s: Floats) -> float:
        if not exclusive:
            return metrics.macro(metrics.roc_auc(y, s))
        return metrics.macro(metrics.precision_recall_f1(y, metrics.argmax_one_hot(s))[2])

    per_seed = [
        metrics.evaluate(y, s, labels.names, exclusive=exclusive, threshold=t)
        for s, t in zip(scores, thresholds, strict=True)
    ]
    name = headline_metric(exclusive=exclusive)
    interval = metrics.bootstrap_interval(headline, y, scores[0], seed=seed)
    return {
        "n_items": len(y),
        "n_without_input": int((~has_input).sum()),
        "per_seed": per_seed,
        "summary": summarise(per_seed),
        "intervals": {name: interval} if np.isfinite(interval).all() else {},
    }


def summarise(per_seed: Sequence[Metrics]) -> dict[str, Spread]:
    """Mean and sample deviation of every scalar that is defined at each seed."""
    by_name = {name: [m[name] for m in per_seed] for name in per_seed[0]}
    return {n: spread(v) for n, v in by_name.items() if all(isinstance(x, float) for x in v)}


def seed_report(found: Metrics, *, seed: int) -> SeedReport:
    """The classification report from the metrics of one seed (`metrics.evaluate`)."""

    def rounded(value: float | None) -> float | None:
        return None if value is None else round(value, DECIMALS)

    matrix = found.get("confusion_matrix")
    figures = FIGURES if matrix is not None else (*FIGURES, *RANKINGS)
    kinds = ("macro", "weighted") if matrix is not None else ("micro", "macro", "weighted")
    return {
        "seed": seed,
        "n_items": found["n_items"],
        "threshold": found.get("threshold"),
        "accuracy": rounded(found.get("accuracy")),
        "per_label": {
            name: {"support": own["support"], **{f: rounded(own[f]) for f in figures}}
            for name, own in found["per_label"].items()
        },
        "averages": {
            kind: {f: rounded(found.get(f"{kind}_{f}")) for f in figures} for kind in kinds
        },
        "confusion_matrix": matrix,
    }
