"""The targets LOGISTIC and COSINE, for encoders and for fusion. Oramas 2018, sec. 3.3.

Shapes: n items, L labels, d dimensions of the label factors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mmgenre.errors import LabelError
from mmgenre.learning.settings import ClassWeights, TargetConfig

if TYPE_CHECKING:  # torch takes seconds to import, and scores need none
    from torch import Tensor

Floats = NDArray[np.float64]


def log_odds(shares: NDArray[np.floating], *, exclusive: bool) -> NDArray[np.float64]:
    """The logits that say just how frequent labels are: log p, or log(p / (1 - p)) of many."""
    p = np.asarray(shares, np.float64)
    return np.asarray(np.log(p) - (0 if exclusive else np.log1p(-p)))


class LogisticTarget:
    """Softmax with cross-entropy for exclusive labels, else sigmoid with binary cross-entropy."""

    def __init__(
        self,
        n_labels: int,
        *,
        exclusive: bool,
        smoothing: float = 0.0,
        class_weights: ClassWeights = "none",
        prior: bool = False,
    ) -> None:
        if class_weights == "adjusted" and not exclusive:
            raise LabelError("class_weights adjusted: is for exclusive labels; these overlap")
        self.dim = n_labels
        self.exclusive, self.smoothing = exclusive, smoothing
        self.class_weights, self.prior = class_weights, prior
        self.weights: NDArray[np.float32] | None = None
        self.adjustment: NDArray[np.float32] | None = None  # of logits in training, (L,)
        self.first_bias: NDArray[np.float32] | None = None  # of an output layer, (L,); None: random

    def fit(self, y_train: NDArray[np.bool_]) -> None:
        """Computes weights and first bias from the numbers n_l of the labels' training items.

        Weights of balanced labels are n / (L n_l) if exclusive; else (n - n_l) / n_l, so that the
        items with a label weigh as much as those without it. A label without training items has
        weight 1. The bias is log p or log(p / (1 - p)) of p = (n_l + 1/2) / (n + 1), and adjusted
        labels add log p to their logits in training only (Menon et al. 2021, eq. 10, tau = 1).
        """
        _check(y_train, self.dim)
        # The mean of `targets`, which would be gigabytes of a million items.
        smoothed = (1 - self.smoothing) * y_train.sum(axis=0) + self._even * len(y_train)
        p = (smoothed + 0.5) / (len(y_train) + 1)
        if self.prior:
            self.first_bias = np.log(p if self.exclusive else p / (1 - p)).astype(np.float32)
        if self.class_weights == "adjusted":
            self.adjustment = np.log(p).astype(np.float32)
        if self.class_weights == "balanced":
            n, n_l = len(y_train), y_train.sum(axis=0)
            weights = n / self.dim if self.exclusive else n - n_l
            self.weights = np.where(n_l > 0, weights / np.maximum(n_l, 1), 1.0).astype(np.float32)

    def targets(self, y: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Smoothed labels, (n, L)."""
        _check(y, self.dim)
        return np.asarray((1 - self.smoothing) * y + self._even, np.float32)

    @property
    def _even(self) -> float:
        """What smoothing gives to every label."""
        return self.smoothing / self.dim if self.exclusive else self.smoothing / 2

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean loss of logits (n, L) against targets (n, L)."""
        import torch
        from torch.nn import functional

        weights = None if self.weights is None else torch.from_numpy(self.weights).to(output)
        if self.adjustment is not None:
            output = output + torch.from_numpy(self.adjustment).to(output)
        if self.exclusive:
            return functional.cross_entropy(output, target, weight=weights)
        return functional.binary_cross_entropy_with_logits(output, target, pos_weight=weights)

    def scores(self, output: NDArray[np.floating]) -> Floats:
        """Logits -> probabilities, (n, L)."""
        z = np.asarray(output, np.float64)
        if not self.exclusive:
            return np.asarray(np.exp(-np.logaddexp(0, -z)))
        powers = np.exp(z - z.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    def state(self) -> dict[str, Any]:
        return {"name": "logistic", "n_labels": self.dim, "exclusive": self.exclusive}


class CosineTarget:
    """Regression onto label factors: the PPMI of the labels, factorised by SVD."""

    def __init__(self, n_labels: int, dim: int) -> None:
        self.n_labels, self.dim = n_labels, min(dim, n_labels)
        self.factors: NDArray[np.float32] = np.zeros((n_labels, self.dim), np.float32)
        self.first_bias = None

    def fit(self, y_train: NDArray[np.bool_]) -> None:
        """Computes the label factors C_d = U_d sqrt(S_d), (L, d), one row per label."""
        _check(y_train, self.n_labels)
        self.factors = label_factors(ppmi(y_train), self.dim).astype(np.float32)

    def targets(self, y: NDArray[np.bool_]) -> NDArray[np.float32]:
        """L2-normalised item factors F_d = C_d' M', (n, d); 0 if no label is in training."""
        _check(y, self.n_labels)
        item_factors = y.astype(np.float32) @ self.factors
        norms = np.linalg.norm(item_factors, axis=1, keepdims=True)
        return np.asarray(item_factors / np.maximum(norms, np.finfo(np.float32).tiny))

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean of 1 - cos between outputs (n, d) and targets (n, d)."""
        from torch.nn import functional

        return (1 - functional.cosine_similarity(output, target, dim=1)).mean()

    def scores(self, output: NDArray[np.floating]) -> Floats:
        """Cosine of each output with each label's factors, (n, L), in [-1, 1]."""
        return np.asarray(_unit(output) @ _unit(self.factors).T)

    def state(self) -> dict[str, Any]:
        return {"name": "cosine", "n_labels": self.n_labels, "factors": self.factors.tolist()}


# The meaning of an output layer of width `dim`: its target values, its loss, its label scores, and
# its `state`, plain data from which `load_target` makes it again.
Target = LogisticTarget | CosineTarget


def make_target(config: TargetConfig, n_labels: int, *, exclusive: bool) -> Target:
    """The configured target, not yet fitted."""
    if config.name == "cosine":
        return CosineTarget(n_labels, config.dim)
    return LogisticTarget(
        n_labels,
        exclusive=exclusive,
        smoothing=config.label_smoothing,
        class_weights=config.class_weights,
        prior=config.first_bias == "prior",
    )


def load_target(state: dict[str, Any]) -> Target:
    """The fitted target whose `state` was saved."""
    if state["name"] == "logistic":
        return LogisticTarget(state["n_labels"], exclusive=state["exclusive"])
    target = CosineTarget(state["n_labels"], len(state["factors"][0]))
    target.factors = np.array(state["factors"], np.float32)
    return target


def ppmi(y: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Positive pointwise mutual information between labels, (L, L).

    X(i, j) = max(0, log(P(i, j) / (P(i) P(j)))), where P are shares of items. X is 0 for labels
    that never occur together, and for a label without items.
    """
    from scipy.sparse import csr_array  # which only those who train for factors need

    n, n_labels = y.shape
    # Sparse: an item has few labels, so about one term in a thousand of the product is nonzero.
    item, label = np.divmod(np.flatnonzero(y), n_labels)
    m = csr_array((np.ones(len(item)), (item, label)), shape=y.shape)
    together = (m.T @ m).toarray()
    alone = together.diagonal()
    with np.errstate(divide="ignore", invalid="ignore"):
        information = np.log(together * n / np.outer(alone, alone))
    return np.where(together > 0, np.maximum(information, 0.0), 0.0)


def label_factors(x: NDArray[np.float64], dim: int) -> NDArray[np.float64]:
    """C_d = U_d sqrt(S_d) of the SVD X = U S V', (L, d).

    X is symmetric: its singular values are the magnitudes of its eigenvalues, its left singular
    vectors the eigenvectors. Signs are fixed: the entry of largest magnitude in each column is
    positive. A label with only zeros in X has the zero vector.
    """
    # One thread: X is small, and on a busy machine two threads took 20 times as long.
    with threadpool_limits(1, "blas"):
        values, vectors = np.linalg.eigh(x)
    largest = np.argsort(-np.abs(values), kind="stable")[:dim]
    factors = vectors[:, largest] * np.sqrt(np.abs(values[largest]))
    peak = np.abs(factors).argmax(axis=0)
    signs = np.sign(factors[peak, np.arange(factors.shape[1])])
    factors = factors * np.where(signs == 0, 1.0, signs)
    factors[~x.any(axis=1)] = 0.0  # not 1e-9 from rounding, which normalising would enlarge
    return np.ascontiguousarray(factors)  # as in `load_target`: bit-equal scores


def _unit(rows: NDArray[np.floating]) -> Floats:
    """Rows of length 1; zeros stay."""
    wide = np.asarray(rows, np.float64)
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    return np.asarray(wide / np.maximum(norms, np.finfo(np.float32).tiny))


def _check(y: NDArray[np.bool_], n_labels: int) -> None:
    if y.ndim != 2 or y.shape[1] != n_labels or y.dtype != bool:
        raise LabelError(f"labels {y.dtype} {y.shape}: must be bool (n, {n_labels})")
