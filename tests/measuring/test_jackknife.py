"""The jackknife in closed form against leaving out, and what intervals and tests promise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from mmgenre.measuring import jackknife as jk
from mmgenre.measuring import metrics

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
# Items, labels, artists, and whether scores tie.
SIZES = [(60, 5, 12, True), (200, 7, 150, False), (40, 3, 3, True), (30, 4, 1, True)]
CLOSED: dict[str, tuple[Callable[..., Floats], Callable[..., Floats | float]]] = {
    "ROC-AUC": (jk.roc_auc, metrics.roc_auc),
    "AP": (jk.average_precision, metrics.average_precision),
    "micro ROC-AUC": (jk.micro_roc_auc, lambda y, s: metrics.micro(metrics.roc_auc, y, s)),
    "F1": (
        lambda y, s, b: jk.f1(y, s > 0.5, b),
        lambda y, s: metrics.precision_recall_f1(y, s > 0.5)[2],
    ),
    "sample F1": (
        lambda y, s, b: jk.mean(metrics.sample_precision_recall_f1(y, s > 0.5)[2], b),
        lambda y, s: metrics.sample_precision_recall_f1(y, s > 0.5)[2].mean(),
    ),
}


def drawn(
    n: int, n_labels: int, n_artists: int, ties: bool, seed: int = 0
) -> tuple[Bools, Floats, jk.Blocks]:
    rng = np.random.default_rng(seed)
    y = rng.random((n, n_labels)) < 0.25
    y[:, -1] = np.arange(n) == 3  # one item's alone
    scores: Floats = rng.standard_normal((n, n_labels)) + y
    groups = [f"artist {k}" for k in rng.integers(0, n_artists, n)]
    return y, np.round(scores) if ties else scores, jk.blocks_of(groups)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", CLOSED)
def test_it_is_what_is_measured_without_each_block(
    name: str, size: tuple[int, int, int, bool]
) -> None:
    y, scores, blocks = drawn(*size)
    closed, plain = CLOSED[name]
    left = [plain(y, scores)]
    for k in range(len(blocks)):
        kept = blocks.of != k
        left.append(plain(y[kept], scores[kept]) if kept.any() else np.nan * np.asarray(left[0]))
    found = closed(y, scores, blocks)
    if len(blocks) > 1:
        np.testing.assert_allclose(found, np.array(left), atol=1e-12)
    np.testing.assert_allclose(found[0], left[0], atol=1e-12)


def test_blocks_share_artists_evenly() -> None:
    few = jk.blocks_of(["b", "a", "b", "c"])
    assert few.of.tolist() == [1, 0, 1, 2]
    assert few.n_groups == 3
    many = jk.blocks_of([str(k // 2) for k in range(500)])
    assert (len(many), many.n_groups) == (jk.MOST_BLOCKS, 250)
    assert set(many.sizes.tolist()) == {2, 3}
    assert (many.of[::2] == many.of[1::2]).all()  # an artist's items go together


def test_of_a_mean_it_is_the_textbook() -> None:
    x = np.random.default_rng(0).standard_normal(80)
    blocks = jk.blocks_of([str(k) for k in range(80)])
    found = jk.jackknife(jk.mean(x, blocks), blocks)
    assert found.value == pytest.approx(x.mean())
    assert found.bias == pytest.approx(0, abs=1e-12)
    assert found.se == pytest.approx(x.std(ddof=1) / np.sqrt(80))
    assert found.df == 79


def test_blocks_of_unlike_sizes_say_much_the_same() -> None:
    x = np.random.default_rng(0).standard_normal(150)
    blocks = jk.blocks_of([str(k) for k in range(150)])
    assert set(blocks.sizes.tolist()) == {1, 2}
    found = jk.jackknife(jk.mean(x, blocks), blocks)
    assert found.se == pytest.approx(x.std(ddof=1) / np.sqrt(150), rel=0.2)


def test_a_bias_is_found() -> None:
    """The variance with n below has a known one; the jackknife takes it off exactly."""
    x = np.random.default_rng(0).standard_normal(30)
    blocks = jk.blocks_of([f"{k:02d}" for k in range(30)])
    left = np.array([x.var(), *(np.delete(x, k).var() for k in range(30))])
    found = jk.jackknife(left, blocks)
    assert found.value - found.bias == pytest.approx(x.var(ddof=1))


def test_seeds_widen_it_and_cost_degrees_of_freedom() -> None:
    y, scores, blocks = drawn(200, 4, 60, False)
    without = jk.macro(jk.roc_auc(y, scores, blocks))
    alone = jk.jackknife(without, blocks)
    alike = jk.jackknife(without, blocks, [0.7, 0.7, 0.7])
    apart = jk.jackknife(without, blocks, [0.6, 0.7, 0.8])
    assert alike == alone
    assert apart.se == pytest.approx(np.hypot(alone.se, 0.1 / np.sqrt(3)))
    assert 2 < apart.df < alone.df


def test_intervals_stay_between_0_and_1_and_hold_the_figure() -> None:
    for seed in range(20):
        y, scores, blocks = drawn(40, 4, 15, False, seed)
        for without in (
            jk.macro(jk.roc_auc(y, scores + 3 * y, blocks)),
            jk.macro(jk.average_precision(y, scores, blocks)),
        ):
            found = jk.interval(jk.jackknife(without, blocks), blocks.n_groups)
            assert found is not None
            low, high = found
            assert 0 <= low <= without[0] <= high <= 1


def test_what_no_artist_moves_is_as_sure_as_there_are_artists() -> None:
    blocks = jk.blocks_of([str(k // 2) for k in range(20)])
    right = jk.jackknife(jk.mean(np.ones(20), blocks), blocks)
    assert (right.value, right.se) == (1, 0)
    low, high = jk.interval(right, 10) or (0, 0)
    assert low == pytest.approx(0.025 ** (1 / 10))
    assert high == 1


def test_of_one_artist_nothing_is_said() -> None:
    y, scores, blocks = drawn(30, 4, 1, False)
    found = jk.jackknife(jk.macro(jk.roc_auc(y, scores, blocks)), blocks)
    assert jk.interval(found, blocks.n_groups) is None
    assert jk.difference_interval(found) == (-1, 1)
    assert jk.p_value(found) == 1


def test_holm_is_as_scipy_s_step_down() -> None:
    p = np.random.default_rng(0).random(12) ** 3
    order = np.argsort(p)
    expected = np.empty(12)
    worst = 0.0
    for k, j in enumerate(order):
        worst = max(worst, min(1.0, (12 - k) * p[j]))
        expected[j] = worst
    assert jk.holm(p.tolist()) == pytest.approx(expected.tolist())
    assert jk.holm([]) == []


def test_it_agrees_with_the_bootstrap_over_artists() -> None:
    """Of many artists: the deviation of 400 draws is the standard error."""
    y, scores, blocks = drawn(600, 4, 100, False)
    y[:, -1] = np.arange(600) % 5 == 0
    found = jk.jackknife(jk.macro(jk.roc_auc(y, scores, blocks)), blocks)
    rng = np.random.default_rng(1)
    rows = [np.flatnonzero(blocks.of == k) for k in range(len(blocks))]
    draws = []
    for _ in range(400):
        own = np.concatenate([rows[k] for k in rng.integers(0, len(rows), len(rows))])
        draws.append(metrics.macro(metrics.roc_auc(y[own], scores[own])))
    assert found.se == pytest.approx(np.std(draws), rel=0.15)


@pytest.mark.slow
def test_intervals_and_tests_keep_what_they_say() -> None:
    """`tests/benchmarks/intervals.py` in small; 300 sets: deviation of a share of .95 is .013."""
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
    import intervals as bench

    world = bench.WORLDS[1]
    y, [s], _ = bench.draw(world, bench.HUGE, np.random.default_rng(99), (0.0,))
    held = dict.fromkeys(bench.FIGURES, 0)
    for k in range(300):
        y_k, [s_k], artist = bench.draw(world, 100, np.random.default_rng((100, k)), (0.0,))
        blocks = bench.blocks(artist)
        for name, figure in bench.FIGURES.items():
            found = jk.jackknife(figure(world, y_k, s_k, blocks), blocks)
            low, high = jk.interval(found, blocks.n_groups) or (0, 0)
            held[name] += low <= bench.whole(name, world, y, s) <= high
    assert all(275 <= n <= 296 for n in held.values()), held
