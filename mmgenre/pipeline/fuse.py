"""Embeddings and joint vectors -> fusion heads, one a row of the table, and what each is worth."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from mmgenre.disk.bundle import bundle_fingerprint
from mmgenre.disk.files import write_json
from mmgenre.disk.store import fingerprint_of, write_store
from mmgenre.errors import MmgenreError, RecipeError
from mmgenre.fusion.head import FusionModel, predict, train_fusion
from mmgenre.fusion.table import FeatureTable
from mmgenre.items.labels import LabelSpace
from mmgenre.items.manifest import MODALITIES, SPLITS, Modality, Split, short_name
from mmgenre.learning.processes import agreed, by_main, is_main
from mmgenre.learning.targets import Target, make_target
from mmgenre.learning.training import FitLog
from mmgenre.measuring import evaluation, metrics
from mmgenre.measuring.results import RESULT, FusionResult, Result, Row
from mmgenre.pipeline import lineage
from mmgenre.pipeline.align import JOINT, align, feature_table
from mmgenre.pipeline.features import extract_features, give_features, is_current, labels_of
from mmgenre.pipeline.measure import evaluate, read_curve
from mmgenre.pipeline.recipe import Recipe, merge, parse_setting, validate
from mmgenre.pipeline.run import DEFAULT_RUN, Run, open_run, prepare_run
from mmgenre.progress import Progress, silent

Inputs = tuple[str, ...]  # ("audio", "joint.audio")


def fuse(
    modalities: Sequence[Modality] = MODALITIES,
    *,
    run: Path | str = DEFAULT_RUN,
    manifest: Path | str | None = None,
    features: Mapping[str, Path] | None = None,
    inputs: Sequence[str] | None = None,
    head: str | None = None,
    joint: bool | None = None,
    task: str | None = None,
    seeds: int = 3,
    settings: Sequence[str] = (),
    progress: Progress = silent,
) -> FusionResult:
    """Joint space, late fusion and evaluation of every subset of the modalities.

    Embeddings that are not there yet, or were made for another manifest or recipe than the run
    now has, are extracted first. Vectors given to the run stand beside the modalities.

    Args:
        modalities: the whole; every subset of it becomes a row of the table.
        run: the run's folder.
        manifest: CSV; to begin a run with vectors made elsewhere.
        features: vectors made elsewhere, name -> file: further inputs, or, under a modality's
            name, instead of its encoder; the run keeps them. See `give_features`.
        inputs: instead of all subsets this one row, as ["joint.audio"] for MM_AUDIO: its joint
            space is of all modalities, but to predict it needs audio alone.
        head: "logistic" or "cosine"; default: the recipe's.
        joint: whether joint vectors stand beside the embeddings; default: the recipe's.
        task: "single" or "multi"; default: the recipe's. Encoders stay as they are.
        seeds: how many heads are trained for each row.
        settings: changes to the recipe's sections labels, target, joint and fusion.
        progress: told what moves.
    """
    folder = Path(run)
    if seeds < 1:
        raise RecipeError(f"seeds {seeds}: at least 1")
    modalities = tuple(m for m in MODALITIES if m in modalities)
    if manifest is not None:
        begin = partial(prepare_run, folder, manifest=Path(manifest), progress=progress)
        by_main(begin, lambda: open_run(folder))
    if features:
        by_main(lambda: give_features(open_run(folder), features), tuple)
    # Only the default run may begin here: a misspelt folder must not start hours of work. And a
    # misspelt setting shows before anything is extracted.
    if folder != DEFAULT_RUN or (folder / "run.json").is_file():
        state = open_run(folder)
        recipe = _fusion_recipe(state.recipe, head, joint, task, settings)
        table_rows(recipe, _names(state, modalities), inputs)
    _extract_what_lacks(folder, modalities, progress)
    state = open_run(folder)
    recipe = _fusion_recipe(state.recipe, head, joint, task, settings)
    names = _names(state, modalities)
    rows = table_rows(recipe, names, inputs)
    joined = joined_names(recipe, names, rows)
    if joined:
        align(state, recipe, joined, progress=progress)
    name = fusion_name(recipe, names, inputs, joined)
    result = fuse_rows(state, recipe, name, rows, joined, seeds, progress=progress)
    by_main(lambda: evaluate(state), lambda: state.metrics)
    return result


def _names(run: Run, modalities: Sequence[Modality]) -> Inputs:
    """The modalities that any item has, then further vectors given to the run."""
    learned = [m for m in modalities if m in run.given or run.manifest.ids(having=[m])]
    names = (*learned, *(name for name in run.given if name not in MODALITIES))
    if not names:
        raise MmgenreError(f"{run.dataset}: no item has {' or '.join(modalities)}")
    return names


def _extract_what_lacks(folder: Path, modalities: Sequence[Modality], progress: Progress) -> None:
    lacking = agreed(lambda: _lacking(folder, modalities))
    if lacking:
        extract_features(run=folder, modalities=lacking, progress=progress)


def _lacking(folder: Path, modalities: Sequence[Modality]) -> list[Modality]:
    """The modalities to extract: none, if all of them are as the run asks for."""
    if not (folder / "run.json").is_file():
        return list(modalities)
    run = open_run(folder)
    learned = [m for m in modalities if run.manifest.ids(having=[m]) and m not in run.given]
    return [] if all(is_current(run, m) for m in learned) else learned


def _fusion_recipe(
    recipe: Recipe,
    head: str | None,
    joint: bool | None,
    task: str | None,
    settings: Sequence[str],
) -> Recipe:
    """The run's recipe with changes that only fusion needs."""
    changes: dict[str, Any] = {}
    for setting in settings:
        changes = merge(changes, parse_setting(setting))
    elsewhere = sorted(set(changes) - {"labels", "target", "joint", "fusion"})
    if elsewhere:
        raise RecipeError(
            f"{', '.join(elsewhere)}: no setting of fusion; change it where it works: "
            "mmgenre extract-features --set ..."
        )
    named = {
        "labels": {"task": task} if task else {},
        "fusion": ({"head": head} if head else {})
        | ({"joint": "beside" if joint else "none"} if joint is not None else {}),
    }
    return validate(merge(merge(recipe.model_dump(), changes), named), where="of this fusion")


def table_rows(
    recipe: Recipe, names: Sequence[str], inputs: Sequence[str] | None = None
) -> list[Inputs]:
    """The inputs of each row: those asked for, else every subset of the names.

    Raises:
        RecipeError: an input that nothing here gives.
    """
    joined: Inputs = recipe.joint.modalities or tuple(names)
    known = (*names, *(f"{JOINT}{name}" for name in joined))
    if inputs is not None:
        unknown = [name for name in inputs if name not in known]
        if unknown or not inputs:
            raise RecipeError(
                f"inputs {', '.join(unknown) or 'of none'}: known here are {', '.join(known)}"
            )
        return [tuple(dict.fromkeys(inputs))]
    subsets = [s for k in range(1, len(names) + 1) for s in combinations(names, k)]
    rows = []
    for subset in subsets:
        plain = subset if recipe.fusion.joint != "alone" else ()
        beside = joined if recipe.fusion.joint != "none" else ()
        row = (*plain, *(f"{JOINT}{name}" for name in subset if name in beside))
        rows += [row] if row else []
    return rows


def joined_names(recipe: Recipe, names: Sequence[str], rows: Sequence[Inputs]) -> Inputs:
    """What the joint space is of; () where no row reads it."""
    if not any(name.startswith(JOINT) for row in rows for name in row):
        return ()
    return recipe.joint.modalities or tuple(names)


def fusion_name(
    recipe: Recipe,
    names: Sequence[str],
    inputs: Sequence[str] | None = None,
    joined: Sequence[str] = (),
) -> str:
    """`multi-logistic-a+t+i`: task, head, modalities, and whether joint vectors take part."""
    if inputs is not None:
        letters = [
            JOINT * name.startswith(JOINT) + short_name(name.removeprefix(JOINT)) for name in inputs
        ]
        space = f"-of-{'+'.join(short_name(name) for name in joined)}" if joined else ""
        return f"{recipe.labels.task}-{recipe.fusion.head}-only-{'+'.join(letters)}{space}"
    joint = {"none": "", "beside": "-with-joint", "alone": "-joint"}[recipe.fusion.joint]
    letters = [short_name(name) for name in names]
    return f"{recipe.labels.task}-{recipe.fusion.head}-{'+'.join(letters)}{joint}"


@dataclass(frozen=True)
class FusionData:
    """What every row of a fusion table is trained and measured on."""

    labels: LabelSpace
    target: Target
    y: Mapping[Split, NDArray[np.bool_]]
    tables: Mapping[Split, FeatureTable]
    complete: NDArray[np.bool_]  # test items that have every input


def fusion_data(
    run: Run, recipe: Recipe, rows: Sequence[Inputs], joined: Sequence[str]
) -> FusionData:
    """Labels and vectors of all splits for the inputs of some rows."""
    labels = run.labels(recipe)
    ids = {split: run.manifest.ids(split) for split in SPLITS}
    y = {split: labels_of(run, ids[split], recipe) for split in SPLITS}
    target = make_target(recipe.fusion_target, len(labels), exclusive=recipe.exclusive)
    target.fit(y["train"])
    inputs = sorted({name for row in rows for name in row})
    tables = {split: feature_table(run, inputs, ids[split], joined) for split in SPLITS}
    complete = np.all(list(tables["test"].present.values()), axis=0)
    tables["test"] = tables["test"].hide(recipe.fusion.missing_share, recipe.seed)
    return FusionData(labels, target, y, tables, complete)


@dataclass(frozen=True)
class TrainedHead:
    """A head over the inputs of one row, and its scores of all test items, (n_test, n_labels)."""

    model: FusionModel
    log: FitLog
    scores: NDArray[np.float64]


def train_head(data: FusionData, recipe: Recipe, row: Inputs, seed: int) -> TrainedHead:
    """Trains the head of a row; its threshold comes from validation.

    Raises:
        MmgenreError: a split has no item with any of the inputs.
    """
    tables = {split: table.only(row) for split, table in data.tables.items()}
    having = {s: _any_input(tables[s]) for s in ("train", "val")}
    empty = [split for split, items in having.items() if not items.any()]
    if empty:
        raise MmgenreError(
            f"row {row_name(row)}: no {' and no '.join(empty)} item has {' or '.join(row)}; leave "
            "it out with --modalities, or draw other splits with --set seed=N"
        )
    train, val = (tables[s].select(having[s]) for s in ("train", "val"))
    y = {s: data.y[s][having[s]] for s in ("train", "val")}
    targets = {s: data.target.targets(y[s]) for s in y}
    head, log = train_fusion(
        train, val, data.target, targets, recipe.fusion, exclusive=recipe.exclusive, seed=seed
    )
    threshold = (
        None
        if recipe.exclusive
        else metrics.best_threshold(y["val"], predict(head, data.target, val))
    )
    model = FusionModel(head, data.target, recipe.fusion.head, data.labels, threshold)
    return TrainedHead(model, log, predict(head, data.target, tables["test"]))


def _any_input(table: FeatureTable) -> NDArray[np.bool_]:
    return np.asarray(np.any(list(table.present.values()), axis=0))


def input_fingerprints(run: Run, rows: Sequence[Inputs], joined: Sequence[str]) -> dict[str, str]:
    """What rows are made from: embeddings, the encoders behind them, joint vectors."""
    inputs = sorted({name for row in rows for name in row})
    plain = sorted({name.removeprefix(JOINT) for name in (*inputs, *joined)})
    parents = {name: fingerprint_of(run.embeddings(name), name) or "" for name in plain}
    for name in plain:
        if name not in run.given:
            parents[f"encoder.{name}"] = bundle_fingerprint(run.encoder(cast(Modality, name))) or ""
    for name in inputs:
        if name.startswith(JOINT):
            path = run.joint_vectors(joined)
            parents[name] = fingerprint_of(path, name.removeprefix(JOINT)) or ""
    return parents


def fuse_rows(
    run: Run,
    recipe: Recipe,
    name: str,
    rows: Sequence[Inputs],
    joined: Sequence[str],
    seeds: int,
    *,
    progress: Progress = silent,
) -> FusionResult:
    """Trains and measures a head for every row; keeps the model of the last, the whole.

    Several processes train together, the main one measures.
    """
    folder = run.fusions / name
    parents = input_fingerprints(run, rows, joined)
    provenance = lineage.of_fusion(run, recipe, rows, seeds, parents)
    saved = folder / RESULT

    def is_made() -> bool:
        model = bundle_fingerprint(folder / "model") if saved.is_file() else None
        return model == provenance.fingerprint

    def read() -> FusionResult:
        return cast(FusionResult, json.loads(saved.read_text(encoding="utf-8")))

    if agreed(is_made):
        return read()
    data = fusion_data(run, recipe, rows, joined)
    results: list[Row] = []
    scores: dict[str, NDArray[np.float32]] = {}
    for number, row in enumerate(rows):
        progress("fusion heads", number, len(rows))
        heads = [train_head(data, recipe, row, recipe.seed + k) for k in range(seeds)]
        if not is_main():
            continue
        results.append(_measure_row(data, recipe, row, heads))
        for k, trained in enumerate(heads):
            scores[f"{row_name(row)}.seed{recipe.seed + k}"] = trained.scores.astype(np.float32)
    progress("fusion heads", len(rows), len(rows))

    def write() -> FusionResult:
        result: FusionResult = {
            "name": folder.name,
            "head": recipe.fusion.head,
            "exclusive": recipe.exclusive,
            "labels": list(data.labels.names),
            "seeds": [recipe.seed + k for k in range(seeds)],
            "rows": results,
            "joint": read_curve(run.joint_model(joined)) if joined else None,
        }
        # Nothing of an older fusion stays beside what is written now, its model least of all.
        shutil.rmtree(folder, ignore_errors=True)
        for group, values in scores.items():
            blocks = [(data.tables["test"].ids, values)]
            write_store(folder / "scores.h5", group, blocks, provenance)
        write_json(saved, result)
        # Written last: the model's fingerprint says that everything beside it is complete.
        heads[0].model.save(folder / "model", provenance)
        return result

    return by_main(write, read)


def _measure_row(
    data: FusionData, recipe: Recipe, row: Inputs, heads: Sequence[TrainedHead]
) -> Row:
    has_input = _any_input(data.tables["test"].only(row))
    hidden = recipe.fusion.missing_share > 0

    def measure(items: NDArray[np.bool_]) -> Result:
        return evaluation.result(
            data.y["test"][items],
            [trained.scores[items] for trained in heads],
            [trained.model.threshold for trained in heads],
            data.labels,
            has_input[items],
            seed=recipe.seed,
        )

    return {
        "name": row_name(row),
        "inputs": list(row),
        "all": measure(np.ones(len(data.complete), dtype=bool)),
        # Where evaluation hides inputs, no item is known to have all.
        "complete": measure(data.complete) if data.complete.any() and not hidden else None,
        "curve": heads[0].log.curve(),
    }


def row_name(inputs: Sequence[str]) -> str:
    """`A+T` for audio and text, `joint.A` for a joint vector; given vectors by their own name.

    >>> row_name(["audio", "joint.audio", "clap"])
    'A+joint.A+clap'
    """
    parts = []
    for name in inputs:
        plain = name.removeprefix(JOINT)
        short = short_name(plain).upper() if plain in MODALITIES else plain
        parts.append(JOINT * name.startswith(JOINT) + short)
    return "+".join(parts)
