"""qualitative.json of the small run: what is in it, what is left out and why, when it is made."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from command_line import Call
from small import Small

from mmgenre.disk.store import FeatureStore
from mmgenre.errors import DamageWarning, MmgenreError
from mmgenre.explain.results import Qualitative
from mmgenre.items.labels import ancestors, closure
from mmgenre.items.manifest import Manifest
from mmgenre.pipeline.commands import fuse
from mmgenre.pipeline.guesses import best_guesses, guess_tables
from mmgenre.pipeline.qualitative import (
    make_report,
    map_of_factors,
    words_of,
    write_qualitative,
)
from mmgenre.pipeline.run import Run, open_run
from mmgenre.pipeline.scores import read_scores


@pytest.fixture(scope="module")
def described(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the small run with both heads of both tasks."""
    folder = small.copy(tmp_path_factory.mktemp("described") / "run")
    fuse(run=folder, head="cosine", seeds=1)
    fuse(run=folder, task="single", seeds=1)
    write_qualitative(open_run(folder))
    return folder


def content(run: Path) -> Qualitative:
    found: Qualitative = json.loads((run / "qualitative.json").read_text(encoding="utf-8"))
    return found


def test_every_part_is_there(described: Path) -> None:
    found, run = content(described), open_run(described)
    assert set(found["missing"]) == {"human", "reliability", "lacking"}  # 8 test items
    assert found["words"] is not None
    assert found["words"]["n_texts"] <= len(run.manifest.ids("train", having=["text"]))
    heat, factors, covers = found["heat"], found["factors"], found["covers"]
    assert heat is not None
    test = sorted(run.manifest.ids("test", having=["image"]))
    assert [item["id"] for item in heat["items"]] == test[:12]
    assert heat["n_with_cover"] == len(test)
    for item in heat["items"]:
        truth = closure(run.manifest[item["id"]].labels)
        assert sorted(truth) == item["truth"]
        assert item["right"] is (item["genre"] in truth)
        assert item["attention"] is None  # no network of patches
    assert factors is not None
    assert factors["n_items"] == len(factors["points"]) <= len(run.manifest)
    assert covers is not None
    held_out = {i for s in ("val", "test") for i in run.manifest.ids(s, having=["image"])}
    assert covers["n_items"] == len(held_out)
    assert covers["perplexity"] < covers["wanted_perplexity"]


def test_neighbours_are_other_covers_of_all_splits(described: Path) -> None:
    found, run = content(described)["neighbours"], open_run(described)
    assert found is not None
    test = sorted(run.manifest.ids("test", having=["image"]))
    with FeatureStore(described / "embeddings.h5", "image") as store:
        vectors = dict(zip(store.ids, store.take(store.ids), strict=True))
    assert (found["n_covers"], found["n_queries"], found["k"]) == (len(vectors), len(test), 5)
    assert [query["id"] for query in found["queries"]] == test[:8]
    shared, chance = [], []
    for item_id in test:
        genre = ancestors(run.manifest[item_id].labels[0])[0]
        cosines = {
            other: float(
                v @ vectors[item_id] / np.linalg.norm(v) / np.linalg.norm(vectors[item_id])
            )
            for other, v in vectors.items()
            if other != item_id
        }
        near = sorted(cosines, key=lambda other: -cosines[other])[:5]
        having = {other for other in cosines if genre in closure(run.manifest[other].labels)}
        shared += [other in having for other in near]
        chance.append(len(having) / len(cosines))
        if item_id in test[:8]:
            query = found["queries"][test.index(item_id)]
            assert (query["genre"], [o["id"] for o in query["nearest"]]) == (genre, near)
            for other in query["nearest"]:
                item = run.manifest[other["id"]]
                assert other["split"] == item.split
                assert other["genres"] == sorted(closure(item.labels))
                assert other["cosine"] == pytest.approx(cosines[item.id], abs=1e-5)
                assert other["shares"] is (item.id in having)
                assert other["same_artist"] is (item.artist == run.manifest[item_id].artist)
    assert found["share"] == pytest.approx(np.mean(shared))
    assert found["chance"] == pytest.approx(np.mean(chance))


def test_guesses_are_those_of_the_saved_scores(described: Path) -> None:
    run = open_run(described)
    (table,) = content(described)["guesses"] or []
    assert (table["logistic"], table["cosine"]) == ("multi-logistic-a+t+i", "multi-cosine-a+t+i")
    assert table["row"] == "A+T+I"
    complete = sorted(run.manifest.ids("test", having=["audio", "text", "image"]))
    assert [item["id"] for item in table["items"]] == complete[:12]
    names = run.labels().names
    for name, head in ((table["logistic"], "logistic"), (table["cosine"], "cosine")):
        scores = read_scores(described / "fusion" / name)
        for item in table["items"]:
            [row] = scores.of("A+T+I", 0, [item["id"]])
            guesses: Any = item[head]  # type: ignore[literal-required]
            assert [g["genre"] for g in guesses] == [names[j] for j in np.argsort(-row)[:3]]


def test_what_is_unchanged_is_not_made_again(
    described: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*args: object, **kwargs: object) -> NoReturn:
        raise AssertionError("work was done again")

    target = described / "qualitative.json"
    before = target.stat().st_mtime_ns
    with monkeypatch.context() as patched:
        patched.setattr("mmgenre.pipeline.qualitative.words_of", busy)
        assert write_qualitative(open_run(described)) == target
        with pytest.raises(AssertionError, match="again"):
            write_qualitative(open_run(described), seed=1)
    assert target.stat().st_mtime_ns == before
    first = content(described)
    target.write_text("{")  # damaged: set aside, made again, and the same
    with pytest.warns(
        DamageWarning, match=r"qualitative\.json: .*; kept as qualitative\.json\.dam"
    ):
        write_qualitative(open_run(described))
    target.with_name("qualitative.json.damaged").unlink()  # `described` is shared
    assert content(described) == first


def test_words_and_factors_see_training_items_only(small: Small, tmp_path: Path) -> None:
    run = open_run(small.run)
    items = {item.id: item for item in run.manifest}
    others = [i for s in ("val", "test") for i in run.manifest.ids(s)]
    swapped = dict(zip(others, [items[i].labels for i in reversed(others)], strict=True))
    lines = (small.run / "manifest.csv").read_text(encoding="utf-8").splitlines()
    folder = small.copy(tmp_path / "run")
    (folder / "manifest.csv").unlink()
    changed = []
    for line in lines:
        item_id = line.split(",")[0]
        old = ";".join(items[item_id].labels) if item_id in swapped else ""
        new = ";".join(swapped[item_id]) if item_id in swapped else ""
        changed.append(line.replace(old, new, 1) if old else line)
    (folder / "manifest.csv").write_text("\n".join(changed) + "\n", encoding="utf-8")
    other = replace(run, folder=folder, manifest=Manifest.read(folder / "manifest.csv"), spaces={})
    assert [i.labels for i in other.manifest] != [i.labels for i in run.manifest]
    assert words_of(other, seed=0) == words_of(run, seed=0)


@pytest.mark.slow
def test_a_human_stands_beside_the_single_label_fusion(described: Path, tmp_path: Path) -> None:
    path = described / "fusion/single-logistic-a+t+i/metrics.json"
    fusion = json.loads(path.read_text(encoding="utf-8"))["result"]
    given = fusion["labels"][:4]
    human = tmp_path / "human.csv"
    rows = "".join(f"{genre},0.{k + 1},0.5\n" for k, genre in enumerate(given))
    human.write_text(f"genre,A,A+T+I\n{rows}", encoding="utf-8")
    write_qualitative(open_run(described), human=human)
    alone, whole = content(described)["human"] or []
    assert (alone["fusion"], alone["row"]) == ("single-logistic-a+t+i", "A")
    measured = fusion["rows"][0]["complete"]["per_seed"][0]["per_label"]
    assert alone["model"] == [measured[g]["f1"] for g in alone["genres"]]
    assert sorted([*alone["genres"], *alone["left_out"]]) == given
    assert (alone["pearson"] is None) is bool(alone["undefined"])
    assert whole["pearson"] is None
    human.write_text("genre,A\nPolka,1\n", encoding="utf-8")
    with pytest.raises(MmgenreError, match="unknown genre 'Polka'"):
        make_report(described, human=human)
    write_qualitative(open_run(described))


def test_a_human_needs_a_single_label_fusion(small: Small, tmp_path: Path) -> None:
    human = tmp_path / "human.csv"
    human.write_text("genre,A\nRock,1\n")
    with pytest.raises(MmgenreError, match="mmgenre fuse --task single"):
        write_qualitative(open_run(small.copy(tmp_path / "run")), human=human)


def test_what_is_gone_is_left_out_and_said(small: Small, tmp_path: Path) -> None:
    folder = small.copy(tmp_path / "run")
    for gone in ("encoders", "inputs"):
        shutil.rmtree(folder / gone)
    page = make_report(folder)
    found = content(folder)
    few = {"reliability", "lacking"}  # test items
    assert set(found["missing"]) == {"words", "heat", "neighbours", "guesses", "human", *few}
    assert "No two fusions differ in their head alone" in found["missing"]["guesses"]
    text = page.read_text(encoding="utf-8")
    assert 'id="apart"' not in text
    assert f"<bdi>{escape(found['missing']['words'])}</bdi>" in text


def test_only_metrics_give_a_page_all_the_same(small: Small, tmp_path: Path) -> None:
    shutil.copy(small.run / "metrics.json", tmp_path)
    text = make_report(tmp_path).read_text(encoding="utf-8")
    assert "Not computed for this page" in text
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["metrics.json", "report.html"]


def test_nothing_measured_is_an_error(small: Small, tmp_path: Path) -> None:
    folder = small.copy(tmp_path / "run")
    (folder / "metrics.json").unlink()
    with pytest.raises(MmgenreError, match=r"nothing to explain yet.*mmgenre fuse"):
        write_qualitative(open_run(folder))
    with pytest.raises(MmgenreError, match="nothing to report yet"):
        make_report(folder)


def test_a_large_run_shows_a_draw(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmgenre.explain.similarity.MOST_POINTS", 12)
    run: Run = open_run(small.run)
    found = map_of_factors(run, seed=0)
    assert len(found["points"]) == 12 < found["n_items"]
    assert found["perplexity"] == pytest.approx(11 / 3)
    assert map_of_factors(run, seed=0) == found
    with pytest.raises(MmgenreError, match="differ in their head alone"):
        guess_tables(run, [small.result])


@pytest.mark.slow
def test_the_command_writes_the_report_with_its_qualitative_part(
    described: Path, call: Call
) -> None:
    done = call("report", described)
    assert done.out.strip() == str(described / "report.html")
    (described / "report.html").unlink()
    assert make_report(open_run(described)) == described / "report.html"  # a run that is open
    page = (described / "report.html").read_text(encoding="utf-8")
    assert "data:image/jpeg;base64," in page
    assert len(page) < 3_000_000
    assert "<audio" not in page
    assert "mmgenre report RUN --media" in page
    assert all(f'id="{section}"' in page for section in ("apart", "examples", "guesses"))


def test_guesses_are_the_best_scored() -> None:
    scores, truth = np.array([0.1, 0.9, 0.5, 0.5]), np.array([False, False, True, False])
    found = best_guesses(scores, truth, ["a", "b", "c", "d"])
    assert [(g["genre"], g["right"]) for g in found] == [("b", False), ("c", True), ("d", False)]
    assert [g["score"] for g in found] == [0.9, 0.5, 0.5]
    assert len(best_guesses(scores[:2], truth[:2], ["a", "b"])) == 2
