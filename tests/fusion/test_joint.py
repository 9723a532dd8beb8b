"""The joint space: its loss against a slow loop, its negatives, and that it learns to match."""

from __future__ import annotations

import math
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mmgenre.disk.provenance import Provenance
from mmgenre.errors import TrainingError
from mmgenre.fusion.joint import (
    JointExamples,
    JointSpace,
    infonce_loss,
    load_joint,
    margin_loss,
    project,
    save_joint,
    train_joint,
)
from mmgenre.fusion.settings import JointConfig
from mmgenre.fusion.table import FeatureTable
from mmgenre.learning.settings import TrainingConfig
from mmgenre.learning.training import FitLog

Floats = NDArray[np.floating]
WIDTHS = {"audio": 10, "text": 7, "image": 5}


def cosine(a: Floats, b: Floats) -> float:
    """0 where a vector has no length, as that of absent values."""
    product = sum(float(p) * float(q) for p, q in zip(a, b, strict=True))
    norm = math.sqrt(sum(float(p) ** 2 for p in a) * sum(float(q) ** 2 for q in b))
    return product / norm if norm else 0.0


def vectors(n: int, seed: int) -> dict[str, Floats]:
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal((n, 4)) for name in WIDTHS}


def tensors(x: dict[str, Floats]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(values) for name, values in x.items()}


@pytest.mark.parametrize("names", [("audio", "image"), ("audio", "text", "image")])
@pytest.mark.parametrize("m", [0.5, 0.0, -0.3])
@pytest.mark.parametrize("meet", [True, False])
def test_the_loss_is_the_equation(names: tuple[str, ...], m: float, meet: bool) -> None:
    n = 9
    e = {name: v for name, v in vectors(n, 0).items() if name in names}
    e_r = {name: v for name, v in vectors(n, 1).items() if name in names}
    present = {name: np.random.default_rng(2 + k).random(n) < 0.7 for k, name in enumerate(names)}
    if not meet:  # no item has both; with a third modality the other pairs still count
        present["image"] &= ~present["audio"]
    assert {sum(present[name][i] for name in names) for i in range(n)} >= ({1, 2} if meet else {1})
    one = int(np.flatnonzero(present["image"])[0])
    e["image"][one] = e_r["audio"][one] = 0  # no length: every cosine is 0
    expected, hinges = 0.0, set()
    for a, v in combinations(names, 2):
        items = [i for i in range(n) if present[a][i] and present[v][i]]
        assert len(items) < n
        assert bool(items) == (meet or (a, v) != ("audio", "image"))
        for i in items:
            matched = 1 - cosine(e[a][i], e[v][i])
            wrong_a = max(0.0, cosine(e_r[a][i], e[v][i]) - m)
            wrong_v = max(0.0, cosine(e[a][i], e_r[v][i]) - m)
            expected += (matched + wrong_a + wrong_v) / len(items)
            hinges |= {wrong_a > 0, wrong_v > 0}
    assert hinges == ({True, False} if expected else set())  # inside the margin and outside
    masks = {name: torch.from_numpy(mask) for name, mask in present.items()}
    assert float(margin_loss(tensors(e), tensors(e_r), masks, m)) == pytest.approx(expected)


def test_absent_items_pull_at_nothing() -> None:
    """Neither what stands where a modality is absent nor its negative counts, nor has a gradient.

    An item that has one modality only teaches nothing by it either.
    """
    e, e_r = tensors(vectors(5, 0)), tensors(vectors(5, 1))
    present = {
        "audio": torch.tensor([True, True, True, False, False]),
        "text": torch.tensor([True, True, False, False, True]),
        "image": torch.tensor([True, False, False, False, True]),
    }
    teaches = torch.tensor([True, True, False, False, True])  # item 2 has audio only, 3 nothing
    leaves = [v.requires_grad_() for v in (*e.values(), *e_r.values())]
    loss = margin_loss(e, e_r, present, -1.0)  # every hinge is open
    gradients = torch.autograd.grad(loss, leaves)
    here = [mask & teaches for mask in present.values()] * 2
    for leaf, gradient, counts in zip(leaves, gradients, here, strict=True):
        assert torch.equal(gradient.abs().sum(dim=1) > 0, counts)
        leaf.detach()[~counts] = 1e6
    assert torch.equal(margin_loss(e, e_r, present, -1.0), loss)


def test_no_pair_in_a_batch_costs_nothing() -> None:
    e = tensors(vectors(3, 0))
    absent = {name: torch.zeros(3, dtype=torch.bool) for name in e}
    assert float(margin_loss(e, e, absent, 0.5)) == 0


@pytest.mark.parametrize("temperature", [0.05, 1.0])
def test_infonce_is_the_equation(temperature: float) -> None:
    """A slow loop: each item's own match against those of all items that have both."""
    n = 9
    e = vectors(n, 0)
    present = {name: np.random.default_rng(2 + k).random(n) < 0.7 for k, name in enumerate(WIDTHS)}
    expected = 0.0
    for a, v in combinations(WIDTHS, 2):
        items = [i for i in range(n) if present[a][i] and present[v][i]]
        assert 1 < len(items) < n
        for one, other in ((a, v), (v, a)):
            for i in items:
                s = [cosine(e[one][i], e[other][j]) / temperature for j in items]
                own = s[items.index(i)]
                expected += (np.log(np.sum(np.exp(s))) - own) / len(items) / 2
    masks = {name: torch.from_numpy(mask) for name, mask in present.items()}
    assert float(infonce_loss(tensors(e), masks, temperature)) == pytest.approx(expected)
    absent = {name: torch.zeros(n, dtype=torch.bool) for name in e}
    assert float(infonce_loss(tensors(e), absent, temperature)) == 0


def test_the_space_is_two_matrices_and_tanh() -> None:
    space = JointSpace(WIDTHS, 6)
    assert all("bias" not in name for name, _ in space.named_parameters())
    x = {name: torch.randn(3, width) for name, width in WIDTHS.items() if name != "text"}
    e = space(x)
    assert set(e) == {"audio", "image"}
    for name in e:
        layers = space.e[name]
        assert isinstance(layers, nn.Sequential)
        w1, w2 = (layers.get_parameter(key).detach() for key in ("0.weight", "2.weight"))
        expected = (w2 @ torch.tanh(w1 @ x[name].T)).T
        assert torch.allclose(e[name], expected, atol=1e-6)
    assert JointConfig().dim == 200
    assert JointConfig().margin == 0.5


def planted(n: int, seed: int, missing: float = 0.0) -> FeatureTable:
    """Modalities that are different pictures of the same hidden cause."""
    maps = np.random.default_rng(99)
    rng = np.random.default_rng(seed)
    hidden = rng.standard_normal((n, 3))
    x, present = {}, {}
    for name, width in WIDTHS.items():
        seen = hidden @ maps.standard_normal((3, width)) + 0.1 * rng.standard_normal((n, width))
        present[name] = rng.random(n) >= missing
        x[name] = np.where(present[name][:, None], seen, 0).astype(np.float32)
    return FeatureTable(tuple(f"{seed}-{k}" for k in range(n)), x, present)


def row_of(table: FeatureTable, name: str, vector: Tensor) -> int:
    (row,) = np.flatnonzero((table.x[name] == vector.numpy()).all(axis=1))
    return int(row)


def test_a_negative_is_another_item_that_has_the_modality() -> None:
    table = planted(12, 0, missing=0.5)
    examples, rng = JointExamples(table), np.random.default_rng(0)
    drawn: dict[str, set[tuple[int, int]]] = {name: set() for name in WIDTHS}
    rows = np.arange(12)
    for _ in range(200):
        batch = examples.batch(rows, rng)
        for name in WIDTHS:
            np.testing.assert_array_equal(batch[f"x.{name}"].numpy(), table.x[name])
            np.testing.assert_array_equal(batch[f"present.{name}"].numpy(), table.present[name])
            for i, negative in enumerate(batch[f"negative.{name}"]):
                drawn[name].add((i, row_of(table, name, negative)))
    for name, here in table.present.items():
        assert all(i != j for i, j in drawn[name])
        assert {j for _, j in drawn[name]} == set(np.flatnonzero(here))
        # Every other item that has it is drawn sooner or later.
        assert len(drawn[name]) == here.sum() * (12 - 1)


def test_two_items_are_each_others_negatives() -> None:
    table = planted(2, 0)
    batch = JointExamples(table).batch(np.array([0, 1]), np.random.default_rng(0))
    np.testing.assert_array_equal(batch["negative.audio"].numpy(), table.x["audio"][::-1])


def test_evaluation_draws_the_same_negatives_each_time() -> None:
    examples, rows = JointExamples(planted(20, 0)), np.arange(20)
    first, again = (examples.batch(rows, None)["negative.audio"] for _ in range(2))
    assert torch.equal(first, again)
    rng = np.random.default_rng(0)
    one, other = (examples.batch(rows, rng)["negative.audio"] for _ in range(2))
    assert not torch.equal(one, other)


def test_one_item_has_no_negative() -> None:
    with pytest.raises(TrainingError, match=r"two items with audio .* got 1"):
        JointExamples(planted(1, 0))


CONFIG = JointConfig(
    dim=8,
    training=TrainingConfig(learning_rate=1e-2, batch_size=32, max_epochs=12, patience=12),
)


def matches(space: JointSpace, table: FeatureTable) -> float:
    """Share of (item, other item, pair of modalities) where the item's own match is nearer."""
    e = project(space, table)
    wins = []
    for a, v in combinations(e, 2):
        unit_a, unit_v = (e[k] / np.linalg.norm(e[k], axis=1, keepdims=True) for k in (a, v))
        cosines = unit_a @ unit_v.T
        wins.append((np.diag(cosines)[:, None] > cosines)[~np.eye(len(table), dtype=bool)].mean())
    return float(np.min(wins))


@pytest.mark.parametrize("loss", ["margin", "infonce"])
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_matched_pairs_of_held_out_items_come_nearest(missing: float, loss: str) -> None:
    train, val, test = planted(200, 1, missing), planted(60, 2, missing), planted(60, 3)
    config = JointConfig.model_validate({**CONFIG.model_dump(), "loss": loss, "dropout": 0.1})
    space, log = train_joint(train, val, config if loss == "infonce" else CONFIG, seed=0)
    assert log.best_loss < 0.7 * log.epochs[0]["val_loss"]
    torch.manual_seed(0)
    assert matches(JointSpace(WIDTHS, 8), test) < 0.7
    assert matches(space, test) > 0.85


@pytest.mark.parametrize("loss", ["margin", "infonce"])
def test_absent_values_are_never_read(loss: str) -> None:
    clean, val = planted(40, 1, missing=0.4), planted(20, 2)
    filled = FeatureTable(
        clean.ids,
        {
            name: np.where(clean.present[name][:, None], x, np.float32(1e6))
            for name, x in clean.x.items()
        },
        clean.present,
    )
    config = CONFIG.model_copy(
        update={"training": TrainingConfig(learning_rate=1e-2, max_epochs=2), "loss": loss}
    )
    spaces = [train_joint(table, val, config, seed=0)[0].state_dict() for table in (clean, filled)]
    assert all(torch.equal(spaces[0][k], spaces[1][k]) for k in spaces[0])


def test_projection_gives_the_rows_that_are_there() -> None:
    table = planted(15, 4, missing=0.4)
    space = JointSpace(WIDTHS, 6).eval()
    projected = project(space, table)
    for name, rows in projected.items():
        here = np.flatnonzero(table.present[name])
        assert rows.shape == (len(here), 6)
        x = torch.from_numpy(table.x[name][here])
        with torch.no_grad():
            np.testing.assert_allclose(rows, space({name: x})[name].numpy(), atol=1e-6)


def test_a_saved_space_is_the_same(tmp_path: Path) -> None:
    table, space = planted(10, 5), JointSpace(WIDTHS, 6)
    folder = save_joint(tmp_path / "joint", space, FitLog(), Provenance("joint", 1, {}))
    again = project(load_joint(folder), table)
    for name, rows in project(space, table).items():
        np.testing.assert_array_equal(again[name], rows)


def test_settings_that_came_later_leave_earlier_spaces_current() -> None:
    """Fingerprints of spaces of the margin loss have what they had before there was another."""
    assert set(JointConfig().used()) == {"dim", "margin", "training"}
    of_infonce = JointConfig(loss="infonce", dropout=0.5).used()
    assert set(of_infonce) == {"dim", "loss", "temperature", "dropout", "training"}
