"""Scores -> figures. Nothing is trained: a new metric needs the stored scores alone."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections import Counter
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from mmgenre.disk.bundle import CONFIG, bundle_file
from mmgenre.disk.files import finished_folders
from mmgenre.disk.records import read_or_set_aside, write_record
from mmgenre.disk.scratch import scratch
from mmgenre.disk.store import fingerprint_of
from mmgenre.fusion.whole import is_vectors
from mmgenre.items.labels import LabelSpace, closure
from mmgenre.items.manifest import SPLITS
from mmgenre.items.modalities import MODALITIES
from mmgenre.kinds import kind_of
from mmgenre.measuring import by_value, evaluation, jackknife, metrics, results
from mmgenre.measuring.by_value import row_blocks
from mmgenre.measuring.differences import groups_of
from mmgenre.measuring.evaluation import Measured, Scored
from mmgenre.measuring.results import EncoderResult, FusionResult, Row, RunResult, judged
from mmgenre.pipeline.notes import run_notes
from mmgenre.pipeline.run import SYNTHETIC, Run
from mmgenre.pipeline.scores import On, Scores, fusion_about, read_scores


def evaluate(run: Run) -> RunResult:
    """Measures what is not measured yet, and gathers everything into the run's metrics.json."""
    manifest = run.manifest
    counts: Counter[str] = Counter()
    for labels, n in Counter(manifest.labels()).items():
        counts.update(dict.fromkeys(closure(labels), n))
    result: RunResult = {
        "run": str(run.folder),
        "made_by": f"mmgenre {version('mmgenre')}",
        "recipe": run.recipe.model_dump(mode="json"),
        "dataset": {
            "name": run.dataset,
            "synthetic": run.dataset == SYNTHETIC,
            "n_items": len(manifest),
            "splits": {split: manifest.count(split) for split in SPLITS},
            "modalities": {
                m: {split: manifest.count(split, having=[m]) for split in SPLITS}
                for m in MODALITIES
            },
            "label_counts": dict(sorted(counts.items())),
            "given": [{"name": n, **counts} for n, counts in run.given_vectors().items()],
            "refused": [vars(r) for r in run.refused],
        },
        "encoders": {
            view.name: _encoder_result(view.modality, run.encoder(view.name))
            for m in MODALITIES
            for view in run.recipe.views(m)
            if run.encoder(view.name).is_dir()
        },
        "fusions": [measured(run, folder) for folder in current_fusions(run)],
        "notes": run_notes(run),
    }
    if _kept(run.metrics) != json.loads(json.dumps(result)):
        write_record(run.metrics, result)
    return result


def current_fusions(run: Run) -> list[Path]:
    """Folders of the fusions that were made from the vectors that the run has now."""

    @cache
    def now(name: str) -> str | None:
        return fingerprint_of(run.embeddings(name), name)

    found = []
    for folder in finished_folders(run.fusions):
        about = fusion_about(folder)
        if about is not None and all(
            now(name) == fingerprint
            for name, fingerprint in about["provenance"]["parents"].items()
            if is_vectors(name)
        ):
            found.append(folder)
    return found


def measured(run: Run, folder: Path, on: On = "test") -> FusionResult:
    """The figures of a fusion: kept beside its scores, computed anew by code that has changed."""
    about = fusion_about(folder)
    made_from = [about and about["provenance"]["fingerprint"], _code()]
    path = folder / (results.RESULT if on == "test" else f"{on}-{results.RESULT}")
    kept = _kept(path)
    if kept is None or kept.get("made_from") != made_from:
        result = _measure(run, folder.name, read_scores(folder, on))
        kept = {"made_from": made_from, "result": result}
        write_record(path, kept)
    return cast(FusionResult, json.loads(json.dumps(kept["result"])))


def _kept(path: Path) -> dict[str, Any] | None:
    return read_or_set_aside(path, "the figures are computed anew from the scores")


def _measure(run: Run, name: str, scores: Scores) -> FusionResult:
    about, complete = scores.about, scores.complete
    labels = LabelSpace(tuple(about["labels"]), about["exclusive"])
    n_train = run.truth(run.manifest.ids("train"), space=labels).sum(axis=0).tolist()
    groups = groups_of(scores.ids, [run.manifest[i].artist for i in scores.ids])
    everything = Scored(run.truth(scores.ids, space=labels), labels, groups)
    kept, sets = {"all": np.ones_like(complete)}, {"all": everything}
    # Where evaluation hides inputs, no item is known to have all.
    if complete.any() and not about["hidden"]:
        kept["complete"], sets["complete"] = complete, everything.select(complete)

    def measured(row: int, items: str) -> Measured:
        here = kept[items]
        own = [_of_row(scores, row, k, here, run.folder) for k in range(len(about["seeds"]))]
        thresholds = about["rows"][row]["thresholds"]
        has_input = scores.has_input(row)[here]
        return evaluation.measure(sets[items], own, thresholds, has_input, n_train)

    found = {
        items: {row["name"]: measured(k, items) for k, row in enumerate(about["rows"])}
        for items in sets
    }
    rows: list[Row] = []
    for row in about["rows"]:
        figures: Row = {
            "name": row["name"],
            "inputs": row["inputs"],
            "all": found["all"][row["name"]].result,
            "complete": found["complete"][row["name"]].result if "complete" in found else None,
            "curve": row["curve"],
        }
        if "choice" in row:
            figures["choice"] = row["choice"]
        rows.append(figures)
    return {
        "name": name,
        "head": about["head"],
        "exclusive": about["exclusive"],
        "labels": about["labels"],
        "seeds": about["seeds"],
        "rows": rows,
        "baselines": evaluation.baselines(
            everything, n_train, seed=about["seeds"][0], folder=run.folder
        ),
        "differences": {
            items: evaluation.differences(
                {name: own[name] for name in judged(about["rows"])}, sets[items].blocks
            )
            for items, own in found.items()
        },
        "too_small": evaluation.too_small(sets.get("complete", everything)),
        "joint": about["joint"],
    }


def _of_row(
    scores: Scores, row: int, seed: int, here: NDArray[np.bool_], folder: Path
) -> NDArray[np.float64]:
    """The scores of some items by a row's head, (m, L)."""
    rows = np.flatnonzero(here)
    found: Any = scratch((len(rows), scores.values.shape[-1]), np.float64, folder)
    for own in row_blocks(*found.shape):
        found[own] = scores.values[rows[own], row, seed]
    return cast(NDArray[np.float64], found)


@cache
def _code() -> str:
    """Hash of the code that computes figures."""
    code = "".join(map(inspect.getsource, (evaluation, jackknife, metrics, by_value, results)))
    return hashlib.sha256(code.encode()).hexdigest()[:16]


def _encoder_result(modality: str, folder: Path) -> EncoderResult:
    config = bundle_file(folder, CONFIG)["config"]
    kind = kind_of(modality)
    label = kind.encoder(config["encoder"]).label
    network = label(kind.settings.model_validate(config["config"])) if label else config["encoder"]
    return {
        "network": network,
        "n_parameters": config["n_parameters"],
        "embedding_dim": config["embedding_dim"],
        "curve": bundle_file(folder, "curve.json"),
    }
