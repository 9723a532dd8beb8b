"""Is one side better than another on the same items? The jackknife over artists.

Both sides are measured on the same items, with all artists and without some
(`mmgenre.measuring.jackknife`); the interval and the test are of the difference.

>>> y = np.eye(2, dtype=bool)[[0, 1] * 20]
>>> groups = groups_of([f"item {k}" for k in range(40)], [f"Artist {k // 2}" for k in range(40)])
>>> found = paired_difference([Pair(y, y * 1.0, 1.0 - y, groups)], macro_f1)
>>> found.value, found.low, found.high, found.verdict
(1.0, 1.0, 1.0, 'won')
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from mmgenre.items.names import artist_of
from mmgenre.measuring import jackknife as jk
from mmgenre.measuring.jackknife import Blocks, Without
from mmgenre.measuring.metrics import Bools, Floats, argmax_one_hot, check
from mmgenre.measuring.results import LOWER_IS_BETTER, PairedResult, RowDifference

ALPHA = 0.05
Verdict = Literal["won", "lost", "indistinguishable"]
# (truth (n, L), scores (n, L), blocks) -> the metric of each label, (B + 1, L), or of all, (B + 1,)
BlockMetric = Callable[[Bools, Floats, Blocks], Without]


@dataclass(frozen=True)
class Pair:
    """Two sides' scores of the same n items: one split, or one seed of one split.

    `groups`: of each item. A name means the same group in all pairs of a comparison.
    """

    y: Bools  # (n, n_labels)
    ours: Floats  # (n, n_labels)
    theirs: Floats  # (n, n_labels)
    groups: Sequence[str]

    def __post_init__(self) -> None:
        check(self.y, self.ours)
        check(self.y, self.theirs)
        if len(self.groups) != len(self.y):
            raise ValueError(f"{len(self.groups)} groups for {len(self.y)} items")


@dataclass(frozen=True)
class Difference:
    """Ours minus theirs, its 95 % interval, the probability of as much by chance, and the groups.

    Of a single group nothing is known: the interval is all that a difference of shares can be.
    """

    value: float
    low: float
    high: float
    p: float
    n_groups: int

    @property
    def verdict(self) -> Verdict:
        """Won if the whole interval is above 0, lost if it is below."""
        return "won" if self.low > 0 else "lost" if self.high < 0 else "indistinguishable"

    def result(self) -> PairedResult:
        """As plain data."""
        return {
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "verdict": self.verdict,
            "n_groups": self.n_groups,
        }


def paired_difference(pairs: Sequence[Pair], metric: BlockMetric) -> Difference:
    """The difference of a metric, averaged over the pairs, with its interval over artists.

    What is left out is left out of every pair: an artist that is among the items of two splits
    counts in both, for splits of one catalogue are not independent samples.

    A label that has no positive (for ROC-AUC and AP also: no negative) without some artist has no
    value there. Truth is common to both sides, so it is left out of the macro average of both. A
    pair without any such value is left out of the average.

    Raises:
        ValueError: no pair, or no label has a value.
    """
    every, each = jk.common_blocks([pair.groups for pair in pairs])
    per_pair = [
        metric(pair.y, pair.ours, own) - metric(pair.y, pair.theirs, own)
        for pair, own in zip(pairs, each, strict=True)
    ]
    without = jk.macro(np.stack(per_pair, axis=1)) if pairs else np.full(1, np.nan)
    if np.isnan(without[0]):
        raise ValueError(
            f"{len(pairs)} pairs of scores: no label has a value; each needs a positive item, for "
            "ROC-AUC and AP also a negative one"
        )
    return difference_of(without, every)


def difference_of(
    without: Without, blocks: Blocks, seeds: Sequence[float] | None = None
) -> Difference:
    """From differences with all items and without each block; `seeds`: as for `jk.jackknife`."""
    found = jk.jackknife(without, blocks, seeds)
    low, high = jk.difference_interval(found)
    return Difference(found.value, low, high, jk.p_value(found), blocks.n_groups)


def rows_apart(
    rows: Mapping[str, tuple[Without, Sequence[float] | None]], metric: str, blocks: Blocks
) -> list[RowDifference]:
    """Every two rows of a table in a metric, with Holm's correction among all of them.

    `rows`: the metric with all items and without each block, and at each seed.
    """
    found: list[RowDifference] = []
    for (a, (ours, one)), (b, (theirs, other)) in combinations(rows.items(), 2):
        if not np.isfinite(ours[0] - theirs[0]):
            continue
        seeds = None
        if one is not None and other is not None and len(one) == len(other):
            seeds = [x - y for x, y in zip(one, other, strict=True)]
        d = difference_of(ours - theirs, blocks, seeds)
        found.append(
            {
                "a": a, "b": b, "metric": metric, "value": d.value, "low": d.low, "high": d.high,
                "p": d.p, "p_holm": 1.0, "verdict": "not distinguishable",
            }
        )  # fmt: skip
    for row, p in zip(found, jk.holm([row["p"] for row in found]), strict=True):
        row["p_holm"] = p
        if p < ALPHA:
            above = (row["value"] > 0) != (metric in LOWER_IS_BETTER)
            row["verdict"] = "better" if above else "worse"
    return found


@dataclass(frozen=True)
class Scorings:
    """Scores of several rows for the same n items: one seed, or one split."""

    y: Bools  # (n, L)
    groups: Sequence[str]
    scores: Mapping[str, Floats]  # row -> (n, L)


def table_apart(
    seeds: Sequence[Scorings], metric: str
) -> tuple[dict[str, tuple[float, float]], list[RowDifference]]:
    """Intervals of the rows that are there at every seed, and all their differences.

    Seeds may have other items; an artist that is left out is left out of all of them.
    """
    every, blocks = jk.common_blocks([own.groups for own in seeds])
    alike = all(own.groups == seeds[0].groups for own in seeds)
    rows: dict[str, tuple[Without, Sequence[float] | None]] = {}
    for row in seeds[0].scores if seeds else ():
        if all(row in own.scores for own in seeds):
            each = [
                MACRO_METRICS[metric](own.y, own.scores[row], left)
                for own, left in zip(seeds, blocks, strict=True)
            ]
            without = jk.macro(np.stack(each, axis=1))
            rows[row] = without, [float(own[0]) for own in each] if alike else None
    intervals = {}
    for row, (without, of_seeds) in rows.items():
        found = jk.interval(jk.jackknife(without, every, of_seeds), every.n_groups)
        if found is not None and np.isfinite(without[0]):
            intervals[row] = found
    return intervals, rows_apart(rows, metric, every)


def groups_of(ids: Sequence[str], artists: Sequence[str]) -> list[str]:
    """The group of each item: its artist as splits compare names, or itself if that is unknown.

    >>> groups_of(["1", "2", "3"], ["Beyoncé", "BEYONCE", ""])
    ['artist beyonce', 'artist beyonce', 'item 3']
    """
    folded = {name: artist_of(name).whole for name in set(artists)}
    return [
        f"artist {folded[artist]}" if folded[artist] else f"item {item_id}"
        for item_id, artist in zip(ids, artists, strict=True)
    ]


def f1(y: Bools, scores: Floats, blocks: Blocks) -> Without:
    """F1 of each label if the one of highest score is named."""
    return jk.f1(y, argmax_one_hot(scores), blocks)


def macro_f1(y: Bools, scores: Floats, blocks: Blocks) -> Without:
    """Macro F1 if the label of highest score is named."""
    return jk.macro(f1(y, scores, blocks))


def macro_roc_auc(y: Bools, scores: Floats, blocks: Blocks) -> Without:
    """Macro ROC-AUC."""
    return jk.macro(jk.roc_auc(y, scores, blocks))


def macro_average_precision(y: Bools, scores: Floats, blocks: Blocks) -> Without:
    """Macro average precision."""
    return jk.macro(jk.average_precision(y, scores, blocks))


# By the names that `metrics.evaluate` gives them.
MACRO_METRICS: dict[str, BlockMetric] = {
    "macro_f1": macro_f1,
    "macro_roc_auc": macro_roc_auc,
    "macro_pr_auc": macro_average_precision,
}

OF_LABELS: dict[str, BlockMetric] = {
    "macro_f1": f1,
    "macro_roc_auc": jk.roc_auc,
    "macro_pr_auc": jk.average_precision,
}  # of which these are the means


def label_intervals(metric: BlockMetric, y: Bools, scores: Floats, groups: Sequence[str]) -> Floats:
    """A metric of each label and its 95 % interval, (n_labels, 3); NaN where there is none.

    `metric`: `f1`, `jackknife.roc_auc` or `jackknife.average_precision`.
    """
    blocks = jk.blocks_of(groups)
    without = metric(y, scores, blocks)
    found = np.full((y.shape[1], 3), np.nan)
    found[:, 0] = without[0]
    for j in np.flatnonzero(np.isfinite(without[0])):
        own = jk.interval(jk.jackknife(without[:, j], blocks), blocks.n_groups)
        if own is not None:
            found[j, 1:] = own
    return found
