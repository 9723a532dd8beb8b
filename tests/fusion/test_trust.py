"""Label sets, thresholds, strange items and nearest ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mmgenre.disk.bundle import read_bundle, write_bundle
from mmgenre.disk.provenance import Provenance
from mmgenre.errors import BundleError
from mmgenre.fusion.familiar import Familiar, fit_familiar
from mmgenre.fusion.table import FeatureTable
from mmgenre.fusion.trust import (
    COVERAGES,
    KIND,
    Trust,
    closed_upward,
    conformal,
    fit_trust,
    promised_thresholds,
)
from mmgenre.items.labels import LabelSpace
from mmgenre.learning.settings import TargetName

NAMES = ("Jazz", "Jazz/Bop", "Pop", "Rock")
MEANS = np.random.default_rng(7).normal(0, 1, (4, 20)).astype(np.float32)


class Plain:
    """Scores by distance from the genres' means in the inputs that an item has; too sure."""

    def __init__(self, *, exclusive: bool) -> None:
        self.widths = {"audio": 20, "text": 20}
        self.target_name: TargetName = "logistic"
        self.labels = LabelSpace(NAMES if not exclusive else ("A", "B", "C", "D"), exclusive)

    def scores(self, table: FeatureTable) -> np.ndarray:
        z = sum(table.x[name] @ MEANS.T * table.present[name][:, None] for name in table.x)
        z = np.asarray(z, np.float64) / 4
        if self.labels.exclusive:
            powers = np.exp(z - z.max(axis=1, keepdims=True))
            return np.asarray(powers / powers.sum(axis=1, keepdims=True))
        return np.asarray(1 / (1 + np.exp(-z)))


def items(n: int, seed: int, *, exclusive: bool) -> tuple[FeatureTable, np.ndarray]:
    """Items around the means of their genres; a third lacks a modality."""
    rng = np.random.default_rng(seed)
    y = np.eye(4, dtype=bool)[rng.integers(0, 4, n)]
    if not exclusive:
        y |= rng.random(y.shape) < 0.2
        y[:, 0] |= y[:, 1]
    x, present = {}, {}
    lacks = rng.integers(0, 6, n)
    for k, name in enumerate(("audio", "text")):
        present[name] = lacks != k
        rows = (y @ MEANS + rng.normal(0, 1.5, (n, 20))).astype(np.float32)
        x[name] = np.where(present[name][:, None], rows, 0)
    return FeatureTable(tuple(f"{seed}-{k}" for k in range(n)), x, present), y


def fitted(n: int, *, exclusive: bool) -> Trust:
    train, val = (items(n, seed, exclusive=exclusive) for seed in (0, 1))
    return fit_trust(Plain(exclusive=exclusive), *train, *val, np.arange(n) % 5)


@pytest.mark.parametrize("exclusive", [True, False])
def test_label_sets_cover_what_they_state(exclusive: bool) -> None:
    found: dict[float, list[float]] = {c: [] for c in COVERAGES}
    for seed in range(8):
        train, val, new = (
            items(n, 10 * seed + k, exclusive=exclusive) for k, n in enumerate((200, 300, 1000))
        )
        model = Plain(exclusive=exclusive)
        trust = fit_trust(model, *train, *val, np.arange(300) % 5)
        judged = trust.judge(model.scores(new[0]), new[0])
        for coverage in COVERAGES:
            hits = (judged.sets[coverage] & new[1]).sum(axis=1) / new[1].sum(axis=1)
            found[coverage].append(float(hits.mean()))
            assert judged.sets[coverage].mean() < 0.9  # not by naming everything
    for coverage, shares in found.items():
        assert coverage - 0.02 < np.mean(shares) < coverage + 0.05


def test_too_few_items_promise_nothing() -> None:
    p, y = np.full((5, 2), 0.5), np.eye(2, dtype=bool)[[0, 1, 0, 1, 0]]
    assert conformal(p, y, 0.95) == 0
    assert conformal(np.full((100, 2), 0.5), y[[0] * 100], 0.9) == 0.5


def test_a_parent_is_at_least_as_likely_as_its_child() -> None:
    labels = LabelSpace(("A", "A/B", "A/B/C", "D"), exclusive=False)
    p = closed_upward(np.array([[0.1, 0.2, 0.9, 0.3]]), labels)
    assert p.tolist() == [[0.9, 0.9, 0.9, 0.3]]
    trust = fitted(300, exclusive=False)
    table, _ = items(200, 5, exclusive=False)
    judged = trust.judge(Plain(exclusive=False).scores(table), table)
    assert (judged.p[:, 0] >= judged.p[:, 1]).all()
    assert (judged.named[:, 0] >= judged.named[:, 1]).all()
    assert judged.named[:, 1].any()


def test_what_is_strange_is_said_to_be() -> None:
    trust = fitted(400, exclusive=True)
    model = Plain(exclusive=True)
    usual, _ = items(1000, 3, exclusive=True)
    odd = FeatureTable(
        usual.ids,
        {n: np.random.default_rng(2).normal(0, 30, x.shape).astype(np.float32)
         for n, x in usual.x.items()},
        {n: np.ones(1000, dtype=bool) for n in usual.x},
    )  # fmt: skip
    assert trust.judge(model.scores(usual), usual).is_strange.mean() < 0.09
    assert trust.judge(model.scores(odd), odd).is_strange.mean() > 0.9


def test_of_views_without_training_what_is_like_nothing_is_strange() -> None:
    """Random Fourier features: a point far out is near none of those that were learned from."""
    rng = np.random.default_rng(0)
    directions = rng.normal(0, 0.3, (10, 300))

    def features(points: np.ndarray) -> FeatureTable:
        angles = points @ directions
        x = np.concatenate([np.cos(angles), np.sin(angles)], axis=1) / np.sqrt(300)
        ids = tuple(map(str, range(len(x))))
        there = {"audio.k": np.ones(len(x), dtype=bool)}
        return FeatureTable(ids, {"audio.k": x.astype(np.float32)}, there)

    train, val, new = (features(rng.normal(0, 1, (n, 10))) for n in (300, 200, 1000))
    known = fit_familiar(train, val, [()] * 300, untrained=["audio.k"])
    limit = np.quantile(known.strangeness(val), 0.95)
    assert (known.strangeness(new) > limit).mean() < 0.09
    far = features(rng.normal(0, 1, (1000, 10)) + 2.0)
    assert (known.strangeness(far) > limit).mean() > 0.9


def test_of_joint_vectors_alone_no_item_is_strange() -> None:
    """A joint space is learned from training items, so that they are unlike all others there."""
    (train, y), (val, y_val) = (items(200, seed, exclusive=True) for seed in (0, 1))
    model = Plain(exclusive=True)
    model.widths = {"joint.audio": 20, "joint.text": 20}
    joint, joint_val = (
        FeatureTable(
            t.ids,
            {f"joint.{n}": x for n, x in t.x.items()},
            {f"joint.{n}": p for n, p in t.present.items()},
        )
        for t in (train, val)
    )
    trust = fit_trust(model, joint, y, joint_val, y_val, np.arange(200) % 5)
    judged = trust.judge(model.scores(joint_val), joint_val)
    assert not judged.is_strange.any()
    assert judged.p.sum(axis=1) == pytest.approx(1)


def test_nearest_items_are_those_of_brute_force() -> None:
    train, y = items(60, 0, exclusive=True)
    genres = [(str(row.argmax()),) for row in y]
    known = fit_familiar(train, train, genres)
    order, cosines = known.nearest(train, 3)
    assert order[:, 0].tolist() == list(range(60))
    assert cosines[:, 0] == pytest.approx(1, abs=1e-3)
    space = known.spaces["audio"]
    only = train.only(["audio"]).select(train.present["audio"])
    alone = Familiar(known.ids, known.genres, {"audio": space})
    found, _ = alone.nearest(only, 4)
    expected = np.argsort(-(space.place(only.x["audio"]) @ space.rows.T), axis=1)[:, :4]
    assert found[:, :2].tolist() == expected[:, :2].tolist()


def test_it_is_the_same_after_its_folder(tmp_path: Path) -> None:
    trust = fitted(200, exclusive=False)
    trust.save(tmp_path / "trust", Provenance("fusion", 1, {}))
    again = Trust.load(tmp_path / "trust")
    table, _ = items(100, 4, exclusive=False)
    scores = Plain(exclusive=False).scores(table)
    one, other = trust.judge(scores, table), again.judge(scores, table)
    assert np.array_equal(one.p, other.p)
    assert np.array_equal(one.named, other.named)
    assert np.array_equal(one.sets[0.9], other.sets[0.9])
    assert (one.is_strange == other.is_strange).mean() > 0.98  # rows are kept in half precision
    assert again.familiar.nearest(table, 1)[0].shape == (100, 1)
    (tmp_path / "trust" / "model.safetensors").write_bytes(b"")
    with pytest.raises(BundleError):
        Trust.load(tmp_path / "trust")


def test_one_of_another_version_is_refused_by_its_name(tmp_path: Path) -> None:
    fitted(60, exclusive=False).save(tmp_path / "trust", Provenance("fusion", 1, {}))
    read = read_bundle(tmp_path / "trust", KIND)
    older = {name: rows for name, rows in read.weights.items() if not name.endswith("usual")}
    assert len(older) < len(read.weights)
    write_bundle(tmp_path / "older", KIND, read.config, older, Provenance("fusion", 1, {}))
    with pytest.raises(BundleError, match="older: not a model that this version can use"):
        Trust.load(tmp_path / "older")


def test_promised_thresholds_are_half_of_the_best_f1() -> None:
    """Lipton et al. 2014, theorem 1, for many items."""
    p = np.random.default_rng(0).beta(0.5, 1.5, (20_000, 1))
    threshold = promised_thresholds(p)[0]
    named = p >= threshold
    best = 2 * p[named].sum() / (named.sum() + p.sum())
    assert threshold == pytest.approx(best / 2, abs=0.01)
