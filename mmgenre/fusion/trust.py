"""What a model knows of its own scores, for each set of modalities that an item may have.

Fitted on validation items by heads that have not seen them: probabilities, the probability from
which a genre is named, label sets of a stated coverage, and how strange an item may be.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mmgenre.disk.bundle import odd_as_error, read_bundle, write_bundle
from mmgenre.disk.provenance import Provenance
from mmgenre.fusion.calibration import Calibration, Link, fit_calibration
from mmgenre.fusion.familiar import Familiar, arrays_of, familiar_of, fit_familiar, kept_rows
from mmgenre.fusion.shares import MOST_PLAYERS, having, players_of
from mmgenre.fusion.table import FeatureTable
from mmgenre.items.labels import LabelSpace
from mmgenre.measuring import metrics

KIND, TRUST = "trust", "trust"  # also the folder in that of a model
LEAST_ITEMS = 30  # of validation with all modalities of a set, below which it is judged as others
MOST_ITEMS, MOST_JUDGEMENTS = 20_000, 2_000_000  # of validation; and of these times labels
COVERAGES = (0.8, 0.9, 0.95)  # of label sets
STRANGE = 0.05  # the share of validation items that is called strange
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Having = tuple[str, ...]  # modalities, sorted


class Judge(Protocol):
    """A fusion."""

    @property
    def labels(self) -> LabelSpace: ...
    @property
    def target_name(self) -> str: ...
    @property
    def widths(self) -> Mapping[str, int]: ...
    def scores(self, table: FeatureTable) -> Floats:
        """(n, n_labels)."""
        ...


@dataclass(frozen=True)
class Rule:
    """How items of a set of modalities are judged."""

    calibration: Calibration
    least: Floats | None  # (L,), probability that names a genre; None: the likeliest one is named
    sets: Mapping[float, float]  # coverage -> the least probability in a label set
    strange: float  # what is stranger is unlike 95 % of validation items
    n: int  # validation items it was fitted on


@dataclass(frozen=True)
class Judged:
    """n items: what is said of each."""

    p: Floats  # (n, L)
    named: Bools  # (n, L)
    sets: Mapping[float, Bools]  # coverage -> (n, L)
    is_strange: Bools  # (n,)


@dataclass(frozen=True)
class Trust:
    """The rules of a model, and the training items that it knows."""

    labels: LabelSpace
    rules: Mapping[Having, Rule]  # `()`: of any other set
    familiar: Familiar

    @property
    def whole(self) -> Rule:
        """Of items with the most modalities."""
        return self.rules[max(self.rules, key=len)]

    def probabilities(self, scores: NDArray[np.floating], table: FeatureTable) -> Floats:
        """Scores (n, L) of items -> probabilities; a genre has at least those below it."""
        p = np.zeros(scores.shape)
        for rule, rows in self._by_rule(table):
            p[rows] = rule.calibration(scores[rows])
        return closed_upward(p, self.labels)

    def judge(self, scores: NDArray[np.floating], table: FeatureTable) -> Judged:
        """What is said of items with these scores (n, L)."""
        p = self.probabilities(scores, table)
        named = np.zeros(p.shape, dtype=bool)
        sets = {coverage: np.zeros(p.shape, dtype=bool) for coverage in COVERAGES}
        strange = np.zeros(len(p), dtype=bool)
        how_strange = self.familiar.strangeness(table)
        for rule, rows in self._by_rule(table):
            if rule.least is None:
                named[rows, p[rows].argmax(axis=1)] = True
            else:
                named[rows] = p[rows] >= rule.least
            for coverage, least in rule.sets.items():
                sets[coverage][rows] = p[rows] >= least
            strange[rows] = how_strange[rows] > rule.strange
        return Judged(p, closed_upward(named, self.labels), sets, strange)

    def _by_rule(self, table: FeatureTable) -> list[tuple[Rule, NDArray[np.intp]]]:
        players = players_of(table.x)
        here = np.stack(
            [np.any([table.present[n] for n in own], axis=0) for own in players.values()], axis=1
        )
        found = []
        for row in np.unique(here, axis=0):
            own = tuple(sorted(n for n, is_here in zip(players, row, strict=True) if is_here))
            rows = np.flatnonzero((here == row).all(axis=1))
            found.append((self.rules.get(own, self.rules[()]), rows))
        return found

    def save(self, folder: Path, provenance: Provenance) -> Path:
        """Writes its folder."""
        import torch

        config = {
            "labels": list(self.labels.names),
            "exclusive": self.labels.exclusive,
            "ids": list(self.familiar.ids),
            "genres": [list(own) for own in self.familiar.genres],
            "rules": [
                {
                    "having": list(own),
                    "calibration": rule.calibration.state(),
                    "least": None if rule.least is None else rule.least.tolist(),
                    "sets": {f"{c:g}": least for c, least in rule.sets.items()},
                    "strange": rule.strange,
                    "n": rule.n,
                }
                for own, rule in self.rules.items()
            ],
        }
        arrays = arrays_of(self.familiar)
        tensors = {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in arrays.items()}
        return write_bundle(folder, KIND, config, tensors, provenance)

    @classmethod
    def load(cls, folder: Path) -> Trust:
        """Reads its folder; BundleError if it is damaged, or of another version."""
        bundle = read_bundle(folder, KIND, arrays=True)
        config = bundle.config
        with odd_as_error(folder):
            rules = {tuple(held["having"]): _rule(held) for held in config["rules"]}
            labels = LabelSpace(tuple(config["labels"]), config["exclusive"])
            known = familiar_of(config["ids"], config["genres"], bundle.weights)
        return cls(labels, rules, known)


def _rule(held: Mapping[str, Any]) -> Rule:
    least = None if held["least"] is None else np.array(held["least"])
    sets = {float(coverage): float(p) for coverage, p in held["sets"].items()}
    calibration = Calibration.of_state(held["calibration"])
    return Rule(calibration, least, sets, held["strange"], held["n"])


def closed_upward(values: NDArray[Any], labels: LabelSpace) -> NDArray[Any]:
    """(n, L) in which a genre has at least the value of each genre below it."""
    column = {name: j for j, name in enumerate(labels.names)}
    found, parents = values.copy(), labels.parents
    depth = [name.count("/") for name in labels.names]
    for j in np.argsort(depth)[::-1]:  # the narrowest first
        parent = parents[j]
        if parent in column and not labels.exclusive:
            above = column[parent]
            found[:, above] = np.maximum(found[:, above], found[:, j])
    return found


def fit_trust(
    model: Judge,
    train: FeatureTable,
    y_train: Bools,
    val: FeatureTable,
    y_val: Bools,
    folds: NDArray[np.intp],
    untrained: Collection[str] = (),
) -> Trust:
    """By items that the model's heads have not seen.

    Args:
        model: a fusion that learned from training items only.
        train: their vectors.
        y_train: their labels, (n_train, L).
        val: validation items.
        y_val: their labels, (n, L).
        folds: of validation items, (n,); those of an artist are in one.
        untrained: inputs whose encoders are made without training.
    """
    names = tuple(model.widths)
    train, val = train.only(names), val.only(names)
    labels = model.labels
    most = min(MOST_ITEMS, max(LEAST_ITEMS, MOST_JUDGEMENTS // len(labels)))
    if len(val) > most:
        chosen = np.sort(np.random.default_rng(0).choice(len(val), most, replace=False))
        val, y_val, folds = val.select(chosen), y_val[chosen], folds[chosen]
    kept = kept_rows(len(train))
    genres = [[labels.names[j] for j in np.flatnonzero(row)] for row in y_train[kept]]
    familiar = fit_familiar(train.select(kept), val, genres, untrained)
    players = players_of(val.x)
    sets: list[Having] = [()]
    if len(players) <= MOST_PLAYERS:
        many = [c for k in range(1, len(players) + 1) for c in combinations(players, k)]
        sets += [tuple(sorted(own)) for own in many]
    rules: dict[Having, Rule] = {}
    for own in sets:
        here = (
            np.all([_any(val, players[name]) for name in own], axis=0) if own else _any(val, val.x)
        )
        useful = here & y_val.any(axis=1)
        if own and useful.sum() < LEAST_ITEMS:
            continue
        table = val.select(useful)
        if own:
            table = having(table, frozenset(own))
        rules[own] = _fit_rule(model, table, y_val[useful], folds[useful], familiar)
    return Trust(labels, rules, familiar)


def _any(table: FeatureTable, names: Sequence[str] | Mapping[str, Any]) -> Bools:
    return np.asarray(np.any([table.present[name] for name in names], axis=0))


def _fit_rule(
    model: Judge, table: FeatureTable, y: Bools, folds: NDArray[np.intp], familiar: Familiar
) -> Rule:
    exclusive = model.labels.exclusive
    link: Link = "softmax" if exclusive else "sigmoid"
    if model.target_name == "cosine":
        link = "cosine softmax" if exclusive else "cosine"
    calibration, honest = fit_calibration(model.scores(table), y, folds, link)
    honest = closed_upward(honest, model.labels)
    least = None if exclusive else best_thresholds(honest, y, folds)
    sets = {coverage: conformal(honest, y, coverage) for coverage in COVERAGES}
    strangeness = familiar.strangeness(table)
    known = strangeness[np.isfinite(strangeness)]  # vectors of a joint space alone have no space
    enough = len(known) >= 1 / STRANGE  # of fewer, what is usual cannot be told
    strange = float(np.quantile(known, 1 - STRANGE)) if enough else np.inf
    return Rule(calibration, least, sets, strange, len(table))


def conformal(p: Floats, y: Bools, coverage: float) -> float:
    """The least probability in label sets that have, of an item's genres, `coverage` on average.

    Of exclusive genres: the sets of that share of items have the genre. It holds for items drawn
    like these, whatever the probabilities are worth (Angelopoulos et al. 2022, conformal risk
    control, eq. 4). 0, the set of all genres, where there are too few items to promise more.
    """
    item, label = np.nonzero(y)
    weight = 1 / np.maximum(y.sum(axis=1), 1)[item]
    order = np.argsort(p[item, label], kind="stable")
    missed = np.cumsum(weight[order])  # if the set begins above this probability
    allowed = (1 - coverage) * (len(y) + 1) - 1
    k = int(np.searchsorted(missed, allowed, side="right"))
    if allowed < 0 or not len(order):
        return 0.0
    return float(p[item, label][order[min(k, len(order) - 1)]])


def best_thresholds(p: Floats, y: Bools, folds: NDArray[np.intp]) -> Floats:
    """From which probability on each genre is named, (L,).

    One for all genres, of the best micro F1, or of each the one of the best F1 that its
    probabilities promise (Lipton et al. 2014), whichever has the better macro F1 in folds left out.
    """
    n_labels = y.shape[1]
    one = np.full(n_labels, metrics.best_threshold(y, p) if y.any() else 0.5)
    each = promised_thresholds(p)
    found = {"one": np.zeros(y.shape, dtype=bool), "each": np.zeros(y.shape, dtype=bool)}
    for fold in np.unique(folds):
        out = folds == fold
        if y[~out].any():
            found["one"][out] = p[out] >= metrics.best_threshold(y[~out], p[~out])
            found["each"][out] = p[out] >= promised_thresholds(p[~out])
    f1 = {n: metrics.macro(metrics.precision_recall_f1(y, named)[2]) for n, named in found.items()}
    return each if f1["each"] > f1["one"] else one


def promised_thresholds(p: Floats) -> Floats:
    """Of each label, the threshold of the best expected F1 if probabilities (n, L) hold, (L,)."""
    ranked = -np.sort(-p, axis=0)
    hits, k = np.cumsum(ranked, axis=0), np.arange(1, len(p) + 1)[:, None]
    best = (2 * hits / (k + p.sum(axis=0))).argmax(axis=0)
    below = np.minimum(best + 1, len(p) - 1)
    columns = np.arange(p.shape[1])
    return np.asarray((ranked[best, columns] + ranked[below, columns]) / 2)
