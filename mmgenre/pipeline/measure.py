"""Scores -> figures. Nothing is trained: a new metric needs the stored scores alone."""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from mmgenre.disk.bundle import CONFIG, bundle_file
from mmgenre.disk.files import finished_folders
from mmgenre.disk.records import read_or_set_aside, write_record
from mmgenre.disk.store import fingerprint_of
from mmgenre.fusion.whole import is_vectors
from mmgenre.items.item import SPLITS
from mmgenre.items.labels import LabelSpace, closure
from mmgenre.items.modalities import MODALITIES
from mmgenre.kinds import kind_of
from mmgenre.measuring import results
from mmgenre.measuring.differences import groups_of
from mmgenre.measuring.evaluation import Scored
from mmgenre.measuring.results import EncoderResult, FusionResult, RunResult
from mmgenre.pipeline.cross_validation import kept_results
from mmgenre.pipeline.figures import code_of_figures, figures_of
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
        "cross_validated": kept_results(run),
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
    made_from = [about and about["provenance"]["fingerprint"], code_of_figures()]
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
    labels = LabelSpace(tuple(scores.about["labels"]), scores.about["exclusive"])
    n_train = run.truth(run.manifest.ids("train"), space=labels).sum(axis=0).tolist()
    groups = groups_of(scores.ids, [run.manifest[i].artist for i in scores.ids])
    everything = Scored(run.truth(scores.ids, space=labels), labels, groups)
    return figures_of(name, scores, everything, n_train, run.folder)


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
