"""A fusion of all modalities on items that lack some, and how figures fall with what is hidden."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from command_line import Call
from small import NAME, SETTINGS, Small

from mmgenre.errors import MmgenreError
from mmgenre.items.item import Item, Split
from mmgenre.items.manifest import Manifest
from mmgenre.items.modalities import Modality
from mmgenre.measuring.metrics import macro, roc_auc
from mmgenre.pipeline.commands import extract_features, fuse
from mmgenre.pipeline.missing import Whole, whole_of
from mmgenre.pipeline.run import open_run
from mmgenre.pipeline.scores import read_scores

SOLVED = ("fusion.solver=lbfgs", "fusion.combine=auto")


@pytest.fixture(scope="module")
def solved(small: Small, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run with a solved fusion of all modalities, and the name of the fusion."""
    run = small.copy(tmp_path_factory.mktemp("missing") / "run")
    return run, fuse(run=run, settings=SOLVED)["name"]


ALL = ("audio", "text", "image")


@pytest.mark.parametrize(
    "subset",
    [
        pytest.param(own, marks=() if own == ("text",) else pytest.mark.slow)
        for k in (1, 2, 3)
        for own in combinations(ALL, k)
    ],
)
def test_with_some_modalities_it_judges_as_a_model_trained_on_just_these(
    small: Small, solved: tuple[Path, str], subset: tuple[Modality, ...], tmp_path: Path
) -> None:
    settings = (*SETTINGS[:-2], *SOLVED)
    extract_features(
        small.manifest, run=tmp_path, recipe="quick", modalities=subset, settings=settings
    )
    own = whole_of(open_run(tmp_path), fuse(subset, run=tmp_path)["name"])
    whole = whole_of(open_run(solved[0]), solved[1])

    assert own.modalities == subset
    assert whole.table.ids == own.table.ids
    scores = whole.scores(subset)
    np.testing.assert_allclose(scores, own.scores(subset), atol=1e-5)
    if subset != ALL:
        assert np.abs(scores - whole.scores(ALL)).max() > 1e-3  # the others had a say


def test_with_all_modalities_it_is_the_row_of_the_whole(solved: tuple[Path, str]) -> None:
    run = open_run(solved[0])
    whole = whole_of(run, solved[1])
    stored = read_scores(run.fusions / solved[1], "val")
    scores = whole.scores(whole.modalities)
    np.testing.assert_allclose(scores, stored.values[:, -1, 0], atol=1e-6)


@pytest.mark.parametrize("kind", ["solved", "trained"])
def test_a_curve_begins_at_the_whole(solved: tuple[Path, str], kind: str) -> None:
    whole = whole_of(open_run(solved[0]), solved[1] if kind == "solved" else NAME)
    curve = whole.curve((0.0, 0.9), draws=2)
    figures = whole.figures(whole.scores(whole.modalities))
    for name, (first, last) in curve.items():
        assert first == pytest.approx(figures[name])
        # The small run's trained heads are near chance: they need not fall, but they do change.
        assert last < first if kind == "solved" else last != first


def test_of_nothing_known_all_items_are_judged_alike(solved: tuple[Path, str]) -> None:
    scores = whole_of(open_run(solved[0]), solved[1]).scores([])
    assert (scores == scores[0]).all()


def test_what_cannot_be_measured_is_refused(solved: tuple[Path, str]) -> None:
    whole: Whole = whole_of(open_run(solved[0]), solved[1])
    with pytest.raises(MmgenreError, match="has no lyrics; it is of audio, text, image"):
        whole.scores(["lyrics"])
    with pytest.raises(ValueError, match="from 0 to below 1"):
        whole.curve((1.0,))
    with pytest.raises(ValueError, match="draws 0"):
        whole.curve(draws=0)


@pytest.mark.slow
def test_fusions_of_joint_vectors_are_refused(solved: tuple[Path, str]) -> None:
    joint = fuse(run=solved[0], settings=SOLVED, joint=True)["name"]
    with pytest.raises(MmgenreError, match="reads joint vectors"):
        whole_of(open_run(solved[0]), joint)


def test_the_command_prints_every_subset_and_the_curve(
    solved: tuple[Path, str], call: Call
) -> None:
    where = ("missing", str(solved[0]), "--fusion", solved[1])
    found = call(*where, "--json").json
    whole = whole_of(open_run(solved[0]), solved[1])
    names = [own["name"] for own in found["subsets"]]
    assert names == ["A", "T", "I", "A+T", "A+I", "T+I", "A+T+I"]
    for own, modalities in zip(found["subsets"][:2], (["audio"], ["text"]), strict=False):
        assert own["figures"] == pytest.approx(whole.figures(whole.scores(modalities)))
    assert {m: pytest.approx(v) for m, v in found["curve"].items()} == whole.curve()
    printed = call(*where).out
    assert "A+T+I" in printed
    assert "90%" in printed


def test_a_modality_of_noise_takes_nothing_away(tmp_path: Path) -> None:
    n, kinds = 360, 6
    rng = np.random.default_rng(0)
    genre = np.arange(n) % kinds
    telling = rng.standard_normal((kinds, 12))[genre] + 2 * rng.standard_normal((n, 12))
    splits: list[Split] = [("train", "val", "test")[0 if k < 180 else 1 + k % 2] for k in range(n)]
    ids = [f"i{k}" for k in range(n)]
    about = zip(ids, splits, genre, strict=True)
    items = [Item(i, artist=i, split=s, labels=(f"genre {g}",)) for i, s, g in about]
    manifest = Manifest(items).write(tmp_path / "m.csv")
    vectors = {"telling": telling, "noise": rng.standard_normal((n, 128))}
    for name, x in vectors.items():
        np.savez(tmp_path / f"{name}.npz", ids=np.array(ids), x=x)
    features = {name: tmp_path / f"{name}.npz" for name in vectors}
    result = fuse(run=tmp_path / "run", manifest=manifest, features=features)

    scores = read_scores(tmp_path / "run" / "fusion" / result["name"], "val")
    rows = [set(row["inputs"]) for row in result["rows"]]
    alone, both = (
        scores.values[:, rows.index(own), 0].astype(float)
        for own in ({"telling"}, {"telling", "noise"})
    )
    assert not np.array_equal(alone, both)
    y = np.eye(kinds, dtype=bool)[[int(i[1:]) % kinds for i in scores.ids]]
    assert 0.6 < macro(roc_auc(y, alone)) < 0.95  # there is something to take away
    assert macro(roc_auc(y, both)) > macro(roc_auc(y, alone)) - 0.01
