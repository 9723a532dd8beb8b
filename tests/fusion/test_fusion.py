"""Late fusion: the head against the equation, absent inputs, and that together is better."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mmgenre.disk.bundle import write_bundle
from mmgenre.disk.provenance import Provenance
from mmgenre.errors import BundleError
from mmgenre.fusion.head import FusionExamples, FusionHead, FusionModel, predict, train_fusion
from mmgenre.fusion.settings import FusionConfig
from mmgenre.fusion.table import FeatureTable
from mmgenre.items.labels import LabelSpace
from mmgenre.learning.settings import TargetConfig, TrainingConfig
from mmgenre.learning.targets import Target, make_target
from mmgenre.measuring import metrics

WIDTHS = {"audio": 5, "text": 4, "image": 3}
NAMES = tuple(WIDTHS)
Bools = NDArray[np.bool_]


def inputs(n: int = 6, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(n, width, generator=generator) for name, width in WIDTHS.items()}


def mask(*rows: str, n: int = 6) -> dict[str, Tensor]:
    """Presence of a, t, i per item, for instance "ati", "t", ""; repeated to n items."""
    return {
        name: torch.tensor([name[0] in rows[k % len(rows)] for k in range(n)]) for name in NAMES
    }


def called(
    head: FusionHead, x: dict[str, Tensor], present: dict[str, Tensor], *, unit: bool = False
) -> Tensor:
    batch = {f"x.{name}": rows for name, rows in x.items()}
    batch |= {f"present.{name}": here for name, here in present.items()}
    output: Tensor = head(batch, unit=unit)
    return output


def head_by_hand(head: FusionHead, x: dict[str, Tensor], names: Sequence[str]) -> Tensor:
    joined = torch.cat([x[n] / x[n].norm(dim=1, keepdim=True) for n in names], dim=1)
    columns, start = [], 0
    for name, width in WIDTHS.items():
        columns += list(range(start, start + width)) if name in names else []
        start += width
    weight = head.output.weight[:, columns]
    flags = sum(
        (head.output.weight[:, start + k] for k, n in enumerate(NAMES) if n not in names),
        torch.zeros(len(head.output.bias)),
    )
    return joined @ weight.T + head.output.bias + flags


def test_with_everything_present_the_head_is_normalise_concatenate_linear() -> None:
    head, x = FusionHead(WIDTHS, 7, 0.0), inputs()
    output = called(head, x, mask("ati"))
    assert output.shape == (6, 7)
    assert torch.allclose(output, head_by_hand(head, x, NAMES), atol=1e-5)


@pytest.mark.parametrize("given", ["at", "ti", "a", "t", "i", ""])
def test_an_absent_input_adds_its_flag_and_nothing_else(given: str) -> None:
    head, x = FusionHead(WIDTHS, 7, 0.0), inputs()
    names = [n for n in NAMES if n[0] in given]
    if names:
        assert torch.allclose(called(head, x, mask(given)), head_by_hand(head, x, names), atol=1e-5)
    else:
        flags = head.output.weight[:, -3:].sum(dim=1) + head.output.bias
        assert torch.allclose(called(head, x, mask("")), flags.expand(6, 7), atol=1e-5)


def test_lengths_of_vectors_do_not_matter() -> None:
    head, x = FusionHead(WIDTHS, 7, 0.0), inputs()
    longer = {name: rows * 50 for name, rows in x.items()}
    assert torch.allclose(
        called(head, x, mask("ati")), called(head, longer, mask("ati")), atol=1e-5
    )


@pytest.mark.parametrize("garbage", [0.0, -7.0, 1e9])
def test_values_of_absent_rows_never_matter(garbage: float) -> None:
    head, x = FusionHead(WIDTHS, 7, 0.0), inputs()
    present = mask("ati", "t", "ai")
    filled = {
        name: torch.where(present[name][:, None], rows, torch.tensor(garbage))
        for name, rows in x.items()
    }
    gradients = []
    outputs = []
    for given in (x, filled):
        head.zero_grad()
        outputs.append(called(head, given, present))
        outputs[-1].square().sum().backward()  # type: ignore[no-untyped-call]
        assert head.output.weight.grad is not None
        gradients.append(head.output.weight.grad.clone())
    assert torch.equal(outputs[0], outputs[1])
    assert torch.equal(gradients[0], gradients[1])


def test_dropout_touches_vectors_and_never_flags() -> None:
    head = FusionHead(WIDTHS, 1, 0.5)
    with torch.no_grad():
        head.output.weight.zero_()
        head.output.weight[0, -3:] = torch.tensor([1.0, 10.0, 100.0])
        head.output.bias.zero_()
    head.train()
    for _ in range(5):
        assert called(head, inputs(), mask("a")).flatten().tolist() == [110.0] * 6
        assert called(head, inputs(), mask("ati")).flatten().tolist() == [0.0] * 6


@pytest.mark.parametrize("given", ["ati", "t", ""])
def test_vectors_known_to_have_length_one_give_the_same(given: str) -> None:
    head, x = FusionHead(WIDTHS, 7, 0.0), inputs()
    unit = {name: nn.functional.normalize(rows, dim=1) for name, rows in x.items()}
    present = mask(given, "ai")
    torch.testing.assert_close(called(head, unit, present, unit=True), called(head, x, present))
    if given:
        assert not torch.allclose(
            called(head, x, present, unit=True), called(head, x, present), atol=1e-3
        )


def test_large_batches_learn_as_well() -> None:
    """The same share of what can be learned, after as many epochs, as batches of 32."""
    test, y = planted(400, 3)
    auc = []
    for settings in (
        {"training": {"learning_rate": 2e-2, "max_epochs": 15, "patience": None}},
        {
            "training": {
                "learning_rate": 6e-2, "max_epochs": 15, "patience": None, "batch_size": 128,
            }
        },
    ):  # fmt: skip
        target = make_target(TargetConfig(), 4, exclusive=False)
        config = FusionConfig.model_validate({"dropout": 0.3, **settings})
        head = trained(target, ("audio", "text"), config)
        auc.append(metrics.roc_auc(y, predict(head, target, test)).mean())
    assert auc[0] > 0.9
    assert auc[1] > auc[0] - 0.01


def table_of(n: int, seed: int = 0, *, joint: bool = False) -> FeatureTable:
    rng = np.random.default_rng(seed)
    widths = WIDTHS | ({f"joint.{name}": 2 for name in WIDTHS} if joint else {})
    x = {name: rng.standard_normal((n, width)).astype(np.float32) for name, width in widths.items()}
    present = {name: np.ones(n, bool) for name in x}
    return FeatureTable(tuple(str(k) for k in range(n)), x, present)


def test_modalities_are_hidden_in_training_only() -> None:
    table = table_of(4000)
    table.present["text"][:1000] = False
    rows = np.arange(4000)
    examples = FusionExamples(table, np.zeros((4000, 1), np.float32), 0.3)
    batch = examples.batch(rows, np.random.default_rng(0))
    plain = examples.batch(rows, None)
    for name in NAMES:
        there = table.present[name]
        np.testing.assert_array_equal(plain[f"present.{name}"].numpy(), there)
        kept = batch[f"present.{name}"].numpy()
        assert not (kept & ~there).any()
        assert kept[there].mean() == pytest.approx(0.7, abs=0.04)
        np.testing.assert_array_equal(batch[f"x.{name}"].numpy(), table.x[name])
    together = batch["present.audio"] & batch["present.image"]
    assert together.float().mean().item() == pytest.approx(0.49, abs=0.04)  # independent
    never = FusionExamples(table, np.zeros((4000, 1), np.float32), 0.0)
    hidden = never.batch(rows, np.random.default_rng(0))["present.audio"]
    assert hidden.all()


def test_a_hidden_modality_takes_its_joint_vector_along() -> None:
    table = table_of(500, joint=True)
    examples = FusionExamples(table, np.zeros((500, 1), np.float32), 0.4)
    batch = examples.batch(np.arange(500), np.random.default_rng(0))
    for name in NAMES:
        assert torch.equal(batch[f"present.{name}"], batch[f"present.joint.{name}"])
        assert 0 < batch[f"present.{name}"].sum() < 500


def test_published_dropouts_are_the_default() -> None:
    assert FusionConfig().dropout_for(exclusive=True) == 0.5
    assert FusionConfig(head="cosine").dropout_for(exclusive=True) == 0.5
    assert FusionConfig().dropout_for(exclusive=False) == 0.0
    assert FusionConfig(head="cosine").dropout_for(exclusive=False) == 0.7
    assert FusionConfig(head="cosine", dropout=0.1).dropout_for(exclusive=False) == 0.1


def planted(n: int, seed: int) -> tuple[FeatureTable, Bools]:
    """Audio tells labels 0 and 1, text 2 and 3; some items lack one of them."""
    rng = np.random.default_rng(seed)
    y = rng.random((n, 4)) < 0.4
    maps = np.random.default_rng(99).standard_normal((2, 2, 8))
    x, present = {}, {}
    for k, name in enumerate(("audio", "text")):
        signal = np.where(y[:, 2 * k : 2 * k + 2], 1.0, -1.0)
        present[name] = rng.random(n) < 0.95
        noisy = signal @ maps[k] + 0.4 * rng.standard_normal((n, 8))
        x[name] = np.where(present[name][:, None], noisy, 0).astype(np.float32)
    return FeatureTable(tuple(f"{seed}-{k}" for k in range(n)), x, present), y


def trained(
    target: Target, names: Sequence[str], config: FusionConfig, seed: int = 0
) -> FusionHead:
    (train, y_train), (val, y_val) = planted(300, 1), planted(100, 2)
    target.fit(y_train)
    targets = {"train": target.targets(y_train), "val": target.targets(y_val)}
    head, log = train_fusion(
        train.only(names), val.only(names), target, targets, config, exclusive=False, seed=seed
    )
    assert log.best_loss < log.epochs[0]["val_loss"]
    return head


@pytest.mark.parametrize("name", ["logistic", "cosine"])
def test_together_is_better_than_either_alone(name: str) -> None:
    target_config = TargetConfig.model_validate({"name": name, "dim": 4})
    config = FusionConfig.model_validate(
        {
            "head": name,
            "dropout": 0.2,
            "training": {"learning_rate": 2e-2, "max_epochs": 15, "patience": 15},
        }
    )
    test, y = planted(200, 3)
    auc = {}
    for names in (("audio",), ("text",), ("audio", "text")):
        target = make_target(target_config, 4, exclusive=False)
        head = trained(target, names, config)
        scores = predict(head, target, test.only(names))
        assert scores.shape == (200, 4)
        auc[names] = metrics.roc_auc(y, scores)
        if len(names) == 2:
            without = test.only(names)
            hidden = {n: np.zeros(200, bool) for n in names}
            for n in names:  # each modality dropped is handled
                present = dict(without.present) | {n: hidden[n]}
                rest = metrics.roc_auc(
                    y, predict(head, target, FeatureTable(without.ids, without.x, present))
                )
                told = (2, 3) if n == "audio" else (0, 1)
                assert rest[list(told)].min() > 0.85
            nothing = predict(head, target, FeatureTable(without.ids, without.x, hidden))
            assert np.isfinite(nothing).all()
            assert (nothing == nothing[0]).all()
    assert auc["audio",][:2].min() > 0.85
    assert auc["text",][2:].min() > 0.85
    both = auc["audio", "text"]
    assert both.min() > 0.85
    assert both.mean() > max(auc["audio",].mean(), auc["text",].mean()) + 0.1


def test_a_seed_decides_the_head_and_the_order_of_items_does_not_matter_to_it() -> None:
    target = make_target(TargetConfig(), 4, exclusive=False)
    config = FusionConfig(training=TrainingConfig(max_epochs=2))
    states = [trained(target, ("audio", "text"), config, seed).state_dict() for seed in (1, 1, 2)]
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])
    assert not all(torch.equal(states[0][k], states[2][k]) for k in states[0])


def test_prediction_goes_by_items_in_their_order() -> None:
    table, target = table_of(2500, 4), make_target(TargetConfig(), 7, exclusive=False)
    head = FusionHead(WIDTHS, 7, 0.5).train()
    scores = predict(head, target, table)  # in three blocks, and without dropout
    assert scores.dtype == np.float64
    assert ((scores > 0) & (scores < 1)).all()
    some = np.array([2400, 3, 1100])
    np.testing.assert_allclose(predict(head, target, table.select(some)), scores[some], atol=1e-6)


@pytest.mark.parametrize(("name", "threshold"), [("logistic", 0.37), ("cosine", None)])
def test_a_saved_model_is_the_same(tmp_path: Path, name: str, threshold: float | None) -> None:
    target = make_target(
        TargetConfig.model_validate({"name": name, "dim": 3}), 4, exclusive=threshold is None
    )
    target.fit(planted(50, 1)[1])
    labels = LabelSpace(("Blues", "Jazz", "Jazz/Vocal Jazz", "Rock"), threshold is None)
    head = FusionHead(WIDTHS, target.dim, 0.5)
    model = FusionModel(
        head, target, "cosine" if name == "cosine" else "logistic", labels, threshold
    )
    model.save(tmp_path / "model", Provenance("fusion", 1, {}))
    again = FusionModel.load(tmp_path / "model")
    assert not again.head.training
    assert (again.labels, again.threshold, again.target_name) == (labels, threshold, name)
    assert list(again.head.widths) == list(WIDTHS)  # the order of the columns
    table = table_of(20, 5)
    table.present["text"][:7] = False
    np.testing.assert_array_equal(
        predict(again.head, again.target, table), predict(head, target, table)
    )
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(BundleError, match=r"model\.safetensors: not the file that was written"):
        FusionModel.load(tmp_path / "model")


@pytest.mark.parametrize("network", [None, "os.path.join"])
def test_a_model_of_an_unknown_network_is_refused(tmp_path: Path, network: str | None) -> None:
    config = {
        "target": {"name": "logistic", "n_labels": 2, "exclusive": True},
        "widths": WIDTHS,
        "network": network,
    }
    head = FusionHead(WIDTHS, 2, 0.0)
    write_bundle(
        tmp_path / "model", "fusion head", config, head.state_dict(), Provenance("fusion", 1, {})
    )
    with pytest.raises(BundleError, match=r"model: its network .* train it again: mmgenre fuse"):
        FusionModel.load(tmp_path / "model")
