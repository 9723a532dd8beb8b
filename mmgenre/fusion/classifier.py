"""The solved heads with the face of scikit-learn: for vectors of one kind, in anyone's pipeline.

>>> import numpy as np
>>> from mmgenre import GenreClassifier
>>> rng = np.random.default_rng(0)
>>> y = np.repeat(["jazz", "rock"], 30)
>>> x = rng.normal(size=(60, 8)) + (y == "rock")[:, None]
>>> GenreClassifier().fit(x, y).score(x, y) > 0.9
True
"""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import (
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from mmgenre.fusion.combine import Combination, combine
from mmgenre.fusion.experts import FOLDS, Crossed, Task, given_experts, quality_of
from mmgenre.fusion.table import FeatureTable
from mmgenre.learning.targets import LogisticTarget

NAME = "x"  # of the only input
MANY = "multilabel-indicator"


class GenreClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """What a run puts on vectors of other programs: scaling, L2 strength and kernel by folds.

    One genre an item: `y` (n,) of any names, and a softmax. Many: `y` (n, n_labels) of 0 and 1, and
    a sigmoid each; `predict` then names the genres of a probability above one half.

    `n_folds`: of the training items, by which choices are made; with `groups` (artists) given to
    `fit`, a group is in one fold only. `kernel`: a kernel machine beside the linear head, as in a
    run, where there are at most `KERNEL_COLUMNS` columns. `random_state`: of the folds.

    Attributes: `classes_` (single label), `n_features_in_`, and `choices_`, of each expert its
    scaling and strength.
    """

    def __init__(self, n_folds: int = FOLDS, *, kernel: bool = True, random_state: int = 0) -> None:
        self.n_folds = n_folds
        self.kernel = kernel
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def fit(self, X: ArrayLike, y: ArrayLike, groups: ArrayLike | None = None) -> Self:
        """Learns from vectors (n, columns) and their labels.

        Raises:
            ValueError: not finite, lengths that differ, labels that are numbers of a regression,
                or fewer than two classes.
        """
        rows, goals = validate_data(self, X, y, dtype=np.float32, multi_output=True)
        check_classification_targets(goals)
        self._many = type_of_target(goals) == MANY
        if self._many:
            self.classes_: Any = [np.array([0, 1])] * goals.shape[1]
            truth = goals.astype(bool)
        else:
            goals = column_or_1d(goals, warn=True)
            self.classes_, index = np.unique(goals, return_inverse=True)
            if len(self.classes_) < 2:
                raise ValueError(f"y has 1 class ({self.classes_[0]!r}); give at least two classes")
            truth = np.eye(len(self.classes_), dtype=bool)[index]
        target = LogisticTarget(truth.shape[1], exclusive=not self._many)
        target.fit(truth)
        quality = quality_of(target, exclusive=not self._many)
        task = Task(target, truth, self._folds(rows, truth, groups), quality)
        experts = given_experts(_table(rows), NAME, task, kernel=self.kernel)
        self._combination = _joined(experts, task)
        self._experts = [crossed.expert for crossed in experts.values()]
        self.choices_: dict[str, dict[str, Any]] = {
            key: {"scaling": crossed.scaling, "strength": crossed.strength}
            for key, crossed in experts.items()
        }
        return self

    def decision_function(self, X: ArrayLike) -> NDArray[np.float32]:
        """Logits, (n, n_labels); of two classes, (n,): how much likelier the second is."""
        logits = self._logits(X)
        if not self._many and logits.shape[1] == 2:
            return np.asarray(logits[:, 1] - logits[:, 0])
        return logits

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float32]:
        """Probabilities, (n, n_labels); of single labels they sum to 1."""
        logits = self._logits(X)
        return np.asarray(expit(logits) if self._many else softmax(logits, axis=1))

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The genre of each item, (n,), or 0 and 1 for each genre, (n, n_labels)."""
        logits = self._logits(X)
        if self._many:
            return (logits > 0).astype(int)
        return np.asarray(self.classes_[logits.argmax(axis=1)])

    def _logits(self, x: ArrayLike) -> NDArray[np.float32]:
        check_is_fitted(self, "choices_")
        table = _table(validate_data(self, x, dtype=np.float32, reset=False))
        outputs = np.stack([expert(table) for expert in self._experts], axis=1)
        return self._combination(outputs)

    def _folds(
        self, rows: NDArray[np.float32], truth: NDArray[np.bool_], groups: ArrayLike | None
    ) -> NDArray[np.intp]:
        """The fold of each item: genres alike, and artists apart where they are given."""
        n_folds, seeded = min(self.n_folds, len(rows)), {"random_state": self.random_state}
        if groups is not None:
            check_consistent_length(rows, groups)
            n_folds = min(n_folds, len(np.unique(np.asarray(groups))))
        fold = np.zeros(len(rows), np.intp)
        if n_folds < 2:
            return fold
        one, named = truth.argmax(axis=1), not self._many and truth.sum(axis=0).max() >= n_folds
        if groups is None:
            kind = StratifiedKFold if named else KFold
            parts = kind(n_folds, shuffle=True, **seeded).split(rows, one)
        elif named:
            alike = StratifiedGroupKFold(n_folds, shuffle=True, **seeded)
            parts = alike.split(rows, one, groups)
        else:
            parts = GroupKFold(n_folds).split(rows, groups=groups)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The least populated class")
            for k, (_, held) in enumerate(parts):
                fold[held] = k
        return fold


def _table(rows: NDArray[np.float32]) -> FeatureTable:
    ids = tuple(map(str, range(len(rows))))
    return FeatureTable(ids, {NAME: rows}, {NAME: np.ones(len(rows), bool)})


def _joined(experts: dict[str, Crossed], task: Task) -> Combination:
    """The product of the experts, weighted by their outputs for items that they have not seen."""
    outputs = np.stack([c.outputs for c in experts.values() if c.outputs is not None], axis=1)
    here = np.asarray(np.isfinite(outputs).all(axis=(1, 2)))
    own = task.of(here)
    return combine(outputs[here], task.target.targets(own.y), task.target, own.judged())
