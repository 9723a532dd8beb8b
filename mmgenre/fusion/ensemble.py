"""The solved fusion: experts of inputs, and for each set of inputs the combination that is best.

An item is judged by the combination for just the inputs that it has. So a model of all modalities
names the genres of an item that has only one of them exactly as that modality's own row does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mmgenre.disk.bundle import Bundle, read_bundle, write_bundle
from mmgenre.disk.provenance import Provenance
from mmgenre.errors import BundleError
from mmgenre.fusion.combine import Combination, combine
from mmgenre.fusion.experts import (
    Crossed,
    Expert,
    Task,
    Vectors,
    fit_expert,
    fit_joined,
    scores_of,
)
from mmgenre.fusion.scaling import LEARNED, FittedScaling, Scaling
from mmgenre.fusion.solve import Linear
from mmgenre.fusion.table import FeatureTable
from mmgenre.items.labels import LabelSpace
from mmgenre.items.modalities import JOINT, MODALITIES
from mmgenre.learning.settings import TargetName
from mmgenre.learning.targets import Target, load_target

KIND = "solved fusion"
Combine = Literal["auto", "concatenation", "product"]
JOIN = "&"  # between the inputs in the key of an expert of several
LEAST_ITEMS = 20  # with all inputs of a set, below which weights are not fitted but equal
NOISE = 0.1  # over the root of n items: by how much better another way must be than the plainer
Inputs = tuple[str, ...]


@dataclass(frozen=True)
class Pattern:
    """How items with just these inputs are judged: by which experts, combined how."""

    way: str  # "product", "concatenation", or the inputs of a part that is better
    experts: tuple[str, ...]  # by their keys
    combination: Combination
    quality: float  # on items that its experts have not seen
    compared: Mapping[str, float]  # way, or inputs that are fewer -> its quality


@dataclass(frozen=True)
class SolvedFusion:
    """Experts and patterns; scores of any items."""

    experts: Mapping[str, Expert]  # key -> expert
    patterns: Mapping[Inputs, Pattern]  # sorted inputs -> how items with these are judged
    prior: Vectors  # (D,), the outputs for an item without any input
    target: Target
    target_name: TargetName
    labels: LabelSpace
    threshold: float | None = None  # overlapping genres: the score that names a genre
    about: Mapping[str, Any] = field(default_factory=dict)  # for reports

    @property
    def widths(self) -> dict[str, int]:
        """Input -> the width of its vectors; embeddings before joint vectors."""
        scalings = {n: s for e in self.experts.values() for n, s in e.scalings.items()}
        order = list(MODALITIES)

        def place(name: str) -> tuple[bool, int, str]:
            plain = name.removeprefix(JOINT)
            modality = plain.partition(".")[0]
            known = order.index(modality) if modality in order else len(order)
            return plain != name, known, plain

        return {name: len(scalings[name].arrays["shift"]) for name in sorted(scalings, key=place)}

    @property
    def n_parameters(self) -> int:
        """How many weights were solved: of the experts, and of how patterns join them."""
        solved = [
            array for e in self.experts.values() for array in (e.linear.weight, e.linear.bias)
        ]
        joins = [p.combination for p in self.patterns.values()]
        return sum(a.size for a in (*solved, *(a for c in joins for a in (c.weight, c.bias))))

    def outputs(self, table: FeatureTable) -> Vectors:
        """Outputs of all items of a table, (n, D)."""
        names = sorted({name for pattern in self.patterns for name in pattern})
        present = np.stack([table.present[name] for name in names], axis=1)
        result = np.tile(self.prior, (len(table), 1))
        for row in np.unique(present, axis=0):
            rows = np.flatnonzero((present == row).all(axis=1))
            pattern = self._pattern([n for n, here in zip(names, row, strict=True) if here])
            if pattern is not None:
                own = table.select(rows)
                outputs = np.stack([self.experts[key](own) for key in pattern.experts], axis=1)
                result[rows] = pattern.combination(outputs)
        return result

    def scores(self, table: FeatureTable) -> NDArray[np.float64]:
        """Genre scores of all items of a table, (n, n_labels)."""
        return scores_of(self.target, self.outputs(table))

    def _pattern(self, here: Sequence[str]) -> Pattern | None:
        """That of the inputs that are here, or the best one that needs no other."""
        if (own := self.patterns.get(tuple(sorted(here)))) is not None:
            return own
        fitting = [p for inputs, p in self.patterns.items() if set(inputs) <= set(here)]
        return max(fitting, key=lambda p: p.quality, default=None)

    def save(
        self, folder: Path, provenance: Provenance, frozen: Mapping[str, Any] | None = None
    ) -> Path:
        """Writes its folder; `frozen`: the models of others that it needs, and their licence."""
        weights: dict[str, NDArray[Any]] = {"prior": self.prior}
        for key, expert in self.experts.items():
            weights[f"expert.{key}/weight"] = expert.linear.weight
            weights[f"expert.{key}/bias"] = expert.linear.bias
            for name, scaling in expert.scalings.items():
                for part, array in scaling.arrays.items():
                    weights[f"expert.{key}/{name}/{part}"] = array
        for k, pattern in enumerate(self.patterns.values()):
            for part in ("mean", "weight", "bias"):
                weights[f"pattern.{k}/{part}"] = getattr(pattern.combination, part)
        import torch

        config = {
            "head": self.target_name,
            **({"frozen": dict(frozen)} if frozen else {}),
            "target": self.target.state(),
            "labels": list(self.labels.names),
            "exclusive": self.labels.exclusive,
            "threshold": self.threshold,
            "about": dict(self.about),
            "experts": {
                key: {
                    "scalings": {n: vars(s.scaling) for n, s in expert.scalings.items()},
                    "factors": dict(expert.factors),
                }
                for key, expert in self.experts.items()
            },
            "patterns": [
                {
                    "inputs": list(inputs),
                    "chosen": p.way,
                    "experts": list(p.experts),
                    "quality": p.quality,
                    "compared": dict(p.compared),
                }
                for inputs, p in self.patterns.items()
            ],
        }
        tensors = {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in weights.items()}
        return write_bundle(folder, KIND, config, tensors, provenance)

    @classmethod
    def load(cls, folder: Path) -> SolvedFusion:
        """Reads its folder; BundleError if it is damaged, another kind, or an older version's."""
        bundle = read_bundle(folder, KIND, arrays=True)
        config = bundle.config
        if any("way" in held for held in config["patterns"]):
            raise BundleError(
                f"{folder}: made by an older version of mmgenre, which joined inputs in other "
                "ways; make it again: mmgenre fuse"
            )
        patterns = {}
        for k, held in enumerate(config["patterns"]):
            arrays = _below(f"pattern.{k}/", bundle)
            combination = Combination(arrays["mean"], arrays["weight"], arrays["bias"])
            inputs, keys = tuple(held["inputs"]), tuple(held["experts"])
            figures = held["quality"], held["compared"]
            patterns[inputs] = Pattern(held["chosen"], keys, combination, *figures)
        labels = LabelSpace(tuple(config["labels"]), config["exclusive"])
        experts = {key: _expert(key, held, bundle) for key, held in config["experts"].items()}
        prior, target = bundle.weights["prior"], load_target(config["target"])
        named = config["head"], labels, config["threshold"], config["about"]
        return cls(experts, patterns, prior, target, *named)


def _below(prefix: str, bundle: Bundle) -> dict[str, Any]:
    found = bundle.weights.items()
    return {n.removeprefix(prefix): array for n, array in found if n.startswith(prefix)}


def _expert(key: str, held: Mapping[str, Any], bundle: Bundle) -> Expert:
    own = _below(f"expert.{key}/", bundle)
    scalings = {}
    for name, kind in held["scalings"].items():
        start = f"{name}/"
        arrays = {n.removeprefix(start): a for n, a in own.items() if n.startswith(start)}
        scalings[name] = FittedScaling(Scaling(**kind), arrays)
    return Expert(scalings, held["factors"], Linear(own["weight"], own["bias"]))


@dataclass
class Fitting:
    """Fits the patterns of one fusion's inputs; experts are fitted once and shared by all rows.

    `checked`: validation items, by which combinations are fitted whose experts have seen all
    training items.
    """

    train: FeatureTable
    task: Task
    val: FeatureTable
    val_task: Task
    experts: Mapping[str, Sequence[str]]  # input -> keys of its experts
    fitted: dict[str, Crossed]  # key -> expert
    modality_of: Mapping[str, str]  # input -> what is hidden and named together
    honest: frozenset[str]  # inputs whose vectors of training items were made without their labels
    combine: Combine
    _patterns: dict[tuple[Inputs, Combine], Pattern] = field(default_factory=dict)
    _outputs: dict[str, Vectors] = field(default_factory=dict)  # of validation items

    def row(self, inputs: Sequence[str], how: Combine | None = None) -> dict[Inputs, Pattern]:
        """The patterns by which items with any of the inputs are judged."""
        how = how or self.combine
        by_modality: dict[str, list[str]] = {}
        for name in inputs:
            by_modality.setdefault(self.modality_of[name], []).append(name)
        sets = [
            tuple(sorted(name for m in chosen for name in by_modality[m]))
            for k in range(1, len(by_modality) + 1)
            for chosen in combinations(by_modality, k)
        ]
        sets += [(name,) for name in inputs if (name,) not in sets]
        if how == "concatenation":  # one head for all: what is absent is zeros and a flag
            whole = self.pattern(tuple(sorted(inputs)), how)
            return dict.fromkeys(sorted(sets, key=len), whole)
        return {own: self.pattern(own, how) for own in sorted(sets, key=len)}

    def pattern(self, inputs: Inputs, how: Combine) -> Pattern:
        """The pattern of a set of inputs."""
        if (inputs, how) not in self._patterns:
            self._patterns[inputs, how] = self._fit(inputs, how)
        return self._patterns[inputs, how]

    def _fit(self, inputs: Inputs, how: Combine) -> Pattern:
        candidates: dict[str, tuple[str, ...]] = {}
        if how != "concatenation":
            candidates["product"] = tuple(key for n in inputs for key in self.experts[n])
        if how == "concatenation":
            candidates["concatenation"] = (self._joined(inputs),)
        # Vectors of training items that a network has learned from flatter a head on them, so that
        # they cannot be compared with others.
        elif how == "auto" and len(beside := tuple(n for n in inputs if n in self.honest)) > 1:
            candidates["concatenation"] = (self._joined(beside),)
        if how == "auto":
            candidates |= {"+".join(p): self._patterns[p, how].experts for p in self._parts(inputs)}
        # A concatenation of its own judges items with any of the inputs.
        needed = () if how == "concatenation" else inputs
        of_each = {name: self.rows(inputs, keys, needed) for name, keys in candidates.items()}
        found = {name: _combined(*rows) for name, rows in of_each.items()}
        compared = {name: quality for name, (_, quality) in found.items()}
        best = next(iter(compared))
        for name, quality in compared.items():
            if quality > compared[best] + _margin(of_each[name][1]):
                best = name
        return Pattern(best, candidates[best], *found[best], compared)

    def _parts(self, inputs: Inputs) -> list[Inputs]:
        """Smaller sets of whole modalities among the inputs that have a pattern."""
        return [p for p, how in self._patterns if how == "auto" and set(p) < set(inputs)]

    def _joined(self, inputs: Inputs) -> str:
        """The key of an expert that reads vectors of several inputs beside each other."""
        key = JOIN.join(inputs)
        if key not in self.fitted:
            alone = {name: self._on_vectors(name) for name in inputs}
            self.fitted[key] = fit_joined(self.train, alone, self.task)
        return key

    def _on_vectors(self, name: str) -> Crossed:
        """An expert of an input's scaled vectors, also where its encoder has its own output."""
        own = self.fitted[self.experts[name][0]]
        if own.strength is not None:
            return own
        key = f"{name}/vectors"
        if key not in self.fitted:
            self.fitted[key] = fit_expert(self.train, name, self.task, LEARNED)
        return self.fitted[key]

    def rows(self, inputs: Inputs, keys: Sequence[str], needed: Inputs) -> tuple[Vectors, Task]:
        """Outputs (n, E, D) of items that have what is needed, by experts that have not seen them.

        Of training items, cross-fitted, if all experts of the inputs have such outputs; else of
        validation items: whatever is compared for some inputs is so on the same items.
        """
        of_inputs = [key for name in inputs for key in self.experts[name]]
        crossed_outputs = [self.fitted[key].outputs for key in (*keys, *of_inputs)]
        table, task = self.train, self.task
        if any(found is None for found in crossed_outputs):
            table, task = self.val, self.val_task
            crossed_outputs = [self._of_val(key) for key in keys]
        outputs = np.stack([o for o in crossed_outputs[: len(keys)] if o is not None], axis=1)
        needs = [np.isfinite(outputs).all(axis=(1, 2)), *(table.present[name] for name in needed)]
        here = np.asarray(np.all(needs, axis=0))
        return outputs[here], task.of(here)

    def _of_val(self, key: str) -> Vectors:
        if key not in self._outputs:
            expert = self.fitted[key].expert
            outputs = np.array(expert(self.val))
            outputs[~np.any([self.val.present[n] for n in expert.inputs], axis=0)] = np.nan
            self._outputs[key] = outputs
        return self._outputs[key]


def _combined(outputs: Vectors, task: Task) -> tuple[Combination, float]:
    """The combination of experts for some items, and its quality."""
    if len(outputs) < LEAST_ITEMS:
        return _even(outputs.shape[1], task), 0.0
    combination = combine(outputs, task.target.targets(task.y), task.target, task.judged())
    return combination, _finite(task.quality_of(combination(outputs)))


def _margin(task: Task) -> float:
    return NOISE / float(np.sqrt(len(task.y)))


def _finite(quality: float) -> float:
    return float(quality) if np.isfinite(quality) else 0.0


def _even(n_experts: int, task: Task) -> Combination:
    """The mean of the experts, for sets of inputs that too few items have."""
    dim = task.target.dim
    weight = np.full(n_experts, 1 / n_experts, np.float32)
    return Combination(np.zeros((n_experts, dim), np.float32), weight, np.zeros(dim, np.float32))
