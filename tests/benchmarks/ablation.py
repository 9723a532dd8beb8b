"""What each part of the recipe `default` gives on small real sets, judged on validation.

    python tests/benchmarks/ablation.py RUNS FOLDER...

RUNS holds the runs that `mmgenre benchmark FOLDER... --runs RUNS` has made; FOLDER are the sets
(../shared/data/dev/NAME). A row is `default` but for one change; its difference from `default` is
the mean over the splits of the main metric of the whole, with a paired bootstrap over artists. No
test item is looked at. Cross-fitting is not among the changes: without it, weights are fitted on
the validation items by which the rows are judged here.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from joblib import Parallel, delayed

from mmgenre import fuse
from mmgenre.fusion import ensemble, experts, scaling
from mmgenre.items.modalities import MODALITIES
from mmgenre.measuring.differences import MACRO_METRICS, Pair, groups_of, paired_difference
from mmgenre.measuring.metrics import main_figures
from mmgenre.measuring.results import headline_metric
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
    views: Literal["all", "trained", "fixed"] = "all"


CHANGES = (
    Change("default"),
    Change(
        "solver sgd, concatenation (as before)",
        ("fusion.solver=sgd", "fusion.combine=concatenation"),
    ),
    Change("solved, concatenation", ("fusion.combine=concatenation",)),
    Change("product only", ("fusion.combine=product",)),
    Change("networks only", views="trained"),
    Change("views without training only", views="fixed"),
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
    Change(
        "one strength for all",
        (),
        ((experts, "STRENGTHS", (0.1,)), (experts, "JOINED_STRENGTHS", (0.1,))),
    ),
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


def inputs_of(run: Run, change: Change) -> list[str] | None:
    """The inputs of a change; None: all. A modality without such views has all of its own."""
    if change.views == "all":
        return None
    fixed, found = change.views == "fixed", list[str]()
    for modality in (m for m in MODALITIES if run.manifest.count(having=[m])):
        views = run.views(modality)
        own = [f"{modality}.{v.label}" for v in views if v.fixed == fixed]
        found += own if own and len(views) > 1 else [modality]
    return [*found, *run.given]


def scores_of(folder: Path, change: Change) -> tuple[Any, Any, Any]:
    """Truth, validation scores of the whole by a changed fusion, and groups, in a copy of a run."""
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / "run"
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("fusion"))
        run = open_run(copy)
        with changed(change.constants):
            result = fuse(
                run=copy, settings=change.settings, seeds=1, inputs=inputs_of(run, change)
            )
        scores = read_scores(run.fusions / result["name"], "val")
    y = run.truth(scores.ids)
    groups = groups_of(scores.ids, [run.manifest[i].artist for i in scores.ids])
    return y, scores.values[:, -1, 0].astype(np.float64), groups  # the last row is the whole


def main(runs: Path, folders: list[Path]) -> None:
    """Prints a line a change."""
    for folder in folders:
        own = [runs / f"{folder.name}-{number}" for number in SPLITS]
        jobs = [(run, change) for change in CHANGES for run in own]
        made = Parallel(n_jobs=-1)(delayed(scores_of)(run, change) for run, change in jobs)
        sides = {change.name: made[3 * k : 3 * k + 3] for k, change in enumerate(CHANGES)}
        exclusive = open_run(own[0]).recipe.exclusive
        metric = headline_metric(exclusive=exclusive)
        for name, ours in sides.items():
            pairs = [
                Pair(y, s, base, groups)
                for (y, s, groups), (_, base, _) in zip(ours, sides["default"], strict=True)
            ]
            mean = np.mean([main_figures(y, s, exclusive=exclusive)[metric] for y, s, _ in ours])
            d = paired_difference(pairs, MACRO_METRICS[metric])
            print(
                f"{folder.name:16} {name:40} {mean:.3f}  {d.value:+.3f} "
                f"[{d.low:+.3f}, {d.high:+.3f}] {d.verdict}",
                flush=True,
            )


if __name__ == "__main__":
    if len(sys.argv) > 2:
        main(Path(sys.argv[1]), [Path(f) for f in sys.argv[2:]])
    else:
        print(__doc__)
