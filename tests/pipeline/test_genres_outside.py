"""Genres that only validation or test items have: nothing is fitted to them, and it is said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmgenre.errors import LabelError
from mmgenre.fusion.tagger import GenreTagger
from mmgenre.items.item import Item, Split
from mmgenre.items.manifest import Manifest
from mmgenre.pipeline.commands import extract_features, fuse
from mmgenre.pipeline.measure import measured
from mmgenre.pipeline.notes import run_notes
from mmgenre.pipeline.prepare import prepare_run
from mmgenre.pipeline.run import Run, open_run
from mmgenre.pipeline.scores import read_scores

SPLITS: tuple[Split, ...] = ("train", "train", "val", "test")
WORDS = {"Rock": "guitar drums loud", "Jazz": "sax swing piano", "Metal/Doom": "slow heavy dark"}
SETTINGS = [
    "text.embedding_dim=32",
    "text.hidden_dim=48",
    "text.training.max_epochs=2",
    "text.training.min_steps=20",
    "fusion.training.max_epochs=4",
    "fusion.cross_fit=0",
]
ONE_BY_ONE = ["fusion.solver=sgd", "fusion.combine=concatenation"]
ONLY_TEST = "Polka"  # of two items, one of which has no other genre
ONLY_VAL = "Metal/Ska"


def items(polka: str = ONLY_TEST) -> list[Item]:
    found = []
    for k in range(80):
        split, genre = SPLITS[k % 4], list(WORDS)[k % 3]
        labels: tuple[str, ...] = (genre,)
        if k == 3:
            labels = (polka,)
        elif k == 7:
            labels = (polka, genre)
        elif k == 6:
            labels = (genre, ONLY_VAL)
        text = f"{WORDS[genre]} {('a', 'b', 'c')[k % 3]} number {k % 5}"
        media = {"text": (text,)}
        found.append(Item(f"i{k:02}", f"artist {k}", f"album {k}", split, labels, media))
    return found


def made(
    folder: Path, *, task: str, polka: str = ONLY_TEST, settings: list[str] | None = None
) -> Run:
    source = Manifest(items(polka)).write(folder / "items.csv")
    run = folder / "run"
    how = [*SETTINGS, f"labels.task={task}", "text.encoders=['vsm', 'linear']", *(settings or [])]
    extract_features(source, run=run, recipe="quick", settings=how, workers=1)
    return open_run(run)


@pytest.fixture(scope="module", params=["multi", "single"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return made(tmp_path_factory.mktemp("run"), task=request.param)


def learned(run: Run) -> tuple[str, ...]:
    one = ("Jazz", "Metal", "Rock")
    return one if run.recipe.exclusive else ("Jazz", "Metal", "Metal/Doom", "Rock")


def test_they_are_no_genre_of_the_task(run: Run) -> None:
    assert run.labels().names == learned(run)
    out = {ONLY_TEST} if run.recipe.exclusive else {ONLY_TEST, ONLY_VAL}
    assert run.outside(exclusive=run.recipe.exclusive) == out
    truth = run.truth(["i03", "i07", "i06"])
    named = [[n for n, own in zip(learned(run), row, strict=True) if own] for row in truth]
    # The genre of an item is its first; where it may have many, the others count as well.
    assert named == (
        [[], [], ["Rock"]] if run.recipe.exclusive else [[], ["Jazz"], ["Metal", "Rock"]]
    )


def test_encoders_and_heads_have_no_output_for_them(run: Run) -> None:
    config = json.loads((run.encoder("text") / "config.json").read_text(encoding="utf-8"))
    assert tuple(config["config"]["learned"]["labels"]) == learned(run)
    for head, settings in (("logistic", []), ("logistic", ONE_BY_ONE), ("cosine", ONE_BY_ONE)):
        result = fuse(["text"], run=run.folder, head=head, settings=settings, seeds=1)
        folder = run.fusions / result["name"]
        assert tuple(result["labels"]) == learned(run)
        assert read_scores(folder).values.shape[-1] == len(learned(run))
        tagger = GenreTagger.from_pretrained(run.folder, result["name"])
        assert tagger.fusion.labels.names == learned(run)


def test_averages_leave_them_out_and_say_so(run: Run) -> None:
    result = fuse(["text"], run=run.folder, seeds=1)
    found = result["rows"][-1]["all"]["per_seed"][0]
    assert set(found["per_label"]) == set(learned(run))
    f1 = [own["f1"] for own in found["per_label"].values() if own["f1"] is not None]
    assert found["macro_f1"] == pytest.approx(np.mean(f1))
    n = run.manifest.count("test")
    assert found["n_items"] == n
    # The item that is nothing but Polka; where it has one genre, so is the other one.
    assert found["n_without_label"] == (2 if run.recipe.exclusive else 1)
    if run.recipe.exclusive:
        assert sum(map(sum, found["confusion_matrix"])) == n - 2
        assert found["accuracy"] <= (n - 2) / n
    measured(run, run.fusions / result["name"], "val")
    [note] = [n for n in run_notes(run) if "neither learned" in n]
    if run.recipe.exclusive:
        assert "train has no item of 1 genre(s)" in note
        assert "Polka; 2 item(s) have one of them, 2 no other genre, and count as wrong" in note
    else:
        assert "train has no item of 2 genre(s)" in note
        assert "Metal/Ska, Polka; 3 item(s) have one of them, 1 no other genre" in note
        assert "accuracy" not in note


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "settings",
    [[], pytest.param(["fusion.refit=true"], marks=SLOW), pytest.param(ONE_BY_ONE, marks=SLOW)],
)
def test_what_they_are_changes_no_score(tmp_path: Path, settings: list[str]) -> None:
    """Their names and their number are of items that no fit may see."""
    found = []
    for name in (ONLY_TEST, "Zydeco"):
        run = made(tmp_path / name, task="multi", polka=name)
        result = fuse(["text"], run=run.folder, seeds=1, settings=settings)
        scores = read_scores(run.fusions / result["name"])
        found.append((scores.ids, scores.values))
    assert found[0][0] == found[1][0]
    np.testing.assert_allclose(found[0][1], found[1][1], atol=1e-5)  # rounding of the solver


def test_fingerprints_differ_only_where_there_are_such_genres(tmp_path: Path) -> None:
    def run_of(found: list[Item]) -> Run:
        source = Manifest(found).write(tmp_path / f"{len(found)}.csv")
        folder = tmp_path / f"run{len(found)}"
        return prepare_run(folder, manifest=source, recipe="quick", settings=["labels.task=multi"])

    whole = run_of([item for item in items() if not {ONLY_TEST, ONLY_VAL} & {*item.labels}])
    assert whole.genres_of(whole.recipe) == {}
    assert whole.outside(exclusive=False) == frozenset()
    some = run_of(items())
    assert some.genres_of(some.recipe) == {"genres": "of train"}


def test_one_genre_in_training_is_too_few(tmp_path: Path) -> None:
    def only(item: Item) -> Item:
        labels = ("Rock",) if item.split == "train" else item.labels
        return replace(item, labels=labels)

    source = Manifest([only(item) for item in items()]).write(tmp_path / "m.csv")
    how: dict[str, Any] = {"run": tmp_path / "run", "recipe": "quick"}
    with pytest.raises(LabelError, match=r"two genres or more to learn from, got \['Rock'\]"):
        extract_features(source, **how)
