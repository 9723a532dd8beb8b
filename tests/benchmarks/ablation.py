"""What each part of the recipe `default` gives on small real sets, judged on validation.

    python tests/benchmarks/ablation.py RUNS FOLDER...

RUNS holds the runs that `mmgenre benchmark FOLDER... --runs RUNS` has made; FOLDER are the sets
(../shared/data/dev/NAME). A row is `default` but for one change; its difference from `default` is
the mean over the splits of the main metric of the whole, with a paired bootstrap over artists. No
test item is looked at.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmgenre import fuse
from mmgenre.fusion import ensemble, experts, scaling
from mmgenre.measuring.differences import DRAW_METRICS, Pair, groups_of, paired_difference
from mmgenre.pipeline import solved
from mmgenre.pipeline.run import Run, open_run
from mmgenre.pipeline.scores import read_scores

SPLITS = (0, 1, 2)
UNIT = (scaling.Scaling("as they are", unit=True),)


@dataclass(frozen=True)
class Change:
    """Settings of the fusion, or constants of the package, in which a row differs."""

    name: str
    settings: tuple[str, ...] = ()
    constants: tuple[tuple[Any, str, Any], ...] = ()


CHANGES = (
    Change("default"),
    Change(
        "solver sgd, concatenation (as before)",
        ("fusion.solver=sgd", "fusion.combine=concatenation"),
    ),
    Change("solved, concatenation", ("fusion.combine=concatenation",)),
    Change("no cross-fitting", ("fusion.cross_fit=0",)),
    Change("product only", ("fusion.combine=product",)),
    Change("stacking only", ("fusion.combine=stacking",)),
    Change("gated only", ("fusion.combine=gated",)),
    Change(
        "length 1 only, as the paper scales",
        (),
        (
            (solved, "LEARNED", UNIT),
            (solved, "GIVEN", UNIT),
            (solved, "KERNELS", UNIT),
            (ensemble, "LEARNED", UNIT),
        ),
    ),
    Change("one strength for all", (), ((experts, "STRENGTHS", (0.1,)),)),
    Change("no balance", (), ((ensemble, "BALANCES", (0.0,)),)),
)


@contextmanager
def changed(constants: tuple[tuple[Any, str, Any], ...]) -> Iterator[None]:
    """The package with other constants."""
    before = [(module, name, getattr(module, name)) for module, name, _ in constants]
    try:
        for module, name, value in constants:
            setattr(module, name, value)
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)


def scores_of(run: Run, change: Change, number: int) -> tuple[Any, Any, Any]:
    """Validation ids, truth and scores of the whole by a changed fusion."""
    # A constant is no part of a fingerprint: such a fusion gets a seed of its own.
    settings = list(change.settings)
    if change.constants:
        settings.append(f"fusion.missing_share={1e-9 * (1 + number)}")
    with changed(change.constants):
        result = fuse(run=run.folder, settings=settings, seeds=1)
    scores = read_scores(run.fusions / result["name"], "val")
    whole = [k for k, row in enumerate(scores.about["rows"])][-1]
    labels = run.labels()
    y = labels.encode([run.manifest[i].labels for i in scores.ids])
    return scores.ids, y, scores.values[:, whole, 0].astype(np.float64)


def main(runs: Path, folders: list[Path]) -> None:
    for folder in folders:
        found: dict[str, list[Any]] = {}
        metric = ""
        for number in SPLITS:
            run = open_run(runs / f"{folder.name}-{number}")
            metric = "macro_f1" if run.recipe.exclusive else "macro_roc_auc"
            for k, change in enumerate(CHANGES):
                ids, y, s = scores_of(run, change, k)
                artists = [run.manifest[i].artist for i in ids]
                found.setdefault(change.name, []).append((y, s, groups_of(ids, artists)))
        base = found["default"]
        for name, sides in found.items():
            pairs = [
                Pair(y, ours, theirs, groups)
                for (y, theirs, groups), (_, ours, _) in zip(base, sides, strict=True)
            ]
            one = [DRAW_METRICS[metric](y, s, np.ones((len(y), 1)))[0] for y, s, _ in sides]
            d = paired_difference(pairs, DRAW_METRICS[metric])
            print(
                f"{folder.name:16} {metric:14} {name:40} {np.mean(one):.3f}  {d.value:+.3f} "
                f"[{d.low:+.3f}, {d.high:+.3f}] {d.verdict}",
                flush=True,
            )


if __name__ == "__main__":
    if len(sys.argv) > 2:
        main(Path(sys.argv[1]), [Path(f) for f in sys.argv[2:]])
    else:
        print(__doc__)
