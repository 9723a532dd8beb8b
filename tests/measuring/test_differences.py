"""Paired differences over artists against plain loops over the rows that are left."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t

from mmgenre.measuring import metrics
from mmgenre.measuring.differences import (
    MACRO_METRICS,
    Difference,
    Pair,
    groups_of,
    macro_f1,
    macro_roc_auc,
    paired_difference,
)
from mmgenre.measuring.metrics import Bools, Floats

PLAIN: dict[str, Callable[[Bools, Floats], float]] = {
    "macro_f1": lambda y, s: metrics.macro(
        metrics.precision_recall_f1(y, metrics.argmax_one_hot(s))[2]
    ),
    "macro_roc_auc": lambda y, s: metrics.macro(metrics.roc_auc(y, s)),
    "macro_pr_auc": lambda y, s: metrics.macro(metrics.average_precision(y, s)),
}
EVERY_METRIC = pytest.mark.parametrize("name", MACRO_METRICS)


def draw(seed: int, n: int = 40, n_labels: int = 5, n_groups: int = 12) -> Pair:
    """Few positives, many ties; one artist alone has the last label."""
    rng = np.random.default_rng(seed)
    y = rng.random((n, n_labels)) < 0.25
    y[:, -1] = np.arange(n) == 3
    noise = rng.random((2, n, n_labels))
    ours: Floats = np.round(noise[0] + 0.4 * y, 1).astype(np.float64)
    theirs: Floats = np.round(noise[1] + 0.2 * y, 1).astype(np.float64)
    groups = [f"artist {k}" for k in rng.integers(n_groups, size=n)]
    return Pair(y, ours, theirs, groups)


def draw_exclusive(seed: int, n: int = 40, n_labels: int = 5, n_groups: int = 12) -> Pair:
    pair = draw(seed, n, n_labels, n_groups)
    truth = np.random.default_rng(seed).integers(n_labels, size=n)
    return replace(pair, y=np.eye(n_labels, dtype=bool)[truth])


def swapped(pair: Pair) -> Pair:
    return replace(pair, ours=pair.theirs, theirs=pair.ours)


def taken(pair: Pair, rows: list[int]) -> Pair:
    """The pair on some of its items."""
    groups = [pair.groups[k] for k in rows]
    return Pair(pair.y[rows], pair.ours[rows], pair.theirs[rows], groups)


def slow(name: str, pairs: list[Pair]) -> tuple[float, float, float]:
    """Leaves out one group after the other, and measures what is left."""
    names = sorted({group for pair in pairs for group in pair.groups})

    def difference(without: str | None) -> float:
        found = []
        for pair in pairs:
            rows = [k for k, g in enumerate(pair.groups) if g != without]
            ours, theirs = (PLAIN[name](pair.y[rows], s[rows]) for s in (pair.ours, pair.theirs))
            found += [] if math.isnan(ours - theirs) else [ours - theirs]
        return sum(found) / len(found) if found else math.nan

    n, value = len(names), difference(None)
    left = np.array([difference(own) for own in names])
    se = math.sqrt((n - 1) / n * np.square(left - left.mean()).sum())
    reach = float(t.ppf(0.975, n - 1)) * se
    return value, value - reach, value + reach


def numbers(found: Difference) -> tuple[float, float, float]:
    return found.value, found.low, found.high


@EVERY_METRIC
@pytest.mark.parametrize("exclusive", [False, True])
def test_a_slow_loop_finds_the_same(name: str, exclusive: bool) -> None:
    # Splits of one catalogue: some artists are in both.
    pairs = [(draw_exclusive if exclusive else draw)(seed) for seed in (1, 2)]
    pairs[1] = replace(pairs[1], groups=[g.replace("artist 1", "other 1") for g in pairs[1].groups])
    found = paired_difference(pairs, MACRO_METRICS[name])
    assert numbers(found) == pytest.approx(slow(name, pairs), abs=1e-12)


@EVERY_METRIC
def test_equal_scores_do_not_differ(name: str) -> None:
    pair = draw(0)
    found = paired_difference([replace(pair, theirs=pair.ours)], MACRO_METRICS[name])
    assert numbers(found) == (0.0, 0.0, 0.0)
    assert found.verdict == "indistinguishable"


@EVERY_METRIC
def test_perfect_scores_win_against_random_ones(name: str) -> None:
    pair = draw_exclusive(0, n=200)
    pair = replace(
        pair, ours=pair.y.astype(float), theirs=np.random.default_rng(0).random((200, 5))
    )
    assert paired_difference([pair], MACRO_METRICS[name]).verdict == "won"
    assert paired_difference([swapped(pair)], MACRO_METRICS[name]).verdict == "lost"


@EVERY_METRIC
def test_swapping_the_sides_negates(name: str) -> None:
    pairs = [draw(seed) for seed in range(3)]
    found = paired_difference(pairs, MACRO_METRICS[name])
    other = paired_difference([swapped(pair) for pair in pairs], MACRO_METRICS[name])
    assert numbers(found) == pytest.approx((-other.value, -other.high, -other.low), abs=1e-12)


def test_one_artist_with_all_items_tells_nothing() -> None:
    pair = replace(draw(0), groups=["the only artist"] * 40)
    found = paired_difference([pair], macro_roc_auc)
    assert found.value != 0
    assert (found.low, found.high, found.p, found.n_groups) == (-1, 1, 1, 1)
    assert found.verdict == "indistinguishable"


def test_large_artists_widen_the_interval() -> None:
    """Copies of an artist's one item are no further evidence."""
    one = draw(0, n=60)
    one = replace(one, groups=[str(k) for k in range(60)])
    copied = taken(one, [k for k in range(60) for _ in range(5)])
    by_artist = paired_difference([copied], macro_f1)
    assert numbers(by_artist) == pytest.approx(numbers(paired_difference([one], macro_f1)))
    by_item = paired_difference([replace(copied, groups=list(map(str, range(300))))], macro_f1)
    assert by_item.high - by_item.low < 0.7 * (by_artist.high - by_artist.low)


def test_the_order_of_items_and_pairs_does_not_matter() -> None:
    pairs = [draw(seed) for seed in range(2)]
    found = paired_difference(pairs, macro_roc_auc)
    order = np.random.default_rng(0).permutation(40).tolist()
    mixed = [taken(pair, order) for pair in reversed(pairs)]
    again = paired_difference(mixed, macro_roc_auc)
    assert numbers(again) == pytest.approx(numbers(found), abs=1e-12)


def test_the_interval_covers_a_known_difference() -> None:
    """Of 60 samples of artists some 57 intervals should have the true difference."""
    population = draw_exclusive(7, n=4000, n_groups=1000)
    truth = paired_difference([population], macro_roc_auc).value
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(60):
        drawn = {f"artist {k}" for k in rng.choice(1000, size=60, replace=False)}
        rows = [k for k, g in enumerate(population.groups) if g in drawn]
        found = paired_difference([taken(population, rows)], macro_roc_auc)
        covered += found.low <= truth <= found.high
    assert 51 <= covered <= 60


def test_artists_are_folded_and_unknown_ones_stand_alone() -> None:
    groups = groups_of(["1", "2", "3", "4", "5"], ["Sigur Rós", "SIGUR  ROS", "", " ", "1"])
    assert groups[0] == groups[1]
    assert len(set(groups)) == 4


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"ours": np.zeros((40, 4))}, "both must be"),
        ({"theirs": np.full((40, 5), np.nan)}, "NaN or infinite"),
        ({"groups": ["a"] * 39}, "39 groups for 40 items"),
    ],
)
def test_sides_that_do_not_fit_are_refused(change: dict[str, object], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        replace(draw(0), **change)  # type: ignore[arg-type]


def test_what_cannot_be_measured_is_refused() -> None:
    pair = replace(draw(0), y=np.zeros((40, 5), dtype=bool))
    with pytest.raises(ValueError, match="1 pairs of scores: no label has a value"):
        paired_difference([pair], macro_roc_auc)
    with pytest.raises(ValueError, match="0 pairs"):
        paired_difference([], macro_roc_auc)


def test_three_splits_of_many_genres_take_no_second() -> None:
    pairs = [draw(seed, n=200, n_labels=20, n_groups=120) for seed in range(3)]
    started = time.process_time()
    paired_difference(pairs, macro_roc_auc)
    assert time.process_time() - started < 2  # 0.03 s on a free core
