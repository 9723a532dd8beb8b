"""Is one side better than another on the same items? The paired bootstrap over artists.

Items of an artist stand or fall together, so artists are drawn, not items: in each of many draws as
many groups as there are, with replacement, and every item counts as often as its group was drawn.
Both sides are measured on the same draw; the interval is of the difference.

>>> y = np.eye(2, dtype=bool)[[0, 1] * 20]
>>> groups = groups_of([f"item {k}" for k in range(40)], [f"Artist {k // 2}" for k in range(40)])
>>> found = paired_difference([Pair(y, y * 1.0, 1.0 - y, groups)], macro_f1)
>>> found.value, found.low, found.high, found.verdict
(1.0, 1.0, 1.0, 'won')
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mmgenre.items.names import artist_of
from mmgenre.measuring.metrics import Bools, Floats, argmax_one_hot, check

Verdict = Literal["won", "lost", "indistinguishable"]
# (truth (n, n_labels), scores (n, n_labels), weights (n, n_draws)) -> values (n_draws,). A weight
# is how often an item is in a draw, 0 or more.
DrawMetric = Callable[[Bools, Floats, Floats], Floats]

BLOCK_VALUES = 300_000  # items times draws measured at a time: few enough for the cache


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
    """Ours minus theirs, its percentile interval, and the number of groups that were drawn from."""

    value: float
    low: float
    high: float
    n_groups: int

    @property
    def verdict(self) -> Verdict:
        """Won if the whole interval is above 0, lost if it is below."""
        return "won" if self.low > 0 else "lost" if self.high < 0 else "indistinguishable"


def paired_difference(
    pairs: Sequence[Pair],
    metric: DrawMetric,
    *,
    n_draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Difference:
    """Paired bootstrap over groups of the difference of a metric, averaged over the pairs.

    A draw is of all groups that any pair has and holds for every pair: an artist that is among the
    items of two splits counts equally often in both, for splits of one catalogue are not
    independent samples.

    A label that loses all its positives in a draw (for ROC-AUC and AP also: all its negatives) has
    no value there. Truth is common to both sides, so it is left out of the macro average of both,
    in that draw and pair alone. A pair without any such value is left out of the draw's average,
    and a draw without any such pair out of the interval.

    Raises:
        ValueError: no pair, or no label has a value.
    """
    names = {name: k for k, name in enumerate(sorted({g for pair in pairs for g in pair.groups}))}
    group = [np.array([names[g] for g in pair.groups], dtype=np.intp) for pair in pairs]

    def differences(counts: Floats) -> Floats:
        """How often each group is drawn, (n_groups, n_draws) -> (n_draws,)."""
        per_pair = np.array(
            [
                metric(pair.y, pair.ours, counts[own]) - metric(pair.y, pair.theirs, counts[own])
                for pair, own in zip(pairs, group, strict=True)
            ]
        )
        return _mean(per_pair)

    if not pairs or np.isnan(value := differences(np.ones((len(names), 1)))[0]):
        raise ValueError(
            f"{len(pairs)} pairs of scores: no label has a value; each needs a positive item, for "
            "ROC-AUC and AP also a negative one"
        )
    rng = np.random.default_rng((seed, 0xD1FF))
    shares = np.full(len(names), 1 / len(names))
    step = max(1, BLOCK_VALUES // max(len(pair.y) for pair in pairs))
    drawn = [
        differences(
            rng.multinomial(len(names), shares, size=min(step, n_draws - start)).T.astype(float)
        )
        for start in range(0, n_draws, step)
    ]
    found = np.concatenate(drawn)
    tail = (1 - level) / 2
    low, high = np.quantile(found[np.isfinite(found)], [tail, 1 - tail])
    return Difference(float(value), float(low), float(high), len(names))


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


def f1(y: Bools, scores: Floats, weights: Floats) -> Floats:
    """F1 of each label with the highest score, (n_labels, n_draws); NaN without a positive."""
    predicted = argmax_one_hot(scores)
    hits = (y & predicted).T.astype(float) @ weights  # (n_labels, n_draws)
    positives = y.T.astype(float) @ weights
    claimed = predicted.T.astype(float) @ weights
    return np.where(positives > 0, 2 * hits / np.maximum(positives + claimed, 1), np.nan)


def roc_auc(y: Bools, scores: Floats, weights: Floats) -> Floats:
    """ROC-AUC, (n_labels, n_draws); NaN without a positive or a negative; ties count half."""

    def auc(p: Floats, n: Floats) -> Floats:
        wins = (p * (np.cumsum(n, axis=0) - n / 2)).sum(axis=0)  # negatives below, half of the tied
        return np.asarray(wins / np.maximum(p.sum(axis=0) * n.sum(axis=0), 1))

    return _over_thresholds(auc, y, scores, weights)


def average_precision(y: Bools, scores: Floats, weights: Floats) -> Floats:
    """Average precision, (n_labels, n_draws); NaN without a positive or a negative."""

    def ap(p: Floats, n: Floats) -> Floats:
        hits = np.cumsum(p[::-1], axis=0)  # from the highest score down
        claimed = hits + np.cumsum(n[::-1], axis=0)
        precision = hits / np.maximum(claimed, 1)
        return np.asarray((p[::-1] * precision).sum(axis=0) / np.maximum(hits[-1], 1))

    return _over_thresholds(ap, y, scores, weights)


def macro_f1(y: Bools, scores: Floats, weights: Floats) -> Floats:
    """Macro F1, (n_draws,), over labels that have a value."""
    return _mean(f1(y, scores, weights))


def macro_roc_auc(y: Bools, scores: Floats, weights: Floats) -> Floats:
    """Macro ROC-AUC, (n_draws,), over labels that have a value."""
    return _mean(roc_auc(y, scores, weights))


def macro_average_precision(y: Bools, scores: Floats, weights: Floats) -> Floats:
    """Macro average precision, (n_draws,), over labels that have a value."""
    return _mean(average_precision(y, scores, weights))


# By the names that `metrics.evaluate` gives them.
DRAW_METRICS: dict[str, DrawMetric] = {
    "macro_f1": macro_f1,
    "macro_roc_auc": macro_roc_auc,
    "macro_pr_auc": macro_average_precision,
}


def label_intervals(
    metric: DrawMetric, y: Bools, scores: Floats, groups: Sequence[str], *, n_draws: int = 500
) -> Floats:
    """A metric of each label and its 95 % interval, (n_labels, 3); NaN where there is none.

    `metric`: `f1`, `roc_auc` or `average_precision`. Groups are drawn, as above.
    """
    names = {name: k for k, name in enumerate(sorted(set(groups)))}
    own = np.array([names[group] for group in groups], dtype=np.intp)
    value = metric(y, scores, np.ones((len(y), 1)))[:, 0]
    shares = np.full(len(names), 1 / len(names))
    counts = np.random.default_rng(0x1ABE1).multinomial(len(names), shares, size=n_draws).T
    drawn = metric(y, scores, counts[own].astype(float))
    found = np.full((y.shape[1], 3), np.nan)
    found[:, 0] = value
    for j in np.flatnonzero(np.isfinite(value)):
        found[j, 1:] = np.quantile(drawn[j][np.isfinite(drawn[j])], [0.025, 0.975])
    return found


def _over_thresholds(
    metric: Callable[[Floats, Floats], Floats], y: Bools, scores: Floats, weights: Floats
) -> Floats:
    """A metric of positives p and negatives n at each distinct score, (n_labels, n_draws).

    p and n are (n_scores, n_draws), in ascending order of the scores. Items are sorted once a label
    and never again for a draw: draws differ in weights alone.
    """
    values = np.full((y.shape[1], weights.shape[1]), np.nan)
    for j in np.flatnonzero(y.any(axis=0) & ~y.all(axis=0)):
        order = np.argsort(scores[:, j], kind="stable")
        first = np.flatnonzero(np.diff(scores[order, j], prepend=-np.inf))  # of each distinct score
        all_items = np.add.reduceat(weights[order], first, axis=0)
        p = np.add.reduceat(weights[order] * y[order, j, None], first, axis=0)
        n = all_items - p
        defined = p.any(axis=0) & n.any(axis=0)
        values[j] = np.where(defined, metric(p, n), np.nan)
    return values


def _mean(values: NDArray[np.float64]) -> Floats:
    """Mean over the first axis of what is not NaN; NaN where nothing is."""
    has = np.isfinite(values)
    mean = np.where(has, values, 0.0).sum(axis=0) / np.maximum(has.sum(axis=0), 1)
    return np.where(has.any(axis=0), mean, np.nan)
