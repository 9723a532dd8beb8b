"""The solved fusion: every item is judged by what it has, and by nothing that saw it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mmgenre.disk.bundle import write_bundle
from mmgenre.disk.provenance import Provenance
from mmgenre.errors import BundleError
from mmgenre.fusion import ensemble
from mmgenre.fusion.ensemble import KIND, Combine, Fitting, SolvedFusion
from mmgenre.fusion.experts import Crossed, Task, fit_expert, quality_of, taken_expert
from mmgenre.fusion.scaling import KERNELS, LEARNED
from mmgenre.fusion.solve import Linear
from mmgenre.fusion.table import FeatureTable
from mmgenre.items.labels import LabelSpace
from mmgenre.learning.settings import TargetConfig, TargetName
from mmgenre.learning.targets import make_target
from mmgenre.measuring import metrics

Floats = NDArray[np.float32]
GENRES = ("Folk", "Jazz", "Pop", "Rock")
WIDTHS = {"audio": 6, "audio.statistics": 5, "text": 7, "image": 4}
KNOW = {"audio": 1.0, "audio.statistics": 0.8, "text": 1.5, "image": 0.0}  # covers say nothing
PROVENANCE = Provenance("test", 1, {})


def catalogue(n: int, seed: int, *, exclusive: bool) -> tuple[FeatureTable, NDArray[np.bool_]]:
    """Vectors that know of the genres what `KNOW` says; a fifth of each modality is missing."""
    rng = np.random.default_rng(seed)
    y = np.eye(4, dtype=bool)[rng.choice(4, n, p=[0.4, 0.3, 0.2, 0.1])]
    if not exclusive:
        y |= rng.random(y.shape) < 0.15
    maps = np.random.default_rng(99)
    here: dict[str, NDArray[np.bool_]] = {}
    x: dict[str, Floats] = {}
    for name, width in WIDTHS.items():
        modality = name.partition(".")[0]
        here.setdefault(modality, rng.random(n) < 0.8)
        here[name] = here[modality]
        told = KNOW[name] * y @ maps.standard_normal((4, width)) + rng.standard_normal((n, width))
        x[name] = np.where(here[name][:, None], told, 0).astype(np.float32)
    return FeatureTable(tuple(f"i{seed}-{k}" for k in range(n)), x, here), y


@dataclass(frozen=True)
class Fitted:
    fitting: Fitting
    test: FeatureTable
    y: NDArray[np.bool_]
    head: TargetName

    def model(self, *inputs: str, how: Combine | None = None) -> SolvedFusion:
        patterns = self.fitting.row(inputs, how)
        used = {key for pattern in patterns.values() for key in pattern.experts}
        experts = {key: self.fitting.fitted[key].expert for key in sorted(used)}
        prior = np.arange(self.fitting.task.target.dim, dtype=np.float32)
        target = self.fitting.task.target
        labels = LabelSpace(GENRES, self.fitting.task.exclusive)
        return SolvedFusion(experts, patterns, prior, target, self.head, labels, 0.3, {"a": 1})


def fitted(
    kind: str, how: Combine = "auto", *, taken: bool = False, n: int = 240, flip: bool = False
) -> Fitted:
    """`taken`: text has a layer of its own that saw all items; `flip`: other labels in val."""
    exclusive, head = kind == "one", "cosine" if kind == "cosine" else "logistic"
    target = make_target(
        TargetConfig.model_validate({"name": head, "dim": 3}), 4, exclusive=exclusive
    )
    splits = [
        catalogue(size, seed, exclusive=exclusive) for size, seed in ((n, 1), (90, 2), (90, 3))
    ]
    target.fit(splits[0][1])
    quality = quality_of(target, exclusive=exclusive)
    tasks = []
    for table, y in splits:
        folds = np.arange(len(table)) % 4
        tasks.append(Task(target, y, folds, quality))
    if flip:
        own = splits[1][1]
        tasks[1] = Task(target, own[::-1].copy(), tasks[1].folds, quality)
    train = splits[0][0]
    experts: dict[str, Crossed] = {
        name: fit_expert(train, name, tasks[0], LEARNED) for name in WIDTHS
    }
    keys = {name: [name] for name in WIDTHS}
    if not taken:
        experts["audio/kernel"] = fit_expert(train, "audio", tasks[0], KERNELS)
        keys["audio"].append("audio/kernel")
    else:
        rng = np.random.default_rng(5)
        layer = Linear(
            rng.standard_normal((7, target.dim)).astype(np.float32),
            np.zeros(target.dim, np.float32),
        )
        experts["text"] = taken_expert("text", layer, None)
    modality_of = {name: name.partition(".")[0] for name in WIDTHS}
    honest = frozenset(WIDTHS) - ({"text"} if taken else set())
    made = Fitting(train, tasks[0], splits[1][0], tasks[1], keys, experts, modality_of, honest, how)
    return Fitted(made, splits[2][0], splits[2][1], "cosine" if kind == "cosine" else "logistic")


@pytest.fixture(scope="module")
def many() -> Fitted:
    return fitted("many")


def auc(y: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    return metrics.macro(metrics.roc_auc(y, scores))


@pytest.mark.parametrize("kind", ["many", "one", "cosine"])
@pytest.mark.parametrize("how", ["auto", "product"])
def test_an_item_gets_just_the_scores_of_the_row_of_what_it_has(kind: str, how: Combine) -> None:
    found = fitted(kind, how)
    whole = found.model(*WIDTHS)
    of_whole = whole.scores(found.test)
    for k in (1, 2):
        for some in combinations(("audio", "text", "image"), k):
            names = [name for name in WIDTHS if name.partition(".")[0] in some]
            just = np.all(
                [found.test.present[m] == (m in some) for m in ("audio", "text", "image")], axis=0
            )
            assert just.any()
            own = found.model(*names).scores(found.test.only(names))
            # Products of few rows may round the last digit of a float32 in another way.
            np.testing.assert_allclose(of_whole[just], own[just], rtol=1e-6, atol=1e-7)


def test_an_item_without_any_input_gets_the_prior(many: Fitted) -> None:
    model = many.model(*WIDTHS)
    nothing = {name: np.zeros(len(many.test), dtype=bool) for name in WIDTHS}
    bare = FeatureTable(many.test.ids, many.test.x, nothing)
    np.testing.assert_array_equal(model.outputs(bare), np.tile(model.prior, (len(bare), 1)))


def test_absent_vectors_and_the_items_beside_change_nothing(many: Fitted) -> None:
    model = many.model(*WIDTHS)
    before = model.scores(many.test)
    x = {
        name: np.where(many.test.present[name][:, None], rows, np.float32(1e9))
        for name, rows in many.test.x.items()
    }
    garbage = FeatureTable(many.test.ids, x, many.test.present)
    np.testing.assert_array_equal(model.scores(garbage), before)
    each = [model.scores(many.test.select(np.array([k]))) for k in range(20)]
    np.testing.assert_allclose(np.concatenate(each), before[:20], atol=1e-5)


@pytest.mark.parametrize("kind", ["many", "one", "cosine"])
@pytest.mark.parametrize("how", ["concatenation", "product"])
def test_saved_and_loaded_it_scores_the_same(kind: str, how: Combine, tmp_path: Path) -> None:
    found = fitted(kind, how)
    model = found.model(*WIDTHS)
    loaded = SolvedFusion.load(model.save(tmp_path / "model", PROVENANCE))
    np.testing.assert_array_equal(loaded.scores(found.test), model.scores(found.test))
    assert list(loaded.patterns) == list(model.patterns)
    assert (loaded.labels, loaded.threshold, loaded.about) == (model.labels, 0.3, {"a": 1})
    assert loaded.target_name == found.head
    assert loaded.widths == model.widths


def test_another_bundle_is_refused(tmp_path: Path) -> None:
    write_bundle(tmp_path / "model", "fusion head", {}, {}, PROVENANCE)
    with pytest.raises(BundleError, match=f"not a '{KIND}'"):
        SolvedFusion.load(tmp_path / "model")


def test_widths_are_in_the_order_of_modalities(many: Fitted) -> None:
    assert many.model(*WIDTHS).widths == WIDTHS
    assert list(many.model("image", "text", "audio").widths) == ["audio", "text", "image"]


def test_together_is_not_worse_than_any_part(many: Fitted) -> None:
    """Beyond the margin, on what the choice is made by; and about so on items never seen."""
    patterns = many.fitting.row(list(WIDTHS))
    whole = patterns[tuple(sorted(WIDTHS))]
    assert {"product", "concatenation"} <= whole.compared.keys()
    assert {"text", "audio+audio.statistics", "image+text"} <= whole.compared.keys()
    assert whole.quality >= max(whole.compared.values()) - 2 * ensemble.NOISE / 10
    both = np.all(list(many.test.present.values()), axis=0)
    test, y = many.test.select(both), many.y[both]
    together = auc(y, many.model(*WIDTHS).scores(test))
    alone = [auc(y, many.model(name).scores(test.only([name]))) for name in WIDTHS]
    assert together > max(alone)


def test_covers_that_say_nothing_have_about_no_say(many: Fitted) -> None:
    whole = many.fitting.row(["audio", "text", "image"], "product")["audio", "image", "text"]
    z = {key: np.nanstd(many.fitting.fitted[key].outputs) for key in whole.experts}  # type: ignore[arg-type]
    say = {key: w * z[key] for key, w in zip(whole.experts, whole.combination.weight, strict=True)}
    assert say["image"] < 0.1 * say["text"]


def test_a_concatenation_judges_all_items_by_one_expert(many: Fitted) -> None:
    patterns = many.fitting.row(["audio", "text"], "concatenation")
    assert [(inputs, p.experts) for inputs, p in patterns.items()] == [
        (("audio",), ("audio&text",)),
        (("text",), ("audio&text",)),
        (("audio", "text"), ("audio&text",)),
    ]
    model = many.model("audio", "text", how="concatenation")
    outputs = model.outputs(many.test.only(["audio", "text"]))
    assert np.isfinite(outputs).all()
    either = many.test.present["audio"] | many.test.present["text"]
    assert auc(many.y[either], model.scores(many.test)[either]) > 0.75


def test_of_few_items_experts_count_equally() -> None:
    found = fitted("many", "product", n=24)
    pattern = found.fitting.row(["audio", "text", "image"])["audio", "image", "text"]
    here = np.all([found.fitting.train.present[m] for m in ("audio", "text", "image")], axis=0)
    assert 0 < here.sum() < ensemble.LEAST_ITEMS
    np.testing.assert_allclose(pattern.combination.weight, 1 / len(pattern.experts))


def arrays_of(model: SolvedFusion) -> Mapping[str, NDArray[np.generic]]:
    found: dict[str, NDArray[np.generic]] = {}
    for key, expert in model.experts.items():
        found |= {f"{key}/weight": expert.linear.weight, f"{key}/bias": expert.linear.bias}
    for inputs, pattern in model.patterns.items():
        found["+".join(inputs)] = pattern.combination.weight
    return found


@pytest.mark.slow
def test_validation_items_change_nothing_where_all_is_cross_fitted() -> None:
    one, other = (fitted("many", flip=flip).model(*WIDTHS) for flip in (False, True))
    mine, theirs = arrays_of(one), arrays_of(other)
    assert mine.keys() == theirs.keys()
    for name, array in mine.items():
        np.testing.assert_array_equal(array, theirs[name])


def test_an_expert_that_has_seen_all_training_items_is_weighed_by_validation_items() -> None:
    """Its own output layer is luck here; on training items nobody could tell."""
    one, other = (fitted("many", "product", taken=True, flip=flip) for flip in (False, True))
    key = ("audio", "text")
    mine, theirs = (f.fitting.row(key)[key].combination.weight for f in (one, other))
    key_of_text = one.fitting.experts["text"][0]
    z = [np.std(one.fitting.fitted[k].expert(one.fitting.val)) for k in ("audio", key_of_text)]
    assert mine[1] * z[1] < 0.5 * mine[0] * z[0]  # text by a layer that was drawn at random
    assert not np.array_equal(mine, theirs)
