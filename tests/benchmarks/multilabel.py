"""Label factors and macro ROC-AUC at the size of 250 genres, against SciPy and scikit-learn.

    python tests/benchmarks/multilabel.py

Synthetic labels, about 5 an item, with a long tail: the k-th genre's share falls as 1 / k. 31 000
items for the factors, d = 50; 3 000 for the AUC, scores rounded to 0.01 so that they tie. Both
sides of a row run in turn in this process, after one untimed run each: what else the machine does
hits them alike. Medians over the turns, quartiles in brackets, and our fastest turn. Beside another
job the threads of a dense product or decomposition wait for each other, and theirs takes many times
as long; OPENBLAS_NUM_THREADS=1 compares without that.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.linalg import svds
from sklearn.metrics import roc_auc_score

from mmgenre.learning.targets import label_factors, ppmi
from mmgenre.measuring import metrics
from mmgenre.measuring.metrics import Bools, Floats

N_LABELS, LABELS_AN_ITEM, D = 250, 5, 50
TURNS = 15


def long_tail(n: int, rng: np.random.Generator) -> Bools:
    """Labels of n items, (n, 250), each label drawn on its own."""
    share = 1 / np.arange(1, N_LABELS + 1)
    drawn: Bools = rng.random((n, N_LABELS)) < LABELS_AN_ITEM * share / share.sum()
    return drawn


def ppmi_dense(y: Bools) -> Floats:
    """PPMI with the co-occurrences from one dense matrix product."""
    counts = y.astype(np.float32)
    together = (counts.T @ counts).astype(np.float64)
    alone = together.diagonal()
    with np.errstate(divide="ignore", invalid="ignore"):
        information = np.log(together * len(y) / np.outer(alone, alone))
    return np.where(together > 0, np.maximum(information, 0.0), 0.0)


def gram_of_svds(x: Floats) -> Floats:
    """C_d C_d' by ARPACK: the factors themselves are known only up to signs."""
    u, s, _ = svds(x, k=D, v0=np.ones(N_LABELS))
    return np.asarray((u * s) @ u.T)


def gram_of_factors(x: Floats) -> Floats:
    """C_d C_d' by ours."""
    factors = label_factors(x, D)
    return factors @ factors.T


def auc_by_label(y: Bools, scores: Floats) -> Floats:
    """scikit-learn's AUC of the labels that have one, NaN for the others."""
    both = y.any(axis=0) & ~y.all(axis=0)
    values = np.full(y.shape[1], np.nan)
    for j in np.flatnonzero(both):
        values[j] = roc_auc_score(y[:, j], scores[:, j])
    return values


def in_turn(ours: Callable[[], object], theirs: Callable[[], object]) -> NDArray[np.float64]:
    """Milliseconds, (turns, 2)."""
    times = np.empty((TURNS + 1, 2))
    for turn in range(TURNS + 1):
        for side, run in enumerate((ours, theirs)):
            started = time.perf_counter()
            run()
            times[turn, side] = (time.perf_counter() - started) * 1000
    return times[1:]


def main() -> None:
    """Prints a line a comparison."""
    rng = np.random.default_rng(0)
    y = long_tail(31_000, rng)
    y_test = long_tail(3_000, rng)
    y_test[:, -2], y_test[:, -1] = False, True  # no positive, no negative: no AUC
    scores = np.round(rng.random(y_test.shape) + 0.3 * y_test, 2).astype(np.float64)
    x = ppmi(y)
    print(f"{y.sum(axis=1).mean():.1f} labels an item; a label has {y.sum(axis=0).min()} items")
    print(
        f"{'':<16}{'ours, ms':>22}{'fastest':>9}{'theirs, ms':>26}{'theirs / ours':>20}"
        "   difference at most"
    )
    for name, ours, theirs, difference in (
        (
            "PPMI",
            lambda: ppmi(y),
            lambda: ppmi_dense(y),
            np.abs(x - ppmi_dense(y)).max(),
        ),
        (
            "PPMI + factors",
            lambda: label_factors(ppmi(y), D),
            lambda: svds(ppmi(y), k=D, v0=np.ones(N_LABELS)),
            np.abs(gram_of_factors(x) - gram_of_svds(x)).max(),
        ),
        (
            "macro ROC-AUC",
            lambda: metrics.roc_auc(y_test, scores),
            lambda: auc_by_label(y_test, scores),
            _difference(metrics.roc_auc(y_test, scores), auc_by_label(y_test, scores)),
        ),
    ):
        times = in_turn(ours, theirs)
        cells = [_quartiles(v) for v in (*times.T, times[:, 1] / times[:, 0])]
        print(
            f"{name:<16}{cells[0]:>22}{times[:, 0].min():>9.1f}{cells[1]:>26}{cells[2]:>20}"
            f"   {difference:.0e}"
        )


def _difference(a: Floats, b: Floats) -> float:
    if (np.isnan(a) != np.isnan(b)).any():
        return float("nan")
    return float(np.nanmax(np.abs(a - b)))


def _quartiles(values: NDArray[np.float64]) -> str:
    low, middle, high = np.percentile(values, [25, 50, 75])
    return f"{middle:.1f} [{low:.1f}, {high:.1f}]"


if __name__ == "__main__":
    main()
