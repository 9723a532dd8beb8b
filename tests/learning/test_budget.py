"""Budgets in steps: small sets are passed over often, large ones are evaluated within an epoch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mmgenre.learning.budget import Budget, batches_of
from mmgenre.learning.settings import TrainingConfig


def rows_of(budget: Budget, seed: int = 0) -> list[list[list[int]]]:
    """The rows of each step of each round."""
    return [
        [b.tolist() for b in budget.batches(k, seed, np.random.default_rng((seed, k)))]
        for k in range(1, budget.rounds + 1)
    ]


@given(
    n=st.integers(1, 3000),
    batch_size=st.integers(1, 64),
    max_epochs=st.integers(1, 40),
    patience=st.integers(1, 9),
)
def test_without_steps_a_round_is_an_epoch(
    n: int, batch_size: int, max_epochs: int, patience: int
) -> None:
    config = TrainingConfig(batch_size=batch_size, max_epochs=max_epochs, patience=patience)
    budget = Budget.of(config, n)
    assert budget.rounds == max_epochs
    assert [len(budget.steps(k)) for k in (1, max_epochs)] == [budget.epoch] * 2
    assert budget.steps(max_epochs).stop == budget.total
    for done, best in ((patience, 1), (patience, 0), (patience + 1, 1)):
        assert budget.is_patient(done, best) == (done - best < patience)


@given(
    n=st.integers(1, 100_000),
    min_steps=st.integers(1, 900),
    max_epochs=st.integers(1, 12),
    patience=st.integers(1, 200),
)
def test_rounds_of_steps_add_up_to_the_budget(
    n: int, min_steps: int, max_epochs: int, patience: int
) -> None:
    settings: dict[str, Any] = {
        "min_steps": min_steps,
        "max_epochs": max_epochs,
        "min_patience_steps": patience,
    }
    budget = Budget.of(TrainingConfig(**settings), n)
    steps = [step for k in range(1, budget.rounds + 1) for step in budget.steps(k)]
    assert steps == list(range(budget.total))
    assert budget.total == max(min_steps, max_epochs * budget.epoch)
    assert budget.round == 25 or budget.round <= budget.epoch
    assert budget.round == 25 or budget.rounds >= 20
    assert budget.patience == max(patience, 4 * budget.epoch)


@pytest.mark.parametrize(("n", "passes"), [(9, 12), (3, 25), (1, 25)])
def test_a_small_set_is_passed_over_in_new_orders(n: int, passes: int) -> None:
    budget = Budget.of(TrainingConfig(min_steps=50, batch_size=4, max_epochs=1), n)
    rounds = rows_of(budget)
    assert [len(steps) for steps in rounds] == [25, 25]
    in_order = [row for steps in rounds for batch in steps for row in batch]
    whole = [in_order[k * n : (k + 1) * n] for k in range(passes)]
    assert all(sorted(rows) == list(range(n)) for rows in whole)
    assert len({tuple(rows) for rows in whole}) > (passes // 2 if n > 3 else n - 1)
    assert rounds == rows_of(budget)
    assert (rounds == rows_of(budget, seed=1)) == (n == 1)


def test_a_large_set_is_passed_over_without_repetition() -> None:
    budget = Budget.of(TrainingConfig(min_steps=50, batch_size=2, max_epochs=1), 1001)
    assert (budget.epoch, budget.round, budget.rounds) == (500, 25, 20)
    rows = [row for steps in rows_of(budget) for batch in steps for row in batch]
    assert sorted(rows) == list(range(1001))
    # A round alone, as after a checkpoint, has the rows that it has in a whole training.
    third = [b.tolist() for b in budget.batches(3, 0, np.random.default_rng(9))]
    assert third == rows_of(budget)[2]


def test_warmup_and_cosine() -> None:
    config = TrainingConfig(
        learning_rate=0.4, schedule="warmup-cosine", min_steps=100, max_epochs=1
    )
    budget = Budget.of(config, 64)
    rates = [budget.rate(step) for step in range(100)]
    assert rates[:6] == pytest.approx([0.08, 0.16, 0.24, 0.32, 0.4, 0.4])
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert rates[5 + 95 // 2] == pytest.approx(0.2, rel=0.02)
    assert 0 < rates[-1] < 0.001


def test_other_schedules_count_epochs() -> None:
    config = TrainingConfig(learning_rate=0.5, schedule="step", step_epochs=2, max_epochs=6)
    budget = Budget.of(config, 96)
    assert [budget.rate(step) for step in range(0, 18, 3)] == pytest.approx(
        [config.rate_at(epoch) for epoch in range(1, 7)]
    )
    assert budget.rate(5) == 0.5  # the last step of the second epoch


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_patience_steps": 9}, "min_patience_steps 9: needs min_steps"),
        (
            {"min_steps": 9, "min_patience_steps": 9, "patience": None},
            "min_patience_steps 9: needs patience",
        ),
        ({"min_steps": 9, "schedule": "cosine"}, "schedule cosine: counts epochs, which min_steps"),
        ({"min_steps": 9, "schedule": "step"}, "give warmup-cosine or none"),
    ],
)
def test_settings_that_do_not_go_together(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TrainingConfig(**settings)


def test_no_batch_of_one_is_left_over() -> None:
    assert [len(b) for b in batches_of(np.arange(33), 8)] == [8, 8, 8, 9]
