"""What a model loses when media get worse. Nothing is trained.

Every item goes through the whole way of a prediction, as it is and deformed: files are written,
decoded, transformed and embedded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypedDict

import numpy as np

from mmgenre.errors import InputError, MmgenreError
from mmgenre.fusion.tagger import GenreTagger
from mmgenre.items.item import Item
from mmgenre.items.labels import LabelSpace
from mmgenre.items.manifest import Manifest
from mmgenre.learning.rows import item_of
from mmgenre.measuring import metrics
from mmgenre.measuring.differences import (
    MACRO_METRICS,
    Pair,
    groups_of,
    paired_difference,
)
from mmgenre.measuring.metrics import Floats
from mmgenre.measuring.results import PairedResult, headline_metric
from mmgenre.pipeline.deforming import Deformation, deformed, names_a_genre
from mmgenre.pipeline.run import Run
from mmgenre.pipeline.scores import On
from mmgenre.progress import Progress, silent

AT_ONCE = 32  # items whose deformed media lie on the disk at a time
MOST_ITEMS = 500


class Robust(TypedDict):
    """A deformation on the items that have its medium and can be read both ways."""

    name: str
    n_items: int
    figures: dict[str, float]  # of the deformed items; NaN: no genre can be measured
    plain: dict[str, float]  # of the same items as they are
    paired: PairedResult | None  # of the headline metric, deformed minus plain
    changed: float  # share of items whose first genre is another one
    refused: list[str]  # of the deformed items


class Robustness(TypedDict):
    """What `mmgenre robustness` shows."""

    fusion: str
    on: On
    metric: str
    rows: list[Robust]
    naming: float | None  # share of the items with a text that names one of their own genres


@dataclass(frozen=True)
class Scored:
    """Ids, scores (n, L) and what was refused of some items."""

    ids: tuple[str, ...]
    values: Floats
    refused: list[str]


def robustness(
    run: Run,
    ways: Sequence[Deformation],
    *,
    fusion: str | None = None,
    on: On = "val",
    alone: bool = False,
    most_items: int = MOST_ITEMS,
    seed: int = 0,
    workers: int | None = None,
    progress: Progress = silent,
) -> Robustness:
    """Figures of the items of a split as they are and deformed, by one of the run's fusions.

    `alone`: items have no other medium than the one that is deformed. Of more than `most_items`
    items that have it, as many are drawn.

    Raises:
        BundleError: as `GenreTagger.from_pretrained`.
        MmgenreError: no item has a medium that is to be deformed, or the model does not read it.
    """
    tagger = GenreTagger.from_pretrained(run.folder, fusion)
    labels = tagger.fusion.labels
    metric = headline_metric(exclusive=labels.exclusive)
    found: Robustness = {
        "fusion": tagger.name, "on": on, "metric": metric, "rows": [], "naming": None
    }  # fmt: skip
    plain: dict[str, Scored] = {}
    for how in ways:
        if how.medium not in tagger.modalities:
            raise MmgenreError(
                f"{how.name}: deforms {how.medium}, and {tagger.name} reads "
                f"{', '.join(tagger.modalities)}"
            )
        items = _drawn(run.manifest, how.medium, on, most_items, seed)
        if alone:
            items = [
                replace(item, media={m: v for m, v in item.media.items() if m == how.medium})
                for item in items
            ]
        if how.medium not in plain:
            plain[how.medium] = _scores(tagger, items, None, workers, progress)
        worse = _scores(tagger, items, how, workers, progress)
        found["rows"].append(_row(run, labels, how, plain[how.medium], worse, metric))
        if how.name == "genres":
            found["naming"] = _naming(items)
    return found


def _row(
    run: Run, labels: LabelSpace, how: Deformation, plain: Scored, worse: Scored, metric: str
) -> Robust:
    """The figures of the items that can be read both as they are and deformed."""
    row = {item_id: k for k, item_id in enumerate(plain.ids)}
    both = [k for k, item_id in enumerate(worse.ids) if item_id in row]
    if not both:
        raise MmgenreError(f"{how}: no item can be read both as it is and deformed")
    own = tuple(worse.ids[k] for k in both)
    ours, theirs = worse.values[both], plain.values[[row[i] for i in own]]
    y = run.truth(own, space=labels)
    groups = groups_of(own, [run.manifest[i].artist for i in own])
    return {
        "name": str(how),
        "n_items": len(own),
        "figures": metrics.main_figures(y, ours, exclusive=labels.exclusive),
        "plain": metrics.main_figures(y, theirs, exclusive=labels.exclusive),
        "paired": _paired(Pair(y, ours, theirs, groups), metric),
        "changed": float((ours.argmax(axis=1) != theirs.argmax(axis=1)).mean()),
        "refused": worse.refused,
    }


def _drawn(manifest: Manifest, medium: str, on: On, most: int, seed: int) -> list[Item]:
    items = [item for i in manifest.ids(on) if medium in (item := manifest[i]).media]
    if not items:
        raise MmgenreError(f"no {on} item of the run has {medium}")
    if len(items) > most:
        chosen = np.random.default_rng(seed).choice(len(items), most, replace=False)
        items = [items[k] for k in sorted(chosen.tolist())]
    return items


def _scores(
    tagger: GenreTagger,
    items: Sequence[Item],
    how: Deformation | None,
    workers: int | None,
    progress: Progress,
) -> Scored:
    """The items as they are, or deformed."""
    ids: list[str] = []
    blocks, refused = [], []
    task = "as it is" if how is None else str(how)
    for start in range(0, len(items), AT_ONCE):
        progress(task, start, len(items))
        block = list(items[start : start + AT_ONCE])
        with TemporaryDirectory(prefix="mmgenre-") as name:
            if how is not None:
                block, faults = _worse(tagger, block, how, Path(name))
                refused += faults
            if not block:
                continue
            table, faulty = tagger.table_of(Manifest(block), workers=workers)
        lacking = {item_of(r.id) for r in faulty}  # of a medium that could not be read
        refused += [str(r) for r in faulty]
        here = np.array([i not in lacking for i in table.ids])
        own = table.select(here).only(tuple(tagger.fusion.widths))
        blocks.append(tagger.fusion.scores(own))
        ids += [i for i, kept in zip(table.ids, here, strict=True) if kept]
    progress(task, len(items), len(items))
    values = np.concatenate(blocks) if blocks else np.zeros((0, 0))
    return Scored(tuple(ids), values, refused)


def _worse(
    tagger: GenreTagger, items: Sequence[Item], how: Deformation, folder: Path
) -> tuple[list[Item], list[str]]:
    changed, faults = [], []
    [medium] = [m for m in tagger.modalities if m == how.medium]
    for k, item in enumerate(items):
        try:
            media = deformed(how, item.media[medium], folder, str(k), tagger.fusion.labels.names)
        except InputError as error:
            faults.append(f"{item.id}: {error}")
        else:
            changed.append(replace(item, media={**item.media, medium: media}))
    return changed, faults


def _paired(pair: Pair, metric: str) -> PairedResult | None:
    try:
        return paired_difference([pair], MACRO_METRICS[metric]).result()
    except ValueError:  # no genre can be measured
        return None


def _naming(items: Sequence[Item]) -> float:
    from mmgenre.text.decoding import load_text

    told = []
    for item in items:
        try:
            told.append(names_a_genre(load_text(item.media["text"]), item.labels))
        except InputError:
            continue
    return float(np.mean(told))
