"""Two runs or more on the same items: who is better, on which genres, and where they disagree."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from itertools import combinations
from pathlib import Path

import numpy as np

from mmgenre.errors import MmgenreError
from mmgenre.fusion.whole import model_of
from mmgenre.items.labels import LabelSpace
from mmgenre.measuring import metrics
from mmgenre.measuring.compared import Compared, ComparedGenre, ComparedItem, ComparedSide
from mmgenre.measuring.differences import Scorings, groups_of, table_apart
from mmgenre.measuring.metrics import Floats
from mmgenre.measuring.results import headline_metric
from mmgenre.pipeline.run import Run, open_run
from mmgenre.pipeline.scores import On, Scores, read_scores

MOST_ITEMS = 20  # on which runs disagree most


def compare(
    runs: Sequence[Path | str],
    *,
    fusion: str | None = None,
    row: str | None = None,
    on: On = "val",
) -> Compared:
    """Compares a row of a fusion of each run (default: its own fusion, the row of most inputs).

    Figures are of the items that all runs have scored, in the genres of their common task. Of
    several seeds, as many count as every run has.

    Raises:
        MmgenreError: fewer than two runs, one twice, other genres or tasks, no item in common, or
            truth that differs.
        BundleError: a run has no such fusion.
    """
    folders = [Path(run) for run in runs]
    if len(folders) < 2 or len({folder.resolve() for folder in folders}) < len(folders):
        raise MmgenreError(f"{', '.join(map(str, folders))}: compare needs two different runs")
    opened = [open_run(folder) for folder in folders]
    scored = [read_scores(model_of(run.folder, fusion)[0].parent, on) for run in opened]
    rows = [_row(run, scores, row) for run, scores in zip(opened, scored, strict=True)]
    labels = _common_task(opened, scored)
    ids = _common_items(opened, scored, on)
    y = _common_truth(opened, ids, labels)
    names = _names(folders)
    by_seed = _by_seed(names, scored, rows, ids)
    groups = groups_of(ids, [opened[0].manifest[i].artist for i in ids])
    metric = headline_metric(exclusive=labels.exclusive)
    intervals, differences = table_apart([Scorings(y, groups, own) for own in by_seed], metric)
    means = {name: np.mean([own[name] for own in by_seed], axis=0) for name in names}
    sides: list[ComparedSide] = [
        {
            "name": name,
            "folder": str(folder),
            "fusion": model_of(folder, fusion)[1],
            "row": own,
            "figures": _mean_figures(y, [seed[name] for seed in by_seed], labels),
            "interval": intervals.get(name),
        }
        for name, folder, own in zip(names, folders, rows, strict=True)
    ]
    return {
        "made_by": f"mmgenre {version('mmgenre')}",
        "on": on,
        "metric": metric,
        "exclusive": labels.exclusive,
        "n_items": len(ids),
        "n_groups": len(set(groups)),
        "n_seeds": len(by_seed),
        "sides": sides,
        "differences": differences,
        "genres": _genres(y, by_seed, labels, names),
        "items": _items(opened[0], ids, means, labels),
    }


def _row(run: Run, scores: Scores, row: str | None) -> str:
    names = [own["name"] for own in scores.about["rows"]]
    if row is not None and row not in names:
        raise MmgenreError(f"{run.folder}: has no row {row}; its rows are {', '.join(names)}")
    return row or str(names[-1])


def _common_task(runs: Sequence[Run], scored: Sequence[Scores]) -> LabelSpace:
    first = scored[0].about
    for run, scores in zip(runs[1:], scored[1:], strict=True):
        about = scores.about
        for what in ("exclusive", "labels"):
            if about[what] != first[what]:
                apart = "genres" if what == "labels" else "task (one genre an item, or many)"
                raise MmgenreError(
                    f"{runs[0].folder} and {run.folder}: have not the same {apart}, so their "
                    "figures cannot be compared"
                )
    return LabelSpace(tuple(first["labels"]), first["exclusive"])


def _common_items(runs: Sequence[Run], scored: Sequence[Scores], on: On) -> list[str]:
    common = set.intersection(*(set(scores.ids) for scores in scored))
    if not common:
        names = ", ".join(str(run.folder) for run in runs)
        raise MmgenreError(f"{names}: have no {on} item in common")
    return [item_id for item_id in scored[0].ids if item_id in common]


def _common_truth(runs: Sequence[Run], ids: Sequence[str], labels: LabelSpace) -> metrics.Bools:
    """The genres of the items, (n, L); MmgenreError if runs have others."""
    y = runs[0].truth(ids, space=labels)
    for run in runs[1:]:
        if not np.array_equal(run.truth(ids, space=labels), y):
            raise MmgenreError(
                f"{runs[0].folder} and {run.folder}: the genres of their items differ; were the "
                "labels changed between them?"
            )
    return y


def _by_seed(
    names: Sequence[str], scored: Sequence[Scores], rows: Sequence[str], ids: Sequence[str]
) -> list[dict[str, Floats]]:
    """Scores (n, L) by run, for each of as many seeds as every run has."""
    return [
        {
            name: scores.of(own, scores.about["seeds"][k], ids).astype(np.float64)
            for name, scores, own in zip(names, scored, rows, strict=True)
        }
        for k in range(min(len(scores.about["seeds"]) for scores in scored))
    ]


def _mean_figures(
    y: metrics.Bools, by_seed: Sequence[Floats], labels: LabelSpace
) -> dict[str, float]:
    """Means over the seeds, of those figures that can be measured."""
    each = [metrics.main_figures(y, own, exclusive=labels.exclusive) for own in by_seed]
    means = {metric: float(np.mean([figures[metric] for figures in each])) for metric in each[0]}
    return {metric: value for metric, value in means.items() if np.isfinite(value)}


def _names(folders: Sequence[Path]) -> list[str]:
    """The last parts of the paths that tell the runs apart."""
    for depth in range(1, max(len(folder.resolve().parts) for folder in folders)):
        names = ["/".join(folder.resolve().parts[-depth:]) for folder in folders]
        if len(set(names)) == len(names):
            return names
    return [str(folder) for folder in folders]


def _genres(
    y: metrics.Bools,
    by_seed: Sequence[dict[str, Floats]],
    labels: LabelSpace,
    names: Sequence[str],
) -> list[ComparedGenre]:
    def figures(scores: Floats) -> Floats:
        if labels.exclusive:
            return metrics.precision_recall_f1(y, metrics.argmax_one_hot(scores))[2]
        return metrics.roc_auc(y, scores)

    of = {name: np.mean([figures(own[name]) for own in by_seed], axis=0) for name in names}
    support = y.sum(axis=0).tolist()
    return [
        {
            "name": genre,
            "support": support[j],
            "figures": {
                name: float(own[j]) if np.isfinite(own[j]) else None for name, own in of.items()
            },
        }
        for j, genre in enumerate(labels.names)
    ]


def _items(
    run: Run, ids: Sequence[str], means: dict[str, Floats], labels: LabelSpace
) -> list[ComparedItem]:
    """The items whose scores are furthest apart between any two runs, by their likeliest genres."""
    apart = np.max([np.abs(a - b).max(axis=1) for a, b in combinations(means.values(), 2)], axis=0)
    first = {name: scores.argmax(axis=1) for name, scores in means.items()}
    differ = np.array([len({int(own[k]) for own in first.values()}) > 1 for k in range(len(ids))])
    order = [int(k) for k in np.argsort(-apart, kind="stable") if differ[k]][:MOST_ITEMS]
    return [
        {
            "id": ids[k],
            "artist": run.manifest[ids[k]].artist,
            "genres": list(run.manifest[ids[k]].labels),
            "first": {
                name: (labels.names[int(own[k])], float(means[name][k, int(own[k])]))
                for name, own in first.items()
            },
        }
        for k in order
    ]
