"""Linear heads: L-BFGS against mini-batches by the number of rows, and both against before.

    python tests/benchmarks/solver.py

Made-up vectors of 2048 columns and 250 labels, of which some structure is planted
(`training.made_vectors`), one strength. For each size the two solvers run in turn, three times;
medians. The last lines are 25 000 rows of three inputs: one fit by mini-batches at a fixed
strength, and one of the fusion head by SGD as before, with macro ROC-AUC of 2500 further rows.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from training import LARGE, N_ALBUMS, N_LABELS, VECTOR_SEED, made_vectors

from mmgenre.fusion import solve
from mmgenre.fusion.head import predict, train_fusion
from mmgenre.fusion.settings import FusionConfig
from mmgenre.learning.targets import LogisticTarget
from mmgenre.measuring import metrics

SIZES = (2500, 5000, 10_000, 20_000)
ROUNDS = 3
STRENGTH = 1.0
SEED = 77  # of vectors that nothing was chosen by


def by_size() -> None:
    """Seconds and ROC-AUC of both solvers at one strength."""
    target = LogisticTarget(N_LABELS, exclusive=False)
    test, y_test = made_vectors(2500, SEED + 1)
    name = next(iter(test.x))
    few = solve.FEW_ROWS
    for n in SIZES:
        train, y = made_vectors(n, SEED)
        x, goals = train.unit().x[name], y.astype(np.float32)
        found: dict[str, list[tuple[float, float]]] = {"L-BFGS": [], "mini-batches": []}
        for _ in range(ROUNDS if n < SIZES[-1] else 1):
            for side, at_most in (("L-BFGS", n), ("mini-batches", 0)):
                solve.FEW_ROWS = at_most
                started = time.perf_counter()
                (linear,) = solve.solve_path(x, goals, target, (STRENGTH,))
                took = time.perf_counter() - started
                auc = metrics.roc_auc(y_test, linear(test.unit().x[name]).astype(np.float64))
                found[side].append((took, metrics.macro(auc)))
        line = "   ".join(
            f"{side} {np.median([t for t, _ in v]):.2f} s, ROC-AUC {v[0][1]:.4f}"
            for side, v in found.items()
        )
        print(f"{n:6,} rows: {line}", flush=True)
    solve.FEW_ROWS = few


def whole() -> None:
    """One fit at the size of MuMu, and one as before."""
    (train, y), (val, y_val), (test, y_test) = (
        made_vectors(n, VECTOR_SEED + 10 + k) for k, n in enumerate((N_ALBUMS, 2500, 2500))
    )
    target = LogisticTarget(N_LABELS, exclusive=False)
    goals = {"train": y.astype(np.float32), "val": y_val.astype(np.float32)}
    x, x_test = (np.concatenate(list(t.unit().x.values()), axis=1) for t in (train, test))
    for _ in range(2):
        started = time.perf_counter()
        (linear,) = solve.solve_path(x, goals["train"], target, (STRENGTH,))
        took = time.perf_counter() - started
        auc = metrics.macro(metrics.roc_auc(y_test, linear(x_test).astype(np.float64)))
        print(f"{N_ALBUMS:,} rows, {x.shape[1]} columns, mini-batches: {took:.1f} s, {auc:.4f}")
        started = time.perf_counter()
        config = FusionConfig(training=LARGE, modality_dropout=0.0)
        head, log = train_fusion(train, val, target, goals, config, exclusive=False, seed=0)
        took = time.perf_counter() - started
        auc = metrics.macro(metrics.roc_auc(y_test, predict(head, target, test)))
        print(f"  as before, {len(log.epochs)} epochs of SGD: {took:.1f} s, {auc:.4f}", flush=True)


if __name__ == "__main__":
    by_size()
    whole()
