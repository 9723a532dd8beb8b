"""Experts: linear heads on inputs, their scaling and L2 strength chosen by cross-validation.

n items, D outputs of the target: logits of all genres, or dimensions of the label factors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mmgenre.fusion.scaling import AS_THEY_ARE, GIVEN, KERNELS, FittedScaling, Scaling
from mmgenre.fusion.solve import ROUGHLY, Linear, solve_path
from mmgenre.fusion.table import FeatureTable
from mmgenre.learning.targets import LogisticTarget, Target, log_odds
from mmgenre.learning.validation import chance_auc
from mmgenre.measuring import metrics

Vectors = NDArray[np.float32]
Bools = NDArray[np.bool_]
# Of outputs (n, D) for labels (n, L), by those of the labels that count, (L,).
Quality = Callable[[Vectors, Bools, Bools], float]
# Of rows of length 1 on average, from "says nothing" to "fits every training item".
STRENGTHS = (30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003)
FOLDS = 5  # of training items, by which strengths, scalings and combinations are chosen
MANY_ITEMS = 10_000  # above, one fold alone is left out for strengths: there are enough in it
# Of several inputs, each of which has the strength that it has alone.
JOINED_STRENGTHS = (10.0, 3.0, 1.0, 0.3, 0.1)
KERNEL_COLUMNS = 1024  # given vectors of more columns are told apart by a linear head
PATIENCE = 2  # strengths without a better one before weaker ones are left out


@dataclass(frozen=True)
class Expert:
    """Vectors of one input, or of several after each other -> outputs (n, D).

    Of several inputs, each has a factor on its scaled vectors, which are 0 where it is absent, and
    a column that says so (Oramas 2018, sec. 4, and a flag).
    """

    scalings: Mapping[str, FittedScaling]  # by input
    factors: Mapping[str, float]
    linear: Linear

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(self.scalings)

    def has(self, table: FeatureTable) -> Bools:
        """Which items have all its inputs, (n,)."""
        return np.asarray(np.all([table.present[name] for name in self.inputs], axis=0))

    def __call__(self, table: FeatureTable) -> Vectors:
        return self.linear(joined(table, self.scalings, self.factors))


@dataclass(frozen=True)
class Crossed:
    """An expert, and for each training item the outputs of one that was fitted without it."""

    expert: Expert
    # (n, D), NaN for items without the inputs; None: there are none, as it has seen all items
    outputs: Vectors | None
    scaling: str  # for reports
    strength: float | None  # None: the encoder's own output layer


@dataclass(frozen=True)
class Task:
    """Items' labels and goals, their folds, and what choices are made by."""

    target: Target
    y: Bools  # (n, L)
    folds: NDArray[np.intp]  # (n,), which are left out one after the other
    quality: Quality
    known: bool = False  # whether experts learn from other items than these, which have all labels

    @property
    def exclusive(self) -> bool:
        return isinstance(self.target, LogisticTarget) and self.target.exclusive

    def of(self, rows: Bools) -> Task:
        """The same of some items; if all of them are in one fold, they are divided one by one."""
        folds = self.folds[rows]
        if len(np.unique(folds)) == 1:
            folds = np.arange(len(folds)) % FOLDS
        return replace(self, y=self.y[rows], folds=folds)

    def judged(self) -> Bools:
        """The labels that outputs can be judged by, (L,).

        A label all of whose items are in one fold, as of a genre with one artist, was unknown to
        the expert that judges them: what it says of it says nothing of experts.
        """
        if self.known:
            return np.ones(self.y.shape[1], bool)
        in_folds = [self.y[self.folds == fold].any(axis=0) for fold in np.unique(self.folds)]
        return np.asarray(np.sum(in_folds, axis=0) > 1)

    def shift(self, out: Bools) -> NDArray[np.float32]:
        """What to add to logits of items `out` by an expert of all others, (D,) or (1,).

        It has learned the labels' shares of its own items, which are the lower the more of them the
        items left out have: the prior is corrected to that of all items (Saerens et al. 2002).
        """
        if not isinstance(self.target, LogisticTarget) or self.target.weights is not None:
            return np.zeros(1, np.float32)
        whole, rest = (
            log_odds((rows.sum(axis=0) + 0.5) / (len(rows) + 1), exclusive=self.exclusive)
            for rows in (self.y, self.y[~out])
        )
        return np.asarray(whole - rest, np.float32)

    def auc(self, outputs: Vectors) -> tuple[float, float | None]:
        """Macro ROC-AUC of outputs (n, D), NaN for items without, and what chance reaches."""
        here = np.asarray(np.isfinite(outputs).all(axis=1))
        own = self.of(here)
        judged = own.judged()
        y, scores = own.y[:, judged], scores_of(self.target, outputs[here])[:, judged]
        return metrics.macro(metrics.roc_auc(y, scores)), chance_auc(y)

    def quality_of(self, outputs: Vectors, rows: Bools | None = None) -> float:
        """How good outputs (n, D) of the items, or of some, are; NaN where none can be judged."""
        y = self.y if rows is None else self.y[rows]
        return self.quality(outputs, y, self.judged())


def joined(
    table: FeatureTable, scalings: Mapping[str, FittedScaling], factors: Mapping[str, float]
) -> Vectors:
    """Scaled vectors of inputs beside each other, and which are absent if there are several."""
    blocks = []
    for name, scaling in scalings.items():
        rows = scaling(table.x[name]) * np.float32(factors[name])
        blocks.append(rows * table.present[name][:, None])
    if len(scalings) > 1:
        blocks.append(np.stack([~table.present[n] for n in scalings], axis=1).astype(np.float32))
    return np.concatenate(blocks, axis=1)


def quality_of(target: Target, *, exclusive: bool) -> Quality:
    """What choices are made by: the figures that tables show, higher is better.

    One genre an item: mean of macro F1 and macro ROC-AUC; many: of macro ROC-AUC and macro AP. NaN
    if no genre has both items with it and without it.
    """

    def quality(outputs: Vectors, y: Bools, judged: Bools) -> float:
        if not judged.any():
            return float("nan")
        scores, y = scores_of(target, outputs)[:, judged], y[:, judged]
        if exclusive:
            scores, y = scores[y.any(axis=1)], y[y.any(axis=1)]
        auc = metrics.macro(metrics.roc_auc(y, scores))
        if exclusive:
            predicted = metrics.argmax_one_hot(scores)
            return (auc + metrics.macro(metrics.precision_recall_f1(y, predicted)[2])) / 2
        return (auc + metrics.macro(metrics.average_precision(y, scores))) / 2

    return quality


def scores_of(target: Target, outputs: Vectors) -> NDArray[np.float64]:
    """Outputs (n, D) -> genre scores (n, n_labels)."""
    return target.scores(outputs)


def fit_expert(table: FeatureTable, name: str, task: Task, scalings: Sequence[Scaling]) -> Crossed:
    """An expert of one input: scaling and strength chosen by folds, then fitted on all items."""
    here = table.present[name]
    own, only = task.of(here), table.only([name]).select(here)
    x = only.x[name]
    fitted = [FittedScaling.fit(scaling, x).of_length_1(x) for scaling in scalings]
    rows = [joined(only, {name: scaling}, {name: 1.0}) for scaling in fitted]
    found = _choose(rows, own, STRENGTHS)
    linear = _at(rows[found.which], own, found.strength)
    outputs = np.full((len(here), found.outputs.shape[1]), np.nan, np.float32)
    outputs[here] = found.outputs
    scaling = fitted[found.which]
    expert = Expert({name: scaling}, {name: 1.0}, linear)
    return Crossed(expert, outputs, scaling.scaling.name, found.strength)


def given_experts(
    table: FeatureTable, name: str, task: Task, *, kernel: bool = True
) -> dict[str, Crossed]:
    """The experts of vectors that another program made: linear, and of few columns a kernel's."""
    found = {name: fit_expert(table, name, task, GIVEN)}
    if kernel and table.x[name].shape[1] <= KERNEL_COLUMNS:
        found[f"{name}/kernel"] = fit_expert(table, name, task, KERNELS)
    return found


def fit_joined(table: FeatureTable, alone: Mapping[str, Crossed], task: Task) -> Crossed:
    """An expert of several inputs' vectors beside each other: grouped L2 penalties.

    Each input keeps the scaling and, as a factor on its columns, the strength that it has alone:
    one that says nothing fades out. A common strength is chosen.
    """
    scalings = {n: next(iter(c.expert.scalings.values())) for n, c in alone.items()}
    # A penalty of `strength` on unscaled columns is one of 1 on these.
    strengths = {n: _own_strength(c, task) for n, c in alone.items()}
    factors = {n: float(1 / np.sqrt(strength)) for n, strength in strengths.items()}
    here = np.any([table.present[name] for name in alone], axis=0)
    own, only = task.of(here), table.only(list(alone)).select(here)
    rows = joined(only, scalings, factors)
    found = _choose([rows], own, JOINED_STRENGTHS)
    outputs = np.full((len(here), found.outputs.shape[1]), np.nan, np.float32)
    outputs[here] = found.outputs
    linear = _at(rows, own, found.strength)
    said = "; ".join(f"{n}: {c.scaling}, {strengths[n]:g}" for n, c in alone.items())
    return Crossed(Expert(scalings, factors, linear), outputs, said, found.strength)


def _own_strength(alone: Crossed, task: Task) -> float:
    """The strength of an input alone; the greatest if it is at chance, where its own is luck."""
    if alone.outputs is not None:
        auc, chance = task.auc(alone.outputs)
        if chance is not None and not auc > chance:
            return max(STRENGTHS)
    return alone.strength or 1.0


def taken_expert(name: str, linear: Linear, outputs: Vectors | None) -> Crossed:
    """The output layer that an encoder was trained under, as an expert of its embeddings."""
    as_it_is = FittedScaling.fit(AS_THEY_ARE, np.zeros((1, linear.weight.shape[0]), np.float32))
    expert = Expert({name: as_it_is}, {name: 1.0}, linear)
    return Crossed(expert, outputs, "its own output layer", None)


def refitted(expert: Expert, strength: float, table: FeatureTable, task: Task) -> Expert:
    """The expert with its scaling, and weights that are solved anew on the items of a table."""
    here = np.any([table.present[name] for name in expert.inputs], axis=0)
    rows = joined(table.only(expert.inputs).select(here), expert.scalings, expert.factors)
    return replace(expert, linear=_at(rows, task.of(here), strength))


@dataclass(frozen=True)
class _Choice:
    which: int  # of the scalings
    strength: float
    outputs: Vectors  # (n, D), each by the solution without the item's fold
    quality: float


def _choose(candidates: Sequence[Vectors], task: Task, strengths: Sequence[float]) -> _Choice:
    """The best rows and strength by cross-validation."""
    target, best, n = task.target, None, len(task.y)
    goals = target.targets(task.y)
    folds = np.unique(task.folds)
    if len(folds) == 1:  # one item, from which nothing can be chosen
        return _Choice(0, max(strengths), np.full(goals.shape, np.nan, np.float32), 0.0)
    parts = [task.folds == fold for fold in (folds if n <= MANY_ITEMS else folds[:1])]
    held = np.any(parts, axis=0)
    for which, rows in enumerate(candidates):
        paths = [solve_path(rows[~out], goals[~out], target, strengths, ROUGHLY) for out in parts]
        highest, falls = -np.inf, 0
        for strength, solutions in zip(strengths, zip(*paths, strict=True), strict=True):
            outputs = np.full(goals.shape, np.nan, np.float32)
            for out, linear in zip(parts, solutions, strict=True):
                outputs[out] = linear(rows[out]) + task.shift(out)
            quality = task.quality_of(outputs[held], held)
            if best is None or quality > best.quality:
                best = _Choice(which, strength, outputs, quality)
            falls = 0 if quality > highest else falls + 1
            highest = max(highest, quality)
            if falls == PATIENCE:
                break
    assert best is not None
    return best


def _at(rows: Vectors, task: Task, strength: float) -> Linear:
    """The solution of all items at a strength, by the path that leads there."""
    stronger = [s for s in STRENGTHS if s >= strength]
    *_, last = solve_path(rows, task.target.targets(task.y), task.target, stronger)
    return last
