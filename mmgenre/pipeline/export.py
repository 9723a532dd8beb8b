"""A run's model as a folder that people keep: what prediction needs, its card, and nothing else."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from mmgenre.disk.files import swap, temporary_name, write_json
from mmgenre.errors import BundleError, MmgenreError
from mmgenre.frozen.carried import carry
from mmgenre.frozen.licences import of_models
from mmgenre.fusion.exported import CARD, NOTES, ONNX, check_exported, copy_model, list_files
from mmgenre.fusion.tagger import GenreTagger, frozen_models
from mmgenre.fusion.whole import model_of
from mmgenre.items.item import SPLITS, Split
from mmgenre.items.labels import closure
from mmgenre.items.modalities import MODALITIES
from mmgenre.measuring.differences import f1, groups_of, label_intervals
from mmgenre.measuring.jackknife import roc_auc
from mmgenre.pipeline.measure import measured
from mmgenre.pipeline.notes import run_notes
from mmgenre.pipeline.run import SYNTHETIC, Run, open_run
from mmgenre.pipeline.scores import fusion_about, read_scores
from mmgenre.report.card import CardFacts, Genre, card
from mmgenre.report.tables import columns, number

OF_SYNTHETIC = (
    "learned on the synthetic catalogue that mmgenre makes: it shows that the code works, and its "
    "genres are not those of real music"
)


def export_model(
    run: Path | str,
    target: Path | str,
    *,
    fusion: str | None = None,
    with_frozen: bool = False,
    onnx: bool = False,
    name: str | None = None,
    licence: str | None = None,
) -> Path:
    """Writes a model folder; `GenreTagger.from_pretrained` and `predict` take it anywhere.

    `fusion`: the name of one of the run's; default: its own. `with_frozen`: with the files of the
    frozen models that it needs. `onnx`: also as ONNX, for programs without torch. `name` and
    `licence` are for the card: default: the fusion's name, and no licence of one's own.

    Raises:
        MmgenreError: `target` exists, or the run has no such fusion, or one of an earlier version.
        WeightsError: a frozen model is not on this machine.
    """
    folder, target = Path(run), Path(target)
    if target.exists():
        raise MmgenreError(f"{target}: exists; give the name of a new folder, or move it away")
    tagger = GenreTagger.from_pretrained(folder, fusion)  # whatever is damaged shows now
    model, fusion_name = model_of(folder, fusion)
    if model == folder:
        raise BundleError(f"{folder}: is a model already; give a run, or copy the folder")
    state = open_run(folder)
    models = frozen_models(tagger.encoders.values())
    beside = temporary_name(target)
    try:
        copy_model(model, beside, fusion_name)
        if with_frozen:
            carry(models, beside)
        if onnx:
            from mmgenre.fusion.onnx import export_onnx

            export_onnx(tagger, beside / ONNX)
        if state.dataset == SYNTHETIC:
            write_json(beside / NOTES, [OF_SYNTHETIC])
        facts = _facts(state, fusion_name, tagger, models)
        facts = replace(facts, name=name or fusion_name, own_licence=licence)
        (beside / CARD).write_text(card(facts), encoding="utf-8")
        list_files(beside, fusion_name)
        check_exported(beside)
        swap(beside, target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return target


def _facts(run: Run, name: str, tagger: GenreTagger, models: list[Mapping[str, Any]]) -> CardFacts:
    manifest, folder = run.manifest, run.fusions / name
    result, about = measured(run, folder), fusion_about(folder)
    assert about is not None  # or there would be no scores
    shown = columns(result)
    rows = []
    for row in result["rows"]:
        found = row["all"]
        cells = [_figure(found["summary"], found["intervals"], key) for key in shown]
        rows.append((row["name"], *cells))
    encoders: dict[str, list[str]] = {}
    for modality in MODALITIES:
        own = [view for view in run.views(modality) if view.name in tagger.encoders]
        if own:
            encoders[modality] = [view.encoder for view in own]
    for given in tagger.given:
        encoders.setdefault(given.partition(".")[0], []).append("vectors made elsewhere")
    rule = tagger.trust.whole if tagger.trust is not None else None
    return CardFacts(
        name=name,
        made_by=f"mmgenre {version('mmgenre')}",
        fingerprint=about["provenance"]["fingerprint"],
        dataset="the built-in synthetic catalogue" if run.dataset == SYNTHETIC
        else Path(run.dataset).name,
        splits={split: manifest.count(split) for split in SPLITS},
        modalities={m: manifest.count(having=[m]) for m in encoders},
        encoders=encoders,
        settings=run.recipe.model_dump(mode="json"),
        columns=list(shown.values()),
        rows=rows,
        metric="F1" if result["exclusive"] else "ROC-AUC",
        genres=_genres(run, folder, result["labels"], exclusive=result["exclusive"]),
        exclusive=result["exclusive"],
        thresholds=None if rule is None or rule.least is None
        else (float(rule.least.min()), float(rule.least.max())),
        calibration=None if rule is None else (rule.n, rule.calibration.way),
        models=of_models(models).get("models", ()),
        licence=tagger.licence,
        notes=[*([OF_SYNTHETIC] if run.dataset == SYNTHETIC else []), *run_notes(run)],
    )  # fmt: skip


def _figure(
    summary: Mapping[str, Any], intervals: Mapping[str, tuple[float, float]], key: str
) -> str:
    value = number(summary[key]["mean"]) if key in summary else ""
    if key not in intervals:
        return value
    low, high = intervals[key]
    return f"{value} [{number(low)}, {number(high)}]"


def _genres(run: Run, folder: Path, labels: list[str], *, exclusive: bool) -> list[Genre]:
    scores = read_scores(folder, "test")
    space = run.space(exclusive=exclusive)
    y = run.truth(scores.ids, space=space)
    groups = groups_of(scores.ids, [run.manifest[i].artist for i in scores.ids])
    whole = scores.values[:, -1, 0].astype(np.float64)
    figures = label_intervals(f1 if exclusive else roc_auc, y, whole, groups)

    def counted(split: Split) -> Counter[str]:
        counts: Counter[str] = Counter()
        for own in run.manifest.labels(split):
            counts.update(closure(own))
        return counts

    n_train, n_test = counted("train"), counted("test")
    found = []
    for name, row in zip(labels, figures.tolist(), strict=True):
        known = [None if np.isnan(value) else value for value in row]
        found.append(Genre(name, n_train[name], n_test[name], *known))
    return found
