"""What a network learns: LOGISTIC and COSINE, used unchanged by encoders and by fusion.

Oramas 2018, sec. 3.3. Throughout, n items, L labels, d dimensions of the label factors.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from scipy.sparse import csr_array
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.nn import functional

from mmgenre.config import Settings
from mmgenre.errors import LabelError

TargetName = Literal["logistic", "cosine"]


class TargetConfig(Settings):
    """What a network learns.

    `dim`: d of COSINE; a space of fewer labels has only as many dimensions as labels. LOGISTIC
    alone has `label_smoothing`, the share of a target that is spread evenly, and `class_weights`,
    "balanced" for labels that count the more, the rarer they are among training items.
    """

    name: TargetName = "logistic"
    dim: int = Field(50, ge=1)
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    class_weights: Literal["none", "balanced"] = "none"

    @model_validator(mode="after")
    def _settings_go_together(self) -> Self:
        if self.name == "cosine" and (self.label_smoothing or self.class_weights != "none"):
            raise ValueError("label_smoothing and class_weights are for logistic, not for cosine")
        return self

    def used(self) -> dict[str, Any]:
        """The settings that decide the outcome of the named target."""
        others = {"dim"} if self.name == "logistic" else {"label_smoothing", "class_weights"}
        return self.model_dump(exclude=others)


class Target(Protocol):
    """The last linear layer's meaning: what it should give, how far off it is, what it says."""

    dim: int  # width of the output layer

    def fit(self, y_train: NDArray[np.bool_]) -> None: ...
    def targets(self, y: NDArray[np.bool_]) -> NDArray[np.float32]: ...
    def loss(self, output: Tensor, target: Tensor) -> Tensor: ...
    def scores(self, output: Tensor) -> Tensor: ...
    def state(self) -> dict[str, Any]: ...


class LogisticTarget:
    """Softmax and cross-entropy for exclusive labels, else sigmoid and binary cross-entropy."""

    def __init__(
        self, n_labels: int, *, exclusive: bool, smoothing: float = 0.0, balanced: bool = False
    ) -> None:
        self.dim = n_labels
        self.exclusive, self.smoothing, self.balanced = exclusive, smoothing, balanced
        self.weights: NDArray[np.float32] | None = None

    def fit(self, y_train: NDArray[np.bool_]) -> None:
        """Learns the weights of balanced labels; one without a training item has weight 1.

        Exclusive: n / (L n_l) for the n_l items of label l. Overlapping: (n - n_l) / n_l, by which
        the items of a label weigh as much as the others.
        """
        _check(y_train, self.dim)
        if self.balanced:
            n, n_l = len(y_train), y_train.sum(axis=0)
            weights = n / self.dim if self.exclusive else n - n_l
            self.weights = np.where(n_l > 0, weights / np.maximum(n_l, 1), 1.0).astype(np.float32)

    def targets(self, y: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Labels as numbers, smoothed, (n, L)."""
        _check(y, self.dim)
        even = 1 / self.dim if self.exclusive else 1 / 2
        return np.asarray((1 - self.smoothing) * y + self.smoothing * even, np.float32)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean loss of logits (n, L) against targets (n, L)."""
        weights = None if self.weights is None else torch.from_numpy(self.weights).to(output)
        if self.exclusive:
            return functional.cross_entropy(output, target, weight=weights)
        return functional.binary_cross_entropy_with_logits(output, target, pos_weight=weights)

    def scores(self, output: Tensor) -> Tensor:
        """Probabilities, (n, L)."""
        return output.softmax(dim=1) if self.exclusive else output.sigmoid()

    def state(self) -> dict[str, Any]:
        """Plain data from which `load_target` makes this target again."""
        return {"name": "logistic", "n_labels": self.dim, "exclusive": self.exclusive}


class CosineTarget:
    """Regression onto label factors: PPMI of the labels, factorised by SVD.

    Attributes:
        factors: C_d = U_d sqrt(S_d), (L, d); a row for each label, fitted on training items.
    """

    def __init__(self, n_labels: int, dim: int) -> None:
        self.n_labels = n_labels
        self.dim = min(dim, n_labels)
        self.factors: NDArray[np.float32] = np.zeros((n_labels, self.dim), np.float32)

    def fit(self, y_train: NDArray[np.bool_]) -> None:
        """Learns the label factors."""
        _check(y_train, self.n_labels)
        self.factors = label_factors(ppmi(y_train), self.dim).astype(np.float32)

    def targets(self, y: NDArray[np.bool_]) -> NDArray[np.float32]:
        """L2-normalised item factors F_d = C_d' M', (n, d).

        An item whose labels are all unknown to the training set has the zero vector.
        """
        _check(y, self.n_labels)
        item_factors = y.astype(np.float32) @ self.factors
        norms = np.linalg.norm(item_factors, axis=1, keepdims=True)
        return np.asarray(item_factors / np.maximum(norms, np.finfo(np.float32).tiny))

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean of 1 - cos between outputs (n, d) and targets (n, d)."""
        return (1 - functional.cosine_similarity(output, target, dim=1)).mean()

    def scores(self, output: Tensor) -> Tensor:
        """Cosine between each output and each label's factor, (n, L), in [-1, 1]."""
        factors = torch.from_numpy(self.factors).to(output)
        return functional.normalize(output, dim=1) @ functional.normalize(factors, dim=1).T

    def state(self) -> dict[str, Any]:
        """Plain data from which `load_target` makes this target again."""
        return {"name": "cosine", "n_labels": self.n_labels, "factors": self.factors.tolist()}


def make_target(config: TargetConfig, n_labels: int, *, exclusive: bool) -> Target:
    """The target a recipe names, not yet fitted."""
    if config.name == "cosine":
        return CosineTarget(n_labels, config.dim)
    return LogisticTarget(
        n_labels,
        exclusive=exclusive,
        smoothing=config.label_smoothing,
        balanced=config.class_weights == "balanced",
    )


def load_target(state: dict[str, Any]) -> Target:
    """The fitted target whose `state` was saved."""
    if state["name"] == "logistic":
        return LogisticTarget(state["n_labels"], exclusive=state["exclusive"])
    factors = np.array(state["factors"], np.float32)
    target = CosineTarget(state["n_labels"], factors.shape[1])
    target.factors = factors
    return target


def ppmi(y: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Positive pointwise mutual information between labels, (L, L).

    X(i, j) = max(0, log(P(i, j) / (P(i) P(j)))), P being shares of items. Labels that never meet
    have X = 0, a label without an item a row of zeros.
    """
    n, n_labels = y.shape
    # An item has few labels: of the dense product's terms, one in a thousand is not zero.
    item, label = np.divmod(np.flatnonzero(y), n_labels)
    m = csr_array((np.ones(len(item)), (item, label)), shape=y.shape)
    together = (m.T @ m).toarray()
    alone = together.diagonal()
    with np.errstate(divide="ignore", invalid="ignore"):
        information = np.log(together * n / np.outer(alone, alone))
    return np.where(together > 0, np.maximum(information, 0.0), 0.0)


def label_factors(x: NDArray[np.float64], dim: int) -> NDArray[np.float64]:
    """C_d = U_d sqrt(S_d) of the SVD X = U S V', (L, d).

    X is symmetric, so its singular values are the magnitudes of its eigenvalues and its left
    singular vectors the eigenvectors. Signs are fixed: each column's largest entry is positive.
    A label that X says nothing about has the zero vector.
    """
    # X is small: beside another job, two threads that wait for each other took 20 times one's time.
    with threadpool_limits(1, "blas"):
        values, vectors = np.linalg.eigh(x)
    largest = np.argsort(-np.abs(values), kind="stable")[:dim]
    factors = vectors[:, largest] * np.sqrt(np.abs(values[largest]))
    peak = np.abs(factors).argmax(axis=0)
    signs = np.sign(factors[peak, np.arange(factors.shape[1])])
    factors = factors * np.where(signs == 0, 1.0, signs)
    factors[~x.any(axis=1)] = 0.0  # rounding leaves 1e-9 there, which normalising would blow up
    return np.ascontiguousarray(factors)  # as `load_target` has them: equal to the last bit


def _check(y: NDArray[np.bool_], n_labels: int) -> None:
    if y.ndim != 2 or y.shape[1] != n_labels or y.dtype != bool:
        raise LabelError(f"labels {y.dtype} {y.shape}: must be bool (n, {n_labels})")
