"""From scores of test items to the rows of a result table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from mmgenre.disk.scratch import scratch
from mmgenre.items.labels import LabelSpace, ancestors
from mmgenre.measuring import jackknife as jk
from mmgenre.measuring import metrics
from mmgenre.measuring.by_value import row_blocks
from mmgenre.measuring.differences import rows_apart
from mmgenre.measuring.jackknife import Blocks, Without
from mmgenre.measuring.metrics import FIGURES, Bools, Floats
from mmgenre.measuring.results import Bucket, Level, Metrics, Result, RowDifference, Spread, spread
from mmgenre.measuring.table_results import SeedReport

RANKINGS = ("roc_auc", "pr_auc")  # independent of a threshold
DECIMALS = 6  # of a share in a classification report; one test item changes more
BUCKETS, LEAST_IN_BUCKET = ("head", "middle", "tail"), 3
RANDOM, COMMONEST, BASELINE_SEEDS = "random", "commonest", 3
FEW_ARTISTS = 10  # below, intervals of 95 % hold the truth too rarely (docs/statistics.md)
LEAST_MEASURED = 0.5  # of the labels


@dataclass(frozen=True)
class Scored:
    """The items that rows are measured on: truth (n, L), and their artists (`groups_of`).

    `folds`: the fold of cross-validation by whose models each was judged, (n,).
    """

    y: Bools
    labels: LabelSpace
    groups: Sequence[str]
    folds: NDArray[np.intp] | None = None

    @cached_property
    def blocks(self) -> Blocks:
        """What the jackknife leaves out."""
        return replace(jk.blocks_of(self.groups), folds=self.folds)

    def select(self, kept: Bools) -> Scored:
        """Some of the items."""
        groups = [group for group, own in zip(self.groups, kept, strict=True) if own]
        folds = None if self.folds is None else self.folds[kept]
        return Scored(self.y[kept], self.labels, groups, folds)


@dataclass(frozen=True)
class Measured:
    """A row, and what intervals and differences are computed from."""

    result: Result
    without: Mapping[str, Without]  # metric -> means over seeds, with and without each block
    seeds: Mapping[str, Sequence[float]]  # metric -> its value at each seed


def measure(
    items: Scored,
    scores: Sequence[Floats],
    thresholds: Sequence[float | Floats | None],
    has_input: Bools,
    n_train: Sequence[int],
) -> Measured:
    """Evaluates a row of a fusion table.

    `scores` and `thresholds` are by seed of the fusion; a threshold is None for exclusive labels,
    and may be that of each item, (n, 1).
    `has_input`: (n,), whether an item has any of the row's inputs. `n_train`: items of each label.
    """
    y, labels, blocks = items.y, items.labels, items.blocks
    per_seed = [
        metrics.evaluate(
            y, s, labels.names, exclusive=labels.exclusive, threshold=t, folds=items.folds
        )
        for s, t in zip(scores, thresholds, strict=True)
    ]
    named = [_named(s, t) for s, t in zip(scores, thresholds, strict=True)]
    each = [
        without_each(y, s, p, blocks, exclusive=labels.exclusive)
        for s, p in zip(scores, named, strict=True)
    ]
    without = {name: np.mean([own[name] for own in each], axis=0) for name in each[0]}
    seeds = {name: [float(own[name][0]) for own in each] for name in each[0]}
    intervals = {}
    for name, values in without.items():
        if np.isfinite(values[0]):
            found = jk.interval(jk.jackknife(values, blocks, seeds[name]), blocks.n_groups)
            if found is not None:
                intervals[name] = found
    result: Result = {
        "n_items": len(y),
        "n_groups": blocks.n_groups,
        "n_without_input": int((~has_input).sum()),
        "per_seed": per_seed,
        "summary": summarise(per_seed),
        "intervals": intervals,
        "buckets": _buckets(per_seed, labels, n_train),
        "levels": _levels(items, scores, named),
    }
    return Measured(result, without, seeds)


def without_each(
    y: Bools, scores: Floats, predicted: Bools, blocks: Blocks, *, exclusive: bool
) -> dict[str, Without]:
    """The figures that tables show, with all items and without each block of artists.

    By the names of `metrics.evaluate`. ADiv@k is none of them: it depends on how many items there
    are.
    """
    shares = dict(zip(FIGURES, jk.precision_recall_f1(y, predicted, blocks), strict=True))
    found = {f"macro_{name}": jk.macro(own) for name, own in shares.items()}
    found["macro_roc_auc"] = jk.macro(jk.roc_auc(y, scores, blocks))
    found["macro_pr_auc"] = jk.macro(jk.average_precision(y, scores, blocks))
    sums = [blocks.sums(x.sum(axis=1)) for x in (y & predicted, y, predicted)]
    found["micro_f1"] = jk.share(2 * sums[0], sums[1] + sums[2])
    if exclusive:
        found["accuracy"] = jk.mean(np.asarray((y & predicted).any(axis=1)), blocks)
        found["top_3_accuracy"] = jk.mean(metrics.in_top_k(y, scores, 3), blocks)
        return found
    found["micro_roc_auc"] = jk.micro_roc_auc(y, scores, blocks)
    of_items = zip(FIGURES, metrics.sample_precision_recall_f1(y, predicted), strict=True)
    found |= {f"sample_{name}": jk.mean(own, blocks) for name, own in of_items}
    found["lrap"] = jk.mean(metrics.ranking_precision(y, scores), blocks)
    found["hamming_loss"] = jk.mean(np.not_equal(y, predicted).mean(axis=1), blocks)
    return found


def differences(rows: Mapping[str, Measured], blocks: Blocks) -> list[RowDifference]:
    """Every two rows in every metric that both have; the rows are on the same items."""
    found: list[RowDifference] = []
    for metric in next(iter(rows.values())).without if rows else ():
        own = {
            name: (row.without[metric], row.seeds[metric])
            for name, row in rows.items()
            if metric in row.without
        }
        found += rows_apart(own, metric, blocks)
    return found


def baselines(
    items: Scored, n_train: Sequence[int], *, seed: int, folder: Path | None = None
) -> dict[str, Result]:
    """What scores at random reach, and what always naming the commonest genres does.

    Of overlapping genres, random ones are named as often as genres are true, and of the commonest
    as many as a training item has on average. `folder`: for scores that are too many for memory.
    """
    n, n_labels = items.y.shape
    share = np.asarray(n_train, float) / max(sum(n_train), 1)
    rng = np.random.default_rng((seed, 0xBA5E))
    *drawn, common = (
        cast(Floats, scratch((n, n_labels), np.float64, folder or Path()))
        for _ in range(BASELINE_SEEDS + 1)
    )
    common[:] = share
    for s in drawn:
        for own in row_blocks(n, n_labels):
            s[own] = rng.random((own.stop - own.start, n_labels))
            if items.labels.exclusive:
                s[own] /= s[own].sum(axis=1, keepdims=True)
    named: list[float | None] = [None] * BASELINE_SEEDS
    commonest: list[float | None] = [None]
    if not items.labels.exclusive:
        true = float(items.y.mean())
        first = next(row_blocks(n, n_labels))  # of very many, some say as much
        named = [float(np.quantile(s[first], 1 - true)) for s in drawn]
        k = max(1, round(float(items.y.sum(axis=1).mean())))
        commonest = [float(np.sort(share)[-min(k, n_labels)])]
    everything = np.ones(n, bool)
    return {
        RANDOM: measure(items, drawn, named, everything, n_train).result,
        COMMONEST: measure(items, [common], commonest, everything, n_train).result,
    }


def too_small(items: Scored) -> str | None:
    """A sentence where test items are too few to say much, else None."""
    n = items.blocks.n_groups
    measured = np.atleast_1d(items.y.any(axis=0) & ~items.y.all(axis=0))
    n_not, n_labels = int((~measured).sum()), len(measured)
    if n >= FEW_ARTISTS and n_not <= (1 - LEAST_MEASURED) * n_labels:
        return None
    artists = f"{n} test artist{'s' if n != 1 else ''}"
    return f"{artists}; {n_not} of {n_labels} genres cannot be measured"


def _named(scores: Floats, threshold: float | Floats | None) -> Bools:
    return metrics.argmax_one_hot(scores) if threshold is None else scores >= threshold


def _buckets(
    per_seed: Sequence[Metrics], labels: LabelSpace, n_train: Sequence[int]
) -> list[Bucket]:
    names = sorted(labels.names, key=dict(zip(labels.names, n_train, strict=True)).__getitem__)
    if len(names) < LEAST_IN_BUCKET * len(BUCKETS):
        return []
    counts = dict(zip(labels.names, n_train, strict=True))
    found: list[Bucket] = []
    for name, own in zip(BUCKETS, np.array_split(names[::-1], len(BUCKETS)), strict=True):
        summary = {}
        for figure in ("f1", *RANKINGS):
            means = []
            for seed in per_seed:
                values = [seed["per_label"][label][figure] for label in own]
                known = [value for value in values if value is not None]
                means += [float(np.mean(known))] if known else []
            if len(means) == len(per_seed):
                summary[f"macro_{figure}"] = spread(means)
        n = [counts[label] for label in own]
        found.append(
            {"name": name, "n_labels": len(own), "n_train": (min(n), max(n)), "summary": summary}
        )
    return found


def _levels(items: Scored, scores: Sequence[Floats], named: Sequence[Bools]) -> list[Level]:
    y, labels, names = items.y, items.labels, items.labels.names
    above = {name for label in names for name in ancestors(label)[:-1]}
    if labels.exclusive or not above & set(names):
        return []
    kinds = {
        "parents": np.array([name in above for name in names]),
        "leaves": np.array([name not in above for name in names]),
        "all": np.ones(len(names), bool),
    }

    def figures(own: Bools, *, close: bool) -> dict[str, Spread]:
        found: dict[str, list[float]] = {"macro_f1": [], "macro_roc_auc": []}
        for s, p in zip(scores, named, strict=True):
            if close:
                s, p = metrics.closed_upward(s, names), metrics.closed_upward(p, names)
            f1 = metrics.precision_recall_f1(y[:, own], p[:, own])[2]
            found["macro_f1"].append(metrics.macro(f1))
            auc = metrics.within_folds(metrics.roc_auc, y[:, own], s[:, own], items.folds)
            found["macro_roc_auc"].append(metrics.macro(auc))
        return {name: spread(v) for name, v in found.items() if np.isfinite(v).all()}

    return [
        {
            "name": name,
            "n_labels": int(own.sum()),
            "raw": figures(own, close=False),
            "closed": figures(own, close=True),
        }
        for name, own in kinds.items()
    ]


def summarise(per_seed: Sequence[Metrics]) -> dict[str, Spread]:
    """Mean and sample deviation of every scalar that is defined at each seed."""
    by_name = {name: [m[name] for m in per_seed] for name in per_seed[0]}
    return {n: spread(v) for n, v in by_name.items() if all(isinstance(x, float) for x in v)}


def seed_report(found: Metrics, *, seed: int) -> SeedReport:
    """The classification report from the metrics of one seed (`metrics.evaluate`)."""

    def rounded(value: float | None) -> float | None:
        return None if value is None else round(value, DECIMALS)

    matrix = found.get("confusion_matrix")
    figures = FIGURES if matrix is not None else (*FIGURES, *RANKINGS)
    kinds = ("macro", "weighted") if matrix is not None else ("micro", "macro", "weighted")
    return {
        "seed": seed,
        "n_items": found["n_items"],
        "threshold": found.get("threshold"),
        "accuracy": rounded(found.get("accuracy")),
        "per_label": {
            name: {"support": own["support"], **{f: rounded(own[f]) for f in figures}}
            for name, own in found["per_label"].items()
        },
        "averages": {
            kind: {f: rounded(found.get(f"{kind}_{f}")) for f in figures} for kind in kinds
        },
        "confusion_matrix": matrix,
    }
