"""One network that all modalities share: any subset of them, and what its loss asks of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmgenre.disk.provenance import Provenance
from mmgenre.fusion.head import FusionModel, predict, train_fusion
from mmgenre.fusion.settings import FusionConfig
from mmgenre.fusion.single_branch import SingleBranchHead
from mmgenre.fusion.table import FeatureTable
from mmgenre.items.labels import LabelSpace
from mmgenre.learning.settings import TargetConfig, TrainingConfig
from mmgenre.learning.targets import make_target
from mmgenre.measuring import metrics

WIDTHS = {"audio": 12, "text": 8}
N, GENRES = 240, 4


def batch_of(x: dict[str, Tensor], here: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"x.{k}": v for k, v in x.items()} | {f"present.{k}": v for k, v in here.items()}


def planted(seed: int) -> tuple[FeatureTable, np.ndarray]:
    """Every modality shows an item's genre, by directions of its own."""
    rng = np.random.default_rng(seed)
    genre = np.arange(N) % GENRES
    x = {
        name: (
            np.random.default_rng(width).standard_normal((GENRES, width))[genre]
            + 0.5 * rng.standard_normal((N, width))
        ).astype(np.float32)
        for name, width in WIDTHS.items()
    }
    here = {name: np.ones(N, bool) for name in WIDTHS}
    return FeatureTable(tuple(f"i{k}" for k in range(N)), x, here), np.eye(GENRES, dtype=bool)[
        genre
    ]


def test_an_item_is_the_mean_of_what_it_has() -> None:
    torch.manual_seed(0)
    head = SingleBranchHead(WIDTHS, 3, 0.5).eval()
    x = {name: torch.randn(3, width) for name, width in WIDTHS.items()}
    here = {"audio": torch.tensor([True, True, False]), "text": torch.tensor([True, False, False])}
    both, audio, nothing = head(batch_of(x, here))
    torch.testing.assert_close(nothing, head.output.bias)
    other = x | {"text": torch.randn(3, WIDTHS["text"])}
    torch.testing.assert_close(head(batch_of(other, here))[1], audio)  # it has no text
    assert not torch.allclose(head(batch_of(other, here))[0], both)
    assert not torch.allclose(both, audio)


def test_it_learns_each_modality_is_saved_and_names_genres_by_either(tmp_path: Path) -> None:
    (train, y), (val, y_val), (test, y_test) = (planted(seed) for seed in range(3))
    target = make_target(TargetConfig(), GENRES, exclusive=True)
    config = FusionConfig(
        network="single-branch", training=TrainingConfig(max_epochs=15, batch_size=40)
    )
    targets = {"train": y.astype(np.float32), "val": y_val.astype(np.float32)}
    head, _ = train_fusion(train, val, target, targets, config, exclusive=True, seed=0)
    assert isinstance(head, SingleBranchHead)
    labels = LabelSpace(tuple("abcd"), exclusive=True)
    FusionModel(head, target, "logistic", labels, None).save(
        tmp_path / "m", Provenance("fusion", 1, {})
    )
    model = FusionModel.load(tmp_path / "m")
    assert isinstance(model.head, SingleBranchHead)
    np.testing.assert_array_equal(model.scores(test), predict(head, target, test))
    for subset in (["audio"], ["text"], ["audio", "text"]):
        here = {name: np.full(N, name in subset) for name in WIDTHS}
        scores = model.scores(FeatureTable(test.ids, test.x, here))
        f1 = metrics.precision_recall_f1(y_test, metrics.argmax_one_hot(scores))[2]
        assert metrics.macro(f1) > 0.9, subset
