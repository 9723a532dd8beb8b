"""The head as a scikit-learn classifier."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

from mmgenre import GenreClassifier


def checks(model: GenreClassifier) -> pytest.MarkDecorator:
    """Every check of scikit-learn by its name."""
    found = estimator_checks_generator(model, legacy=True)
    return pytest.mark.parametrize(
        ("estimator", "check"),
        [pytest.param(*both, id=getattr(both[1], "func", both[1]).__name__) for both in found],
    )


@checks(GenreClassifier(3, kernel=False))
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_scikit_learn_finds_no_fault(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.slow
@checks(GenreClassifier())
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_scikit_learn_finds_no_fault_with_a_kernel(estimator: Any, check: Any) -> None:
    check(estimator)


def overlapping(seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(300, 12)) * np.geomspace(1e-3, 1e3, 12)
    y = x / np.geomspace(1e-3, 1e3, 12) @ rng.normal(size=(12, 4)) + rng.normal(size=(300, 4)) > 0
    return x, y.astype(int)


def test_overlapping_genres_have_a_probability_each() -> None:
    x, y = overlapping()
    model = GenreClassifier().fit(x[:200], y[:200])
    scores = model.predict_proba(x[200:])
    assert scores.shape == (100, 4)
    assert np.array_equal(model.predict(x[200:]), scores > 0.5)
    assert roc_auc_score(y[200:], scores, average="macro") > 0.85


def test_columns_of_unlike_units_do_not_ruin_it() -> None:
    x, y = overlapping()
    plain = LogisticRegression(max_iter=1000)
    of_length_1 = x / np.linalg.norm(x, axis=1, keepdims=True)
    ours, theirs = (
        cross_val_score(model, values, y[:, 0], cv=2).mean()
        for model, values in ((GenreClassifier(), x), (plain, of_length_1))
    )
    assert ours > theirs + 0.05


@pytest.mark.slow
def test_an_artist_is_in_one_fold_only() -> None:
    """Items of an artist are alike, and his genre is luck: nothing can be learned but artists."""
    rng = np.random.default_rng(0)
    artists = np.repeat(np.arange(40), 5)
    x = rng.normal(size=(40, 16))[artists] + 0.01 * rng.normal(size=(200, 16))
    y = rng.integers(0, 2, 40)[artists]
    flattered = GenreClassifier().fit(x, y).choices_["x"]["strength"]
    assert GenreClassifier().fit(x, y, groups=artists).choices_["x"]["strength"] > flattered


def test_few_artists_a_genre_are_enough_to_rank() -> None:
    """Genres of one or two artists, of other sound each: folds without a common one lack genres."""
    for seed in range(3):
        rng = np.random.default_rng(seed)
        own, others = 0.8 * rng.normal(size=(2, 12, 32))
        centres, genre = 0.8 * rng.normal(size=(8, 32)), np.arange(12) % 8
        artist, new = np.repeat(np.arange(12), 4), rng.integers(0, 12, 200)
        x, x_new = (
            centres[genre[of]] + sounds[of] + rng.normal(size=(len(of), 32))
            for of, sounds in ((artist, own), (new, others))
        )
        model = GenreClassifier(kernel=False).fit(x, genre[artist], groups=artist)
        scores = model.predict_proba(x_new)
        assert roc_auc_score(genre[new], scores, multi_class="ovr") > 0.75


@pytest.mark.slow
def test_it_fits_into_a_pipeline_and_is_the_same_every_time() -> None:
    x, y = overlapping()
    one, two = (
        make_pipeline(StandardScaler(), GenreClassifier()).fit(x, y[:, 1]).decision_function(x)
        for _ in range(2)
    )
    assert np.array_equal(one, two)
