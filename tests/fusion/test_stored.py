"""Tables whose vectors stay in their stores: as those in memory, but for the order of training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import FeatureStore, write_store
from mmgenre.errors import StoreError
from mmgenre.fusion import stored
from mmgenre.fusion.head import predict, train_fusion
from mmgenre.fusion.joint import project, train_joint
from mmgenre.fusion.settings import FusionConfig, JointConfig
from mmgenre.fusion.table import FeatureTable, gather
from mmgenre.learning.settings import TargetConfig, TrainingConfig
from mmgenre.learning.targets import make_target
from mmgenre.measuring import metrics

N, N_LABELS = 700, 6
WIDTHS = {"audio": 24, "text": 16}
Tables = Callable[[int, int], tuple[FeatureTable, FeatureTable]]


def truth() -> np.ndarray:
    return np.eye(N_LABELS, dtype=bool)[np.random.default_rng(0).integers(N_LABELS, size=N)]


@pytest.fixture
def tables(tmp_path: Path) -> Iterator[Tables]:
    """Items `start` to `stop`, in memory and in stores, some vectors absent or zero."""
    path, rng = tmp_path / "vectors.h5", np.random.default_rng(1)
    ids = np.array([f"i{k:04d}" for k in range(N)])
    for name, width in WIDTHS.items():
        x = truth() @ rng.standard_normal((N_LABELS, width)) + 1.5 * rng.standard_normal((N, width))
        x[::50] = 0
        here = rng.random(N) < 0.8
        order = rng.permutation(int(here.sum())) if name == "text" else np.arange(int(here.sum()))
        rows = x[here][order].astype(np.float16 if name == "text" else np.float32)
        write_store(path, name, [(ids[here][order].tolist(), rows)], Provenance("made", 1, {}))
    with ExitStack() as opened:

        def made(start: int, stop: int) -> tuple[FeatureTable, FeatureTable]:
            stores = {n: opened.enter_context(FeatureStore(path, n)) for n in WIDTHS}
            own = ids[start:stop].tolist()
            return gather(stores, own), gather(stores, own, 0)

        yield made


def test_holds_what_a_table_in_memory_holds(tables: Tables) -> None:
    held, there = tables(0, N)
    assert there.is_stored
    assert not held.is_stored
    rng = np.random.default_rng(2)
    rows = rng.permutation(N)[:300]
    hidden = {"audio": rng.random(N) < 0.3}
    for one, other in (
        (held, there),
        (held.select(rows), there.select(rows)),
        (held.select(rows).unit(), there.select(rows).unit()),
        (held.hide(0.4, 3), there.hide(0.4, 3)),
        (held.hide(0, 0, hidden).only(["text"]), there.hide(0, 0, hidden).only(["text"])),
    ):
        assert other.is_stored
        assert one.ids == other.ids
        assert one.widths == other.widths
        for name in one.x:
            np.testing.assert_array_equal(one.present[name], other.present[name])
            np.testing.assert_array_equal(one.x[name], other.x[name])
            at = rng.integers(len(one), size=40)
            np.testing.assert_array_equal(one.take(name, at), other.take(name, at))


def test_blocks_are_the_items_in_order(tables: Tables) -> None:
    held, there = tables(0, N)
    parts = list(there.blocks(64))
    assert [len(part) for part in parts] == [64] * 10 + [60]
    assert tuple(i for part in parts for i in part.ids) == held.ids
    for name in held.x:
        np.testing.assert_array_equal(np.concatenate([p.x[name] for p in parts]), held.x[name])
    assert len(list(held.blocks())) == 1


@pytest.mark.parametrize(
    ("n", "block", "blocks"), [(1000, 64, 3), (17, 4, 2), (5, 8, 2), (0, 4, 2)]
)
def test_an_order_has_every_row_once_and_keeps_windows_together(
    n: int, block: int, blocks: int
) -> None:
    order = stored.windowed_order(n, np.random.default_rng(0), block=block, blocks=blocks)
    assert sorted(order.tolist()) == list(range(n))
    for k in range(0, n, block * blocks):  # no more blocks in a window than it may have
        assert len(np.unique(order[k : k + block * blocks] // block)) <= blocks + 1


def test_the_order_of_one_block_is_that_of_rows_in_memory() -> None:
    one, other = (np.random.default_rng(4) for _ in range(2))
    np.testing.assert_array_equal(stored.windowed_order(50, one), other.permutation(50))


def fitted(train: FeatureTable, val: FeatureTable) -> tuple[np.ndarray, float]:
    """Weights of a head, and its macro ROC-AUC on validation items."""
    y = truth()
    target = make_target(TargetConfig(), N_LABELS, exclusive=True)
    target.fit(y[:500])
    goals = {"train": target.targets(y[:500]), "val": target.targets(y[500:])}
    config = FusionConfig(training=TrainingConfig(max_epochs=12, learning_rate=0.02))
    head, _ = train_fusion(train, val, target, goals, config, exclusive=True, seed=0)
    auc = metrics.macro(metrics.roc_auc(y[500:], predict(head, target, val)))
    return head.output.weight.detach().numpy(), auc


def test_a_head_is_the_same_bit_for_bit_where_there_is_one_block(tables: Tables) -> None:
    (train, train_there), (val, val_there) = tables(0, 500), tables(500, N)
    (one, auc), (other, auc_there) = fitted(train, val), fitted(train_there, val_there)
    np.testing.assert_array_equal(one, other)
    assert auc == auc_there > 0.8


@pytest.mark.slow
def test_a_head_is_as_good_where_there_are_many_blocks(
    tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    (train, train_there), (val, val_there) = tables(0, 500), tables(500, N)
    one, auc = fitted(train, val)
    monkeypatch.setattr(
        "mmgenre.fusion.table.windowed_order",
        lambda n, rng: stored.windowed_order(n, rng, block=16, blocks=4),
    )
    other, auc_there = fitted(train_there, val_there)
    assert not np.array_equal(one, other)
    assert auc_there == pytest.approx(auc, abs=0.02)


@pytest.mark.parametrize("loss", ["margin", "infonce"])
def test_a_joint_space_is_the_same(tables: Tables, loss: str) -> None:
    (train, train_there), (val, val_there) = tables(0, 500), tables(500, N)
    training = TrainingConfig(max_epochs=2, learning_rate=0.01)
    config = JointConfig.model_validate({"dim": 8, "loss": loss, "training": training})
    space, log = train_joint(train, val, config, seed=1)
    space_there, log_there = train_joint(train_there, val_there, config, seed=1)
    assert log.curve() == log_there.curve()
    for name, rows in project(space, val).items():
        np.testing.assert_array_equal(rows, project(space_there, val_there)[name])


def test_ids_are_found_in_any_order_and_repeated_ones_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.h5"
    rows = np.arange(6, dtype=np.float32).reshape(3, 2)
    write_store(path, "a", [(["c", "aé", "b"], rows)], Provenance("made", 1, {}))
    with FeatureStore(path, "a") as store:
        assert store.positions(["b", "x", "aé", "", "c", "bb"]).tolist() == [2, -1, 1, -1, 0, -1]
        assert store.positions([]).tolist() == []
        np.testing.assert_array_equal(store.rows_at(np.array([2, 0, 0, 1])), rows[[2, 0, 0, 1]])
        with pytest.raises(ValueError, match="3 rows"):
            store.rows_at(np.array([-1]))
    with FeatureStore(path, "a") as store:
        store._encoded_ids[1] = store._encoded_ids[0]
        with pytest.raises(StoreError, match="3 rows but 2 distinct ids"):
            store.positions(["c"])
