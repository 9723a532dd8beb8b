"""Every item is tested once, by a model that has not seen its artist, and figures are of all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import Call
from sklearn.metrics import f1_score

from mmgenre.errors import MmgenreError, SplitError
from mmgenre.items.item import Item
from mmgenre.items.manifest import Manifest
from mmgenre.measuring.metrics import argmax_one_hot, average_precision, roc_auc, within_folds
from mmgenre.measuring.results import FusionResult
from mmgenre.pipeline.commands import fuse
from mmgenre.pipeline.cross_validation import fold_runs
from mmgenre.pipeline.notes import split_notes
from mmgenre.pipeline.run import Run, open_run
from mmgenre.pipeline.scores import read_scores

N, GENRES, K = 120, 3, 4
TASK: dict[str, Any] = {"task": "single"}


def made(folder: Path, *, telling: float = 0.5, artists: int = 30, rare: int = 0) -> FusionResult:
    """All folds of a run on given vectors; `rare`: items of a genre of one artist."""
    rng = np.random.default_rng(3)
    genre = np.arange(N) % GENRES
    x = telling * rng.standard_normal((GENRES, 8))[genre] + rng.standard_normal((N, 8))
    items = [
        Item(f"i{k}", artist=f"artist {k % artists}", labels=(f"genre {genre[k]}",))
        for k in range(N)
    ] + [Item(f"r{k}", artist="the rare one", labels=("rare",)) for k in range(rare)]
    x = np.concatenate([x, rng.standard_normal((rare, 8))])
    manifest = Manifest(items).write(folder / "m.csv")
    np.savez(folder / "v.npz", ids=np.array([item.id for item in items]), x=x)
    vectors = {"v": folder / "v.npz"}
    return fuse(run=folder / "run", manifest=manifest, features=vectors, cv=K, **TASK)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("folds")
    made(folder)
    return folder / "run"


def folds_of(run: Path) -> list[Run]:
    return fold_runs(open_run(run), K)


def test_each_item_is_tested_once_and_validates_once_and_no_artist_is_in_two_splits(
    run: Path,
) -> None:
    folds = folds_of(run)
    for split in ("test", "val"):
        ids = [i for own in folds for i in own.manifest.ids(split)]
        assert sorted(ids) == sorted(open_run(run).manifest.ids())
    for own in folds:
        of_split = [
            {own.manifest[i].artist for i in own.manifest.ids(split)}
            for split in ("train", "val", "test")
        ]
        assert sum(map(len, of_split)) == len(set.union(*of_split))


def test_figures_are_of_all_items_by_the_models_of_ordinary_runs_with_these_splits(
    run: Path, tmp_path: Path
) -> None:
    result = fuse(run=run, cv=K, **TASK)
    found = result["rows"][-1]["all"]
    assert found["n_items"] == N
    assert found["n_groups"] == 30
    y, predicted, scores, fold = [], [], [], []
    for k, own in enumerate(folds_of(run)):
        manifest = own.manifest.write(tmp_path / f"m{k}.csv")
        vectors = {"v": run.parent / "v.npz"}
        name = fuse(run=tmp_path / f"run{k}", manifest=manifest, features=vectors, **TASK)["name"]
        alone = read_scores(tmp_path / f"run{k}/fusion/{name}")
        values = alone.values[:, -1, 0].astype(float)
        scores.append(values)
        predicted.append(argmax_one_hot(values))
        y.append(own.truth(alone.ids, open_run(tmp_path / f"run{k}").recipe))
        fold += [k] * len(alone.ids)
    truth = np.concatenate(y)
    expected = f1_score(truth, np.concatenate(predicted), average="macro", zero_division=0)
    assert found["summary"]["macro_f1"]["mean"] == pytest.approx(expected, abs=1e-9)
    ranked = within_folds(roc_auc, truth, np.concatenate(scores), np.array(fold))
    assert found["summary"]["macro_roc_auc"]["mean"] == pytest.approx(ranked.mean(), abs=1e-9)
    low, high = found["intervals"]["macro_roc_auc"]
    assert low < ranked.mean() < high
    assert dict(result["folds"]) == {"n_items": [len(part) for part in y], "left_out": []}


def test_a_second_call_makes_nothing_and_the_page_begins_with_it(run: Path, call: Call) -> None:
    before = {p: p.stat().st_mtime_ns for p in (run / "folds").rglob("*") if p.is_file()}
    done = call("fuse", "--run", run, "--task", "single", "--cv", K, "--json")
    assert done.code == 0, done.err
    assert {p: p.stat().st_mtime_ns for p in (run / "folds").rglob("*") if p.is_file()} == before
    assert done.json["name"].endswith(f"-cv{K}")
    assert not set(done.json["notes"]) & set(split_notes(open_run(run)))
    [kept] = json.loads((run / "metrics.json").read_text())["cross_validated"]
    assert kept["rows"][-1]["all"]["n_items"] == N
    assert call("report", run).code == 0
    page = (run / "report.html").read_text()
    assert "models that had not seen its artist" in page
    assert page.index("models that had not seen its artist") < page.index("<nav")


@pytest.mark.slow
def test_vectors_of_noise_are_at_chance(tmp_path: Path) -> None:
    """Of pooled scores ROC-AUC would be below .5: a fold rich in a genre is judged by a model
    that has met fewer of it.
    """
    found = made(tmp_path, telling=0)["rows"][-1]["all"]
    low, high = found["intervals"]["macro_roc_auc"]
    assert low < 0.5 < high


@pytest.mark.slow
def test_a_genre_of_one_artist_is_left_out_and_named(tmp_path: Path) -> None:
    result = made(tmp_path, rare=6)
    assert result["folds"]["left_out"] == ["rare"]
    assert result["labels"] == [f"genre {k}" for k in range(GENRES)]
    assert result["rows"][-1]["all"]["n_items"] == N + 6


def test_of_many_genres_each_item_has_the_threshold_of_its_fold(run: Path) -> None:
    result = fuse(run=run, cv=K, task="multi")
    [seed] = result["rows"][-1]["all"]["per_seed"]
    assert seed["threshold"] is None
    y, named = [], []
    parts = [
        read_scores(path)
        for path in (run / "folds/fusion").iterdir()
        if not read_scores(path).about["exclusive"]
    ]
    assert len(parts) == K
    for part in parts:
        [threshold] = part.about["rows"][-1]["thresholds"]
        named.append(part.values[:, -1, 0] >= threshold)
        y.append(open_run(run).truth(part.ids))
    expected = f1_score(np.concatenate(y), np.concatenate(named), average="macro")
    assert result["rows"][-1]["all"]["summary"]["macro_f1"]["mean"] == pytest.approx(expected)


@pytest.mark.parametrize(("n", "match"), [(2, "at least 3"), (31, "30 group")])
def test_folds_that_cannot_be_are_refused(run: Path, n: int, match: str) -> None:
    with pytest.raises(SplitError, match=match):
        fuse(run=run, cv=n, **TASK)


@pytest.mark.slow
def test_no_genre_of_two_artists_is_refused(tmp_path: Path) -> None:
    items = [Item(f"i{k}", artist=f"a{k % 4}", labels=(f"genre {k % 4}",)) for k in range(40)]
    manifest = Manifest(items).write(tmp_path / "m.csv")
    x = np.random.default_rng(0).standard_normal((40, 4))
    np.savez(tmp_path / "v.npz", ids=np.array([i.id for i in items]), x=x)
    with pytest.raises(MmgenreError, match="in the training items of every fold"):
        fuse(
            run=tmp_path / "run", manifest=manifest, features={"v": tmp_path / "v.npz"}, cv=4,
            **TASK,
        )  # fmt: skip


def test_what_it_cannot_be_used_with(run: Path, call: Call) -> None:
    refused = call("fuse", "--run", run, "--cv", 5, "--refit")
    assert refused.code == 2
    assert "keeps no model" in refused.err


def test_ranking_within_folds_against_pairs() -> None:
    """Slow loops over the pairs, and the positives, of each fold."""
    rng = np.random.default_rng(1)
    y, fold = rng.random((60, 3)) < 0.3, rng.integers(0, 4, 60)
    y[fold == 2, 1] = False
    scores = np.round(rng.standard_normal((60, 3)) + y, 1)
    for j in range(3):
        wins = pairs = 0.0
        precisions = []
        for f in range(4):
            here = np.flatnonzero(fold == f)
            positives, negatives = here[y[here, j]], here[~y[here, j]]
            for p in positives:
                wins += sum(
                    float(scores[p, j] > scores[n, j]) + 0.5 * (scores[p, j] == scores[n, j])
                    for n in negatives
                )
                above = here[scores[here, j] >= scores[p, j]]
                precisions += [y[above, j].mean()] if len(negatives) else []
            pairs += len(positives) * len(negatives)
        assert within_folds(roc_auc, y, scores, fold)[j] == pytest.approx(wins / pairs)
        found = within_folds(average_precision, y, scores, fold)[j]
        assert found == pytest.approx(np.mean(precisions))
