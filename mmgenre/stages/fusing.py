"""Embeddings -> joint space -> fusion -> metrics."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import combinations
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from mmgenre import evaluation, metrics
from mmgenre.bundle import bundle_fingerprint, read_bundle
from mmgenre.errors import RecipeError
from mmgenre.files import write_json
from mmgenre.fusion import FusionModel, predict, train_fusion
from mmgenre.joint import load_joint, project, save_joint, train_joint
from mmgenre.labels import LabelSpace, closure
from mmgenre.manifest import MODALITIES, SPLITS, Modality, Split
from mmgenre.progress import Progress, silent
from mmgenre.provenance import Provenance
from mmgenre.recipe import Recipe, merge, parse_setting, validate
from mmgenre.results import Curve, EncoderResult, FusionResult, Result, Row, RunResult
from mmgenre.runs import DEFAULT_RUN, SYNTHETIC, Run, open_run
from mmgenre.stages.features import extract_features, is_current, labels_of, refusals
from mmgenre.store import FeatureStore, fingerprint_of, write_store
from mmgenre.table import FeatureTable, gather
from mmgenre.tagger import parents_of
from mmgenre.targets import Target, make_target

JOINT_VERSION = FUSION_VERSION = 1
RESULT = "metrics.json"


def fuse(
    modalities: Sequence[Modality] = MODALITIES,
    *,
    run: Path | str = DEFAULT_RUN,
    head: str | None = None,
    joint: bool | None = None,
    task: str | None = None,
    seeds: int = 3,
    settings: Sequence[str] = (),
    progress: Progress = silent,
) -> FusionResult:
    """Joint space, late fusion and evaluation of every subset of the modalities.

    Embeddings that are not there yet, or were made for another manifest or recipe than the run
    now has, are extracted first.

    Args:
        modalities: the whole; every subset of it becomes a row of the table.
        run: the run's folder.
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
    # Only the default run may begin here: a misspelt folder must not start hours of work. And a
    # misspelt setting shows before anything is extracted.
    if folder != DEFAULT_RUN or (folder / "run.json").is_file():
        _fusion_recipe(open_run(folder).recipe, head, joint, task, settings)
    if not _is_extracted(folder, modalities):
        extract_features(run=folder, modalities=modalities, progress=progress)
    state = open_run(folder)
    recipe = _fusion_recipe(state.recipe, head, joint, task, settings)
    usable = [m for m in modalities if state.manifest.ids(having=[m])]
    if recipe.fusion.joint != "none":
        align(state, recipe, usable, progress=progress)
    result = fuse_embeddings(state, recipe, usable, seeds, progress=progress)
    evaluate(state)
    return result


def _is_extracted(folder: Path, modalities: Sequence[Modality]) -> bool:
    if not (folder / "run.json").is_file():
        return False
    run = open_run(folder)
    wanted = [m for m in modalities if run.manifest.ids(having=[m])]
    return bool(wanted) and all(is_current(run, m) for m in wanted)


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


def align(
    run: Run, recipe: Recipe, modalities: Sequence[Modality], *, progress: Progress = silent
) -> Path:
    """Learns the joint space of the embeddings and writes every item's joint vectors."""
    parents = {str(m): fingerprint_of(run.embeddings, m) or "" for m in modalities}
    parameters = {
        "joint": recipe.joint.model_dump(),
        "seed": recipe.seed,
        "splits": run.task_digest,
    }
    provenance = Provenance("joint", JOINT_VERSION, parameters, parents)
    if bundle_fingerprint(run.joint_model) != provenance.fingerprint:
        train, val = (feature_table(run, modalities, run.manifest.ids(s)) for s in ("train", "val"))
        space, log = train_joint(train, val, recipe.joint, seed=recipe.seed, progress=progress)
        save_joint(run.joint_model, space, log, provenance)
    if any(fingerprint_of(run.joint_vectors, m) != provenance.fingerprint for m in modalities):
        space = load_joint(run.joint_model)
        table = feature_table(run, modalities, run.manifest.ids())
        for modality, vectors in project(space, table).items():
            ids = [i for i, p in zip(table.ids, table.present[modality], strict=True) if p]
            write_store(run.joint_vectors, modality, [(ids, vectors)], provenance)
    return run.joint_vectors


def feature_table(
    run: Run, modalities: Sequence[Modality], ids: Sequence[str], joint: str = "none"
) -> FeatureTable:
    """Embeddings, joint vectors (as "joint.audio") or both of some items."""
    stores: dict[str, FeatureStore] = {}
    if joint != "alone":
        stores |= {str(m): FeatureStore(run.embeddings, m) for m in modalities}
    if joint != "none":
        stores |= {f"joint.{m}": FeatureStore(run.joint_vectors, m) for m in modalities}
    try:
        return gather(stores, ids)
    finally:
        for store in stores.values():
            store.close()


@dataclass(frozen=True)
class FusionData:
    """What every row of a fusion table is trained and measured on."""

    labels: LabelSpace
    target: Target
    y: Mapping[Split, NDArray[np.bool_]]
    tables: Mapping[Split, FeatureTable]
    complete: NDArray[np.bool_]  # test items that have every modality


def fusion_name(recipe: Recipe, modalities: Sequence[Modality]) -> str:
    """`multi-logistic-a+t+i`: task, head, modalities, and whether joint vectors take part."""
    letters = "+".join(m[0] for m in modalities)
    joint = {"none": "", "beside": "-with-joint", "alone": "-joint"}[recipe.fusion.joint]
    return f"{recipe.labels.task}-{recipe.fusion.head}-{letters}{joint}"


def fuse_embeddings(
    run: Run,
    recipe: Recipe,
    modalities: Sequence[Modality],
    seeds: int,
    *,
    progress: Progress = silent,
) -> FusionResult:
    """Trains and measures a head for every subset of the modalities; keeps that of the whole."""
    folder = run.fusions / fusion_name(recipe, modalities)
    parents = {str(m): fingerprint_of(run.embeddings, m) or "" for m in modalities}
    parents |= {f"encoder.{m}": bundle_fingerprint(run.encoder(m)) or "" for m in modalities}
    if recipe.fusion.joint != "none":
        parents |= {f"joint.{m}": fingerprint_of(run.joint_vectors, m) or "" for m in modalities}
    provenance = Provenance(
        "fusion",
        FUSION_VERSION,
        {
            "fusion": recipe.fusion.model_dump(),
            "target": recipe.target.model_dump(),
            "task": recipe.labels.task,
            "seed": recipe.seed,
            "seeds": seeds,
            "labels": run.task_digest,
        },
        parents,
    )
    saved = folder / RESULT
    if saved.is_file() and bundle_fingerprint(folder / "model") == provenance.fingerprint:
        return cast(FusionResult, json.loads(saved.read_text(encoding="utf-8")))
    data = _fusion_data(run, recipe, modalities)
    subsets = [s for k in range(1, len(modalities) + 1) for s in combinations(modalities, k)]
    rows: list[Row] = []
    scores: dict[str, NDArray[np.float32]] = {}
    for number, subset in enumerate(subsets):
        progress("fusion heads", number, len(subsets))
        row, row_scores, model = _fuse_row(data, recipe, subset, seeds)
        rows.append(row)
        scores |= {f"{row['name']}.seed{k}": s.astype(np.float32) for k, s in row_scores.items()}
    progress("fusion heads", len(subsets), len(subsets))
    result: FusionResult = {
        "name": folder.name,
        "head": recipe.fusion.head,
        "exclusive": recipe.exclusive,
        "labels": list(data.labels.names),
        "seeds": [recipe.seed + k for k in range(seeds)],
        "rows": rows,
        "joint": _curve(run.joint_model) if recipe.fusion.joint != "none" else None,
    }
    # Nothing of an older fusion stays beside what is written now, its model least of all.
    shutil.rmtree(folder, ignore_errors=True)
    for name, values in scores.items():
        write_store(folder / "scores.h5", name, [(data.tables["test"].ids, values)], provenance)
    write_json(saved, result)
    # Written last: the model's fingerprint says that everything beside it is complete.
    model.save(folder / "model", provenance)
    return result


def _fusion_data(run: Run, recipe: Recipe, modalities: Sequence[Modality]) -> FusionData:
    labels = run.labels(recipe)
    ids = {split: run.manifest.ids(split) for split in SPLITS}
    y = {split: labels_of(run, ids[split], recipe) for split in SPLITS}
    # Widths of COSINE's factors follow the fusion's own head, not the encoders' target.
    config = recipe.target.model_copy(update={"name": recipe.fusion.head})
    target = make_target(config, len(labels), exclusive=recipe.exclusive)
    target.fit(y["train"])
    tables = {s: feature_table(run, modalities, ids[s], recipe.fusion.joint) for s in SPLITS}
    complete = np.all(list(tables["test"].present.values()), axis=0)
    return FusionData(labels, target, y, tables, complete)


def _fuse_row(
    data: FusionData, recipe: Recipe, subset: Sequence[Modality], seeds: int
) -> tuple[Row, dict[int, NDArray[np.float64]], FusionModel]:
    """Heads over one subset of the modalities: the row, test scores by seed, the first model."""
    names = [n for n in data.tables["train"].x if n.removeprefix("joint.") in subset]
    tables = {split: table.only(names) for split, table in data.tables.items()}
    has_input = {s: np.any(list(t.present.values()), axis=0) for s, t in tables.items()}
    train, val = (tables[s].select(has_input[s]) for s in ("train", "val"))
    y = {s: data.y[s][has_input[s]] for s in ("train", "val")}
    targets = {s: data.target.targets(y[s]) for s in y}
    models, logs, scores = [], [], {}
    for seed in range(recipe.seed, recipe.seed + seeds):
        head, log = train_fusion(
            train, val, data.target, targets, recipe.fusion, exclusive=recipe.exclusive, seed=seed
        )
        threshold = (
            None
            if recipe.exclusive
            else metrics.best_threshold(y["val"], predict(head, data.target, val))
        )
        models.append(FusionModel(head, data.target, recipe.fusion.head, data.labels, threshold))
        logs.append(log)
        scores[seed] = predict(head, data.target, tables["test"])

    def measure(items: NDArray[np.bool_]) -> Result:
        return evaluation.result(
            data.y["test"][items],
            [s[items] for s in scores.values()],
            [model.threshold for model in models],
            data.labels,
            has_input["test"][items],
            seed=recipe.seed,
        )

    row: Row = {
        "name": row_name(names),
        "inputs": names,
        "all": measure(np.ones(len(data.complete), dtype=bool)),
        "complete": measure(data.complete) if data.complete.any() else None,
        "curve": logs[0].curve(),
    }
    return row, scores, models[0]


def row_name(inputs: Sequence[str]) -> str:
    """`A+T` for audio and text, `joint.A` for a joint vector.

    >>> row_name(["audio", "joint.audio"])
    'A+joint.A'
    """
    short = {m: m[0].upper() for m in MODALITIES}
    return "+".join(
        "joint." * n.startswith("joint.") + short[cast(Modality, n.removeprefix("joint."))]
        for n in inputs
    )


def evaluate(run: Run) -> Path:
    """Gathers everything measured in a run into its metrics.json."""
    manifest = run.manifest
    closures = [closure(item.labels) for item in manifest]
    counts = Counter(name for names in closures for name in names)
    result: RunResult = {
        "run": str(run.folder),
        "made_by": f"mmgenre {version('mmgenre')}",
        "recipe": run.recipe.model_dump(mode="json"),
        "dataset": {
            "name": run.dataset,
            "synthetic": run.dataset == SYNTHETIC,
            "n_items": len(manifest),
            "splits": {split: len(manifest.ids(split)) for split in SPLITS},
            "modalities": {
                m: {split: len(manifest.ids(split, having=[m])) for split in SPLITS}
                for m in MODALITIES
            },
            "label_counts": dict(sorted(counts.items())),
            "refused": [vars(r) for r in refusals(run)],
        },
        "encoders": {m: _encoder_result(run, m) for m in MODALITIES if run.encoder(m).is_dir()},
        "fusions": [
            json.loads(path.read_text(encoding="utf-8"))
            for path in sorted(run.fusions.glob(f"*/{RESULT}"))
            if _is_of(run, path.parent)
        ],
    }
    return write_json(run.metrics, result)


def _is_of(run: Run, folder: Path) -> bool:
    """Whether a fusion was made from the embeddings that the run has now."""
    if bundle_fingerprint(folder / "model") is None:
        return False
    parents = parents_of(folder / "model")
    return all(fingerprint_of(run.embeddings, m) == parents[m] for m in MODALITIES if m in parents)


def _encoder_result(run: Run, modality: Modality) -> EncoderResult:
    bundle = read_bundle(run.encoder(modality), f"{modality} encoder")
    return {
        "network": bundle.config["config"].get("network", "vsm"),
        "n_parameters": sum(t.numel() for t in bundle.weights.values()),
        "embedding_dim": bundle.config["embedding_dim"],
        "curve": bundle.files["curve.json"],
    }


def _curve(folder: Path) -> Curve:
    return cast(Curve, json.loads((folder / "curve.json").read_text(encoding="utf-8")))
