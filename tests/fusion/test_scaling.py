"""Scalings of inputs: what each promises of its training rows and of others."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import spearmanr

from mmgenre.fusion.scaling import (
    AS_THEY_ARE,
    CLIP,
    GIVEN,
    KERNEL_DIM,
    KERNELS,
    LEARNED,
    Columns,
    FittedScaling,
    Scaling,
)

Floats = NDArray[np.float32]
ALL = list(dict.fromkeys((AS_THEY_ARE, *LEARNED, *GIVEN, *KERNELS)))
EVERY = pytest.mark.parametrize("scaling", ALL, ids=lambda s: s.name)


def rows(n: int = 300, seed: int = 0) -> Floats:
    """Columns of unlike units and shapes: seconds, shares, counts, and a constant."""
    rng = np.random.default_rng(seed)
    columns = [
        200 + 60 * rng.standard_normal(n),
        rng.random(n) / 100,
        np.exp(2 * rng.standard_normal(n)),
        np.full(n, 7.25),
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def fitted(columns: Columns, x: Floats, **how: bool) -> FittedScaling:
    return FittedScaling.fit(Scaling(columns, **how), x)


def test_as_they_are_they_stay() -> None:
    np.testing.assert_array_equal(FittedScaling.fit(AS_THEY_ARE, rows())(rows(5, 1)), rows(5, 1))


def test_centred_columns_have_the_mean_0_and_keep_their_units() -> None:
    x = rows()
    z = fitted("centred", x)(x)
    np.testing.assert_allclose(z.mean(axis=0) / x.std(axis=0).clip(1e-3), 0, atol=1e-3)
    np.testing.assert_allclose(z.std(axis=0), x.std(axis=0), rtol=1e-3, atol=1e-6)


def test_standard_columns_have_mean_0_and_deviation_1() -> None:
    x = np.random.default_rng(0).standard_normal((400, 3)).astype(np.float32) * [1, 50, 1e-3] + 9
    z = fitted("standard", x.astype(np.float32))(x.astype(np.float32))
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=0.01)
    np.testing.assert_allclose(z.std(axis=0), 1, atol=0.01)


def test_robust_columns_have_the_median_0_whatever_a_few_rows_say() -> None:
    x = rows()[:, :2]
    broken = x.copy()
    broken[:5] = 1e8
    z = fitted("robust", broken)(x)
    np.testing.assert_allclose(np.median(z, axis=0), 0, atol=0.1)
    low, high = np.quantile(z, (0.25, 0.75), axis=0)
    np.testing.assert_allclose(high - low, 1.349, atol=0.1)
    # Of the mean and the deviation, nothing would be left.
    assert fitted("standard", broken)(x).std(axis=0).max() < 0.01


@pytest.mark.parametrize("columns", ["standard", "robust"])
def test_what_lies_beyond_is_clipped(columns: Columns) -> None:
    scaling = fitted(columns, rows())
    far = np.array([[1e9] * 4, [-1e9] * 4], np.float32)
    np.testing.assert_array_equal(scaling(far), [[CLIP] * 4, [-CLIP] * 4])


def test_ranks_are_monotone_and_normal_whatever_the_shape() -> None:
    x = rows(1000)
    z = fitted("ranks", x)(x)
    for column in range(3):
        assert spearmanr(x[:, column], z[:, column]).statistic > 0.999
        order = np.argsort(x[:, column], kind="stable")
        assert (np.diff(z[order, column]) >= 0).all()
        assert z[:, column].mean() == pytest.approx(0, abs=0.05)
        assert z[:, column].std() == pytest.approx(1, abs=0.1)
    # The skewed column becomes what its logarithm does.
    skewed, straight = x[:, 2:3], np.log(x[:, 2:3])
    np.testing.assert_allclose(
        fitted("ranks", skewed)(skewed), fitted("ranks", straight)(straight), atol=0.15
    )  # a value between two quantiles may pass one


def test_ranks_do_not_mind_outliers() -> None:
    x = rows(400)[:, :3]
    broken = x.copy()
    broken[0] = 1e30
    kept = slice(1, None)
    one, other = fitted("ranks", x)(x), fitted("ranks", broken)(broken)
    apart = np.abs(one[kept] - other[kept])
    assert apart.mean() < 0.01
    assert apart.max() < 0.5  # the outermost hundredths
    assert np.abs(other).max() < 3


def test_ties_share_a_middle() -> None:
    x = np.repeat([[0.0], [1.0]], (300, 100), axis=0).astype(np.float32)
    z = fitted("ranks", x)(x)
    low, high = np.unique(z)
    assert low == pytest.approx(-0.319, abs=0.02)  # the normal deviate of 3/8, the middle of 0..3/4
    assert high == pytest.approx(1.15, abs=0.03)  # that of 7/8


@EVERY
def test_a_constant_column_is_0_and_nothing_is_infinite(scaling: Scaling) -> None:
    made = FittedScaling.fit(scaling, rows())
    z = made(rows(50, 1))
    assert np.isfinite(z).all()
    assert z.dtype == np.float32
    if not scaling.kernel and scaling != AS_THEY_ARE:
        np.testing.assert_allclose(z[:, 3], 0, atol=1e-6)
    one = FittedScaling.fit(scaling, rows(1)).of_length_1(rows(1))  # of a single row
    assert np.isfinite(one(rows(3))).all()


@EVERY
def test_saved_arrays_give_the_same(scaling: Scaling) -> None:
    made = FittedScaling.fit(scaling, rows()).of_length_1(rows())
    again = FittedScaling(scaling, {name: array.copy() for name, array in made.arrays.items()})
    np.testing.assert_array_equal(made(rows(20, 1)), again(rows(20, 1)))


@EVERY
def test_rows_have_length_1_on_average(scaling: Scaling) -> None:
    z = FittedScaling.fit(scaling, rows()).of_length_1(rows())(rows())
    lengths = np.linalg.norm(z, axis=1)
    assert np.sqrt((lengths**2).mean()) == pytest.approx(1, abs=1e-3)
    if scaling.unit:
        np.testing.assert_allclose(lengths, 1, atol=1e-5)


@EVERY
def test_a_row_does_not_depend_on_those_beside_it(scaling: Scaling) -> None:
    made, x = FittedScaling.fit(scaling, rows()).of_length_1(rows()), rows(9, 1)
    each = np.concatenate([made(x[k : k + 1]) for k in range(len(x))])
    np.testing.assert_allclose(made(x), each, atol=1e-5)


@pytest.mark.parametrize("scaling", KERNELS, ids=lambda s: s.name)
def test_kernel_features_have_the_inner_products_of_an_rbf_kernel(scaling: Scaling) -> None:
    x = rows(40)[:, :3]
    plain = FittedScaling.fit(Scaling(scaling.columns), x)(x).astype(np.float64)
    z = FittedScaling.fit(scaling, x)(x)
    assert z.shape == (40, KERNEL_DIM)
    apart = ((plain[:, None] - plain[None]) ** 2).mean(axis=2)  # a column counts as another
    np.testing.assert_allclose(z @ z.T / (KERNEL_DIM / 2), np.exp(-apart / 2), atol=0.08)


def test_names_say_what_is_done() -> None:
    assert Scaling("standard", kernel=True).name == "standard, kernel"
    assert Scaling("centred", unit=True).name == "centred, length 1"
    assert len({scaling.name for scaling in ALL}) == len(ALL)


@pytest.mark.parametrize("factor", [1e30, 1e-20])
@pytest.mark.parametrize("scaling", [*GIVEN, *LEARNED, *KERNELS])
def test_units_do_not_matter(scaling: Scaling, factor: float) -> None:
    """Squares of such numbers are infinite or 0 in float32."""
    x = np.random.default_rng(0).standard_normal((40, 6)).astype(np.float32)
    x[:, 0] = 0
    plain, far = (
        FittedScaling.fit(scaling, rows).of_length_1(rows)(rows)
        for rows in (x, x * np.float32(factor))
    )
    np.testing.assert_allclose(far, plain, rtol=1e-3, atol=1e-4)


def test_a_robust_column_that_is_mostly_one_value_has_its_deviation() -> None:
    x = np.zeros((100, 1), np.float32)
    x[:5] = 1e-9
    z = FittedScaling.fit(Scaling("robust"), x)(x)
    assert z[:5].min() > 1
