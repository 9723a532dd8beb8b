"""Rows of inputs as examples: each view with the target of the row it shows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mmgenre.learning.examples import InputExamples


class Counting:
    """Views that say which row and which view they are; one at random, or three."""

    def views(self, ids: Sequence[str], rng: np.random.Generator | None) -> NDArray[np.float32]:
        shown = range(3) if rng is None else [int(rng.integers(10, 20))]
        return np.array([[[int(i), v] for v in shown] for i in ids], np.float32)


def test_each_view_of_a_row_is_an_example_with_the_rows_target() -> None:
    targets = np.array([[1, 0], [0, 1], [1, 1]], np.float32)
    examples = InputExamples(Counting(), ["5", "6", "7"], targets)
    assert len(examples) == 3
    batch = examples.batch(np.array([2, 0]), None)
    assert batch["x"].tolist() == [[7, 0], [7, 1], [7, 2], [5, 0], [5, 1], [5, 2]]
    assert batch["target"].tolist() == [[1, 1]] * 3 + [[1, 0]] * 3
    drawn = examples.batch(np.array([1]), np.random.default_rng(0))
    assert drawn["x"][0].tolist() == [6, np.random.default_rng(0).integers(10, 20)]
    assert drawn["target"].tolist() == [[0, 1]]
