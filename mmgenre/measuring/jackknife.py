"""How sure a figure is, and whether two differ: the jackknife over artists.

Items of an artist stand or fall together, so what is left out is an artist, or, of more than
`MOST_BLOCKS` of them, a block of artists. A figure is computed once with all items and once without
each block; how much it moves says how far it would move on other artists of the same kind, and how
much a few artists flatter it (the finite-sample bias, which average precision has). Blocks may
differ in size (Busing, Meijer and van der Leeden 1999, eq. 6 to 8).

n items, L labels, B blocks. Arrays that are `Without` have B + 1 rows: of all items, then without
each block.

>>> y = np.eye(2, dtype=bool)[[0, 1] * 20]
>>> blocks = blocks_of([f"Artist {k // 2}" for k in range(40)])
>>> jackknife(macro(f1(y, y, blocks)), blocks)
Jackknife(value=1.0, bias=0.0, se=0.0, df=19.0)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmgenre.measuring.by_value import AT_ONCE, parts, row_blocks
from mmgenre.measuring.metrics import Bools, Floats, check

MOST_BLOCKS = 100
Without = Floats  # (B + 1,) or (B + 1, L); NaN: no value
# Of one label, or several pooled: truth, scores and block of each item, number of blocks -> two
# sums, (B + 1,) each, of which the figure is the share.
Ranking = Callable[[Bools, Floats, NDArray[np.intp], int], tuple[Without, Without]]


@dataclass(frozen=True)
class Blocks:
    """Which block each item is left out with.

    `folds`: of cross-validation, (n,); items are then ranked among those of their fold
    (`metrics.within_folds`).
    """

    of: NDArray[np.intp]  # (n,)
    sizes: NDArray[np.intp]  # (B,), number of groups in each block
    folds: NDArray[np.intp] | None = None

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def n_groups(self) -> int:
        return int(self.sizes.sum())

    @cached_property
    def _order(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        order = np.argsort(self.of, kind="stable")
        return order, np.searchsorted(self.of[order], np.arange(len(self)))

    def sums(self, x: NDArray[np.number] | Bools) -> Without:
        """Sums over items of x, (n,) or (n, L), with all and without each block."""
        if x.ndim == 2 and x.shape[1] > 1 and x.size > AT_ONCE:
            some = [self.sums(x[:, own]) for own in row_blocks(x.shape[1], len(x))]
            return np.concatenate(some, axis=1)
        order, starts = self._order
        x = x.astype(np.float64)[order]
        held = np.bincount(self.of, minlength=len(self)) > 0
        own = np.zeros((len(self), *x.shape[1:]))
        if held.any():
            own[held] = np.add.reduceat(x, starts[held], axis=0)
        total = own.sum(axis=0)
        return np.concatenate([total[None], total - own])


def blocks_of(groups: Sequence[str]) -> Blocks:
    """Blocks of groups, such as `groups_of` gives them, drawn at random with a fixed seed."""
    names, own = np.unique(np.asarray(groups), return_inverse=True)
    n = min(MOST_BLOCKS, len(names))
    block = np.arange(len(names)) % n
    if n < len(names):
        block = np.random.default_rng(0).permutation(block)
    return Blocks(block[own], np.bincount(block, minlength=n))


def common_blocks(groups: Sequence[Sequence[str]]) -> tuple[Blocks, list[Blocks]]:
    """Blocks of all groups of several sets of items, and of the items of each.

    What is left out is left out of every set: a name means the same group in all of them.
    """
    names = sorted({name for own in groups for name in own})
    every = blocks_of(names)
    block = dict(zip(names, every.of.tolist(), strict=True))
    each = [Blocks(np.array([block[g] for g in own], np.intp), every.sizes) for own in groups]
    return every, each


def macro(without: Without) -> Without:
    """Means over the labels that have a value, (B + 1,); NaN where none has."""
    has = np.isfinite(without)
    mean = np.where(has, without, 0).sum(axis=1) / np.maximum(has.sum(axis=1), 1)
    return np.where(has.any(axis=1), mean, np.nan)


def mean(values: NDArray[np.number] | Bools, blocks: Blocks) -> Without:
    """Of what is a mean over items of a number (n,), such as accuracy."""
    return share(blocks.sums(values), blocks.sums(np.ones(len(values))))


def share(above: Floats, below: Floats) -> Floats:
    """One sum divided by the other; 0 / 0 is 0."""
    return above / np.where(below > 0, below, 1)


def precision_recall_f1(
    y: Bools, predicted: Bools, blocks: Blocks
) -> tuple[Without, Without, Without]:
    """As `metrics.precision_recall_f1`, (B + 1, L) each."""
    hits, truth, claimed = (blocks.sums(x) for x in (y & predicted, y, predicted))
    figures = share(hits, claimed), share(hits, truth), share(2 * hits, truth + claimed)
    precision, recall, f1 = (np.where(truth > 0, own, np.nan) for own in figures)
    return precision, recall, f1


def f1(y: Bools, predicted: Bools, blocks: Blocks) -> Without:
    """As `metrics.precision_recall_f1`, (B + 1, L)."""
    return precision_recall_f1(y, predicted, blocks)[2]


def roc_auc(y: Bools, scores: Floats, blocks: Blocks) -> Without:
    """As `metrics.roc_auc`, (B + 1, L).

    Of the pairs of a positive and a negative item, those go that have one of a block: the
    positive's, and the negative's, and those that have both were taken off twice.
    """
    return _of_labels(_auc, y, scores, blocks)


def micro_roc_auc(y: Bools, scores: Floats, blocks: Blocks) -> Without:
    """As `metrics.micro` of `metrics.roc_auc`, (B + 1,)."""
    check(y, scores)
    return _ranked(_auc, y, scores, blocks)


def average_precision(y: Bools, scores: Floats, blocks: Blocks) -> Without:
    """As `metrics.average_precision`, (B + 1, L)."""
    return _of_labels(_ap, y, scores, blocks)


def _of_labels(ranking: Ranking, y: Bools, scores: Floats, blocks: Blocks) -> Without:
    check(y, scores)
    found = np.full((len(blocks) + 1, y.shape[1]), np.nan)
    for j in np.flatnonzero(y.any(axis=0) & ~y.all(axis=0)):
        own = slice(j, j + 1)
        found[:, j] = _ranked(ranking, y[:, own], scores[:, own], blocks)
    return found


def _ranked(ranking: Ranking, y: Bools, scores: Floats, blocks: Blocks) -> Without:
    """The two sums, over folds if there are any, divided by one another: (B + 1,)."""
    folds = blocks.folds
    kept = [slice(None)] if folds is None else [folds == fold for fold in np.unique(folds)]
    sums = np.zeros((2, len(blocks) + 1))
    for here in kept:
        if y[here].any() and not y[here].all():
            sums += ranking(y[here], scores[here], blocks.of[here], len(blocks))
    return np.where(sums[1] > 0, sums[0] / np.maximum(sums[1], 1), np.nan)


def _auc(
    y: Bools, scores: Floats, block: NDArray[np.intp], n_blocks: int
) -> tuple[Without, Without]:
    """Pairs in order, and pairs: with all items, and without each block.

    Of all pairs of y and scores (n, L) pooled; `block` (n,) of each item.
    """
    of_items = y.sum(axis=1)
    positives = np.bincount(block, of_items, n_blocks)
    negatives = np.bincount(block, y.shape[1] - of_items, n_blocks)
    n_p, n_n = int(positives.sum()), int(negatives.sum())

    def below(values: NDArray[np.intp], of: NDArray[np.intp]) -> Floats:
        """How many of `of` are below each value, and half of those that are equal."""
        ordered = np.sort(of)
        both = [np.searchsorted(ordered, values, side) for side in ("left", "right")]
        return np.asarray(sum(both)) / 2

    total, (of_p, of_n, of_both) = 0.0, np.zeros((3, n_blocks))
    higher, lower = 0, negatives  # positives of the parts before, negatives of the parts behind
    for part in parts(y, scores):
        is_p, own = part.y, block[part.items]
        _, rank = np.unique(part.scores, return_inverse=True)
        key = own * (int(rank.max()) + 1) + rank  # sorts by block, then by score
        p, n = own[is_p], own[~is_p]
        here = np.bincount(n, minlength=n_blocks)
        lower = lower - here
        wins = lower.sum() + below(rank[is_p], rank[~is_p])  # of each positive
        # By positives, of each negative.
        won = higher + len(p) - below(rank[~is_p], rank[is_p])
        before = np.cumsum(here) - here  # negatives in blocks before
        within = lower[p] + below(key[is_p], key[~is_p]) - before[p]
        of_p += np.bincount(p, wins, n_blocks)
        of_n += np.bincount(n, won, n_blocks)
        of_both += np.bincount(p, within, n_blocks)
        total += float(wins.sum())
        higher += len(p)
    pairs = np.append(n_p * n_n, (n_p - positives) * (n_n - negatives)).astype(float)
    return np.append(total, total - of_p - of_n + of_both), pairs


def _ap(
    y: Bools, scores: Floats, block: NDArray[np.intp], n_blocks: int
) -> tuple[Without, Without]:
    """Sums of the precision at each positive, and positives: likewise. Of one column (n, 1)."""
    y, scores = y[:, 0], scores[:, 0]
    thresholds = np.unique(scores[y])[::-1]  # of positives, from the highest down
    at = np.searchsorted(-thresholds, -scores, side="left")  # the first that reaches an item
    hits, claimed, value = (np.zeros(n_blocks + 1) for _ in range(3))
    order = np.argsort(at, kind="stable")
    ends = np.searchsorted(at[order], np.arange(len(thresholds)), side="right")

    def counts(rows: NDArray[np.intp], start: int, n: int) -> Floats:
        """Items at each of n thresholds: with all, and without each block, (n, B + 1)."""
        cells = np.bincount((at[rows] - start) * n_blocks + block[rows], minlength=n * n_blocks)
        own = cells.reshape(n, n_blocks)
        total = own.sum(axis=1, keepdims=True)
        return np.concatenate([total, total - own], axis=1).astype(float)

    for some in row_blocks(len(thresholds), n_blocks + 1):  # a common genre has many of them
        rows = order[ends[some.start - 1] if some.start else 0 : ends[some.stop - 1]]
        n = some.stop - some.start
        more = counts(rows[y[rows]], some.start, n)
        own_hits = hits + more.cumsum(axis=0)
        own_claimed = claimed + counts(rows, some.start, n).cumsum(axis=0)
        terms = more * share(own_hits, own_claimed)
        value = np.concatenate([value[None], terms]).sum(axis=0)
        hits, claimed = own_hits[-1], own_claimed[-1]
    negatives = np.append(0, -np.bincount(block[~y], minlength=n_blocks)) + (~y).sum()
    there = (hits > 0) & (negatives > 0)
    return np.where(there, value, 0), hits * there


class Jackknife(NamedTuple):
    """A figure, its estimated bias and standard error, and degrees of freedom."""

    value: float
    bias: float
    se: float  # NaN: of a single block
    df: float


def jackknife(without: Floats, blocks: Blocks, seeds: Sequence[float] | None = None) -> Jackknife:
    """From the figures (B + 1,) with all items and without each block.

    Blocks without which there is no figure count for nothing. `seeds`: the figure at each seed of
    what was trained, if `without` are means over several; their spread is a further reason why it
    would be another one next time (degrees of freedom: Satterthwaite 1946).
    """
    value, has = float(without[0]), np.isfinite(without[1:])
    sizes, left = blocks.sizes[has], without[1:][has]
    n, total = len(left), sizes.sum()
    if n < 2:
        return Jackknife(value, 0.0, float("nan"), 0)
    centre = n * value - ((1 - sizes / total) * left).sum()
    h = total / sizes
    squares = np.square(h * value - (h - 1) * left - centre) / (h - 1)
    variance, df = float(squares.mean()), float(n - 1)
    if seeds is not None and len(seeds) > 1:
        more = float(np.var(seeds, ddof=1)) / len(seeds)
        if more > 0:
            parts = variance**2 / df + more**2 / (len(seeds) - 1)
            df, variance = (variance + more) ** 2 / parts, variance + more
    # Sums of floats leave differences where there are none.
    se, bias = np.sqrt(variance), value - centre
    tiny = 1e-12 * max(1.0, abs(value))
    return Jackknife(
        value, float(bias) if abs(bias) > tiny else 0.0, float(se) if se > tiny else 0.0, df
    )


def interval(found: Jackknife, n_groups: int, level: float = 0.95) -> tuple[float, float] | None:
    """An interval for a share, from 0 to 1; None where nothing can be said: of a single group.

    By Student's t on the scale of the logit, so that it stays between 0 and 1, around the figure
    less its bias, of which at most one standard error is taken off: the figure lies within. A
    figure of 0 or 1 that no group moves has the exact binomial bound of as many groups (Clopper and
    Pearson 1934).
    """
    from scipy.stats import t

    value, bias, se, df = found
    if not np.isfinite(value) or not np.isfinite(se):
        return None
    if se == 0:
        bound = ((1 - level) / 2) ** (1 / n_groups)
        return (bound, 1.0) if value == 1 else (0.0, 1 - bound) if value == 0 else (value, value)
    bias, slope = float(np.clip(bias, -se, se)), value * (1 - value)
    if slope <= 0:  # at an end although it moves, by what is left out of averages
        low, high = value - bias - t.ppf((1 + level) / 2, df) * se, value - bias
        high += t.ppf((1 + level) / 2, df) * se
        return float(np.clip(low, 0, 1)), float(np.clip(high, 0, 1))
    centre, reach = (
        np.log(value / (1 - value)) - bias / slope,
        t.ppf((1 + level) / 2, df) * se / slope,
    )
    low, high = (float(1 / (1 + np.exp(-end))) for end in (centre - reach, centre + reach))
    return low, high


def difference_interval(found: Jackknife, level: float = 0.95) -> tuple[float, float]:
    """Of a difference of two shares, from -1 to 1; of a single group all of that.

    No bias is taken off: two figures of the same items have much the same.
    """
    from scipy.stats import t

    if not np.isfinite(found.se):
        return -1.0, 1.0
    reach = t.ppf((1 + level) / 2, found.df) * found.se if found.se else 0.0
    return float(max(found.value - reach, -1.0)), float(min(found.value + reach, 1.0))


def p_value(found: Jackknife) -> float:
    """That a difference is 0, on both sides, by Student's t; 1 of a single group."""
    from scipy.stats import t

    if not np.isfinite(found.se):
        return 1.0
    if found.se == 0:
        return 1.0 if found.value == 0 else 0.0
    return float(2 * t.sf(abs(found.value) / found.se, found.df))


def holm(p: Sequence[float]) -> list[float]:
    """P values of several tests, so that any of them is wrongly below .05 in 5 % of cases (1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p, kind="stable")
    raised = np.asarray(p, float)[order] * np.arange(len(p), 0, -1)
    found = np.empty(len(p))
    found[order] = np.minimum(np.maximum.accumulate(raised), 1)
    return [float(value) for value in found]
