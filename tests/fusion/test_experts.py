"""Experts: chosen by folds, which know nothing of what they are tested on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from mmgenre.fusion import experts
from mmgenre.fusion.experts import (
    STRENGTHS,
    Task,
    fit_expert,
    fit_joined,
    joined,
    quality_of,
    refitted,
    scores_of,
    taken_expert,
)
from mmgenre.fusion.scaling import GIVEN, KERNELS, LEARNED, FittedScaling, Scaling
from mmgenre.fusion.solve import ROUGHLY, Linear, solve_path
from mmgenre.fusion.table import FeatureTable
from mmgenre.learning.settings import TargetConfig
from mmgenre.learning.targets import make_target
from mmgenre.measuring import metrics

Floats = NDArray[np.float32]
N_LABELS, N_FOLDS = 3, 4
CENTRED = (Scaling("centred"),)


def table_of(present: dict[str, NDArray[np.bool_]] | None = None, **x: Floats) -> FeatureTable:
    n = len(next(iter(x.values())))
    here = {name: np.ones(n, dtype=bool) for name in x} | (present or {})
    rows = {name: np.where(here[name][:, None], v, 0).astype(np.float32) for name, v in x.items()}
    return FeatureTable(tuple(f"i{k}" for k in range(n)), rows, here)


def task_of(y: NDArray[np.bool_], *, exclusive: bool = False, head: str = "logistic") -> Task:
    config = TargetConfig.model_validate({"name": head, "dim": 2})
    target = make_target(config, y.shape[1], exclusive=exclusive)
    target.fit(y)
    folds = np.arange(len(y)) % N_FOLDS
    return Task(target, y, folds, quality_of(target, exclusive=exclusive))


def planted(n: int = 160, seed: int = 0, columns: int = 6) -> tuple[Floats, NDArray[np.bool_]]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, columns)).astype(np.float32)
    z = 2 * x[:, :N_LABELS] + rng.logistic(size=(n, N_LABELS))
    return x, z > 0.5


def noise(n: int = 160, seed: int = 7, columns: int = 6) -> Floats:
    return np.random.default_rng(seed).standard_normal((n, columns)).astype(np.float32)


def auc(y: NDArray[np.bool_], z: Floats) -> float:
    return metrics.macro(metrics.roc_auc(y, z.astype(np.float64)))


def test_outputs_are_those_of_the_solution_without_the_item_s_fold() -> None:
    x, y = planted()
    task = task_of(y)
    found = fit_expert(table_of(a=x), "a", task, CENTRED)
    assert found.outputs is not None
    assert found.strength in STRENGTHS
    rows = found.expert.scalings["a"](x)
    goals = task.target.targets(y)
    stronger = [s for s in STRENGTHS if s >= found.strength]
    for fold in range(N_FOLDS):
        out = task.folds == fold
        *_, alone = solve_path(rows[~out], goals[~out], task.target, stronger, ROUGHLY)
        expected = alone(rows[out]) + task.shift(out)
        np.testing.assert_allclose(found.outputs[out], expected, atol=1e-4)
    *_, whole = solve_path(rows, goals, task.target, stronger)
    np.testing.assert_allclose(found.expert(table_of(a=x)), whole(rows), atol=1e-4)


def test_labels_of_a_fold_do_not_change_what_is_said_of_it() -> None:
    x, y = planted()
    task, table = task_of(y), table_of(a=x)
    own = task.folds == 2
    other = y.copy()
    other[own] = ~other[own]
    # At one strength and one scaling, for these are chosen by all folds.
    before, after = (
        next(iter(solve_path(x[~own], task.target.targets(labels)[~own], task.target, [1.0])))(
            x[own]
        )
        for labels in (y, other)
    )
    np.testing.assert_array_equal(before, after)
    found, changed = (
        fit_expert(table, "a", task, CENTRED),
        fit_expert(table, "a", Task(task.target, other, task.folds, task.quality), CENTRED),
    )
    assert found.outputs is not None
    assert changed.outputs is not None
    if found.strength == changed.strength:
        np.testing.assert_allclose(found.outputs[own], changed.outputs[own], atol=1e-5)
    assert not np.allclose(found.outputs[~own], changed.outputs[~own], atol=1e-2)


@pytest.mark.parametrize("head", ["logistic", "cosine"])
def test_of_labels_that_are_noise_cross_fitted_outputs_are_at_chance(head: str) -> None:
    """Many columns, few items: the solution names every training item, and the others by luck."""
    x, y = noise(80, columns=200), np.random.default_rng(1).random((80, N_LABELS)) < 0.4
    task = task_of(y, head=head)
    found = fit_expert(table_of(a=x), "a", task, CENTRED)
    assert found.outputs is not None
    assert auc(y, scores_of(task.target, found.outputs).astype(np.float32)) < 0.68
    seen = scores_of(task.target, found.expert(table_of(a=x)))
    assert auc(y, seen.astype(np.float32)) > 0.78


def test_items_without_the_input_teach_nothing_and_have_no_outputs() -> None:
    x, y = planted()
    here = np.arange(len(x)) % 5 != 0
    found = fit_expert(table_of({"a": here}, a=x), "a", task_of(y), LEARNED)
    flipped = y.copy()
    flipped[~here] = ~flipped[~here]
    task = task_of(y)
    again = fit_expert(
        table_of({"a": here}, a=x),
        "a",
        Task(task.target, flipped, task.folds, task.quality),
        LEARNED,
    )
    assert found.outputs is not None
    assert again.outputs is not None
    assert np.isnan(found.outputs[~here]).all()
    assert np.isfinite(found.outputs[here]).all()
    np.testing.assert_array_equal(found.expert.linear.weight, again.expert.linear.weight)
    np.testing.assert_array_equal(found.outputs[here], again.outputs[here])


def test_of_many_items_one_fold_chooses_and_all_others_teach(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(experts, "MANY_ITEMS", 50)
    x, y = planted()
    task = task_of(y)
    found = fit_expert(table_of(a=x), "a", task, CENTRED)
    assert found.outputs is not None
    here = np.asarray(np.isfinite(found.outputs).all(axis=1))
    np.testing.assert_array_equal(here, task.folds == 0)
    # For what is fitted on these outputs, the items of the one fold are divided anew.
    assert len(np.unique(task.of(here).folds)) == experts.FOLDS


@pytest.mark.parametrize("n", [1, 2, 7])
def test_items_of_one_fold_are_divided_one_by_one(n: int) -> None:
    """As where all of them are by one artist."""
    x, y = planted()
    own = np.zeros(len(x), dtype=bool)
    own[np.flatnonzero(task_of(y).folds == 1)[:n]] = True
    found = fit_expert(table_of({"a": own}, a=x), "a", task_of(y), CENTRED)
    assert found.outputs is not None
    assert np.isfinite(found.outputs[own]).all() == (n > 1)
    assert np.isfinite(found.expert(table_of(a=x))).all()


def test_the_scaling_is_chosen_that_cross_validates_best() -> None:
    """A column of huge values hides the others from all but the scalings of columns."""
    x, y = planted(columns=3)
    broken = np.column_stack([x, 1e4 * noise(columns=1)]).astype(np.float32)
    found = fit_expert(table_of(a=broken), "a", task_of(y), (Scaling("centred"), *GIVEN[:3]))
    assert found.scaling in {scaling.name for scaling in GIVEN[:3]}
    plain = fit_expert(table_of(a=broken), "a", task_of(y), (Scaling("centred"),))
    assert found.outputs is not None
    assert plain.outputs is not None
    assert auc(y, found.outputs) > auc(y, plain.outputs) + 0.05


@pytest.mark.slow
def test_a_kernel_finds_what_no_line_divides() -> None:
    x = noise(300, columns=2)
    y = np.stack([x[:, 0] * x[:, 1] > 0, x[:, 0] > 0, (x**2).sum(axis=1) > 1.4], axis=1)
    outputs = [
        fit_expert(table_of(a=x), "a", task_of(y), kinds).outputs
        for kinds in (GIVEN[:1], KERNELS[:1])
    ]
    line, kernel = (auc(y, o) for o in outputs if o is not None)
    assert kernel > 0.9 > line


def both(n: int = 160) -> tuple[FeatureTable, Task]:
    x, y = planted(n)
    return table_of(a=x, t=noise(n)), task_of(y)


def alone(table: FeatureTable, task: Task, names: Sequence[str]) -> dict[str, object]:
    return {name: fit_expert(table, name, task, CENTRED) for name in names}


def test_an_input_that_says_nothing_fades_out_of_concatenation() -> None:
    table, task = both()
    each = {name: fit_expert(table, name, task, CENTRED) for name in ("a", "t")}
    found = fit_joined(table, each, task)
    assert found.expert.inputs == ("a", "t")
    assert found.expert.factors["t"] <= found.expert.factors["a"]
    assert found.outputs is not None
    assert each["a"].outputs is not None
    assert auc(task.y, found.outputs) > auc(task.y, each["a"].outputs) - 0.01
    # What a change of an input by one deviation moves: of the useless one, little.
    weight = found.expert.linear.weight
    said = [
        np.linalg.norm(weight[k : k + 6] * found.expert.factors[m]) for k, m in ((0, "a"), (6, "t"))
    ]
    assert said[1] < 0.35 * said[0]


def test_absent_inputs_are_zeros_and_a_flag() -> None:
    x, _ = planted(6)
    here = np.array([1, 1, 0, 1, 0, 1], dtype=bool)
    table = table_of({"t": here}, a=x, t=noise(6))
    scalings = {n: FittedScaling.fit(Scaling("centred"), table.x[n]) for n in ("a", "t")}
    rows = joined(table, scalings, {"a": 1.0, "t": 2.0})
    assert rows.shape == (6, 6 + 6 + 2)
    np.testing.assert_array_equal(rows[:, 12], 0)
    np.testing.assert_array_equal(rows[:, 13], ~here)
    np.testing.assert_array_equal(rows[~here, 6:12], 0)
    np.testing.assert_allclose(rows[here, 6:12], 2 * scalings["t"](table.x["t"])[here], rtol=1e-5)
    assert joined(table, {"a": scalings["a"]}, {"a": 1.0}).shape == (6, 6)  # alone: no flag


def test_garbage_in_absent_rows_never_matters() -> None:
    x, y = planted()
    here = np.arange(len(x)) % 3 != 0
    task, outputs = task_of(y), []
    for garbage in (0.0, 1e9):
        table = table_of({"t": here}, a=x, t=noise())
        table.x["t"][~here] = garbage
        each = {name: fit_expert(table, name, task, CENTRED) for name in ("a", "t")}
        outputs.append(fit_joined(table, each, task).expert(table))
    np.testing.assert_array_equal(outputs[0], outputs[1])


def test_an_encoder_s_own_layer_is_taken_as_it_is() -> None:
    x, _ = planted(5)
    linear = Linear(noise(6, columns=N_LABELS), np.arange(N_LABELS, dtype=np.float32))
    found = taken_expert("a", linear, None)
    np.testing.assert_allclose(found.expert(table_of(a=x)), x @ linear.weight + linear.bias)
    assert (found.strength, found.outputs) == (None, None)


def test_refitted_the_scaling_stays_and_the_weights_are_of_all_items() -> None:
    x, y = planted(300)
    first = table_of(a=x[:150])
    task = task_of(y[:150])
    found = fit_expert(first, "a", task, CENTRED)
    assert found.strength is not None
    whole, of_whole = table_of(a=x), task_of(y)
    again = refitted(found.expert, found.strength, whole, of_whole)
    assert again.scalings is found.expert.scalings
    rows = again.scalings["a"](x)
    stronger = [s for s in STRENGTHS if s >= found.strength]
    *_, expected = solve_path(rows, of_whole.target.targets(y), of_whole.target, stronger)
    np.testing.assert_allclose(again.linear.weight, expected.weight, atol=1e-5)
    assert not np.allclose(again.linear.weight, found.expert.linear.weight, atol=1e-3)


@pytest.mark.parametrize("exclusive", [False, True])
def test_quality_is_the_mean_of_the_figures_that_tables_show(exclusive: bool) -> None:
    rng = np.random.default_rng(0)
    y = np.eye(N_LABELS, dtype=bool)[rng.integers(0, N_LABELS, 60)]
    z = (2 * y + rng.standard_normal(y.shape)).astype(np.float32)
    task = task_of(y, exclusive=exclusive)
    scores = scores_of(task.target, z)
    figures = [metrics.macro(metrics.roc_auc(y, scores))]
    if exclusive:
        named = metrics.argmax_one_hot(scores)
        figures.append(metrics.macro(metrics.precision_recall_f1(y, named)[2]))
    else:
        figures.append(metrics.macro(metrics.average_precision(y, scores)))
    assert task.quality_of(z) == pytest.approx(np.mean(figures))
    assert task.quality_of((50 * (y - 0.5)).astype(np.float32)) == pytest.approx(1)
    assert task.exclusive == exclusive


@pytest.mark.parametrize("exclusive", [False, True])
def test_a_genre_of_one_fold_is_not_judged(exclusive: bool) -> None:
    """Whoever hears its only artist for the first time cannot name it."""
    y = np.eye(N_LABELS, dtype=bool)[np.arange(80) % N_LABELS]
    task = replace(task_of(y, exclusive=exclusive), folds=np.arange(80) // 4 % N_FOLDS)
    y[:, 2] = task.folds == 1
    y[y[:, 2], :2] = False
    task = replace(task, y=y)
    assert task.judged().tolist() == [True, True, False]
    assert replace(task, known=True).judged().all()
    z = (2 * y + np.random.default_rng(0).standard_normal(y.shape)).astype(np.float32)
    found = task.quality_of(z)
    z[y[:, 2], 2] = -9
    assert task.quality_of(z) == found
    assert replace(task, known=True).quality_of(z) < found - 0.1


@pytest.mark.parametrize("exclusive", [False, True])
def test_shares_of_a_fold_do_not_speak_against_its_genres(exclusive: bool) -> None:
    """Vectors say nothing, and a fold has mostly one genre: its own expert has the lowest bias."""
    y = np.eye(N_LABELS, dtype=bool)[np.arange(90) // 30]
    rng = np.random.default_rng(0)
    folds = np.where(rng.random(90) < 0.8, np.arange(90) // 30, rng.integers(0, N_LABELS, 90))
    task = replace(task_of(y, exclusive=exclusive), folds=folds)
    found = fit_expert(table_of(a=noise(90, columns=2)), "a", task, CENTRED)
    assert found.outputs is not None
    shifted, _ = task.auc(found.outputs)
    bare = found.outputs.copy()
    for fold in range(N_LABELS):
        bare[folds == fold] -= task.shift(folds == fold)
    plain, chance = task.auc(bare)
    assert chance is not None
    assert plain < 0.3
    assert plain + 0.1 < shifted < chance
