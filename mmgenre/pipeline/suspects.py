"""Training items whose labels are likely wrong, by scores that have not seen them.

Every input gives cross-fitted outputs: an input that is made without labels by heads that are
solved without the item's fold, the vectors of a trained encoder by the encoders that were trained
without it (`crossfit.h5`), and not at all where there are none. Folds share no artist.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmgenre.disk.store import FeatureStore, group_names
from mmgenre.disk.tables import spreadsheet_cell, write_table
from mmgenre.errors import MmgenreError
from mmgenre.fusion.experts import FOLDS, Task, fit_expert, quality_of
from mmgenre.fusion.scaling import GIVEN, LEARNED
from mmgenre.items.modalities import MODALITIES
from mmgenre.learning.targets import make_target
from mmgenre.measuring.label_errors import suspicions
from mmgenre.pipeline.align import feature_table
from mmgenre.pipeline.crossfit import crossfit_store
from mmgenre.pipeline.run import Run
from mmgenre.progress import Progress, silent

TASK = "looking at labels"


@dataclass(frozen=True)
class Suspect:
    """A training item whose labels are likely wrong. `margin`: the order of the list."""

    id: str
    given: tuple[str, ...]
    wrong: tuple[str, ...]  # of these, those that look wrong
    lacking: tuple[str, ...]  # genres that it seems to have
    margin: float

    def told(self) -> str:
        """A line: `syn-0203: given Rock; wrong: Rock; lacking: Pop`."""
        parts = {"given": self.given, "wrong": self.wrong, "lacking": self.lacking}
        told = "; ".join(f"{name}: {', '.join(own)}" for name, own in parts.items() if own)
        return f"{self.id}: {told}"


@dataclass(frozen=True)
class Suspects:
    """The suspects, likeliest first, and what they were found by: input -> ROC-AUC."""

    found: tuple[Suspect, ...]
    n_items: int  # training items that were looked at
    by: dict[str, float]
    left_out: dict[str, str]  # input -> why it had no say
    not_judged: tuple[str, ...]  # genres that no model knows without the items of one of the folds

    def as_dict(self, top: int | None = None) -> dict[str, Any]:
        """Plain data for JSON, with the first `top` of the items; None: with all."""
        listed = [asdict(suspect) for suspect in self.found[:top]]
        about = {"n_items": self.n_items, "n_suspects": len(self.found)}
        by = {"by": self.by, "left_out": self.left_out, "not_judged": list(self.not_judged)}
        return {**about, "suspects": listed, **by}


def suspects(run: Run, *, progress: Progress = silent) -> Suspects:
    """Likely wrong labels among the training items of a run, confident learning.

    Raises:
        MmgenreError: the run has no vectors, or none that says anything about its genres.
    """
    ids = run.manifest.ids("train")
    y = run.truth(ids)
    recipe, space = run.recipe, run.labels()
    config = recipe.target.model_copy(update={"name": "logistic"})
    target = make_target(config, len(space), exclusive=space.exclusive)
    target.fit(y)
    folds = run.folds(FOLDS).of
    of_items = np.array([folds[i] for i in ids])
    task = Task(target, y, of_items, quality_of(target, exclusive=space.exclusive))
    outputs: dict[str, NDArray[np.float32]] = {}
    left_out: dict[str, str] = {}
    ways = _ways(run, ids, task, left_out)
    for number, (name, cross_fitted) in enumerate(ways.items()):
        progress(TASK, number, len(ways))
        outputs[name] = cross_fitted()
    progress(TASK, len(ways), len(ways))
    weights: dict[str, float] = {}
    for name, own in outputs.items():
        auc, chance = task.auc(own)
        if chance is None or not auc > chance:
            left_out[name] = f"at chance (ROC-AUC {auc:.2f})"
        else:
            weights[name] = auc
    if not weights:
        why = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise MmgenreError(
            f"{run.folder}: no vectors tell the genres of training items ({why or 'there are none'}"
            f"); make them first: mmgenre extract-features --run {run.folder}"
        )
    judged = task.judged()
    names = [name for name, known in zip(space.names, judged, strict=True) if known]
    truth, p = y[:, judged], _probabilities(outputs, weights, task)[:, judged]
    if space.exclusive:
        p[~truth.any(axis=1)] = np.nan
    found = suspicions(truth, p, exclusive=space.exclusive)
    listed = tuple(
        Suspect(
            ids[s.row],
            tuple(run.manifest[ids[s.row]].labels),
            tuple(names[k] for k in s.wrong),
            tuple(names[k] for k in s.lacking),
            s.margin,
        )
        for s in found
    )
    unknown = tuple(
        name
        for name, known, n in zip(space.names, judged, y.sum(axis=0), strict=True)
        if n and not known
    )
    return Suspects(listed, int(np.isfinite(p).all(axis=1).sum()), weights, left_out, unknown)


def _ways(
    run: Run, ids: tuple[str, ...], task: Task, left_out: dict[str, str]
) -> dict[str, Callable[[], NDArray[np.float32]]]:
    """Input -> what gives its cross-fitted outputs, (n, L), NaN for items without it."""
    crossfit = crossfit_store(run)
    crossed = group_names(crossfit) if crossfit.is_file() else ()
    embeddings = run.folder / "embeddings.h5"
    held = {*(group_names(embeddings) if embeddings.is_file() else ()), *run.given}
    ways: dict[str, Callable[[], NDArray[np.float32]]] = {}

    def solved(name: str, place: Path, given: bool) -> Callable[[], NDArray[np.float32]]:
        def outputs() -> NDArray[np.float32]:
            table = feature_table({name: (place, name)}, ids)
            found = fit_expert(table, name, task, GIVEN if given else LEARNED).outputs
            assert found is not None
            return found

        return outputs

    def stored(name: str) -> Callable[[], NDArray[np.float32]]:
        def outputs() -> NDArray[np.float32]:
            found = np.full(task.y.shape, np.nan, np.float32)
            with FeatureStore(crossfit, name) as store:
                here = np.array([i in store for i in ids], dtype=bool)
                found[here] = store.take([i for i, h in zip(ids, here, strict=True) if h])
            return found

        return outputs

    for name in run.given:
        ways[name] = solved(name, run.features, True)
    for view in (view for m in MODALITIES for view in run.views(m)):
        if view.name not in held:
            continue
        if view.fixed:
            ways[view.name] = solved(view.name, run.embeddings(view.name), view.given)
        elif view.name in crossed and run.recipe.target.name == "logistic":
            ways[view.name] = stored(view.name)
        else:
            left_out[view.name] = (
                "its encoder has seen these labels, and there are no cross-fitted outputs "
                "(fusion.cross_fit, then mmgenre fuse)"
            )
    return ways


def _probabilities(
    outputs: dict[str, NDArray[np.float32]], weights: dict[str, float], task: Task
) -> NDArray[np.float64]:
    """Probabilities by the mean of the inputs' outputs, weighted by what each says; (n, L)."""
    total = np.zeros(task.y.shape)
    weight = np.zeros((len(task.y), 1))
    for name, auc in weights.items():
        own = outputs[name].astype(np.float64)
        here = np.isfinite(own).all(axis=1)
        total[here] += (auc - 0.5) * own[here]
        weight[here] += auc - 0.5
    known = weight[:, 0] > 0
    p = np.full(task.y.shape, np.nan)
    p[known] = task.target.scores((total[known] / weight[known]).astype(np.float32))
    return p


def write_suspects(found: Suspects, out: Path) -> None:
    """A CSV of all suspects: id, given, wrong, lacking (joined by semicolons), margin."""
    rows = (
        [s.id, *(";".join(own) for own in (s.given, s.wrong, s.lacking)), f"{s.margin:.4f}"]
        for s in found.found
    )
    cells = ([str(spreadsheet_cell(cell)) for cell in row] for row in rows)
    write_table(out, ("id", "given", "wrong", "lacking", "margin"), cells)
