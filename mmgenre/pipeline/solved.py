"""Heads that are solved: experts of all inputs once, then the patterns of every row."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmgenre.disk.store import FeatureStore
from mmgenre.errors import MmgenreError
from mmgenre.fusion.ensemble import Fitting, Inputs, Pattern, SolvedFusion
from mmgenre.fusion.experts import (
    FOLDS,
    Crossed,
    Task,
    fit_expert,
    given_experts,
    quality_of,
    refitted,
    scores_of,
    taken_expert,
)
from mmgenre.fusion.scaling import LEARNED
from mmgenre.fusion.solve import Linear
from mmgenre.fusion.table import FeatureTable
from mmgenre.fusion.trust import fit_trust
from mmgenre.items.item import Split
from mmgenre.items.modalities import JOINT, modality_of
from mmgenre.learning.encoder import TaskHead, load_task_head
from mmgenre.learning.targets import make_target
from mmgenre.measuring import metrics
from mmgenre.measuring.results import Choice
from mmgenre.pipeline import scores as of
from mmgenre.pipeline.align import Places
from mmgenre.pipeline.recipe import Recipe
from mmgenre.pipeline.run import Run
from mmgenre.pipeline.tables import SCORED, Made, Scored, check_row, tables_of
from mmgenre.progress import Progress

COPIES = 4  # of the vectors: scaled in float64, beside each other, and those of folds
LEAST_THRESHOLD_ITEMS = 20  # of validation, below which training items decide, cross-fitted


def solve_heads(run: Run, recipe: Recipe, heads: of.Heads, progress: Progress) -> Made:
    """Fits every row; figures are of heads that learned from training items only.

    Raises:
        MmgenreError: their vectors would not fit into this machine's memory.
    """
    check_memory({name: heads.places[name] for name in heads.inputs}, len(run.manifest))
    tables, given = tables_of(run, recipe, heads)
    tasks = _tasks(run, recipe)
    target, labels = tasks["train"].target, run.labels(recipe)
    for row in heads.rows:
        check_row(row, {s: tables[s].only(row.inputs) for s in ("train", "val")})
    fitted: dict[str, Crossed] = {}
    keys, honest = {}, set()
    for number, name in enumerate(heads.inputs):
        progress("experts", number, len(heads.inputs))
        found = _experts(run, recipe, heads, name, tables["train"], tasks["train"])
        fitted |= found
        keys[name] = tuple(found)
        view = heads.views.get(name)
        if view.fixed if view is not None else not name.startswith(JOINT):
            honest.add(name)
    progress("experts", len(heads.inputs), len(heads.inputs))
    modalities = {n: modality_of(n) for n in heads.inputs}
    fitting = Fitting(
        tables["train"], tasks["train"], tables["val"], tasks["val"], keys, fitted, modalities,
        frozenset(honest), recipe.fusion.combine,
    )  # fmt: skip
    prior = _prior(tasks["train"])
    scores: dict[of.On, list[NDArray[np.float32]]] = {split: [] for split in SCORED}
    thresholds: list[list[float | None]] = []
    choices: list[Choice | None] = []
    for number, row in enumerate(heads.rows):
        progress("fusion heads", number, len(heads.rows))
        patterns = fitting.row(row.inputs, row.combine)
        used = {key for pattern in patterns.values() for key in pattern.experts}
        experts = {key: fitting.fitted[key].expert for key in sorted(used)}
        model = SolvedFusion(experts, patterns, prior, target, recipe.fusion.head, labels)
        for split in SCORED:
            scores[split].append(model.scores(tables[split].only(row.inputs)).astype(np.float32))
        threshold = None
        if not recipe.exclusive:
            threshold = _threshold(model, fitting, row.inputs)
        choice = _choice(row.inputs, patterns, fitting)
        choices.append(choice)
        model = replace(model, threshold=threshold, about=choice)
        thresholds.append([threshold])
    progress("fusion heads", len(heads.rows), len(heads.rows))
    trust = None
    if run.pool is None:  # cells of experiments are measured and do not predict
        rows = (tables["train"], tasks["train"].y), (tables["val"], tasks["val"].y)
        untrained = untrained_of(run, heads)
        trust = fit_trust(model, *rows[0], *rows[1], tasks["val"].folds, untrained)
    if recipe.fusion.refit:
        model = _refit(model, fitting)
    scored = {
        split: Scored(tables[split].ids, np.stack(scores[split], axis=1)[:, :, None], given[split])
        for split in SCORED
    }
    return Made(scored, thresholds, [None] * len(heads.rows), model, choices, trust)


def check_memory(places: Places, n: int, memory: int | None = None) -> None:
    """Refuses what cannot be solved in memory, before hours of trying.

    Args:
        places: where the vectors of the inputs lie.
        n: items.
        memory: bytes; None: those of this machine.

    Raises:
        MmgenreError: the items' vectors would take more, with the scaled copies of them.
    """
    width = 0
    for path, group in places.values():
        with FeatureStore(path, group) as store:
            width += int(store.row_shape[0] or 0)
    memory = memory or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    needed = COPIES * 4 * width * n
    if needed > memory:
        raise MmgenreError(
            f"fusion.solver lbfgs: to solve heads on {n:,} items with vectors of {width:,} numbers "
            f"takes about {needed / 1e9:,.0f} GB of memory, and this machine has "
            f"{memory / 1e9:,.0f}; train them by mini-batches, which leaves them on disk: --set "
            "fusion.solver=sgd --set fusion.combine=concatenation"
        )


def _refit(model: SolvedFusion, fitting: Fitting) -> SolvedFusion:
    """The model whose experts also learned from validation items, at the strengths as chosen."""
    own, val = fitting.task, fitting.val_task
    # Of exclusive genres an item has exactly one, or a softmax cannot learn from it.
    useful = np.asarray(val.y.any(axis=1) | (not own.exclusive))
    table = FeatureTable.both(fitting.train, fitting.val.select(useful))
    y, folds = np.concatenate([own.y, val.y[useful]]), [own.folds, val.folds[useful]]
    task = Task(own.target, y, np.concatenate(folds), own.quality)
    experts = dict(model.experts)
    for key, expert in experts.items():
        strength = fitting.fitted[key].strength
        if strength is not None:
            experts[key] = refitted(expert, strength, table, task)
    return replace(model, experts=experts)


def _tasks(run: Run, recipe: Recipe) -> dict[Split, Task]:
    splits: tuple[Split, ...] = ("train", "val")
    y = {split: run.truth(run.manifest.ids(split), recipe) for split in splits}
    n_labels = y["train"].shape[1]
    target = make_target(recipe.fusion_target, n_labels, exclusive=recipe.exclusive)
    target.fit(y["train"])
    quality = quality_of(target, exclusive=recipe.exclusive)
    tasks: dict[Split, Task] = {}
    for split in splits:
        folds = run.folds(FOLDS, split).of
        of_items = np.array([folds[item_id] for item_id in run.manifest.ids(split)])
        tasks[split] = Task(target, y[split], of_items, quality, known=split == "val")
    return tasks


def _experts(
    run: Run, recipe: Recipe, heads: of.Heads, name: str, table: FeatureTable, task: Task
) -> dict[str, Crossed]:
    """The experts of an input by key; the first has the input's name."""
    view = heads.views.get(name)
    if _is_given(run, name, view):
        return given_experts(table, name, task)
    if view is not None and not view.fixed:
        head = load_task_head(view.encoder, name.partition(".")[0])
        same = head.labels == run.labels(recipe).names
        if same and head.target.state() == task.target.state():
            outputs = _crossfitted(view, name, table.ids, head)
            weight, bias = head.output.weight.detach(), head.output.bias.detach()
            linear = Linear(np.ascontiguousarray(weight.numpy().T), bias.numpy())
            return {name: taken_expert(name, linear, outputs)}
    expert = fit_expert(table, name, task, LEARNED)
    if view is None or not view.fixed:  # the network has learned from these items: of all folds
        expert = replace(expert, outputs=None)
    return {name: expert}


def untrained_of(run: Run, heads: of.Heads) -> list[str]:
    """The inputs that an encoder of ours makes without training."""
    views = heads.views.items()
    return [name for name, view in views if view.fixed and not _is_given(run, name, view)]


def _is_given(run: Run, name: str, view: of.ViewOf | None) -> bool:
    """Whether an input is vectors of another program, by file or by a frozen model."""
    if view is None:
        return not name.startswith(JOINT)
    return any(own.given for own in run.views(name.partition(".")[0]) if own.name == name)


def _crossfitted(
    view: of.ViewOf, name: str, ids: tuple[str, ...], head: TaskHead
) -> NDArray[np.float32] | None:
    if view.crossfit is None:
        return None
    outputs = np.full((len(ids), head.target.dim), np.nan, np.float32)
    with FeatureStore(view.crossfit, name) as store:
        here = np.array([item_id in store for item_id in ids], dtype=bool)
        outputs[here] = store.take([i for i, h in zip(ids, here, strict=True) if h])
    return outputs


def _prior(task: Task) -> NDArray[np.float32]:
    """Outputs for an item of which nothing is known: how frequent genres are."""
    goals = task.target.targets(task.y)
    if task.target.state()["name"] == "cosine":
        return np.asarray(goals.mean(axis=0), np.float32)
    shares = np.clip(goals.mean(axis=0), 0.5 / len(goals), 1 - 0.5 / len(goals))
    return np.asarray(np.log(shares) - (0 if task.exclusive else np.log1p(-shares)), np.float32)


def _threshold(model: SolvedFusion, fitting: Fitting, inputs: Inputs) -> float:
    """The score that names a genre: by validation items that have any of the inputs.

    Of too few of these it would be luck; then by training items, cross-fitted.
    """
    own = fitting.val.only(inputs)
    having = np.any(list(own.present.values()), axis=0)
    y = fitting.val_task.y[having]
    if len(y) >= LEAST_THRESHOLD_ITEMS and y.any():
        return metrics.best_threshold(y, model.scores(own.select(having)))
    everything = tuple(sorted(inputs))
    whole = model.patterns[everything]
    outputs, task = fitting.rows(everything, whole.experts, everything)
    if not task.y.any():
        return 0.5
    return metrics.best_threshold(task.y, scores_of(task.target, whole.combination(outputs)))


def _about(crossed: Crossed, fitting: Fitting) -> dict[str, Any]:
    """An expert, and the ROC-AUC of its cross-fitted outputs beside what chance reaches.

    `shift`, of cross-fitted networks: how far apart the outputs of the network that predicts are
    for validation items, by those of the others for training items. Below 1, it is less sure of
    items that it has not seen than the weights of the fusion suppose; above 1, more.
    """
    said: dict[str, Any] = {"scaling": crossed.scaling, "strength": crossed.strength}
    if crossed.outputs is not None:
        here = np.isfinite(crossed.outputs).all(axis=1)
        outputs = crossed.outputs[here]
        auc, chance = fitting.task.auc(crossed.outputs)
        said |= {"roc_auc": auc if np.isfinite(auc) else None, "chance": chance}
        new = fitting.val.select(np.flatnonzero(crossed.expert.has(fitting.val)))
        if crossed.strength is None and len(new):
            apart = [float(z.std(axis=0).mean()) for z in (crossed.expert(new), outputs)]
            said["shift"] = apart[0] / apart[1] if apart[1] else None
    return said


def _choice(inputs: Inputs, patterns: Mapping[Inputs, Pattern], fitting: Fitting) -> Choice:
    """What a row's inputs are joined by, for reports."""
    whole = patterns[tuple(sorted(inputs))]
    weights = whole.combination.weight.tolist()
    return {
        "way": whole.way,
        "weights": dict(zip(whole.experts, weights, strict=True)),
        "experts": {key: _about(fitting.fitted[key], fitting) for key in whole.experts},
        "quality": whole.quality,
        "compared": dict(whole.compared),
    }
